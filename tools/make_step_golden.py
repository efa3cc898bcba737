#!/usr/bin/env python3
"""Writes tests/data/step_methods: what the methods that act at every step compute with two tiny models.

    python tools/make_step_golden.py [--data tests/data]

Needs numpy and safetensors alone: the model and the methods are written out here once more, in float64 and as plainly as
they can be said, row by row from their definitions (compress/streaming_rolling.cc, h2o.cc, infllm.cc). Building and
testing kvengine does not need this script, since its output is committed.

golden.json   list of {model, spec, prompt_ids, suffix_ids, held, rows, logits}: held[layer][kv_head] are the tokens whose rows
              are there after the prompt, logits names the tensor (rows, vocab): of the last prompt token, then of the
              suffix tokens that `rows` counts from 1
"""
import argparse
import json
import pathlib

import numpy as np
from safetensors.numpy import save_file

MODELS = ["tiny-llama", "tiny-qwen3"]
N_PROMPT, N_SUFFIX, SEED = 90, 14, 41
ROWS = [0, 1, 7, 14]  # what is stored: 0 is the last prompt token


class Model:
    def __init__(self, folder):
        self.config = json.loads((folder / "config.json").read_text())
        self.weights = {name: t.astype(np.float64) for name, t in read_weights(folder / "model.safetensors").items()}
        self.layers, self.heads = self.config["num_hidden_layers"], self.config["num_attention_heads"]
        self.kv_heads, self.dim = self.config["num_key_value_heads"], self.config["head_dim"]
        self.theta = self.config["rope_parameters"]["rope_theta"]

    def norm(self, x, name):
        mean = np.mean(x * x, -1, keepdims=True)
        return x / np.sqrt(mean + self.config["rms_norm_eps"]) * self.weights[name]

    def project(self, x, layer, which, heads):
        """(heads, tokens, dim) before RoPE."""
        at = f"model.layers.{layer}.self_attn."
        y = (x @ self.weights[f"{at}{which}_proj.weight"].T).reshape(len(x), heads, self.dim)
        if f"{at}{which}_norm.weight" in self.weights:
            y = self.norm(y, f"{at}{which}_norm.weight")
        return y.transpose(1, 0, 2)

    def turn(self, row, position):
        half = self.dim // 2
        angle = position * self.theta ** (-np.arange(half) * 2 / self.dim)
        low, high = row[:half], row[half:]
        return np.concatenate([low * np.cos(angle) - high * np.sin(angle), high * np.cos(angle) + low * np.sin(angle)])

    def forward(self, ids, method):
        """Logits (tokens, vocab) of one pass."""
        w = self.weights
        x = w["model.embed_tokens.weight"][ids]
        for layer in range(self.layers):
            at = f"model.layers.{layer}."
            h = self.norm(x, f"{at}input_layernorm.weight")
            q, k, v = (self.project(h, layer, *p) for p in (("q", self.heads), ("k", self.kv_heads), ("v", self.kv_heads)))
            out = method.attend(layer, q, k, v)  # (heads, tokens, dim)
            x = x + out.transpose(1, 0, 2).reshape(len(ids), -1) @ w[f"{at}self_attn.o_proj.weight"].T
            h = self.norm(x, f"{at}post_attention_layernorm.weight")
            gate = h @ w[f"{at}mlp.gate_proj.weight"].T
            x = x + (gate / (1 + np.exp(-gate)) * (h @ w[f"{at}mlp.up_proj.weight"].T)) @ w[f"{at}mlp.down_proj.weight"].T
        head = w.get("lm_head.weight", w["model.embed_tokens.weight"])
        return self.norm(x, "model.norm.weight") @ head.T


def read_weights(path):
    """numpy has no bfloat16: its bits are the upper half of a float32."""
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    tensors = {}
    for name, entry in json.loads(raw[8 : 8 + size]).items():
        if name == "__metadata__":
            continue
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        if entry["dtype"] == "BF16":
            bits = np.frombuffer(raw[begin:end], np.uint16).astype(np.uint32) << 16
            tensors[name] = bits.view(np.float32).reshape(entry["shape"])
        else:
            tensors[name] = np.frombuffer(raw[begin:end], np.float32).reshape(entry["shape"])
    return tensors


def softmax(scores):
    e = np.exp(scores - scores.max())
    return e / e.sum()


