#!/usr/bin/env python3
"""Writes tests/fuzz/seeds: small valid inputs that the fuzz targets start from. The same bytes every time.

Usage: make_fuzz_seeds.py [--kvengine build/kvengine]. Saved caches need the program; without it they stay.
"""

import argparse
import json
import struct
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "tests" / "data"
SEEDS = ROOT / "tests" / "fuzz" / "seeds"

SPECS = [
    "none",
    "snapkv(ratio=[0.5,0.75],window=32,kernel_size=5)+int4(group=64)",
    "adakv(inner=snapkv(window=32),ratio=0.5)",
    "per_layer(inner=knorm,ratios=[0.5,0.25,0])",
    "knorm(decode=(every=6,keep=48))",
    "streamingllm(ratio=0.5,sinks=4,positions=contiguous,protect=[[3,9]])+kivi2",
    "SnapKVPress(compression_ratio=0.5)",
]

CONFIGS = [
    "models: [tiny-qwen2]\ntasks: [{name: perplexity, samples: 2}]\n"
    "compressors: [none, {name: snapkv, ratio: [0.5, 0.75]}, 'int4(group=32)']\nrun: {out: ../r, memory: 8GiB}\n",
    "models:\n  - tiny-llama3\ncompressors:\n  - {method: streamingllm, budget: 0.25}\n"
    "  - {name: adakv, ratio: 0.5, inner: {name: snapkv, window: 32}, then: int4}\n"
    "tasks: [passkey, tool_call]\nlimits: {passkey: 2}\nrun: {threads: 2, kv_dtype: f32, seed: 7}\n",
]


def write(target, name, content):
    folder = SEEDS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def safetensors():
    entries = {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b.weight": {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]},
        "c": {"dtype": "I64", "shape": [], "data_offsets": [32, 40]},
        "d": {"dtype": "U8", "shape": [0, 5], "data_offsets": [40, 40]},
    }
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + b"\x3f" * 40


def gguf():
    """A llama model of one layer with every part that such files have."""
    text = lambda s: struct.pack("<Q", len(s.encode())) + s.encode()  # noqa: E731
    array = lambda kind, items: struct.pack("<IQ", kind, len(items)) + b"".join(items)  # noqa: E731
    keys = [("general.architecture", 8, text("llama"))]
    for key, value in {
        "block_count": 1, "context_length": 64, "embedding_length": 4, "feed_forward_length": 8,
        "attention.head_count": 2, "attention.head_count_kv": 1, "rope.dimension_count": 2,
    }.items():
        keys.append((f"llama.{key}", 4, struct.pack("<I", value)))
    tokens = ["a", "b", "ab", "<|im_end|>", "\u0120"]
    keys += [
        ("llama.rope.freq_base", 6, struct.pack("<f", 10000)),
        ("llama.attention.layer_norm_rms_epsilon", 6, struct.pack("<f", 1e-5)),
        ("tokenizer.ggml.model", 8, text("gpt2")),
        ("tokenizer.ggml.pre", 8, text("smollm")),
        ("tokenizer.ggml.tokens", 9, array(8, [text(t) for t in tokens])),
        ("tokenizer.ggml.merges", 9, array(8, [text("a b")])),
        ("tokenizer.ggml.token_type", 9, array(5, [struct.pack("<i", t) for t in (1, 1, 1, 3, 1)])),
        ("tokenizer.ggml.bos_token_id", 4, struct.pack("<I", 3)),
        ("tokenizer.ggml.eos_token_id", 4, struct.pack("<I", 3)),
        ("tokenizer.ggml.add_bos_token", 7, b"\x01"),
        ("tokenizer.chat_template", 8, text("{% for m in messages %}{{ m.content }}{% endfor %}")),
    ]
    tensors = [  # name, shape from the innermost, type, bytes
        ("token_embd.weight", (4, 5), 0, struct.pack("<20f", *[0.5] * 20)),
        ("output_norm.weight", (4,), 0, struct.pack("<4f", *[1.0] * 4)),
        ("blk.0.attn_q.weight", (32, 4), 8, b"\x01" * 4 * 34),
        ("blk.0.attn_k.weight", (256, 1), 12, b"\x02" * 144),
    ]
    infos, data = b"", b""
    for name, shape, kind, content in tensors:
        data += b"\0" * (-len(data) % 32)
        infos += text(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape)
        infos += struct.pack("<IQ", kind, len(data))
        data += content
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys))
    head += b"".join(text(key) + struct.pack("<I", kind) + value for key, kind, value in keys) + infos
    return head + b"\0" * (-len(head) % 32) + data


def small_tokenizer(name):
    """A tokenizer of the tests with a short vocabulary: changes then hit the other parts."""
    tokenizer = json.loads((DATA / "tokenizer" / f"{name}.tokenizer.json").read_text(encoding="utf-8"))
    if tokenizer["model"]["type"] == "BPE":
        tokenizer["model"]["merges"] = ["a b"]
        tokenizer["model"]["vocab"] = {"a": 0, "b": 1, "ab": 2, "\u0120": 3, "!": 4}
        for id, token in enumerate(tokenizer["added_tokens"], 5):
            token["id"] = id
    return json.dumps(tokenizer, separators=(",", ":"))


def saved_caches(kvengine):
    for name, spec in {"f16": "none", "evicted": "knorm(ratio=0.5)", "int4": "int4(group=8)"}.items():
        file = SEEDS / "saved_cache" / f"{name}.safetensors"
        file.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [kvengine, "generate", "--model", DATA / "tiny-qwen2", "--prompt", "a b c d", "--compressor", spec,
             "--max-new-tokens", "1", "--save-cache", file, "--quiet"],
            check=True, stdout=subprocess.DEVNULL)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kvengine")
    kvengine = parser.parse_args().kvengine
    write("safetensors", "four_tensors", safetensors())
    for target in ("gguf", "gguf_model"):
        write(target, "llama", gguf())
    for name in ("normalizers", "llama3", "gpt2", "qwen2"):
        write("tokenizer", name, small_tokenizer(name))
    cases = json.loads((DATA / "chat_template" / "cases.json").read_text(encoding="utf-8"))["cases"]
    templates = sorted({case["template"] for case in cases}, key=lambda t: (-len(t), t))
    for i, template in enumerate(templates[:32]):  # the longest use most
        write("chat_template", f"{i:02}", template)
    for model in ("tiny-llama", "tiny-llama3", "tiny-qwen2", "tiny-qwen3"):
        write("model_config", model, (DATA / model / "config.json").read_bytes())
    for i, spec in enumerate(SPECS):
        write("compressor_spec", str(i), spec)
    for i, config in enumerate(CONFIGS):
        write("run_config", str(i), config)
    if kvengine:
        saved_caches(kvengine)


if __name__ == "__main__":
    main()
