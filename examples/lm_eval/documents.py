"""Documents of the example tasks, made from text that ships with the project; the same ones every time."""

import json
import random
from pathlib import Path

import datasets

DATA = Path(__file__).resolve().parents[2] / "tasks" / "data"

PLACES = ["kitchen", "chapel", "library", "quarry", "harbor", "forge"]
THINGS = ["wet email", "closed fence", "smooth ride", "quiet reminder", "open piano", "flat stamp", "fast sensor"]


def _test_set(rows):
    return {"test": datasets.Dataset.from_list(rows)}


def places(**_):
    """Where a thing lay, said once among three other things."""
    rows = []
    for seed in range(24):
        draw = random.Random(seed)
        lies_in = {thing: draw.choice(PLACES) for thing in draw.sample(THINGS, 4)}
        asked = draw.choice(list(lies_in))
        wrong = draw.sample([place for place in PLACES if place != lies_in[asked]], 3)
        choices = draw.sample([lies_in[asked], *wrong], 4)
        rows.append({
            "text": " ".join(f"In the {place} lay a {thing}." for thing, place in lies_in.items()),
            "asked": asked,
            "choices": [f" {place}." for place in choices],
            "answer": choices.index(lies_in[asked]),
        })
    return _test_set(rows)


def passkeys(**_):
    """Five digits in the middle of a longer text."""
    words = (DATA / "canary" / "background.txt").read_text(encoding="utf-8").split()
    rows = []
    for seed in range(12):
        draw = random.Random(seed)
        begin, middle = draw.randrange(len(words) - 300), draw.randrange(50, 200)
        digits = "".join(draw.choice("0123456789") for _ in range(5))
        around = words[begin : begin + 250]
        needle = f"The pass key is {digits}. Remember it. {digits} is the pass key."
        text = " ".join([*around[:middle], needle, *around[middle:]])
        rows.append({"text": text, "digits": digits})
    return _test_set(rows)


def prose(**_):
    """The first 1,500 characters of eight pages of small stories."""
    lines = (DATA / "canary" / "prose.jsonl").read_text(encoding="utf-8").splitlines()[:8]
    return _test_set([{"page": json.loads(line)["text"][:1500]} for line in lines])
