"""How answers are found, as tokens: from where attention should look, and at what (model.HOPS names the steps)."""

import dataclasses

from document import Question, Span


@dataclasses.dataclass
class Hop:
    """One step: a branch's token, and the tokens that it should look at."""

    name: str  # of model.HOPS
    branch: int
    token: int  # of the branch
    in_context: bool  # the sources are the context's tokens, else the branch's
    sources: list[int]


@dataclasses.dataclass
class Spans:
    """The characters of each token of a document's context, and of a question's prompt and answer.

    n_asked: tokens of the branch before the answer. n_before: tokens in front of the context's, such as <|bos|>.
    """

    of_context: list[Span]
    of_prompt: list[Span]
    of_answer: list[Span]
    n_asked: int
    n_before: int = 0

    def context(self, span: Span) -> list[int]:
        """The context's tokens that hold some of these characters."""
        return [self.n_before + token for token in covering(self.of_context, span)]

    def prompt(self, span: Span) -> list[int]:
        """The branch's tokens that hold some of these characters of the prompt."""
        return covering(self.of_prompt, span)

    def answer(self, span: Span) -> list[int]:
        """The branch's tokens that hold some of these characters of the answer."""
        return [self.n_asked + token for token in covering(self.of_answer, span)]


def covering(offsets: list[Span], span: Span) -> list[int]:
    """The tokens with these characters that hold some of the span's."""
    return [token for token, (begin, end) in enumerate(offsets) if begin < span[1] and end > span[0]]


def call_hops(question: Question, branch: int, spans: Spans) -> list[Hop]:
    """How a call's name, keys and values are found."""
    found = []
    for match in question.matches:
        here = spans.prompt(match.prompt)
        there = [token for span in match.context for token in spans.context(span)]
        found += [Hop(match.kind, branch, token, True, there) for token in here]
        name = spans.answer(question.copies[0].span())
        found.append(Hop("asked", branch, name[0] - 1, False, here))
    for copy in question.copies:
        tokens = spans.answer(copy.span())
        there = spans.context((copy.source, copy.source + copy.end - copy.begin))
        if copy.in_context and len(tokens) == len(there):
            found += [Hop("name", branch, token - 1, True, [place]) for token, place in zip(tokens, there)]
    for chain in question.chains:
        value, field = spans.answer(chain.value), spans.prompt(chain.field)
        found.append(Hop("description", branch, value[0] - 1, True, spans.context(chain.description)))
        found.append(Hop("field", branch, value[0] - 1, False, field))
        if chain.said is None:
            continue
        said = spans.prompt(chain.said)
        if len(said) == len(value):
            found += [Hop("value", branch, token - 1, False, [place]) for token, place in zip(value, said)]
        first, later = (said[:1], field) if said[0] < field[0] else (field, said)
        found += [Hop("phrase", branch, token, False, first) for token in later]
    return found


def program_hops(question: Question, context: str, branch: int, spans: Spans) -> list[Hop]:
    """How a program's statements and their constants are found."""
    found = []
    constants: set[int] = set()
    for answer, said in reversed(question.follows):  # a statement's constant before the statement
        places, tokens = spans.context(said), spans.answer(answer)
        if question.answer[slice(*answer)] == context[slice(*said)]:
            constants |= set(places)
            found += [Hop("step", branch, token - 1, True, [place]) for token, place in zip(tokens, places)]
        else:  # what tells one step from another may stand behind the constant
            found.append(Hop("step", branch, tokens[0] - 1, True, [place for place in places if place not in constants]))
    return found
