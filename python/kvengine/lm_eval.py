"""kvengine as a model of EleutherAI's lm-evaluation-harness, with any compressor.

    lm_eval --model kvengine --model_args pretrained=models/canary,compressor='snapkv(ratio=0.5)' --tasks T

What is compressed: the context of each request, once, after its prefill and before anything that follows.

- loglikelihood (multiple choice): the context's cache is compressed; the continuation is scored from it. Its first
  token is predicted by the context's last prefill row, which compression does not change, so a one-token choice cannot
  show what a compressor costs. Requests with equal contexts share one prefill and one compressed cache.
- generate_until: the prompt's cache is compressed; the answer is decoded from it.
- loglikelihood_rolling (perplexity): the first `rolling_split` of each window's tokens are scored by their own prefill
  and then compressed; the later ones are scored from that cache. The windows are the harness's own.

Tokenisation, windows, truncation and stop texts follow the harness's own `hf` model, so that compressor=none compares
with it.

model_args: pretrained (what kvengine.Model takes), compressor, kv_dtype (f32), weights (stored), threads (all),
batch_size (contexts in memory and decoded together, 8; no score depends on it), max_length (the model's), max_gen_toks
(256), rolling_split (0.5), add_bos_token, prefix_token_id. The harness's own --device (by default a GPU) has no effect:
kvengine computes on the CPU.
"""

from __future__ import annotations

from typing import Dict, List, Optional, Tuple

import kvengine

try:
    from lm_eval.api.model import TemplateLM
    from lm_eval.api.registry import register_model
    from lm_eval.models.utils import normalize_gen_kwargs
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
    from tqdm import tqdm
except ImportError as error:  # pragma: no cover
    raise ImportError("kvengine.lm_eval needs the package lm_eval: pip install lm_eval") from error

_DEFAULT_MAX_LENGTH = 2048  # tokens, for a model that does not say
_SAMPLING = {"temperature", "top_p"}  # what the engine's sampler takes


