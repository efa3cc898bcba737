"""The Python module on the models that the tests and the project ship with.

Run by CTest (KVENGINE_PYTHON=ON), or by hand from a wheel or with PYTHONPATH=build/python:
python3 -m unittest discover -s tests/python
"""

import json
import os
import signal
import struct
import tempfile
import threading
import unittest
from pathlib import Path

import kvengine
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "tests" / "data" / "tiny-qwen2"
CANARY = ROOT / "models" / "canary"
STORY = "Nils was in the chapel. In the chapel lay a quiet reminder. Nils left the chapel and went to the library."


def read_golden():
    """What transformers and kvpress gave for the tiny model: cases, and tensors by name."""
    cases = json.loads((TINY / "golden.json").read_text(encoding="utf-8"))
    data = (TINY / "golden.safetensors").read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    tensors = {}
    for name, entry in json.loads(data[8 : 8 + length]).items():
        begin, end = entry["data_offsets"]
        values = np.frombuffer(data[8 + length + begin : 8 + length + end], dtype="<f4")
        tensors[name] = values.reshape(entry["shape"])
    return cases, tensors


class Reference(unittest.TestCase):
    """Against goldens made by transformers."""

    def setUp(self):
        self.model = kvengine.Model(TINY)
        self.cases, self.tensors = read_golden()
        self.prompt, self.suffix = self.cases["prompt_ids"], self.cases["suffix_ids"]
        self.expected = self.tensors[self.cases["full_logits"]]

    def test_logits(self):
        logits = self.model.logits(self.prompt + self.suffix)
        self.assertEqual(logits.dtype, np.float32)
        np.testing.assert_allclose(logits, self.expected, rtol=0, atol=1e-4)

    def test_fed_tokens_give_the_same_bits_as_one_pass(self):
        cache = self.model.prefill(self.prompt)
        fed = self.model.feed(cache, self.suffix)
        whole = self.model.logits(self.prompt + self.suffix)
        np.testing.assert_array_equal(fed, whole[len(self.prompt) :])
        np.testing.assert_array_equal(cache.last_logits, whole[-1])
        self.assertEqual(cache.n_tokens, len(self.prompt) + len(self.suffix))

    def test_greedy(self):
        answer = self.model.generate(self.prompt, max_new_tokens=len(self.cases["greedy"]), ignore_eos=True)
        self.assertEqual(answer.ids, self.cases["greedy"])
        self.assertEqual(answer.stop_reason, "length")

    def test_score_is_the_log_softmax_of_the_logits(self):
        score = self.model.score(self.prompt, self.suffix)
        rows = self.expected[len(self.prompt) - 1 : -1].astype(np.float64)
        log_probs = rows - np.log(np.exp(rows - rows.max(1, keepdims=True)).sum(1, keepdims=True)) - rows.max(1, keepdims=True)
        np.testing.assert_allclose(score.log_probs, log_probs[np.arange(len(self.suffix)), self.suffix], atol=1e-4)
        np.testing.assert_array_equal(score.greedy, rows.argmax(1) == self.suffix)
        self.assertAlmostEqual(score.total, float(score.log_probs.astype(np.float64).sum()))


