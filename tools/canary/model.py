"""The canary: a small Qwen2-type transformer with look-up circuits in its starting weights.

The layers are those of transformers' Qwen2ForCausalLM (RMSNorm, RoPE, grouped-query attention with biases on q, k
and v, SwiGLU, tied embeddings), so that an export only renames tensors. A batch is a tree: one context for each row and
several branches that see the context and themselves, which is what a run shows when it asks many questions about one
prompt.

The weights do not start at random: see circuits.py.
"""

import dataclasses
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclasses.dataclass(frozen=True)
class CanaryConfig:
    """Sizes of the model; head_dim times n_heads need not equal dim."""

    vocab: int = 1024
    dim: int = 288
    n_layers: int = 5
    n_heads: int = 4
    n_kv_heads: int = 2
    head_dim: int = 64
    hidden: int = 256
    rope_theta: float = 1e8  # half of the rotary pairs hardly turn within 2,000 tokens: they can match by content
    norm_eps: float = 1e-6
    max_position: int = 4096
    code_dim: int = 64  # width of a token's identity code: what one head can copy exactly


# Steps by which an answer is found in the context, and the layer and head that is to take each. Training teaches the
# heads where to look; what they do with it is left to the loss of the answers.
HOPS = {
    "noun": (2, 2),  # at the request's noun: at the same word of all tools with that noun
    "verb": (2, 3),  # at the " the " behind the request's verb: at those of all tools with that verb
    "asked": (3, 2),  # before a call's name: at both of these in the request, since the tool is what both have in common
    "name": (4, 2),  # before each token of a call's name and keys: at that token in the catalogue
    "description": (2, 0),  # before a value: at its key's description in the catalogue
    "phrase": (2, 1),  # in the request: from a value at its field or from a field at its value, whichever comes later
    "field": (3, 3),  # before a value: at the description's word in the request
    "value": (4, 1),  # before each token of a value: at that token in the request
    "step": (4, 3),  # before a statement or a token of its constant: at where the specification says it
}


@dataclasses.dataclass
class Looks:
    """R tokens of branches and where each should look: sources (R, C + L) is 1 there, in a context and a branch."""

    branches: Tensor  # (R,), of all B * N
    tokens: Tensor  # (R,), of the branch
    sources: Tensor


@dataclasses.dataclass
class TreeBatch:
    """Token ids of B contexts and of the branches that follow each.

    context (B, C) and context_len (B,): right-padded. branches (B, N, L) and branch_len (B, N): likewise; a branch's
    positions go on where its context ends. weight (B, N, L): the loss weight of predicting branches[..., i] from what
    is before it (entry 0 is predicted by the context's last token); context_weight (B, C): likewise for the context.
    """

    context: Tensor
    context_len: Tensor
    branches: Tensor
    branch_len: Tensor
    weight: Tensor
    context_weight: Tensor
    looks: dict[str, Looks] = dataclasses.field(default_factory=dict)  # by the names of HOPS


