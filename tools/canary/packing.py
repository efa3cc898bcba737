"""Documents as the token sequences that the runner feeds, packed into trees.

All questions of a document share its context once: a token sees the context before it and the earlier tokens of its own
question and answer, at the positions that it has at inference. Several documents lie side by side in one pack and do
not see each other.
"""

import dataclasses

import torch
from document import Document, Layout, Question, Span
from hops import Spans, covering
from looks import Look, find_looks

SEPARATOR = "#" * 64


@dataclasses.dataclass
class Branch:
    """A question and its answer, which ends with the end of text."""

    question: list[int]
    answer: list[int]
    looks: list[Look] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Tree:
    """Token ids of one document."""

    kind: str
    context: list[int]
    branches: list[Branch]


class Encoder:
    """Tokenizes as `kvengine run` does; see `tasks/tool_call.cc`, `passkey.cc` and `code_exec.cc`."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.vocabulary = tokenizer.get_vocab()
        message = {"role": "user", "content": SEPARATOR}
        chat = tokenizer.apply_chat_template([message], tokenize=False, add_generation_prompt=True)
        self.chat_head, self.chat_tail = chat.split(SEPARATOR)

    def ids(self, text: str) -> list[int]:
        """The tokens of a text; the tokenizer adds none of its own."""
        return self.tokenizer(text, add_special_tokens=False).input_ids

    def spans(self, text: str) -> tuple[list[int], list[Span]]:
        """The tokens of a text, and the characters of each."""
        encoding = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return encoding.input_ids, encoding.offset_mapping

    def words(self) -> list[str]:
        """Words that are one token behind a space, and several behind a quotation mark: the one does not say the others."""
        words = [token[1:] for token in self.vocabulary if token.startswith("Ġ") and token[1:] not in self.vocabulary]
        return sorted(word for word in words if len(word) > 3 and word.isascii() and word.isalpha() and word[1:].islower())

    def tree(self, document: Document) -> Tree:
        """The document's tokens."""
        if document.layout is Layout.WHOLE:
            return self._whole(document)
        head, tail = (self.chat_head, self.chat_tail) if document.layout is Layout.CHAT else ("", "")
        context, spans = self.spans(head + document.context)
        context_spans = [(begin - len(head), end - len(head)) for begin, end in spans]
        branches = []
        for question in document.questions:
            ids, prompt_spans = self.spans(question.prompt + tail)
            sources = {True: (document.context, context_spans), False: (question.prompt, prompt_spans)}
            answer, answer_spans = self.answer(question, sources)
            looks = find_looks(question, Spans(context_spans, prompt_spans, answer_spans, len(ids)), len(context))
            branches.append(Branch(ids, answer + [self.tokenizer.eos_token_id], looks))
        return Tree(document.kind, context, branches)

    def answer(self, question: Question, sources: dict[bool, tuple[str, list[Span]]]) -> tuple[list[int], list[Span]]:
        """The answer's tokens and the characters of each. What is copied keeps the tokens that it has where it is copied
        from, less a space before them: " zelu" may be two tokens where "zelu" is three, and a model that copies token by
        token writes the former. `sources`: text and its tokens' characters, of the context (True) and of the prompt."""
        ids, spans = self.spans(question.answer)
        for copy in question.copies:
            text, source_spans = sources[copy.in_context]
            begin, end = copy.source, copy.source + copy.end - copy.begin
            if text[begin:end] != question.answer[copy.begin : copy.end]:
                continue
            holding = [source_spans[token] for token in covering(source_spans, (begin, end))]
            pieces = [text[max(a, begin) : min(b, end)] for a, b in holding]
            found = [self.vocabulary.get(piece.replace(" ", "Ġ")) for piece in pieces]
            inside = covering(spans, copy.span())
            whole = spans[inside[0]][0] == copy.begin and spans[inside[-1]][1] == copy.end
            if None in found or not whole:
                continue
            ends = [copy.begin + sum(map(len, pieces[: index + 1])) for index in range(len(pieces))]
            ids[inside[0] : inside[-1] + 1] = found
            spans[inside[0] : inside[-1] + 1] = zip([copy.begin, *ends], ends)
        return ids, spans

    def _whole(self, document: Document) -> Tree:
        prompts = [self.ids(document.context + question.prompt) for question in document.questions]
        shared = common_prefix(prompts)
        answers = [self.ids(question.answer) + [self.tokenizer.eos_token_id] for question in document.questions]
        branches = [Branch(prompt[shared:], answer) for prompt, answer in zip(prompts, answers)]
        return Tree(document.kind, prompts[0][:shared], branches)


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
class BranchGroup:
    """Some branches of a tree, side by side: R tokens from `begin` of the pack, which see C of the context and R."""

    begin: int
    hidden: torch.Tensor  # bool (R, C + R): a token does not see this token of context and group
    # By step: the tokens, int64 (L); and 1 where each should look, else 0, float32 (L, C + R).
    looks: dict[str, tuple[torch.Tensor, torch.Tensor]]


