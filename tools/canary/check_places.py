#!/usr/bin/env python3
"""Do the generators know where an answer's pieces stand? Run by CTest; needs only Python's standard library.

Training teaches attention to look at these places, so a wrong one would teach to look at the wrong place.
"""

import json
import random
import re
import sys

import everyday
import programs
import tool_calls
import words
from document import Question, Span
from hops import Spans
from looks import find_looks

STEPS = {"tool", "asked", "name", "key", "valued", "labelled", "described", "field", "value", "copy"}  # of a call


def text_of(text: str, span: Span) -> str:
    return text[slice(*span)].lower()


def check_call(context: str, question: Question) -> int:
    """The number of values whose whole chain is known."""
    for copy in question.copies:
        source = context if copy.in_context else question.prompt
        there = text_of(source, (copy.source, copy.source + copy.end - copy.begin))
        assert there == text_of(question.answer, (copy.begin, copy.end)), (copy, there, question)
    call = json.loads(question.answer)
    for match in question.matches:
        assert {text_of(context, span) for span in match.context} == {text_of(question.prompt, match.prompt)}, question
        lines = [context[: begin].count("\n") for begin, _ in match.context]
        assert context[: context.index(f". {call['name']} ")].count("\n") in lines, (match, question)
    entry = context[context.index(f". {call['name']} ") :].split("\n")[1]
    schema = json.loads(entry[entry.index("{") :])["properties"]
    for chain in question.chains:
        word = text_of(question.prompt, chain.field)
        assert word == text_of(context, chain.description), (chain, question)
        before = question.answer[: chain.value[0]].rstrip('" :')
        key = before[before.rindex('"') + 1 :]
        assert schema[key].get("description", key) == word, (key, word, question)
        value = call["arguments"][key]
        written = value if isinstance(value, str) else json.dumps(value)
        assert text_of(question.answer, chain.value) == written.lower(), (chain, question)
        assert chain.said is None or text_of(question.prompt, chain.said) == written.lower(), (chain, question)
    return len(question.chains)


def spell(text: str) -> list[Span]:
    """A tokenizer's spans where every character is a token."""
    return [(place, place + 1) for place in range(len(text))]


def check_looks(context: str, question: Question) -> set[str]:
    """The steps by which the call is found; every look must have the right text at both ends, and look back."""
    prompt, answer = question.prompt, question.answer
    text = (context + prompt + answer).lower()
    fields = {text_of(prompt, chain.field) for chain in question.chains}
    said = {text_of(prompt, chain.said) for chain in question.chains if chain.said}
    described = {}
    looks = find_looks(question, Spans(spell(context), spell(prompt), spell(answer), len(prompt)), len(context))
    for look in looks:
        here = len(context) + look.token
        assert look.sources and max(look.sources) <= here, (look, question)
        there = "".join(text[source] for source in look.sources)
        if look.step == "tool":
            assert there.endswith(" the " + text_of(prompt, question.matches[0].prompt)), (look, there, question)
        elif look.step == "asked":
            assert there == text_of(prompt, question.matches[0].prompt), (look, there, question)
        elif look.step == "labelled":
            assert there in fields and any(word.startswith(text[here]) for word in said), (look, there, question)
        elif look.step == "valued":
            assert there in said and any(text[here] in word for word in fields), (look, there, question)
        elif look.step in ("described", "field"):
            assert described.setdefault(here, there) == there, (look, there, question)
        elif look.step != "value" or text[here] not in ':"':  # else what opens the value comes first
            assert there == text[here + 1], (look, there, question)
    return {look.step for look in looks}


def check_program(context: str, question: Question) -> int:
    """The number of statements whose step is known."""
    statements = 0
    line = next(line for line in context.split("\n") if f" {question.prompt[5:].split('(')[0]}(x)" in line)
    begin = context.index(line)
    for answer, said in question.follows:
        assert begin <= said[0] < said[1] <= begin + len(line), (answer, said, question)
        statement, step = question.answer[slice(*answer)], context[slice(*said)]
        if not statement.startswith("x = "):
            assert statement == step, (statement, step)
            continue
        statements += 1
        constant = programs.CONSTANT.search(step)
        written = [text.replace(constant.group(), "{k}", 1) if constant else text for text in (step, statement)]
        meanings = [(what, how) for steps in programs.STEPS.values() for what, how, _ in steps]
        assert tuple(text.replace('"', "") for text in written) in meanings, (step, statement)
    return statements


def check_everyday() -> None:
    """Are the fixed texts free of words that are kept for evaluation, and does every request say what its tool requires?"""
    kept = {word.lower() for entries in words.LISTS for word in entries if words.is_held_out(word)}
    tools = everyday.all_tools()
    assert len({tool.name for tool in tools}) == len(tools), "two everyday tools with one name"
    for tool in tools:
        texts = (tool.subject, tool.name, tool.description, *tool.requests, *tool.kinds, *tool.kinds.values())
        found = kept.intersection(re.findall("[a-z]+", " ".join(texts).lower()))
        assert not found, (tool.name, found)
        for request in tool.requests:
            said = set(re.findall(r"\{(\w+)\}", request))
            assert set(tool.kinds) - set(tool.optional) <= said <= set(tool.kinds), (tool.name, request)


def main() -> int:
    known = wanted = 0
    steps: set[str] = set()
    check_everyday()
    for seed in range(300):
        document = everyday.make_document(random.Random(seed), 1.0)
        for question in document.questions:
            check_call(document.context, question)
        document = tool_calls.make_document(random.Random(seed), 1.0, held_out=seed % 2 == 0)
        for question in document.questions:
            known += check_call(document.context, question)
            steps |= check_looks(document.context, question)
            wanted += len(json.loads(question.answer)["arguments"])
        document = programs.make_document(random.Random(seed), 1.0, held_out=seed % 2 == 0)
        for question in document.questions:
            found, lines = check_program(document.context, question), question.answer.count("\n")
            assert found == lines, (found, question)
    assert known > 0.98 * wanted, f"only {known} of {wanted} values are known"
    assert steps == STEPS, steps
    print(f"{known} of {wanted} values, every statement, {len(steps)} steps")
    return 0


if __name__ == "__main__":
    sys.exit(main())