class Rows:
    """Every key (before RoPE) and value of every layer so far; methods only choose among them."""

    def __init__(self, model):
        self.model = model
        self.group = model.heads // model.kv_heads
        self.keys = [[[] for _ in range(model.kv_heads)] for _ in range(model.layers)]
        self.values = [[[] for _ in range(model.kv_heads)] for _ in range(model.layers)]

    def append(self, layer, k, v):
        """Returns the index of the first of these tokens."""
        first = len(self.keys[layer][0])
        for h in range(self.model.kv_heads):
            self.keys[layer][h] += list(k[h])
            self.values[layer][h] += list(v[h])
        return first

    def look(self, layer, head, pairs):
        """pairs: (query, key) as they are compared, and the key's token. Output and weights."""
        scale = 1 / np.sqrt(self.model.dim)
        weights = softmax(np.array([np.dot(q, k) * scale for q, k, _ in pairs]))
        values = self.values[layer][head // self.group]
        return sum(w * values[j] for w, (_, _, j) in zip(weights, pairs)), weights


class Rolling(Rows):
    def __init__(self, model, sinks, window):
        super().__init__(model)
        self.sinks, self.window = sinks, window

    def attend(self, layer, q, k, v):
        first, turn = self.append(layer, k, v), self.model.turn
        out = np.zeros_like(q)
        for head in range(self.model.heads):
            keys = self.keys[layer][head // self.group]
            for i in range(q.shape[1]):
                t = first + i
                lowest = max(0, t - self.window + 1)
                pairs = [(turn(q[head, i], t), turn(keys[j], j), j) for j in range(lowest, t + 1)]
                far = turn(q[head, i], self.sinks + self.window - 1)
                pairs += [(far, turn(keys[j], j), j) for j in range(min(self.sinks, lowest))]
                out[head, i], _ = self.look(layer, head, pairs)
        return out

    def held(self, layer, head):
        n = len(self.keys[layer][head])
        return [j for j in range(n) if j < self.sinks or j >= n - self.window]


class HeavyHitters(Rows):
    def __init__(self, model, heavy, recent, prefill_scores):
        super().__init__(model)
        self.shares, self.prefill_scores, self.sizes = (heavy, recent), prefill_scores, None
        self.alive = [[{} for _ in range(model.heads)] for _ in range(model.layers)]  # token -> score

    def attend(self, layer, q, k, v):
        first, turn, count = self.append(layer, k, v), self.model.turn, q.shape[1]
        scored = first > 0 or self.prefill_scores
        out = np.zeros_like(q)
        n = first + count
        if scored and self.sizes is None:
            self.sizes = [int(share * n) for share in self.shares]
        for head in range(self.model.heads):
            keys, alive = self.keys[layer][head // self.group], self.alive[layer][head]
            for i in range(count):
                alive[first + i] = 0.0
                pairs = [(turn(q[head, i], first + i), turn(keys[j], j), j) for j in alive]
                out[head, i], weights = self.look(layer, head, pairs)
                if scored:
                    for j, w in zip(list(alive), weights):
                        alive[j] += w
            if scored:
                self.evict(alive, n)
        return out

    def evict(self, alive, n):
        heavy, recent = self.sizes
        if n <= heavy + recent:
            return
        others = sorted((j for j in alive if j < n - recent), key=lambda j: (-alive[j], j))
        for j in others[heavy:]:
            del alive[j]

    def held(self, layer, head):
        heads = range(head * self.group, (head + 1) * self.group)
        return sorted(set().union(*(self.alive[layer][h] for h in heads)))


class Blocks(Rows):
    def __init__(self, model, sinks, window, block, topk, representing, step):
        super().__init__(model)
        self.sinks, self.window, self.block, self.topk = sinks, window, block, topk
        self.representing, self.step = representing, step
        self.parts = [dict(sinks=[], blocks=[], vectors=[], rest=[]) for _ in range(model.layers)]
        self.received = [[{} for _ in range(model.heads)] for _ in range(model.layers)]  # of rest: token -> weight

    def attend(self, layer, q, k, v):
        out = np.zeros_like(q)
        for a in range(0, q.shape[1], self.step):
            cut = slice(a, a + self.step)
            out[:, cut] = self.attend_step(layer, q[:, cut], k[:, cut], v[:, cut])
        return out

    def attend_step(self, layer, q, k, v):
        first, turn, count = self.append(layer, k, v), self.model.turn, q.shape[1]
        part, received = self.parts[layer], self.received[layer]
        part["rest"] += range(first, first + count)
        for of_head in received:
            of_head.update((j, 0.0) for j in range(first, first + count))
        q_far = np.array([[turn(row, self.window - 1) for row in rows] for rows in q])
        chosen = self.choose(part, q_far.mean(1).reshape(-1))
        far = [j for b in chosen for j in part["blocks"][b]] + part["sinks"]
        far += part["rest"][: max(0, len(part["rest"]) - self.window)]
        out = np.zeros_like(q)
        for head in range(self.model.heads):
            keys = self.keys[layer][head // self.group]
            for i in range(count):
                t = first + i
                local = range(max(0, t - self.window + 1), t + 1)
                pairs = [(turn(q[head, i], t), turn(keys[j], j), j) for j in local]
                pairs += [(q_far[head, i], keys[j], j) for j in far]
                out[head, i], weights = self.look(layer, head, pairs)
                for j, w in zip(local, weights):
                    received[head][j] += w
        self.sort(layer)
        return out

    def choose(self, part, query):
        numbers = range(len(part["blocks"]))
        if len(numbers) <= self.topk:
            return numbers
        return sorted(sorted(numbers, key=lambda b: -np.dot(part["vectors"][b], query))[: self.topk])

    def sort(self, layer):
        part, rest = self.parts[layer], self.parts[layer]["rest"]
        while len(rest) > self.window and len(part["sinks"]) < self.sinks:
            part["sinks"].append(rest.pop(0))
        while len(rest) >= self.window + self.block:
            rows = [rest.pop(0) for _ in range(self.block)]
            vector = []
            for head in range(self.model.heads):
                received, keys = self.received[layer][head], self.keys[layer][head // self.group]
                best = sorted(rows, key=lambda j: -received[j])[: self.representing]
                vector.append(np.mean([keys[j] for j in best], 0))
            part["blocks"].append(rows)
            part["vectors"].append(np.concatenate(vector))

    def held(self, layer, head):
        return list(range(len(self.keys[layer][head])))


METHODS = {
    "streaming_rolling(sinks=4,window=20)": lambda m: Rolling(m, 4, 20),
    "streaming_rolling(sinks=0,window=33)": lambda m: Rolling(m, 0, 33),
    "streaming_rolling(sinks=40,window=7)": lambda m: Rolling(m, 40, 7),
    "streaming_rolling(ratio=0.75,sinks=3)": lambda m: Rolling(m, 3, 19),
    "h2o(heavy=0.2,recent=0.1)": lambda m: HeavyHitters(m, 0.2, 0.1, True),
    "h2o(heavy=0.1,recent=0.3,prefill_scores=false)": lambda m: HeavyHitters(m, 0.1, 0.3, False),
    "h2o(ratio=0.8)": lambda m: HeavyHitters(m, (1 - 0.8) / 2, (1 - 0.8) / 2, True),
    "infllm(sinks=3,window=16,block=5,topk=2,repr=2,step=11)": lambda m: Blocks(m, 3, 16, 5, 2, 2, 11),
    "infllm(sinks=0,window=40,block=8,topk=3,repr=1,step=32)": lambda m: Blocks(m, 0, 40, 8, 3, 1, 32),
    "infllm(sinks=2,window=10,block=4,topk=0,repr=4,step=1)": lambda m: Blocks(m, 2, 10, 4, 0, 4, 1),
}


def main():
    parser = argparse.ArgumentParser(description="write what the methods that act at every step compute")
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent / "tests" / "data")
    data = parser.parse_args().data
    out, cases, tensors = data / "step_methods", [], {}
    for name in MODELS:
        model = Model(data / name)
        ids = np.random.default_rng(SEED).integers(3, model.config["vocab_size"], N_PROMPT + N_SUFFIX).tolist()
        prompt, suffix = ids[:N_PROMPT], ids[N_PROMPT:]
        for spec, make in METHODS.items():
            method = make(model)
            rows = [model.forward(prompt, method)[-1]]
            held = [[method.held(layer, h) for h in range(model.kv_heads)] for layer in range(model.layers)]
            rows += [model.forward([token], method)[0] for token in suffix]
            tensor = f"logits.{len(cases)}"
            tensors[tensor] = np.array([rows[i] for i in ROWS], np.float32)
            cases.append(dict(model=name, spec=spec, prompt_ids=prompt, suffix_ids=suffix, held=held, rows=ROWS, logits=tensor))
    out.mkdir(parents=True, exist_ok=True)
    save_file(tensors, str(out / "golden.safetensors"))
    (out / "golden.safetensors").chmod(0o644)
    (out / "golden.json").write_text(json.dumps(cases, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
