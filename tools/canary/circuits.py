"""Starting weights that already look up: the parts of an induction circuit, for training to connect.

The residual stream is divided into regions. `code` holds the identity of the token itself and, since the embeddings are
tied, what a layer writes there is what it predicts. The others receive the first entries of other tokens' codes: of the
three tokens before (`prev1` to `prev3`), of the first two tokens of the line (`line1`, `line2`: the name of a tool or a
function), of the last key (`key`), of the first token of a phrase (`phrase`), and of the key that belongs to a field
which a request has just named (`near`).

  layer 0    heads that look o places back whatever the text says: with constant biases of q and k the rotary score of a
             key `delta` places back is the sum over frequencies of a_f^2 cos(theta_f (delta - o)), largest at delta = o
  layer 1    heads that look at the nearest token of a marked kind: the beginning of the line, the last key, the phrase
  layer 2    a head that looks at where these same tokens stood before, and brings along line and key
  layer 3    one that copies the line of what was asked for when an answer begins; one that passes keys on to values
  layer 4    one that finds the value for a key
  layers 2.. heads of another group look for what came after these tokens before; the last ones copy it

Content is matched in the slowly turning rotary pairs, so that distance hardly matters. Where nothing matches, heads
rest on the beginning of the text, whose code is empty. Everything else is small and random.
"""

import dataclasses
import math

import torch
from torch import Tensor

from model import Canary, rms_norm

WIDTHS = {
    "code": 64, "prev1": 48, "prev2": 36, "prev3": 24, "line1": 24, "line2": 12, "key": 28, "near": 28, "phrase": 24
}  # fmt: skip
# What the first entries of a code tell about the token; the rest is random.
MARKS = ("sink", "starter", "word", "digit", "the", "colon", "phrase", "answer")
UNMARKED = ("line1", "line2", "key", "near", "phrase")  # hold entries from len(MARKS) on, other regions from 0 on
FAST_PAIRS = 8  # rotary pairs that positional heads use
SLOW_FROM = 14  # first rotary pair that turns so slowly that content can be matched in it
N_FLAGS = 3  # slow dimensions at the end that carry flags instead of content
SMALL = 0.02
Reads = dict[tuple[str, str], float]
ALL = slice(0, 64)
COPY = 0.25  # weight of a value that is only moved; o_proj has the same


@dataclasses.dataclass(frozen=True)
class TokenKinds:
    """What the starting weights know of the vocabulary.

    marks: ids of the tokens that carry each of MARKS. families: groups of tokens that mean the same in a catalogue or
    specification and in an answer, or are the same letters; their codes have a part in common.
    """

    marks: dict[str, list[int]]
    families: list[list[int]]


def regions() -> dict[str, slice]:
    """Where the residual stream holds what; `pulled` is line and key together."""
    result, at = {}, 0
    for name, width in WIDTHS.items():
        result[name] = slice(at, at + width)
        at += width
    result["pulled"] = slice(result["line1"].start, result["key"].stop)
    return result


