#!/usr/bin/env python3
"""Writes a training state as a model folder in Hugging Face layout (Qwen2ForCausalLM, BF16).

Usage: export_canary.py --state FOLDER --out models/canary
"""

import argparse
import json
import pathlib
import shutil

import torch
from safetensors.torch import load_file, save_file

from model import Canary, CanaryConfig
from tokenizer import BOS, EOS

NAMES = {
    "input_norm": "input_layernorm.weight", "post_norm": "post_attention_layernorm.weight",
    "gate.weight": "mlp.gate_proj.weight", "up.weight": "mlp.up_proj.weight", "down.weight": "mlp.down_proj.weight",
}  # fmt: skip


def hf_name(name: str) -> str:
    """Our name of a tensor -> transformers'."""
    if name == "embed":
        return "model.embed_tokens.weight"
    if name == "final_norm":
        return "model.norm.weight"
    _, layer, rest = name.split(".", 2)
    rest = rest.replace("attention.", "self_attn.") if rest.startswith("attention.") else NAMES[rest]
    return f"model.layers.{layer}.{rest}"


def load_weights(folder: pathlib.Path) -> dict[str, torch.Tensor]:
    """The tensors of a model folder, by our names, float32."""
    shapes = Canary(CanaryConfig()).state_dict()  # for the names alone
    tensors = load_file(folder / "model.safetensors")
    return {name: tensors[hf_name(name)].float() for name in shapes}


def copy_tokenizer(source: pathlib.Path, target: pathlib.Path) -> None:
    """tokenizer.json and tokenizer_config.json."""
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(source / name, target / name)


def hf_config(config: CanaryConfig, bos: int, eos: int) -> dict:
    """config.json of the same model."""
    return {
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "vocab_size": config.vocab,
        "hidden_size": config.dim, "intermediate_size": config.hidden, "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads, "num_key_value_heads": config.n_kv_heads, "head_dim": config.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": config.max_position, "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
        "tie_word_embeddings": True, "use_sliding_window": False, "attention_dropout": 0.0, "initializer_range": 0.02,
        "bos_token_id": bos, "eos_token_id": eos, "torch_dtype": "bfloat16",
    }  # fmt: skip


def export(state_folder: pathlib.Path, out: pathlib.Path) -> None:
    """Writes the five files of a model folder."""
    state = torch.load(state_folder / "state.pt", weights_only=True)
    out.mkdir(parents=True, exist_ok=True)
    tensors = {hf_name(name): value.to(torch.bfloat16).contiguous() for name, value in state["model"].items()}
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    copy_tokenizer(state_folder, out)
    tokens = json.loads((out / "tokenizer.json").read_text())["added_tokens"]
    bos, eos = (token["id"] for name in (BOS, EOS) for token in tokens if token["content"] == name)
    generation = {"bos_token_id": bos, "eos_token_id": eos, "do_sample": False}
    for name, content in (
        ("config.json", hf_config(CanaryConfig(**state["config"]), bos, eos)),
        ("generation_config.json", generation),
    ):
        (out / name).write_text(json.dumps(content, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    export(arguments.state, arguments.out)


if __name__ == "__main__":
    main()
