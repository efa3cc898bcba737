#!/usr/bin/env python3
"""Writes made-up rows in LongBench's schema, one file for each of its 16 English data sets.

Usage: make_longbench_rows.py [--out DIR] [--rows N] [--words W] [--seed S]. Without arguments it writes what ships in
tasks/data/longbench: one row of about 100 words in each file. Names, facts, dialogues and code are our own; every
question can be answered from its context. LongBench's real rows are thousands of words long: these try a pipeline, they
measure no model.
"""

import argparse
import json
import os
import random

SHIPPED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tasks", "data", "longbench")

NAMES = ["Mirela", "Oskar", "Tamsin", "Bastian", "Ilke", "Corvin", "Sunniva", "Petrus", "Yolanda", "Emeric"]
CITIES = ["Harrowgate", "Lindum", "Port Ansel", "Quellbach", "Nordhaven", "Tessaly", "Brackwater", "Sundal"]
ANIMALS = ["a grey heron", "two goats", "a blind owl", "an old mule", "nine bees", "a tame fox", "a parrot"]
TRADES = ["clockmaker", "ferryman", "surveyor", "baker", "lamplighter", "archivist", "glazier"]
FILLERS = ["The rain had not stopped since morning.", "Nobody in the street took any notice.",
           "The mill wheel turned as it always did.", "A cart went by with its lamps unlit.",
           "The harbour bell rang twice and was silent.", "Someone had left the gate open again."]
CLASSES = ["Person", "Place", "Number of something", "Date", "Reason", "Animal"]
TYPED = [("Who built the old lighthouse ?", "Person"), ("Where is the salt market held ?", "Place"),
         ("How many arches has the bridge ?", "Number of something"), ("When was the dam opened ?", "Date"),
         ("Why do the gulls leave in March ?", "Reason"), ("What bird nests in the tower ?", "Animal")]
CHATS = [("Ines: Did you feed the hens?\nJoel: Not yet. I will do it at six.", "Joel will feed the hens at six."),
         ("Marek: The train is late.\nDora: Then I wait at the bakery.", "Dora waits at the bakery because the train is late."),
         ("Lotte: Can I have your ladder?\nSam: It is in the shed, take it.", "Lotte may take Sam's ladder from the shed."),
         ("Nils: Who has the spare key?\nAda: Our neighbour has it.", "The neighbour has the spare key.")]


def person(rng):
    return {"name": rng.choice(NAMES) + " " + rng.choice("ABCDEFGHKLMNPRSTVW") + ".", "city": rng.choice(CITIES),
            "animal": rng.choice(ANIMALS), "trade": rng.choice(TRADES)}


def a(noun):
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def people(rng, n):
    found = {}
    while len(found) < n:
        one = person(rng)
        found.setdefault(one["name"], one)
    return list(found.values())


def paragraph(rng, one, words):
    """About `words` words about one person."""
    text = f"{one['name']} is {a(one['trade'])} in {one['city']} and keeps {one['animal']}."
    while len(text.split()) < words:
        text += " " + rng.choice(FILLERS)
    return text


