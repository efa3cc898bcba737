"""Documents as token ids, and batches of them, in exactly the layout that `kvengine run` feeds."""

import dataclasses
import os
import random

import torch
from tokenizers import Tokenizer

import programs
import prose
import retrieval
import tool_calls
import words
from circuits import TokenKinds
from document import Document, Layout, Span
from hops import Hop, Spans, call_hops, program_hops
from model import Looks, TreeBatch
from tokenizer import BOS, EOS, PAD

def make_few_tools(rng: random.Random, level: float, held_out: bool = False) -> Document:
    """Two tools with five or six arguments: short documents that teach which value belongs to which key."""
    while True:
        rows = tool_calls.make_rows(rng, held_out, 2, MAX_BRANCHES)
        if rows[0]["context"].count('": {"type": ') >= 5:
            return Document("few_tools", Layout.CHAT, rows[0]["context"], tool_calls.make_questions(rows))


MAKERS = {
    "tool_call": tool_calls.make_document,
    "few_tools": make_few_tools,
    "code_exec": programs.make_document,
    "passkey": retrieval.make_passkey,
    "multikey": retrieval.make_multikey,
    "prose": prose.make_document,
}
CONTEXT_WEIGHT = 0.15  # of one in CONTEXT_STRIDE tokens of a context or of a question, beside 1 for one of an answer
CONTEXT_STRIDE = 8
MAX_BRANCHES = 5  # questions about one context
N_WAITING = 16  # trees from which a batch is chosen, so that little of it is padding
EDGE_WEIGHT = 3.0  # of an answer's token where a word or number begins or ends: what is inside is only copied


@dataclasses.dataclass
class Tree:
    """Token ids of a context and of what follows it for each question; the first n_asked[i] of those are no answer."""

    context: list[int]
    branches: list[list[int]]
    n_asked: list[int]
    plain: bool = False  # text whose every token counts
    hops: list[Hop] = dataclasses.field(default_factory=list)

    def longest(self) -> int:
        """Tokens of the longest branch."""
        return max(len(branch) for branch in self.branches)

    def cost(self) -> int:
        """Rows in a batch of its own."""
        return len(self.context) + self.longest() * len(self.branches)

    def padding(self, other: "Tree") -> int:
        """Rows that pad a batch of this tree and another."""
        n_branches = max(len(self.branches), len(other.branches))
        rows = max(len(self.context), len(other.context)) + max(self.longest(), other.longest()) * n_branches
        return 2 * rows - self.cost() - other.cost()