@dataclasses.dataclass
class TreeSpan:
    """Where a tree lies in its pack, and what its branches see."""

    begin: int
    n_context: int  # tokens of the context, which see the context up to themselves
    groups: list[BranchGroup]


class PackBuilder:
    """Collects trees; `pack` gives the tensors."""

    GROUP = 192  # tokens of branches that are multiplied together; each sees the others' scores, masked

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
        span = TreeSpan(len(self.ids), len(tree.context), [])
        self.ids += tree.context
        self.positions += range(len(tree.context))
        waiting: list[Branch] = []
        for branch in tree.branches:
            waiting.append(branch)
            if sum(len(one.question) + len(one.answer) - 1 for one in waiting) >= self.GROUP:
                span.groups.append(self._add_group(waiting, len(tree.context), tree.kind))
                waiting = []
        if waiting:
            span.groups.append(self._add_group(waiting, len(tree.context), tree.kind))
        self.trees.append(span)

    def _add_group(self, branches: list[Branch], n_context: int, kind: str) -> BranchGroup:
        begin = len(self.ids)
        branch_of: list[int] = []
        looks: dict[str, list[tuple[int, list[int]]]] = {}  # by step: the group's token, columns
        for number, branch in enumerate(branches):
            rows = branch.question + branch.answer[:-1]
            start, last = len(branch_of), len(branch_of) + len(branch.question) - 1
            for look in branch.looks:
                columns = [place if place < n_context else place + start for place in look.sources]
                looks.setdefault(look.step, []).append((start + look.token, columns))
            self._predict(range(begin + last, begin + last + len(branch.answer)), branch.answer, kind)
            self.ids += rows
            self.positions += range(n_context, n_context + len(rows))
            branch_of += [number] * len(rows)
        hidden = hidden_from(branch_of, n_context)
        tensors = {step: look_tensors(found, hidden.shape[1]) for step, found in looks.items()}
        return BranchGroup(begin, hidden, tensors)

    def add_text(self, ids: list[int]) -> None:
        """Plain text: every token but the last predicts the next."""
        begin = len(self.ids)
        self.ids += ids
        self.positions += range(len(ids))
        self._predict(range(begin, begin + len(ids) - 1), ids[1:], "text")
        self.trees.append(TreeSpan(begin, len(ids), []))

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


def look_tensors(looks: list[tuple[int, list[int]]], width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens (L), and where each should look (L, width)."""
    sources = torch.zeros(len(looks), width)
    for number, (_, columns) in enumerate(looks):
        sources[number, columns] = 1
    return torch.tensor([token for token, _ in looks], dtype=torch.int64), sources


def hidden_from(branch_of: list[int], n_context: int) -> torch.Tensor:
    """The mask of a tree's branch tokens, each of which belongs to the branch of that number."""
    branch = torch.tensor(branch_of, dtype=torch.int64)
    own = (branch[:, None] == branch[None, :]).tril()
    return torch.cat((torch.zeros(len(branch_of), n_context, dtype=torch.bool), ~own), dim=1)
