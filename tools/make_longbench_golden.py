#!/usr/bin/env python3
"""Writes tests/data/longbench/metrics.json: LongBench's metrics on texts of our own, from the packages that it uses.

Usage: make_longbench_golden.py. Needs the Python packages rouge 1.0.1 and fuzzywuzzy 0.18.0 (without python-Levenshtein,
which computes another ratio); Python's own re, string and collections give the rest.
"""

import collections
import json
import os
import random
import re
import string
import sys
import warnings

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "data", "longbench", "metrics.json")

WORDS = "the a an river bridge Bridge mill wheel turns slowly past 3 houses and two old barns , ; but not today".split()
CLASSES = ["City", "Old City", "Country", "Date", "Date of birth", "birth"]
CODE = ["return total", "total = a + b", "for i in range(10):", "# a remark", "// another", "```", "", "x = [i for i in y]"]


def normalize(text):
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def word_f1(prediction, truth):
    ours, theirs = normalize(prediction).split(), normalize(truth).split()
    same = sum((collections.Counter(ours) & collections.Counter(theirs)).values())
    if same == 0:
        return 0.0
    precision, recall = same / len(ours), same / len(theirs)
    return 2 * precision * recall / (precision + recall)


def class_match(prediction, truth, classes):
    found = [one for one in classes if one in prediction]
    for one in found:  # removing while it is walked is the published behaviour
        if one in truth and one != truth:
            found.remove(one)
    return 1 / len(found) if truth in found else 0.0


def number_share(prediction, truth):
    numbers = re.findall(r"\d+", prediction)
    return sum(number == truth for number in numbers) / len(numbers) if numbers else 0.0


def code_sim(fuzz, prediction, truth):
    lines = [line for line in prediction.lstrip("\n").split("\n") if not re.search("`|#|//", line)]
    return fuzz.ratio(lines[0] if lines else "", truth) / 100


def sentence(rng, most):
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, most)))


def text(rng):
    return rng.choice([". ", ".\n", " .  ", ".."]).join(sentence(rng, 12) for _ in range(rng.randint(1, 5)))


def cases(fuzz, rouge):
    rng = random.Random(7)

    def rouge_l(prediction, truth):
        try:
            return rouge.get_scores([prediction], [truth], avg=True)["rouge-l"]["f"]
        except (ValueError, RecursionError):
            return 0.0

    fixed = [("", ""), ("The The", "a"), ("ÉTÉ “the” İzmir", "été i̇zmir"), ("the-end theend", "end theend"),
             ("one\u00a0two\u3000three", "one two three"), (" . ", "x"), ("a.b.c", "a b c"), ("v1.2 of it", "v1. 2 of it")]
    pairs = fixed + [(text(rng), text(rng)) for _ in range(24)]
    for prediction, truth in pairs:
        yield {"metric": "qa_f1_score", "prediction": prediction, "truth": truth, "score": word_f1(prediction, truth)}
        yield {"metric": "rouge_score", "prediction": prediction, "truth": truth, "score": rouge_l(prediction, truth)}
    for _ in range(16):
        prediction, truth = " ".join(rng.sample(CLASSES, rng.randint(1, 4))), rng.choice(CLASSES)
        yield {"metric": "classification_score", "prediction": prediction, "truth": truth, "classes": CLASSES,
               "score": class_match(prediction, truth, CLASSES)}
    for prediction in ["Paragraph 4", "4 or 14", "fourteen", "x14y 4.0", "04", "４ 4", "12 4 4"]:
        yield {"metric": "retrieval_score", "prediction": prediction, "truth": "It is Paragraph 4, I think",
               "score": number_share(prediction, "4")}
        yield {"metric": "count_score", "prediction": prediction, "truth": "4", "score": number_share(prediction, "4")}
    for _ in range(20):
        prediction, truth = "\n".join(rng.choice(CODE) for _ in range(rng.randint(1, 4))), rng.choice(CODE)
        yield {"metric": "code_sim_score", "prediction": prediction, "truth": truth, "score": code_sim(fuzz, prediction, truth)}
    for width in (199, 200, 260):  # difflib drops frequent characters from 200 on
        prediction, truth = "".join(rng.choice("abcd =") for _ in range(width)), "".join(rng.choice("abcd =") for _ in range(width))
        yield {"metric": "code_sim_score", "prediction": prediction, "truth": truth, "score": code_sim(fuzz, prediction, truth)}


def main():
    warnings.simplefilter("ignore")  # fuzzywuzzy praises the package that it must not have here
    try:
        from fuzzywuzzy import fuzz
        from rouge import Rouge
    except ImportError as error:
        sys.exit(f"{error}; expected rouge 1.0.1 and fuzzywuzzy 0.18.0")
    if "Levenshtein" in sys.modules:
        sys.exit("python-Levenshtein is installed, with which fuzz.ratio is another number")
    os.makedirs(os.path.dirname(OUT), exist_ok=True)
    with open(OUT, "w", encoding="utf-8") as out:
        lines = [json.dumps(case, ensure_ascii=False) for case in cases(fuzz, Rouge())]
        out.write("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main()