class Encoder:
    """Turns documents into trees."""

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer = tokenizer
        self.pieces = frozenset(tokenizer.token_to_id(name) for name in letters_and_digits(tokenizer))
        self.bos, self.eos, self.pad = (tokenizer.token_to_id(token) for token in (BOS, EOS, PAD))

    def ids(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def spans(self, text: str) -> list[Span]:
        """The characters of a text's tokens."""
        return self.tokenizer.encode(text, add_special_tokens=False).offsets

    def tree(self, document: Document) -> Tree:
        """A document as the runner shows it to a model whose tokenizer has no chat template."""
        if not document.questions:
            return Tree([self.bos], [self.ids(document.context)], [0], plain=True)
        answers = [self.ids(question.answer) + [self.eos] for question in document.questions]
        if document.layout is Layout.WHOLE:
            wholes = [[self.bos] + self.ids(document.context + question.prompt) for question in document.questions]
            shared = len(os.path.commonprefix(wholes))
            tree = self.joined(wholes[0][:shared], [whole[shared:] for whole in wholes], answers)
            return self.with_hops(tree, document)
        after = "\n" if document.layout is Layout.CHAT else ""
        asked = [self.ids(question.prompt + after) for question in document.questions]
        tree = self.joined([self.bos] + self.ids(document.context), asked, answers)
        return self.with_hops(tree, document)

    def with_hops(self, tree: Tree, document: Document) -> Tree:
        """The tree, with how each of its answers is found."""
        context = self.spans(document.context)
        for number, question in enumerate(document.questions):
            asked, answer = self.spans(question.prompt), self.spans(question.answer)
            spans = Spans(context, asked, answer, tree.n_asked[number], n_before=1)  # <|bos|>
            tree.hops += call_hops(question, number, spans) + program_hops(question, document.context, number, spans)
        return tree

    @staticmethod
    def joined(context: list[int], asked: list[list[int]], answers: list[list[int]]) -> Tree:
        return Tree(context, [q + a for q, a in zip(asked, answers)], [len(q) for q in asked])


def letters_and_digits(tokenizer: Tokenizer) -> list[str]:
    """The tokens that are parts of words and numbers, in a fixed order."""
    return sorted(name for name in tokenizer.get_vocab() if name.isascii() and name.isalnum() and len(name) <= 2)


def token_kinds(tokenizer: Tokenizer) -> TokenKinds:
    """What the starting weights know of the vocabulary, from the tokens' texts."""
    vocabulary = tokenizer.get_vocab()
    letters = [name for name in letters_and_digits(tokenizer) if name.isalpha()]
    between = sorted(token.content for token in tokenizer.get_added_tokens_decoder().values() if not token.special)
    joints = (", ", ": ", " and ", " with ")
    borders = [*joints, *(joint + "the " for joint in joints), "? ", ". ", "With ", ": with "]
    texts = {
        "sink": [BOS],
        "starter": [". ", "# ", "def ", '{"name": "', "User request: "],
        "word": letters,
        "digit": list("0123456789"),
        "the": [" the "],
        "colon": [text for text in between if text.startswith('": ')] + ["User request: "],
        "phrase": [*borders, "User request: "],
        "answer": ['{"name": "'],
    }
    families = [[name, name.lower()] for name in letters if name[0].isupper()]
    families.append([text for text in between if text.endswith('{"') and ("properties" in text or "arguments" in text)])
    families.append([text for text in between if text.endswith(', "')])
    families += step_families(between)
    return TokenKinds(
        marks={mark: [vocabulary[text] for text in found if text in vocabulary] for mark, found in texts.items()},
        families=[[vocabulary[text] for text in family] for family in families if len(family) > 1],
    )


def step_families(between: list[str]) -> list[list[str]]:
    """Texts that say a step, each group with the statement's beginning; statements that two steps share join them."""
    groups: dict[str, set[str]] = {}
    for said, statement, takes in (step for steps in programs.STEPS.values() for step in steps):
        quote = '"' if takes == "word" else ""
        said, statement = (text.split("{k}")[0] + (quote if "{k}" in text else "") for text in (said, statement))
        group = groups.setdefault(f"    {statement}", {f"    {statement}"})
        group |= {f": {said}", f", then {said}"}
    return [sorted(text for text in group if text in between) for group in groups.values()]


def pad_rows(rows: list[list], width: int, value: float, dtype: torch.dtype) -> torch.Tensor:
    return torch.tensor([row + [value] * (width - len(row)) for row in rows], dtype=dtype)


def sparse(n: int) -> list[float]:
    """Weights of n tokens that need not be predicted well: a few of them, since each costs a row of logits."""
    return [CONTEXT_WEIGHT if i % CONTEXT_STRIDE == n % CONTEXT_STRIDE else 0.0 for i in range(n)]


def raise_edges(weights: list[float], ids: list[int], pieces: frozenset[int]) -> None:
    """Gives the first piece of each word or number of an answer, and what follows its last, their weight, in place."""
    for i, token in enumerate(ids):
        if weights[i] == 1.0 and (token in pieces) != (i > 0 and ids[i - 1] in pieces):
            weights[i] = EDGE_WEIGHT


def collate(trees: list[Tree], pad: int, pieces: frozenset[int] = frozenset()) -> TreeBatch:
    """One batch of trees of similar size; a tree with fewer branches than another gets empty ones."""
    n_branches = max(len(tree.branches) for tree in trees)
    length = max(len(branch) for tree in trees for branch in tree.branches)
    width = max(len(tree.context) for tree in trees)
    branches, lengths, weights = [], [], []
    for tree in trees:
        rest = n_branches - len(tree.branches)
        branches.append(pad_rows(tree.branches + [[]] * rest, length, pad, torch.long))
        lengths.append([len(branch) for branch in tree.branches] + [0] * rest)
        rows = [sparse(n) + [1.0] * (len(branch) - n) for branch, n in zip(tree.branches, tree.n_asked)]
        if not tree.plain:
            for row, branch in zip(rows, tree.branches):
                raise_edges(row, branch, pieces)
        weights.append(pad_rows(rows + [[]] * rest, length, 0.0, torch.float32))
    context_rows = [[0.0] + sparse(len(tree.context) - 1) for tree in trees]
    return TreeBatch(
        context=pad_rows([tree.context for tree in trees], width, pad, torch.long),
        context_len=torch.tensor([len(tree.context) for tree in trees]),
        branches=torch.stack(branches),
        branch_len=torch.tensor(lengths),
        weight=torch.stack(weights),
        context_weight=pad_rows(context_rows, width, 0.0, torch.float32),
        looks=collate_hops(trees, n_branches, width, length),
    )


def collate_hops(trees: list[Tree], n_branches: int, width: int, length: int) -> dict[str, Looks]:
    """The trees' hops by name, where contexts are padded to `width` and branches to `length`."""
    by_name: dict[str, list[tuple[int, Hop]]] = {}
    for number, tree in enumerate(trees):
        for hop in tree.hops:
            by_name.setdefault(hop.name, []).append((number, hop))
    result = {}
    for name, hops in by_name.items():
        sources = torch.zeros(len(hops), width + length)
        for row, (_, hop) in enumerate(hops):
            sources[row, torch.tensor(hop.sources) + (0 if hop.in_context else width)] = 1
        branches = torch.tensor([number * n_branches + hop.branch for number, hop in hops])
        result[name] = Looks(branches, torch.tensor([hop.token for _, hop in hops]), sources)
    return result


class Source:
    """Batches of one kind of document, each of about `budget` tokens, from one random stream."""

    def __init__(self, kind: str, encoder: Encoder, seed: str, budget: int, held_out: bool = False):
        self.kind, self.encoder, self.budget, self.held_out = kind, encoder, budget, held_out
        self.rng = random.Random(seed)
        self.waiting: list[Tree] = []  # the oldest first

    def tree(self, level: float, invented: float) -> Tree:
        """The next document. invented: see words.Vocabulary; half of the documents have none."""
        words.Vocabulary.invented = invented if self.rng.random() < 0.5 else 0.0
        document = MAKERS[self.kind](self.rng, level, self.held_out)
        words.Vocabulary.invented = 0.0
        questions = document.questions[:MAX_BRANCHES]
        return self.encoder.tree(dataclasses.replace(document, questions=questions))

    def batch(self, level: float, invented: float = 0.7) -> TreeBatch:
        """The tree that waits longest with those most like it: as many as the budget allows, at least one."""
        while len(self.waiting) < N_WAITING:
            self.waiting.append(self.tree(self.rng.uniform(0.3 * level, level), invented))
        chosen, cost = [], 0
        for index in sorted(range(N_WAITING), key=lambda i: self.waiting[0].padding(self.waiting[i])):
            if chosen and cost >= self.budget:
                break
            chosen.append(index)
            cost += self.waiting[index].cost()
        trees = [self.waiting[index] for index in chosen]
        self.waiting = [tree for index, tree in enumerate(self.waiting) if index not in chosen]
        return collate(trees, self.encoder.pad, self.encoder.pieces)
