"""Long answers in many pieces, each of which depends on what stands at the beginning.

  program   a specification of many functions; the whole program, function after function, in another order
  list      records hidden in a story; all of them as one JSON list of sentences, in another order

What is asked for next is given (a function's header, a record's name), so that a wrong piece does not shift the
others: a piece's score says what the cache still holds at this place of the output.
"""

import random

import prose
from programs import make_specification, spec_text
from words import NOUNS, Vocabulary

STOP = {"program": ["\n\n"], "list": ['"']}
RECORD = "The pass key of the {noun} is {key}."
LIST_ITEM = '"The pass key of the {noun} is '


def make_program(rng: random.Random, held_out: bool, count: int) -> tuple[str, list[dict]]:
    """Context and turns; a turn is one function's body."""
    functions = make_specification(Vocabulary(rng, held_out), count)
    asked = rng.sample(functions, count)
    turns = [{"prompt": function.header(), "answer": function.body()} for function in asked]
    for turn in turns[1:]:
        turn["prompt"] = "\n" + turn["prompt"]
    return spec_text(functions), turns


def make_list(rng: random.Random, held_out: bool, count: int) -> tuple[str, list[dict]]:
    """Context and turns; a turn is one record's key."""
    vocabulary = Vocabulary(rng, held_out)
    nouns = vocabulary.sample(NOUNS, count)
    keys = [vocabulary.digits(rng.choice((4, 5, 6))) for _ in nouns]
    sentences = prose.make_story(rng, held_out, 2 * count).split(". ")
    places = sorted(rng.sample(range(len(sentences)), count))
    parts, at = [], 0
    for place, noun, key in zip(places, nouns, keys):
        parts += [sentence.rstrip(".") + "." for sentence in sentences[at:place]] + [RECORD.format(noun=noun, key=key)]
        at = place
    parts += [sentence.rstrip(".") + "." for sentence in sentences[at:]]
    turns = []
    for index, (noun, key) in enumerate(rng.sample(list(zip(nouns, keys)), count)):
        before = "\n[" if index == 0 else '",\n '
        turns.append({"prompt": before + LIST_ITEM.format(noun=noun), "answer": key})
    return " ".join(parts), turns


MAKE = {"program": make_program, "list": make_list}


def make_row(rng: random.Random, held_out: bool, kind: str, count: int, row_id: str) -> dict:
    """One row of tasks/long_output.cc with `count` pieces."""
    context, turns = MAKE[kind](rng, held_out, count)
    return {"id": row_id, "context": context, "turns": turns, "stop": STOP[kind]}
