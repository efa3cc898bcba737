"""How the adapter is taught to find answers: from which token heads should look, and at what (lora_llama.STEPS has the heads)."""

import dataclasses

from document import Question
from hops import Spans


@dataclasses.dataclass
class Look:
    """A branch's token, and the positions at which attention should look from there: a step of finding the answer."""

    step: str  # of lora_llama.STEPS
    token: int  # of the branch
    sources: list[int]  # positions of what the branch sees, its context and itself


def find_looks(question: Question, spans: Spans, n_context: int) -> list[Look]:
    """How a question's answer is found, behind a context of n_context tokens."""
    looks = []

    def look(step: str, token: int, sources: list[int], in_context: bool) -> None:
        looks.append(Look(step, token, sources if in_context else [n_context + source for source in sources]))

    firsts = [spans.answer(chain.value)[0] for chain in question.chains]
    for chain, first in zip(question.chains, firsts):
        # What opens a value, as '":' and ' "' do, depends on the value already.
        colon = question.answer.rindex('":', 0, chain.value[0])
        description, field = spans.context(chain.description), spans.prompt(chain.field)
        said = spans.prompt(chain.said) if chain.said else []
        for token in sorted({spans.answer((colon, colon + 1))[0], first - 1}):
            look("described", token, description, True)
            look("field", token, field, False)
            if said and token < first - 1:
                look("value", token, said[:1], False)
        if said and said < field:
            for token in field:
                look("valued", token, said, False)
        elif said:
            look("labelled", said[0], field, False)
    keys = [spans.answer(copy.span())[0] for copy in question.copies[1:] if copy.in_context]
    for copy in question.copies:
        for token in spans.answer(copy.span()):
            # The token's characters that are copied, where they stand.
            begin, end = spans.of_answer[token - spans.n_asked]
            there = (copy.source + max(begin - copy.begin, 0), copy.source + min(end, copy.end) - copy.begin)
            step = "name" if copy is question.copies[0] else "value" if token in firsts else "key" if token in keys else "copy"
            look(step, token - 1, (spans.context if copy.in_context else spans.prompt)(there), copy.in_context)
    for match in question.matches:
        if match.kind != "noun":
            continue
        here = spans.prompt(match.prompt)
        look("tool", here[-1], spans.context(match.tool), True)
        look("asked", spans.answer(question.copies[0].span())[0] - 1, here, False)
    return looks
