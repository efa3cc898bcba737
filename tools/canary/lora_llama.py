"""A Llama with frozen weights and a LoRA adapter in float32, for packs of token trees.

Written for training on a CPU: matrices that read the same rows are one matrix product, logits are computed only where
the caller asks, and products are in bfloat16 where the CPU is fast at it (AVX-512), else in float32, as the residual
stream always is. Rotary positions in rotate-half order, tied embeddings,
RMSNorm, SwiGLU, grouped-query attention. LoRA: arXiv 2106.09685.
"""

import functools
import json
import math
import os

import safetensors.torch
import torch
import torch.nn.functional as F
from packing import BranchGroup, Pack, TreeSpan

# Module of a layer -> the projections inside that read the same rows.
GROUPS = {
    "self_attn.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_attn.o": ("self_attn.o_proj",),
    "mlp.gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "mlp.down": ("mlp.down_proj",),
}
TARGETS = tuple(name.split(".")[1] for group in GROUPS.values() for name in group)


def fast_dtype() -> torch.dtype:
    """bfloat16 where this CPU multiplies it fast (AVX-512), else float32."""
    return torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32


# Steps by which SmolLM2-135M finds a call, and the heads (of each layer) that take them: after two trainings these looked
# where they should, with up to 0.95 of their weight, where a call was right.
STEPS = {
    "tool": {14: [3], 15: [6], 17: [3, 4], 18: [6, 7]},  # at the request's noun: at the tool's description
    "asked": {19: [1], 20: [1]},  # before the name: at the request's noun
    "name": {20: [3], 22: [4, 7], 23: [0, 1, 2, 7, 8]},  # before a token of the name: at that token
    "key": {20: [6], 22: [7], 23: [0, 1, 2, 7, 8]},  # before a key's first token: at that token
    "valued": {13: [8], 16: [3, 4]},  # in the request, at a field behind its value: at the value
    "labelled": {20: [1], 21: [7]},  # in the request, at a value behind its field: at the field
    "described": {18: [6, 7]},  # before a value: at its key's description
    "field": {21: [7, 8]},  # before a value: at that description's word in the request
    "value": {22: [2, 4, 7], 23: [0, 1, 2, 7, 8], 24: [4]},  # before a value's first token: at that token
    "copy": {20: [3, 6], 23: [1, 2, 7, 8]},  # before any other token of key or value: at that token
}
VOTES = ("name", "key", "value")  # steps whose heads are outvoted where one alone looks right


def n_heads(step: str) -> int:
    """Heads that take a step, of all layers."""
    return sum(map(len, STEPS[step].values()))


class Watch:
    """Whether of each step's heads one at least looks where it should; of a vote's, how many of them.

    Where all of them look elsewhere, the cross entropy of the next token hardly reaches the place that they should look
    at, since its weight is small; the logarithm of that weight does. Where one looks there, nothing is asked of the others.
    """

    def __init__(self) -> None:
        # By step and group's begin: the product, of a vote the mean, over heads of their weight elsewhere.
        self.elsewhere: dict[tuple[str, int], torch.Tensor] = {}

    def add(self, layer: int, weights: torch.Tensor, group: BranchGroup) -> None:
        """weights (heads, R, C + R) of one layer's attention."""
        for step, (tokens, sources) in group.looks.items():
            heads = STEPS[step].get(layer)
            if heads is None:
                continue
            rows = weights[torch.tensor(heads)[:, None], tokens]  # (H, L, C + R)
            elsewhere = 1 - (rows * sources).sum(-1)
            key = step, group.begin
            if step in VOTES:
                self.elsewhere[key] = self.elsewhere.get(key, 0.0) + elsewhere.sum(0) / n_heads(step)
            else:
                self.elsewhere[key] = self.elsewhere.get(key, 1.0) * elsewhere.prod(0)

    def losses(self) -> dict[str, torch.Tensor]:
        """By step the mean over its looks of -log of the share that is not elsewhere, nats."""
        found: dict[str, list[torch.Tensor]] = {}
        for (step, _), elsewhere in self.elsewhere.items():
            found.setdefault(step, []).append(-(1 - elsewhere).clamp_min(1e-4).log())
        return {step: torch.cat(parts).mean() for step, parts in found.items()}