class Builder:
    """Writes circuits into a model, with random numbers from one seed."""

    def __init__(self, model: Canary, kinds: TokenKinds, seed: int):
        self.model, self.kinds, self.config = model, kinds, model.config
        self.where = regions()
        self.generator = torch.Generator().manual_seed(seed)
        half = self.config.head_dim // 2
        pairs = torch.arange(SLOW_FROM, half)
        slow = torch.cat((pairs, pairs + half))
        self.slow, self.flags = slow[:-N_FLAGS], slow[-N_FLAGS:]

    def normal(self, rows: int, columns: int, std: float) -> Tensor:
        return torch.randn(rows, columns, generator=self.generator) * std

    def head(self, index: int) -> slice:
        return slice(index * self.config.head_dim, (index + 1) * self.config.head_dim)

    def q(self, layer: int, head: int) -> tuple[Tensor, Tensor]:
        """Weight (head_dim, dim) and bias (head_dim,) of a query head."""
        linear = self.model.layers[layer].attention.q_proj
        return linear.weight[self.head(head)], linear.bias[self.head(head)]

    def k(self, layer: int, group: int) -> tuple[Tensor, Tensor]:
        """Weight (head_dim, dim) and bias (head_dim,) of a group's keys."""
        linear = self.model.layers[layer].attention.k_proj
        return linear.weight[self.head(group)], linear.bias[self.head(group)]

    def mark(self, region: str, name: str) -> int:
        """The entry of the residual stream that holds a mark of the token whose code is in the region."""
        return self.where[region].start + MARKS.index(name)

    def codes(self) -> None:
        """Embeddings: a random code of length one with the marks of the token's kind, and small numbers elsewhere."""
        c = self.config
        embed = self.normal(c.vocab, c.dim, SMALL)
        code = self.normal(c.vocab, c.code_dim, 1 / math.sqrt(c.code_dim))
        for family in self.kinds.families:
            shared = self.normal(1, c.code_dim, 0.85 / math.sqrt(c.code_dim))
            code[family] = 0.5 * code[family] + shared
        code[:, : len(MARKS)] = 0
        code[self.kinds.marks["sink"]] = 0
        for name, ids in self.kinds.marks.items():
            code[ids, MARKS.index(name)] = 0.4 if name in ("word", "digit") else 1.0
        embed[:, : c.code_dim] = code
        embed[self.kinds.marks["sink"], c.code_dim :] = 0
        self.model.embed.copy_(embed)

    def small_weights(self) -> None:
        """Random weights everywhere, too small to drown the circuits."""
        for layer in self.model.layers:
            a = layer.attention
            for linear in (a.q_proj, a.k_proj, a.v_proj):
                linear.weight.copy_(self.normal(*linear.weight.shape, SMALL / 2))
                linear.bias.zero_()
            a.o_proj.weight.copy_(self.normal(*a.o_proj.weight.shape, SMALL / 8))
            for linear in (layer.gate, layer.up):
                linear.weight.copy_(self.normal(*linear.weight.shape, 1 / math.sqrt(self.config.dim)))
            layer.down.weight.copy_(self.normal(*layer.down.weight.shape, SMALL / 100))

    def position_bias(self, offset: float, low: int = 0, size: float = 10.0) -> tuple[Tensor, Tensor]:
        """Biases (head_dim,) of a query and of its keys so that the score is largest `offset` places back.

        low: the first rotary pair; the slower the pairs, the wider the peak.
        """
        c = self.config
        pairs = torch.arange(low, low + FAST_PAIRS - low // 2)
        theta = c.rope_theta ** (-2 * pairs / c.head_dim)
        amplitude = size * 0.8 ** (pairs - low).float()
        q, k = torch.zeros(c.head_dim), torch.zeros(c.head_dim)
        q[pairs] = amplitude * torch.cos(offset * theta)
        q[pairs + c.head_dim // 2] = -amplitude * torch.sin(offset * theta)
        k[pairs] = amplitude
        return q, k

    def values(self, layer: int, group: int, *sources: tuple[str, int, int], skip: int = 0) -> None:
        """A group's values: entries [skip, width) of each region (region, first row, width)."""
        value = self.model.layers[layer].attention.v_proj.weight[self.head(group)]
        value[:] = 0
        for region, row, width in sources:
            at = self.where[region].start + skip
            width = min(width, WIDTHS[region] - skip)
            value[row : row + width, at : at + width] = COPY * torch.eye(width)

    def write(self, layer: int, head: int, region: str, rows: slice, gain: float = 1.0, skip: int = 0) -> None:
        """A head writes its values of these rows, and no others, into a region's entries from `skip` on."""
        out = self.model.layers[layer].attention.o_proj.weight[:, self.head(head)]
        out[:] = 0
        where = self.where[region]
        start = where.start + skip
        width = min(rows.stop - rows.start, where.stop - start)
        out[start : start + width, rows.start : rows.start + width] = gain * COPY * torch.eye(width)

    def flag(self, layer: int, head: int, group: int, index: int, logit: float, reads: Reads) -> None:
        """Adds `logit` to a head's score of keys for which a weighted sum of marks (region, mark) is one.

        Keys see normed states, in which an entry of one is some 8 (17 at the beginning of the text, which holds nothing
        else); the query is a constant.
        """
        weight, _ = self.k(layer, group)
        for (region, name), share in reads.items():
            weight[self.flags[index], self.mark(region, name)] = share
        self.q(layer, head)[1][self.flags[index]] = logit

    def recent(self, layer: int, head: int, group: int, low: int, size: float) -> None:
        """Nearer keys score higher, by up to size^2 / 3 or so."""
        q, k = self.position_bias(0, low, size)
        self.q(layer, head)[1].add_(q)
        self.k(layer, group)[1].copy_(torch.where(k != 0, k, self.k(layer, group)[1]))

    def match(self, layer: int, heads: dict[int, float], group: int, terms: Reads, gain: float) -> None:
        """Heads (index: strength) compare a region of the query with one of the key, {(query's, key's): weight}."""
        for (mine, theirs), weight in terms.items():
            my_part, their_part = self.unmarked(mine), self.unmarked(theirs)
            width = min(my_part.stop - my_part.start, their_part.stop - their_part.start)
            base = self.normal(len(self.slow), width, math.sqrt(gain * weight / len(self.slow)))
            self.k(layer, group)[0][self.slow, their_part.start : their_part.start + width] = base
            for head, share in heads.items():
                self.q(layer, head)[0][self.slow, my_part.start : my_part.start + width] = share * base

    def unmarked(self, region: str) -> slice:
        """The part of a region that holds entries of a code from len(MARKS) on."""
        where = self.where[region]
        return where if region in UNMARKED else slice(where.start + len(MARKS), where.stop)

    def previous_tokens(self) -> None:
        """Layer 0: heads 0, 1 and 2 copy the codes of the tokens 1, 2 and 3 places before."""
        a = self.model.layers[0].attention
        a.q_proj.weight.mul_(0.25)
        a.k_proj.weight.mul_(0.25)
        for group in range(self.config.n_kv_heads):
            self.k(0, group)[1].copy_(self.position_bias(0)[1])
            self.values(0, group, ("code", 0, self.config.code_dim))
            self.model.layers[0].attention.v_proj.weight[self.head(group)][0] = 0  # no sink
        for head, target in enumerate(("prev1", "prev2", "prev3")):
            self.q(0, head)[1].copy_(self.position_bias(head + 1.0)[0])
            self.write(0, head, target, ALL)

    def segments(self) -> None:
        """Layer 1: the nearest tokens one and two places after a starter, after a phrase's border, and the last key."""
        for head, (region, target) in enumerate((("prev1", "line1"), ("prev2", "line2"))):
            self.recent(1, head, 0, 5, 12.0)
            self.flag(1, head, 0, head, 60.0, {(region, "starter"): 1.0})
            self.write(1, head, target, ALL, 2.0)
        self.values(1, 0, ("code", 0, self.config.code_dim), skip=len(MARKS))
        for head, target, rows, reads in (
            (2, "phrase", slice(0, 24), {("prev1", "phrase"): 1.0}),
            (3, "key", slice(24, 52), {("code", "colon"): 1.0}),
        ):
            self.recent(1, head, 1, 5, 12.0)
            self.flag(1, head, 1, head - 2, 60.0, reads)
            self.write(1, head, target, rows, 2.0)
        self.values(1, 1, ("code", 0, 24), ("prev1", 24, 28), skip=len(MARKS))

    def same_place(self) -> None:
        """Layer 2: where the last tokens stood before; brings line and key from there, unless only one token agrees."""
        terms = {("code", "code"): 1.0, ("prev1", "prev1"): 0.8, ("prev2", "prev2"): 0.5}
        self.match(2, {2: 1.0}, 1, terms, 1.5)
        near, k = self.position_bias(0, 0, 6.0)
        self.q(2, 2)[1].sub_(near)  # not itself
        self.k(2, 1)[1].copy_(k)
        self.flag(2, 2, 1, 0, 7.5, {("code", "sink"): 1.0})
        self.values(2, 1, ("line1", 0, 24), ("line2", 24, 12), ("key", 36, 28))
        self.write(2, 2, "pulled", ALL, 4.0)

    def asked_line(self) -> None:
        """Layer 3: an answer begins with the line of the noun; keys go on to the tokens just after."""
        self.recent(3, 2, 1, 5, 8.0)
        self.flag(3, 2, 1, 0, 25.0, {("prev1", "the"): 1.0, ("prev2", "the"): 1.0, ("prev3", "the"): 1.0})
        self.flag(3, 2, 1, 1, 15.0, {("code", "sink"): 1.0})
        self.q(3, 2)[1][self.flags[0]] = 0.0
        self.q(3, 2)[0][self.flags[0], self.mark("code", "answer")] = 5.0
        self.values(3, 1, ("line1", 0, 24), ("line2", 24, 12), ("key", 36, 28))
        self.write(3, 2, "code", slice(0, 24), 12.0, skip=len(MARKS))
        q, _ = self.position_bias(2.5, 2, 8.0)
        self.q(3, 3)[1].add_(q)
        k = self.position_bias(0, 2, 8.0)[1]
        self.k(3, 1)[1].copy_(torch.maximum(k, self.k(3, 1)[1]))
        self.write(3, 3, "near", slice(36, 64), 2.0)

    def value_of_key(self) -> None:
        """Layer 4: after a key's colon, the word or number whose `near` is this key."""
        self.match(4, {2: 1.0}, 1, {("prev1", "near"): 1.0}, 4.0)
        self.flag(4, 2, 1, 0, 6.0, {("code", "word"): 1.0, ("code", "digit"): 1.0})
        self.flag(4, 2, 1, 1, 8.0, {("code", "sink"): 1.0})
        self.q(4, 2)[0][self.flags[2], self.mark("code", "colon")] = 3.0
        self.k(4, 1)[1][self.flags[2]] = 10.0
        self.values(4, 1, ("code", 0, self.config.code_dim), skip=len(MARKS))
        self.write(4, 2, "code", ALL, 6.0, skip=len(MARKS))

    def quiet_sink(self) -> None:
        """Biases that make every value of the beginning of the text zero, so that resting there changes nothing."""
        state = self.model.embed[self.kinds.marks["sink"]]  # (1, dim): it sees only itself
        for layer in self.model.layers:
            normed = rms_norm(state, layer.input_norm, layer.eps)
            layer.attention.v_proj.bias.copy_(-(layer.attention.v_proj.weight @ normed[0]))
            state = layer.mlp(state, torch.float32)

    def build(self) -> None:
        """All circuits, for a model of five layers."""
        self.codes()
        self.small_weights()
        self.previous_tokens()
        self.segments()
        self.same_place()
        self.asked_line()
        self.value_of_key()
        follow = {
            ("code", "prev1"): 1.0, ("prev1", "prev2"): 0.8, ("prev2", "prev3"): 0.5,
            ("line1", "line1"): 0.6, ("line2", "line2"): 0.6, ("key", "key"): 0.3,
        }  # fmt: skip
        for layer in (2, 3, 4):
            self.match(layer, {0: 1.0, 1: 0.7}, 0, follow, 1.5)
            for head, logit in ((0, 5.0), (1, 3.0)):
                self.flag(layer, head, 0, 0, logit, {("code", "sink"): 1.0})
            self.values(layer, 0, ("code", 0, self.config.code_dim), skip=len(MARKS))
        for head, gain in enumerate((5.0, 2.5)):
            self.write(3, head, "code", ALL, gain, skip=len(MARKS))
            self.write(4, head, "code", ALL, 0.4 * gain, skip=len(MARKS))
        self.quiet_sink()


    def chains(self) -> None:
        """Lets the steps of model.HOPS meet, in a model whose heads look there already.

        2.0 brings a description to the token before the value (into `near`), 3.3 matches it with the request's words; 2.1
        brings the field to the value beside it (into `phrase`), 4.1 matches the two and writes what it sees, as 4.3 does. 2.3
        does for verbs what 2.2 does for nouns: what both bring is the tool. The heads' other weights stay.
        """
        self.values(2, 0, ("code", 0, self.config.code_dim), skip=len(MARKS))
        self.write(2, 0, "near", slice(0, 28), 16.0)
        self.write(2, 1, "phrase", slice(0, 24), 8.0)
        self.match(3, {3: 1.0}, 1, {("near", "code"): 1.0}, 8.0)
        self.match(4, {1: 1.0}, 0, {("near", "phrase"): 1.0}, 4.0)
        for head, gain in ((1, 6.0), (3, 3.0)):
            at, width = self.where["code"].start + len(MARKS), self.config.code_dim - len(MARKS)
            out = self.model.layers[4].attention.o_proj.weight[at : at + width, self.head(head)]
            out[:, :width] += gain * COPY * torch.eye(width)
        self.verbs()

    def verbs(self) -> None:
        """Layer 2: head 3 as head 2, for the tokens behind verbs; layer 3: head 2 looks at these too."""
        attention = self.model.layers[2].attention
        for tensor in (attention.q_proj.weight, attention.q_proj.bias):
            tensor[self.head(3)] = tensor[self.head(2)]
        attention.o_proj.weight[:, self.head(3)] = attention.o_proj.weight[:, self.head(2)]
        weight, _ = self.k(3, 1)
        weight[self.flags[0], self.mark("code", "the")] = weight[self.flags[0], self.mark("prev1", "the")]


def connect(model: Canary, kinds: TokenKinds, seed: int) -> None:
    """Builder.chains on trained weights."""
    with torch.no_grad():
        Builder(model, kinds, seed).chains()


def start(model: Canary, kinds: TokenKinds, seed: int) -> None:
    """Fills a model with its starting weights."""
    with torch.no_grad():
        Builder(model, kinds, seed).build()