def rope_tables(config: CanaryConfig, positions: Tensor) -> tuple[Tensor, Tensor]:
    """cos and sin, each positions.shape + (head_dim,), of Hugging Face's half-split rotation."""
    pairs = torch.arange(config.head_dim // 2, dtype=torch.float32)
    angles = positions.float()[..., None] * config.rope_theta ** (-2 * pairs / config.head_dim)
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x (..., head_dim) turned by its position; cos and sin broadcast against it."""
    low, high = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-high, low), dim=-1) * sin


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """q (B, K, G*n, D), k and v (B, K, m, D), bias broadcastable to (B, K, G*n, m): 0 or a large negative number.

    The result, and the weights (B, K, G*n, m).
    """
    weights = torch.softmax(torch.matmul(q, k.transpose(-1, -2)) + bias, dim=-1)
    return torch.matmul(weights, v), weights


class Attention(nn.Module):
    """Grouped-query attention over a tree: contexts causally, branches over their context and themselves."""

    def __init__(self, config: CanaryConfig):
        super().__init__()
        self.config = config
        q_dim, kv_dim = config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
        self.q_proj = nn.Linear(config.dim, q_dim)
        self.k_proj = nn.Linear(config.dim, kv_dim)
        self.v_proj = nn.Linear(config.dim, kv_dim)
        self.o_proj = nn.Linear(q_dim, config.dim, bias=False)

    def project(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x (B, n, dim) -> q (B, n, H, D) scaled, k (B, n, K, D), v (B, n, K, D); q and k rotated."""
        c, (b, n, _) = self.config, x.shape
        q = F.linear(x, self.q_proj.weight.to(x), self.q_proj.bias.to(x)).view(b, n, c.n_heads, c.head_dim)
        k = F.linear(x, self.k_proj.weight.to(x), self.k_proj.bias.to(x)).view(b, n, c.n_kv_heads, c.head_dim)
        v = F.linear(x, self.v_proj.weight.to(x), self.v_proj.bias.to(x)).view(b, n, c.n_kv_heads, c.head_dim)
        cos, sin = cos[:, :, None], sin[:, :, None]
        return rotate(q, cos, sin) / math.sqrt(c.head_dim), rotate(k, cos, sin), v

    def grouped(self, q: Tensor) -> Tensor:
        """(B, n, H, D) -> (B, K, G*n, D): the queries of a group stand one after the other."""
        c, (b, n, _, d) = self.config, q.shape
        group = c.n_heads // c.n_kv_heads
        return q.view(b, n, c.n_kv_heads, group, d).permute(0, 2, 3, 1, 4).reshape(b, c.n_kv_heads, group * n, d)

    def ungrouped(self, out: Tensor, n: int) -> Tensor:
        """(B, K, G*n, D) -> (B, n, H*D)."""
        b, kv_heads, _, d = out.shape
        return out.view(b, kv_heads, -1, n, d).permute(0, 3, 1, 2, 4).reshape(b, n, -1)

    def forward(self, ctx: Tensor, br: Tensor, plan: "TreePlan", looks: dict[str, Looks]) -> tuple[Tensor, Tensor]:
        """ctx (B, C, dim), br (B*N, L, dim) -> the same shapes. looks: of this layer; what is missed goes into the plan."""
        group = self.config.n_heads // self.config.n_kv_heads
        q, k, v = self.project(ctx, plan.ctx_cos, plan.ctx_sin)
        k, v = k.transpose(1, 2), v.transpose(1, 2)
        out, _ = attend(self.grouped(q), k, v, plan.ctx_bias.repeat(1, 1, group, 1))
        ctx_out = self.ungrouped(out, ctx.shape[1])

        q, own_k, own_v = self.project(br, plan.br_cos, plan.br_sin)
        n_rows = br.shape[0] // ctx.shape[0]
        k = torch.cat((k.repeat_interleave(n_rows, 0), own_k.transpose(1, 2)), dim=2)
        v = torch.cat((v.repeat_interleave(n_rows, 0), own_v.transpose(1, 2)), dim=2)
        out, weights = attend(self.grouped(q), k, v, plan.br_bias.repeat(1, 1, group, 1))
        br_out = self.ungrouped(out, br.shape[1])
        for name, look in looks.items():
            head = HOPS[name][1]
            rows = weights[look.branches, head // group, head % group * br.shape[1] + look.tokens]  # (R, C + L)
            plan.missed[name] = -(rows * look.sources).sum(-1).clamp_min(1e-6).log().mean()
        weight = self.o_proj.weight.to(ctx)
        return F.linear(ctx_out, weight), F.linear(br_out, weight)


class TreePlan:
    """Rotations and masks of a batch, shared by all layers."""

    def __init__(self, config: CanaryConfig, batch: TreeBatch, dtype: torch.dtype):
        self.dtype = dtype
        n_ctx, n_br = batch.context.shape[1], batch.branches.shape[2]
        n_rows = batch.branches.shape[1]
        self.ctx_cos, self.ctx_sin = (
            t.to(dtype) for t in rope_tables(config, torch.arange(n_ctx)[None])
        )
        lens = batch.context_len.repeat_interleave(n_rows)  # (B*N,)
        positions = lens[:, None] + torch.arange(n_br)[None]
        self.br_cos, self.br_sin = (t.to(dtype) for t in rope_tables(config, positions))
        causal = torch.ones(n_ctx, n_ctx, dtype=torch.bool).tril()
        self.ctx_bias = as_bias(causal, dtype)[None, None]
        seen = torch.arange(n_ctx)[None] < lens[:, None]  # (B*N, C)
        own = torch.ones(n_br, n_br, dtype=torch.bool).tril()
        both = torch.cat((seen[:, None].expand(-1, n_br, -1), own.expand(len(lens), -1, -1)), dim=2)
        self.br_bias = as_bias(both, dtype)[:, None]
        self.missed: dict[str, Tensor] = {}  # mean -log of the weight where a head should look, by the names of HOPS


def as_bias(allowed: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where allowed, else a number that softmax turns into 0."""
    return torch.zeros(allowed.shape, dtype=dtype).masked_fill_(~allowed, -30000.0)


class Layer(nn.Module):
    """Attention and SwiGLU, each on the normed residual stream."""

    def __init__(self, config: CanaryConfig):
        super().__init__()
        self.eps = config.norm_eps
        self.input_norm = nn.Parameter(torch.ones(config.dim))
        self.post_norm = nn.Parameter(torch.ones(config.dim))
        self.attention = Attention(config)
        self.gate = nn.Linear(config.dim, config.hidden, bias=False)
        self.up = nn.Linear(config.dim, config.hidden, bias=False)
        self.down = nn.Linear(config.hidden, config.dim, bias=False)

    def mlp(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        h = rms_norm(x, self.post_norm, self.eps).to(dtype)
        h = F.silu(F.linear(h, self.gate.weight.to(dtype))) * F.linear(h, self.up.weight.to(dtype))
        return x + F.linear(h, self.down.weight.to(dtype))

    def forward(self, ctx: Tensor, br: Tensor, plan: TreePlan, looks: dict[str, Looks]) -> tuple[Tensor, Tensor]:
        dtype = plan.dtype
        a, b = self.attention(
            rms_norm(ctx, self.input_norm, self.eps).to(dtype),
            rms_norm(br, self.input_norm, self.eps).to(dtype),
            plan,
            looks,
        )
        return self.mlp(ctx + a, dtype), self.mlp(br + b, dtype)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return F.rms_norm(x, weight.shape, weight, eps)


@dataclasses.dataclass
class Predictions:
    """Of P tokens: logits (P, vocab), targets (P,), loss weights (P,). And by hop how far heads look elsewhere, nats."""

    logits: Tensor
    targets: Tensor
    weights: Tensor
    missed: dict[str, Tensor]


class Canary(nn.Module):
    """The whole model. dtype: what the matrix products compute in; the residual stream stays in float32."""

    def __init__(self, config: CanaryConfig, dtype: torch.dtype = torch.bfloat16):
        super().__init__()
        self.config, self.dtype = config, dtype
        self.embed = nn.Parameter(torch.empty(config.vocab, config.dim))
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.n_layers))
        self.final_norm = nn.Parameter(torch.ones(config.dim))

    def hidden(self, batch: TreeBatch) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Final normed states, (B, C, dim) and (B, N, L, dim), and what heads missed of the batch's looks."""
        plan = TreePlan(self.config, batch, self.dtype)
        b, n, length = batch.branches.shape
        ctx = F.embedding(batch.context, self.embed)
        br = F.embedding(batch.branches.view(b * n, length), self.embed)
        for number, layer in enumerate(self.layers):
            looks = {name: look for name, look in batch.looks.items() if HOPS[name][0] == number}
            ctx, br = layer(ctx, br, plan, looks)
        eps = self.config.norm_eps
        return rms_norm(ctx, self.final_norm, eps), rms_norm(br, self.final_norm, eps).view(b, n, length, -1), plan.missed

    def predictions(self, batch: TreeBatch) -> "Predictions":
        """Logits, targets and weights of every token with a loss weight, branches first."""
        ctx, br, missed = self.hidden(batch)
        b, n, _ = batch.branches.shape
        last = ctx[torch.arange(b), batch.context_len - 1]
        before = torch.cat((last[:, None, None].expand(b, n, 1, -1), br[:, :, :-1]), dim=2)
        in_br, in_ctx = batch.weight > 0, batch.context_weight[:, 1:] > 0
        states = torch.cat((before[in_br], ctx[:, :-1][in_ctx]))
        targets = torch.cat((batch.branches[in_br], batch.context[:, 1:][in_ctx]))
        weights = torch.cat((batch.weight[in_br], batch.context_weight[:, 1:][in_ctx]))
        logits = F.linear(states.to(self.dtype), self.embed.to(self.dtype)).float()
        return Predictions(logits, targets, weights, missed)