def paragraphs(rng, words, each=30):
    found = people(rng, min(40, max(2, words // each)))
    return found, [paragraph(rng, one, words // len(found)) for one in found]


def single_doc(rng, words):
    found, texts = paragraphs(rng, words)
    one = rng.choice(found)
    return {"context": "\n".join(texts), "input": f"In which city does {one['name']} work?", "answers": [one["city"]]}


def multi_doc(rng, words):
    found, texts = paragraphs(rng, words)
    context = "\n\n".join(f"Passage {i + 1}:\n{one['name']}\n{text}" for i, (one, text) in enumerate(zip(found, texts)))
    one = rng.choice(found)
    return {"context": context, "input": f"What does the {one['trade']} {one['name']} keep?",
            "answers": [one["animal"], one["animal"].split(" ", 1)[1]]}


def summary(rng, words):
    found, texts = paragraphs(rng, words)
    gist = " ".join(f"{one['name']} works in {one['city']}." for one in found[:5])
    return {"context": "\n".join(texts), "input": "", "answers": [gist]}


def meeting(rng, words):
    found, texts = paragraphs(rng, words)
    one = rng.choice(found)
    context = "\n".join(f"{who['name']}: {text}" for who, text in zip(found, texts))
    return {"context": context, "input": f"What was said about {one['name']}?",
            "answers": [f"{one['name']} is {a(one['trade'])} in {one['city']}."]}


def typed_questions(rng, words):
    examples = [rng.choice(TYPED) for _ in range(max(2, words // 9))]
    question, answer = rng.choice(TYPED)
    return {"context": "\n".join(f"Question: {q}\nType: {a}" for q, a in examples), "input": f"Question: {question}\nType:",
            "answers": [answer], "all_classes": CLASSES}


def trivia(rng, words):
    found, texts = paragraphs(rng, words)
    shown = [f"Passage:\n{text}\nQuestion:\nWhere does {one['name']} work?\nAnswer:\n{one['city']}"
             for one, text in zip(found, texts)]
    one = person(rng)
    return {"context": "\n\n".join(shown), "answers": [one["city"], "the town of " + one["city"]],
            "input": f"Passage:\n{paragraph(rng, one, 20)}\nQuestion:\nWhere does {one['name']} work?\nAnswer:\n"}


def dialogue(rng, words):
    examples = [rng.choice(CHATS) for _ in range(max(1, words // 20))]
    talk, gist = rng.choice(CHATS)
    return {"context": "\n\n".join(f"Dialogue: {t}\nSummary: {g}" for t, g in examples),
            "input": f"Dialogue: {talk}\nSummary: ", "answers": [gist]}


def retrieval(rng, words):
    found, texts = paragraphs(rng, words)
    wanted = rng.randrange(len(found))
    one = found[wanted]
    return {"context": "\n\n".join(f"Paragraph {i + 1}: {text}" for i, text in enumerate(texts)),
            "input": f"The {one['trade']} {one['name']} and {one['animal']}.", "answers": [f"Paragraph {wanted + 1}"]}


def count(rng, words):
    found, texts = paragraphs(rng, words)
    shown = texts + [rng.choice(texts) for _ in range(len(texts) // 2)]
    rng.shuffle(shown)
    return {"context": "\n\n".join(f"Paragraph {i + 1}: {text}" for i, text in enumerate(shown)), "input": "",
            "answers": [str(len(texts))]}


def functions(rng, words):
    lines = []
    for i in range(max(2, words // 12)):
        first, second = rng.sample("abcdefgh", 2)
        lines.append(f"def step_{i}({first}, {second}):\n    total = {first} * {rng.randint(2, 9)} + {second}\n    return total\n")
    return "\n".join(lines), "    return total"


def one_file(rng, words):
    code, last = functions(rng, words)
    return {"context": code + "\ndef last_step(x, y):\n    total = x + y\n", "input": "", "answers": [last]}


def many_files(rng, words):
    code, last = functions(rng, words)
    return {"context": f"# path: steps.py\n{code}\n", "answers": [last],
            "input": "# path: main.py\nfrom steps import step_0\n\ndef run(x):\n    total = step_0(x, 1)\n"}


SETS = {"narrativeqa": single_doc, "qasper": single_doc, "multifieldqa_en": single_doc, "hotpotqa": multi_doc,
        "2wikimqa": multi_doc, "musique": multi_doc, "gov_report": summary, "qmsum": meeting, "multi_news": summary,
        "trec": typed_questions, "triviaqa": trivia, "samsum": dialogue, "passage_retrieval_en": retrieval,
        "passage_count": count, "lcc": one_file, "repobench-p": many_files}


def row(name, index, words, seed):
    rng = random.Random(f"{seed}/{name}/{index}")
    made = SETS[name](rng, words)
    made.setdefault("all_classes", None)
    made.update(length=len(made["context"].split()), dataset=name, language="python" if SETS[name] in (one_file, many_files) else "en",
                _id=f"made-up-{name}-{index}")
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default=SHIPPED)
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--words", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    for name in SETS:
        with open(os.path.join(args.out, name + ".jsonl"), "w", encoding="utf-8") as out:
            for index in range(args.rows):
                out.write(json.dumps(row(name, index, args.words, args.seed), ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