class KvengineLM(TemplateLM):
    """One model with one compressor."""

    def __init__(
        self,
        pretrained: str,
        compressor: str = "none",
        kv_dtype: str = "f32",
        weights: str = "stored",
        threads: Optional[int] = None,
        batch_size: Optional[int] = None,
        max_length: Optional[int] = None,
        max_gen_toks: int = 256,
        rolling_split: float = 0.5,
        add_bos_token: Optional[bool] = None,
        prefix_token_id: Optional[int] = None,
        max_batch_size: Optional[int] = None,
        device: Optional[str] = None,
    ):
        super().__init__()
        if not 0 <= rolling_split < 1:
            raise ValueError(f"rolling_split: expected a share in [0, 1), found {rolling_split}")
        forms = kvengine.canonical(compressor)
        if len(forms) != 1:
            raise ValueError(f"compressor: {compressor!r} stands for {len(forms)} compressors; give one")
        self.compressor = forms[0]
        if threads is not None:
            kvengine.set_threads(threads)
        self.engine = kvengine.Model(pretrained, weights=weights, kv_dtype=kv_dtype)
        self.batch_size = 8 if batch_size in (None, "auto") else int(batch_size)
        self.max_length = max_length or self.engine.info["max_position"] or _DEFAULT_MAX_LENGTH
        self.max_gen_toks = max_gen_toks
        self.rolling_split = rolling_split
        self._add_bos_token = add_bos_token
        self._prefix_token_id = prefix_token_id
        self._n_contexts = self._kv_bytes = self._full_bytes = 0

    @property
    def eot_token_id(self) -> int:
        eos = self.engine.tokenizer.eos_token_id
        return self.engine.info["eos_ids"][0] if eos is None else eos

    @property
    def prefix_token_id(self) -> int:
        if self._prefix_token_id is not None:
            return self._prefix_token_id
        bos = self.engine.tokenizer.bos_token_id
        return self.eot_token_id if bos is None else bos

    @property
    def tokenizer_name(self) -> str:
        return f"kvengine-{self.engine.tokenizer.hash}"

    def tok_encode(self, string: str, add_special_tokens: Optional[bool] = None, **kwargs) -> List[int]:
        if add_special_tokens is None:
            add_special_tokens = self._add_bos_token is not False
            prefix = self.engine.tokenizer.decode([self.prefix_token_id], skip_special_tokens=False)
            if prefix and string.startswith(prefix):
                add_special_tokens = False
        return self.engine.tokenizer.encode(string, add_special_tokens)

    def chat_template(self, chat_template=False) -> Optional[str]:
        return self.engine.info["chat_template"] if chat_template else None

    def apply_chat_template(self, chat_history: List[Dict[str, str]], add_generation_prompt: bool = True) -> str:
        text = self.engine.chat(chat_history, add_generation_prompt)
        if add_generation_prompt:
            return text
        last = chat_history[-1]["content"].strip()  # goes on: nothing stands behind the last message
        return text[: text.rindex(last) + len(last)]

    def get_model_info(self) -> Dict[str, object]:
        """Goes into the harness's results: what ran, and what its caches took."""
        info = self.engine.info
        return {
            "compressor": self.compressor,
            "kv_dtype": info["kv_dtype"],
            "model_num_parameters": info["parameters"],
            "model_dtype": info["stored_dtype"],
            "weights_hash": info["weights_hash"],
            "rolling_split": self.rolling_split,
            "contexts": self._n_contexts,
            "kv_bytes_mean": self._kv_bytes / max(1, self._n_contexts),
            "kv_retained": self._kv_bytes / max(1, self._full_bytes),  # of the full cache at 16 bits per value
        }

    def _compress(self, context: List[int], **options) -> kvengine.Cache:
        cache = self.engine.prefill(context, self.compressor, **options)
        info = self.engine.info
        self._n_contexts += 1
        self._kv_bytes += cache.bytes
        self._full_bytes += len(context) * info["layers"] * info["kv_heads"] * info["head_dim"] * 2 * 2
        return cache

    def _truncated(self, context: List[int], continuation: List[int]) -> Tuple[Tuple[int, ...], List[int]]:
        """What fits the model: the context loses its first tokens, as in the harness's own models."""
        if len(continuation) > self.max_length:
            raise ValueError(f"a continuation of {len(continuation)} tokens; max_length is {self.max_length}")
        room = self.max_length + 1 - len(continuation)
        return tuple(context[-room:]), continuation

    def _loglikelihood_tokens(self, requests, disable_tqdm: bool = False, **kwargs) -> List[Tuple[float, bool]]:
        by_context: Dict[Tuple[int, ...], List[int]] = {}
        continuations = []
        for i, (_, context, continuation) in enumerate(requests):
            context, continuation = self._truncated(context, continuation)
            by_context.setdefault(context, []).append(i)
            continuations.append(continuation)
        answers: List[Tuple[float, bool]] = [(0.0, False)] * len(requests)
        contexts = list(by_context)
        bar = tqdm(total=len(requests), disable=disable_tqdm, desc="Running loglikelihood requests")
        for begin in range(0, len(contexts), self.batch_size):
            batch = contexts[begin : begin + self.batch_size]
            members, caches = [], []
            for context in batch:
                cache = self._compress(list(context))
                members += by_context[context]
                caches += [cache] * len(by_context[context])
            scores = self.engine.score(caches, [continuations[i] for i in members])
            for i, score in zip(members, scores):
                answers[i] = (score.total, bool(score.greedy.all()))
                if requests[i][0] is not None:
                    self.cache_hook.add_partial("loglikelihood", requests[i][0], answers[i])
            bar.update(len(members))
        bar.close()
        return answers

    def loglikelihood_rolling(self, requests, disable_tqdm: bool = False) -> List[float]:
        totals = []
        for request in tqdm(requests, disable=disable_tqdm, desc="Running loglikelihood_rolling requests"):
            (text,) = request.args
            windows = get_rolling_token_windows(
                token_list=self.tok_encode(text),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            )
            total = sum(self._window(*make_disjoint_window(window)) for window in windows)
            totals.append(total)
            self.cache_hook.add_partial("loglikelihood_rolling", (text,), total)
        return totals

    def _window(self, context: List[int], continuation: List[int]) -> float:
        """The log-likelihood of a window's continuation, its first part scored by the prefill."""
        ids = context + continuation
        n_context = max(len(context), int(len(ids) * self.rolling_split))
        cache = self._compress(ids[:n_context], prompt_scores=n_context > len(context))
        total = self.engine.score(cache, ids[n_context:]).total
        if n_context > len(context):
            log_probs, _ = cache.prompt_scores  # of ids[1:n_context]
            total += float(log_probs[len(context) - 1 :].sum(dtype="float64"))
        return total

    def generate_until(self, requests, disable_tqdm: bool = False) -> List[str]:
        answers: List[str] = [""] * len(requests)
        by_options: Dict[str, List[int]] = {}
        for i, request in enumerate(requests):
            by_options.setdefault(repr(sorted(request.args[1].items())), []).append(i)
        bar = tqdm(total=len(requests), disable=disable_tqdm, desc="Running generate_until requests")
        for members in by_options.values():
            options = self._generation_options(requests[members[0]].args[1])
            for begin in range(0, len(members), self.batch_size):
                batch = members[begin : begin + self.batch_size]
                for i, text in zip(batch, self._generate([requests[i].args[0] for i in batch], options)):
                    answers[i] = text
                    self.cache_hook.add_partial("generate_until", requests[i].args, text)
                bar.update(len(batch))
        bar.close()
        return answers

    def _generation_options(self, gen_kwargs: Dict) -> Dict:
        options = normalize_gen_kwargs(gen_kwargs, self.max_gen_toks)
        until = options.pop("until", None) or []
        until = [until] if isinstance(until, str) else list(until)
        max_new_tokens = options.pop("max_gen_toks")
        if not options.pop("do_sample", False):
            options.pop("temperature", None)
        unknown = set(options) - _SAMPLING
        if unknown:
            raise ValueError(f"generation_kwargs: {sorted(unknown)} are not supported; known: {sorted(_SAMPLING)}")
        return {"max_new_tokens": max_new_tokens, "until": [text for text in until if text], **options}

    def _generate(self, prompts: List[str], options: Dict) -> List[str]:
        room = self.max_length - options["max_new_tokens"]
        if room < 1:
            raise ValueError(f"max_gen_toks {options['max_new_tokens']} leaves no room in {self.max_length} tokens")
        caches = [self._compress(self.tok_encode(prompt)[-room:]) for prompt in prompts]
        texts = []
        for answer in self.engine.generate(caches, **options):
            if self.eot_token_id in answer.ids:  # the tokenizer's, where the model's configuration has another one
                ids = answer.ids[: answer.ids.index(self.eot_token_id)]
                texts.append(self.engine.tokenizer.decode(ids))
            else:
                texts.append(answer.text)
        return texts


def main() -> None:
    """`python -m kvengine.lm_eval`: the harness's own command line, with this model class known."""
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()


if __name__ == "__main__":
    # Under its own name: the registry refuses a second class of that name.
    from kvengine.lm_eval import main as run

    run()
else:
    register_model("kvengine")(KvengineLM)