class Caches(unittest.TestCase):
    def setUp(self):
        self.model = kvengine.Model(CANARY)
        self.ids = self.model.tokenizer.encode(STORY)

    def test_several_compressors_share_a_prefill(self):
        specs = ["none", "knorm(ratio=0.5)", "int8", "absmax8"]
        before = self.model.tokens_computed
        caches = self.model.prefill(self.ids, specs)
        # absmax acts on the prompt's own attention and needs a prefill of its own.
        self.assertEqual(self.model.tokens_computed - before, 2 * len(self.ids))
        self.assertEqual([kvengine.canonical(s)[0] for s in specs], [c.compressor for c in caches])
        for spec, cache in zip(specs, caches):
            alone = self.model.prefill(self.ids, spec)
            self.assertEqual((alone.bytes, alone.n_prompt), (cache.bytes, len(self.ids)))
            np.testing.assert_array_equal(self.model.feed(alone, self.ids[:5]), self.model.feed(cache, self.ids[:5]))

    def test_kept_rows_and_bytes(self):
        n = len(self.ids)
        full, half = self.model.prefill(self.ids, ["none", "knorm(ratio=0.5)"])
        info = self.model.info
        rows = info["layers"] * info["kv_heads"]
        self.assertEqual(full.bytes, rows * n * info["head_dim"] * 2 * 4)
        self.assertLess(half.bytes, 0.55 * full.bytes)
        self.assertEqual([len(layer) for layer in half.kept], [info["kv_heads"]] * info["layers"])
        for head in (head for layer in half.kept for head in layer):
            self.assertEqual(len(head), int(n * 0.5))
            self.assertTrue((np.diff(head) > 0).all())
        np.testing.assert_array_equal(full.kept[0][0], np.arange(n))

    def test_scores_leave_a_cache_as_it_is_and_batches_do_not_show(self):
        cache = self.model.prefill(self.ids, "snapkv(ratio=0.5)+int4")
        continuations = [self.ids[:7], self.ids[3:4], self.ids[:40], []]
        together = self.model.score([cache] * 4, continuations)
        self.assertEqual(cache.n_tokens, len(self.ids))
        for score, continuation in zip(together, continuations):
            alone = self.model.score(cache, continuation)
            np.testing.assert_array_equal(score.log_probs, alone.log_probs)
            np.testing.assert_array_equal(score.greedy, alone.greedy)
            self.assertEqual(len(score.log_probs), len(continuation))

    def test_answers_together_are_the_answers_alone(self):
        prompts = [self.ids, self.ids[:9], self.ids[5:]]
        alone = [self.model.generate(p, "knorm(ratio=0.25)", max_new_tokens=12) for p in prompts]
        caches = [self.model.prefill(p, "knorm(ratio=0.25)") for p in prompts]
        self.assertEqual(self.model.generate(caches, max_new_tokens=12), alone)

    def test_a_stop_text_cuts_the_answer(self):
        whole = self.model.generate(self.ids, max_new_tokens=20)
        self.assertGreater(len(whole.text), 4)
        stop = whole.text[3:5]
        answer = self.model.generate(self.ids, max_new_tokens=20, until=[stop])
        self.assertEqual((answer.text, answer.stop_reason), (whole.text[: whole.text.index(stop)], "stop"))
        self.assertEqual(self.model.generate(self.ids, max_new_tokens=20, until=stop), answer)

    def test_rolling_scores_are_the_same_wherever_the_context_ends_without_compression(self):
        scores = [self.model.score_rolling(self.ids, n_context=n).log_probs for n in (1, 10, len(self.ids))]
        self.assertEqual(len(scores[0]), len(self.ids) - 1)
        np.testing.assert_array_equal(scores[0], scores[1])
        np.testing.assert_array_equal(scores[0], scores[2])
        cut = self.model.score_rolling(self.ids, "streamingllm(ratio=0.5)", n_context=20).log_probs
        np.testing.assert_array_equal(cut[:20], scores[0][:20])  # the first after the context too
        self.assertTrue((cut[20:] != scores[0][20:]).any())

    def test_forks_part(self):
        cache = self.model.prefill(self.ids)
        fork = cache.fork()
        self.model.feed(fork, [5, 6])
        self.assertEqual((cache.n_tokens, fork.n_tokens), (len(self.ids), len(self.ids) + 2))

    def test_threads_share_a_model(self):
        expected = self.model.generate(self.ids, max_new_tokens=8)
        answers = []
        work = lambda: answers.append(self.model.generate(self.ids, max_new_tokens=8))  # noqa: E731
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(answers, [expected] * 4)


class Interrupt(unittest.TestCase):
    def test_ctrl_c_ends_a_computation_and_leaves_the_model_usable(self):
        model = kvengine.Model(CANARY)
        ids = model.tokenizer.encode(STORY)
        expected = model.generate(ids, max_new_tokens=8)
        timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with self.assertRaises(KeyboardInterrupt):
            while True:  # one answer may be faster than the timer
                model.generate(ids, max_new_tokens=400, ignore_eos=True)
        timer.join()
        self.assertEqual(model.generate(ids, max_new_tokens=8), expected)


class Errors(unittest.TestCase):
    def test_wrong_calls_are_value_errors_with_the_engines_messages(self):
        model = kvengine.Model(TINY)
        cache = model.prefill([1, 2, 3])
        for words, call in [
            ("snapvk", lambda: model.prefill([1], "snapvk(ratio=0.5)")),
            ("stands for 2", lambda: model.prefill([1], "knorm(ratio=[0.25,0.5])")),
            ("prompt is empty", lambda: model.prefill([])),
            ("outside the model's vocabulary", lambda: model.prefill([10**6])),
            ("outside the model's vocabulary", lambda: model.score(cache, [-1])),
            ("occurs twice", lambda: model.feed([cache, cache], [[1], [2]])),
            ("one continuation for each", lambda: model.score([cache], [[1], [2]])),
            ("another model", lambda: kvengine.Model(CANARY).feed(cache, [1])),
            ("kv_dtype", lambda: kvengine.Model(TINY, kv_dtype="f8")),
            ("prefill_chunk", lambda: kvengine.Model(TINY, prefill_chunk=-1)),
            ("max_new_tokens", lambda: model.generate(cache, max_new_tokens=0)),
            ("threads", lambda: kvengine.set_threads(0)),
            ("n_context", lambda: model.score_rolling([1, 2], n_context=3)),
        ]:
            with self.subTest(words), self.assertRaisesRegex(ValueError, words):
                call()
        self.assertEqual(cache.n_tokens, 3)

    def test_wrong_files_are_data_errors(self):
        with self.assertRaisesRegex(kvengine.DataError, "no-such-model"):
            kvengine.Model("no-such-model")
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "config.json").write_text("{", encoding="utf-8")
            with self.assertRaisesRegex(kvengine.DataError, "config.json"):
                kvengine.Model(folder)


class Text(unittest.TestCase):
    def test_tokenizer(self):
        tokenizer = kvengine.Model(CANARY).tokenizer
        ids = tokenizer.encode(STORY, add_special_tokens=False)
        self.assertEqual(tokenizer.decode(ids), STORY)
        self.assertEqual(tokenizer.token_id(tokenizer.token(ids[0])), ids[0])

    def test_compressors(self):
        names = {c.name: c for c in kvengine.compressors()}
        self.assertEqual(names["snapkv"].kind, "policy")
        self.assertIsNone(names["snapkv"].params["ratio"])
        self.assertEqual(names["int4"].kind, "codec")


if __name__ == "__main__":
    unittest.main()