def attend_tree(query, key, value, tree: TreeSpan, show) -> list[torch.Tensor]:
    """Attention of one tree's tokens, context and branches apart; all tensors (heads, T, head_dim), result likewise.

    The branches go through plain matrix products: on a CPU these are faster than fused attention with a mask.
    show(weights, group) is called with the weights of each group of branches.
    """
    middle = tree.begin + tree.n_context
    context = [part[None, :, tree.begin : middle] for part in (query, key, value)]
    result = [F.scaled_dot_product_attention(*context, is_causal=True, enable_gqa=True)[0]]
    (n_heads, _, head_dim), n_kv_heads = query.shape, key.shape[0]
    for group in tree.groups:
        (n_rows, n_seen), end = group.hidden.shape, group.begin + len(group.hidden)
        rows = query[:, group.begin : end].reshape(n_kv_heads, -1, head_dim)  # a group's heads, one after the other
        keys, values = (
            torch.cat((part[:, tree.begin : middle], part[:, group.begin : end]), dim=1) for part in (key, value)
        )
        scores = torch.bmm(rows, keys.transpose(1, 2)) * head_dim**-0.5
        scores = scores.view(n_heads, n_rows, n_seen).masked_fill(group.hidden, -math.inf)
        weights = torch.softmax(scores, dim=-1)
        show(weights, group)
        mixed = torch.bmm(weights.view(n_kv_heads, -1, n_seen), values)
        result.append(mixed.view(n_heads, n_rows, head_dim))
    return result


