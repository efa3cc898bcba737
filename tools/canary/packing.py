"""Documents as the token sequences that the runner feeds, packed into trees.

All questions of a document share its context once: a token sees the context before it and the earlier tokens of its own
question and answer, at the positions that it has at inference. Several documents lie side by side in one pack and do
not see each other.
"""

import dataclasses

import torch
from document import Document, Layout

SEPARATOR = "#" * 64


@dataclasses.dataclass
class Tree:
    """Token ids of one document."""

    kind: str
    context: list[int]
    branches: list[tuple[list[int], list[int]]]  # (question, answer with the end of text)

    def n_tokens(self) -> int:
        """Tokens in a pack; the last token of an answer predicts nothing and is left out."""
        return len(self.context) + sum(len(question) + len(answer) - 1 for question, answer in self.branches)


class Encoder:
    """Tokenizes as `kvengine run` does; see `tasks/tool_call.cc`, `passkey.cc` and `code_exec.cc`."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        message = {"role": "user", "content": SEPARATOR}
        chat = tokenizer.apply_chat_template([message], tokenize=False, add_generation_prompt=True)
        self.chat_head, self.chat_tail = chat.split(SEPARATOR)

    def ids(self, text: str) -> list[int]:
        """The tokens of a text; the tokenizer adds none of its own."""
        return self.tokenizer(text, add_special_tokens=False).input_ids

    def tree(self, document: Document) -> Tree:
        """The document's tokens."""
        end = [self.tokenizer.eos_token_id]
        answers = [self.ids(question.answer) + end for question in document.questions]
        if document.layout is Layout.WHOLE:
            prompts = [self.ids(document.context + question.prompt) for question in document.questions]
            shared = common_prefix(prompts)
            branches = [(prompt[shared:], answer) for prompt, answer in zip(prompts, answers)]
            return Tree(document.kind, prompts[0][:shared], branches)
        chat = document.layout is Layout.CHAT
        context = self.ids(self.chat_head + document.context if chat else document.context)
        tail = self.chat_tail if chat else ""
        branches = [(self.ids(q.prompt + tail), answer) for q, answer in zip(document.questions, answers)]
        return Tree(document.kind, context, branches)


def common_prefix(sequences: list[list[int]]) -> int:
    """How many tokens all sequences share at their start; each keeps at least one of its own."""
    length = 0
    shortest = min(map(len, sequences)) - 1
    while length < shortest and len({sequence[length] for sequence in sequences}) == 1:
        length += 1
    return length


@dataclasses.dataclass
class Pack:
    """Trees side by side, T tokens. A tree is its context followed by its branches."""

    ids: torch.Tensor  # int64 (T)
    positions: torch.Tensor  # int64 (T), each tree from 0, each branch from its context's end
    trees: list["TreeSpan"]
    predicting: torch.Tensor  # int64 (P), indices of tokens whose next token is part of an answer
    targets: torch.Tensor  # int64 (P), those next tokens
    answers: torch.Tensor  # int64 (P), which answer of the pack each belongs to
    kinds: list[str]  # of each answer


@dataclasses.dataclass
class TreeSpan:
    """Where a tree lies in its pack, and what its branches see."""

    begin: int
    n_context: int  # tokens of the context, which see the context up to themselves
    n_branches: int  # tokens of all branches
    hidden: torch.Tensor  # bool (n_branches, n_context + n_branches): a branch token does not see this token of the tree


class PackBuilder:
    """Collects trees; `pack` gives the tensors."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.positions: list[int] = []
        self.trees: list[TreeSpan] = []
        self.predicting: list[int] = []
        self.targets: list[int] = []
        self.answers: list[int] = []
        self.kinds: list[str] = []

    def add(self, tree: Tree) -> None:
        """Puts a tree at the end."""
        begin, n_context = len(self.ids), len(tree.context)
        self.ids += tree.context
        self.positions += range(n_context)
        branch_of: list[int] = []
        for number, (question, answer) in enumerate(tree.branches):
            rows = question + answer[:-1]
            first = len(self.ids) + len(question) - 1
            self.ids += rows
            self.positions += range(n_context, n_context + len(rows))
            branch_of += [number] * len(rows)
            self._predict(range(first, first + len(answer)), answer, tree.kind)
        self.trees.append(TreeSpan(begin, n_context, len(branch_of), hidden_from(branch_of, n_context)))

    def add_text(self, ids: list[int]) -> None:
        """Plain text: every token but the last predicts the next."""
        begin = len(self.ids)
        self.ids += ids
        self.positions += range(len(ids))
        self._predict(range(begin, begin + len(ids) - 1), ids[1:], "text")
        self.trees.append(TreeSpan(begin, len(ids), 0, hidden_from([], len(ids))))

    def _predict(self, rows: range, targets: list[int], kind: str) -> None:
        self.predicting += rows
        self.targets += targets
        self.answers += [len(self.kinds)] * len(rows)
        self.kinds.append(kind)

    def pack(self) -> Pack:
        """The tensors of everything added."""
        lists = (self.ids, self.positions, self.predicting, self.targets, self.answers)
        ids, positions, predicting, targets, answers = (torch.tensor(x, dtype=torch.int64) for x in lists)
        return Pack(ids, positions, self.trees, predicting, targets, answers, self.kinds)


def hidden_from(branch_of: list[int], n_context: int) -> torch.Tensor:
    """The mask of a tree's branch tokens, each of which belongs to the branch of that number."""
    branch = torch.tensor(branch_of, dtype=torch.int64)
    own = (branch[:, None] == branch[None, :]).tril()
    return torch.cat((torch.zeros(len(branch_of), n_context, dtype=torch.bool), ~own), dim=1)