class LoraLlama:
    """The model; `lora` holds the adapter by PEFT's names without prefix: "layers.0.mlp.up_proj.lora_A"."""

    def __init__(self, folder: str, rank: int, alpha: float, seed: int):
        """Reads a folder in Hugging Face layout; the adapter starts as the identity."""
        self.dtype = fast_dtype()  # of products
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
            self.config = json.load(file)
        raw = safetensors.torch.load_file(os.path.join(folder, "model.safetensors"))
        weights = {name.removeprefix("model."): tensor for name, tensor in raw.items()}
        self.rank, self.alpha = rank, alpha
        self.n_layers = self.config["num_hidden_layers"]
        self.n_heads, self.n_kv_heads = self.config["num_attention_heads"], self.config["num_key_value_heads"]
        self.head_dim = self.config.get("head_dim") or self.config["hidden_size"] // self.n_heads
        self.eps = self.config["rms_norm_eps"]
        self.embedding = weights["embed_tokens.weight"].float()
        self.head = self.embedding.to(self.dtype)
        self.norms = {name: tensor.float() for name, tensor in weights.items() if name.endswith("norm.weight")}
        self.matrices: dict[str, torch.Tensor] = {}
        self.merged: dict[str, torch.Tensor] = {}  # matrix and adapter of the layers that are frozen
        self.lora: dict[str, torch.Tensor] = {}
        generator = torch.Generator().manual_seed(seed)
        for layer in range(self.n_layers):
            for group, names in GROUPS.items():
                parts = [weights[f"layers.{layer}.{name}.weight"] for name in names]
                self.matrices[f"layers.{layer}.{group}"] = torch.cat(parts).to(self.dtype)
                for name, part in zip(names, parts):
                    self._add_adapter(f"layers.{layer}.{name}", *part.shape, generator)

    def load_adapter(self, folder: str) -> None:
        """Continues from an adapter that `save_adapter` wrote, of the same rank."""
        saved = safetensors.torch.load_file(os.path.join(folder, "adapter_model.safetensors"))
        for name, tensor in self.lora.items():
            tensor.data.copy_(saved[f"base_model.model.model.{name}.weight"])

    def freeze_below(self, layer: int) -> None:
        """The adapter of the layers before this one stays as it is: no gradients, so no pass back through them."""
        for name, matrix in self.matrices.items():
            index, group = int(name.split(".")[1]), name.split(".", 2)[2]
            if index >= layer:
                continue
            change = [self._change(f"layers.{index}.{part}") for part in GROUPS[group]]
            self.merged[name] = (matrix.float() + torch.cat(change)).to(self.dtype)

    def _change(self, name: str) -> torch.Tensor:
        """What the adapter, frozen from now on, adds to a matrix."""
        down, up = (self.lora[f"{name}.lora_{part}"].requires_grad_(False) for part in "AB")
        return self.alpha / self.rank * up @ down

    def _add_adapter(self, name: str, n_out: int, n_in: int, generator: torch.Generator) -> None:
        bound = 1 / math.sqrt(n_in)
        start = torch.empty(self.rank, n_in).uniform_(-bound, bound, generator=generator)
        self.lora[f"{name}.lora_A"] = start.requires_grad_()
        self.lora[f"{name}.lora_B"] = torch.zeros(n_out, self.rank).requires_grad_()

    def _project(self, layer: int, group: str, rows: torch.Tensor, adapted: bool) -> torch.Tensor:
        """rows (T, n_in) -> (T, outputs of the whole group), both in `dtype`."""
        name = f"layers.{layer}.{group}"
        if adapted and name in self.merged:
            return F.linear(rows, self.merged[name])
        result = F.linear(rows, self.matrices[name])
        if not adapted:
            return result
        names = [f"layers.{layer}.{name}" for name in GROUPS[group]]
        down = torch.cat([self.lora[f"{name}.lora_A"] for name in names]) * (self.alpha / self.rank)
        inner = F.linear(rows, down.to(self.dtype)).split(self.rank, dim=1)
        ups = [self.lora[f"{name}.lora_B"].to(self.dtype) for name in names]
        return result + torch.cat([F.linear(part, up) for part, up in zip(inner, ups)], dim=1)

    def _rotate(self, rows: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        """Rotary positions: rows (T, heads, head_dim) in any type -> float32; cos, sin (T, 1, head_dim / 2)."""
        low, high = rows.float().chunk(2, dim=-1)
        return torch.cat((low * cos - high * sin, high * cos + low * sin), dim=-1)

    def _attend(self, layer: int, rows: torch.Tensor, rotary, trees, adapted: bool, watch: Watch | None) -> torch.Tensor:
        qkv = self._project(layer, "self_attn.qkv", rows, adapted).view(len(rows), -1, self.head_dim)
        query, key, value = qkv.split((self.n_heads, self.n_kv_heads, self.n_kv_heads), dim=1)
        query, key = (self._rotate(part, *rotary).to(self.dtype) for part in (query, key))
        query, key, value = (part.transpose(0, 1) for part in (query, key, value))  # (heads, T, head_dim)
        show = functools.partial(watch.add, layer) if watch else lambda weights, group: None
        mixed = [part for tree in trees for part in attend_tree(query, key, value, tree, show)]
        return self._project(layer, "self_attn.o", torch.cat(mixed, dim=1).transpose(0, 1).flatten(1), adapted)

    def _feed_forward(self, layer: int, rows: torch.Tensor, adapted: bool) -> torch.Tensor:
        gate, up = self._project(layer, "mlp.gate_up", rows, adapted).chunk(2, dim=1)
        return self._project(layer, "mlp.down", F.silu(gate) * up, adapted)

    def _norm(self, name: str, rows: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(rows, rows.shape[-1:], self.norms[f"{name}.weight"], self.eps).to(self.dtype)

    def hidden(self, pack: Pack, adapted: bool = True, watch: Watch | None = None) -> torch.Tensor:
        """The final normalised rows (T, hidden) in `dtype`; adapted: False leaves the adapter out. `watch` is shown the
        attention of the branches."""
        theta = self.config["rope_parameters"]["rope_theta"]
        frequencies = theta ** (-torch.arange(0, self.head_dim, 2) / self.head_dim)
        angles = pack.positions[:, None, None] * frequencies
        rotary = (angles.cos(), angles.sin())
        stream = self.embedding[pack.ids]
        for layer in range(self.n_layers):
            rows = self._norm(f"layers.{layer}.input_layernorm", stream)
            stream = stream + self._attend(layer, rows, rotary, pack.trees, adapted, watch)
            rows = self._norm(f"layers.{layer}.post_attention_layernorm", stream)
            stream = stream + self._feed_forward(layer, rows, adapted)
        return self._norm("norm", stream)

    def logits(self, rows: torch.Tensor) -> torch.Tensor:
        """(n, hidden) in `dtype` -> (n, vocabulary) float32."""
        return F.linear(rows, self.head).float()


def save_adapter(model: LoraLlama, folder: str, base_model: str) -> None:
    """Writes adapter_config.json and adapter_model.safetensors (bfloat16) in PEFT's layout."""
    os.makedirs(folder, exist_ok=True)
    config = {
        "base_model_name_or_path": base_model,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "lora_alpha": model.alpha,
        "lora_dropout": 0.0,
        "peft_type": "LORA",
        "r": model.rank,
        "target_modules": sorted(TARGETS),
        "task_type": "CAUSAL_LM",
    }
    with open(os.path.join(folder, "adapter_config.json"), "w", encoding="utf-8") as file:
        file.write(json.dumps(config, indent=2) + "\n")
    tensors = {
        f"base_model.model.model.{name}.weight": tensor.detach().bfloat16().contiguous()
        for name, tensor in model.lora.items()
    }
    path = os.path.join(folder, "adapter_model.safetensors")
    safetensors.torch.save_file(tensors, path + ".new", metadata={"format": "pt"})
    os.replace(path + ".new", path)
