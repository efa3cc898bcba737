"""Compare `kvengine tokenize` with Hugging Face's tokenizers on files and on random Unicode text.

  check_tokenizer.py --kvengine build/kvengine --model DIR [--file F ...] [--random N] [--seed S]
  check_tokenizer.py --kvengine build/kvengine --model X.gguf --reference DIR/tokenizer.json ...
  check_tokenizer.py --kvengine build/kvengine --families all [--size 8000] --file F ...

DIR holds a tokenizer.json. Every file is tokenised whole; N random strings go through one call, one per line. The ids
are decoded again: the text must be what Hugging Face decodes, and how often it is the normalised input is told (what a
vocabulary lacks is lost). --families trains tokenizers in the settings of model families (tokenizer_families.py), on
the first megabyte of the files, and checks each. --characters adds every character of planes 0 to 3 and 14 among letters, digits, signs and
marks. Prints the first differences; exit status 1 where there is one. Needs the Python package tokenizers.
"""
import argparse
import itertools
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import time

import tokenizer_families
from tokenizers import Tokenizer


def random_text(rng):
    """No line breaks: the strings go into a file, one per line."""
    pools = [lambda: chr(rng.randint(32, 126)), lambda: rng.choice(" \t\u00a0\u3000\u2003\u200b\u200d\ufeff") * rng.randint(1, 4),
             lambda: chr(rng.randint(0xa0, 0x24ff)), lambda: chr(rng.randint(0x300, 0x36f)),
             lambda: chr(rng.randint(0x4e00, 0x9fff)), lambda: chr(rng.randint(0xac00, 0xd7a3)),
             lambda: chr(rng.randint(0x1f300, 0x1faff)), lambda: rng.choice(["'s", "'LL", " the", "<|im_end|>", "12345"]),
             lambda: chr(rng.choice([rng.randint(1, 0xd7ff), rng.randint(0xe000, 0x10ffff)]))]
    text = "".join(rng.choice(pools)() for _ in range(rng.randint(1, 60)))
    return "".join(c for c in text if len(c.splitlines()) == 1 and c not in "\n\r")


def every_character():
    """Without the line feed, which separates the texts."""
    for code in [*range(1, 0x32400), *range(0xe0000, 0xe0200)]:
        c = chr(code)
        if not 0xd800 <= code < 0xf900 and c != "\n":
            yield f"a{c}b 1{c}2 {c}{c}. .{c} '{c}'s {c} e{c}\u0301\u0334"


def run(args, path, *flags):
    command = [args.kvengine, "tokenize", "--model", args.model, "--file", str(path), *flags]
    begin = time.perf_counter()
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.decode()
    print(f"{path} {' '.join(flags)}: {time.perf_counter() - begin:.2f} s, program start and model included")
    return output


def compare(name, texts, ours, expected):
    if len(texts) != len(ours):
        print(f"{name}: {len(texts)} texts, but {len(ours)} results")
        return len(texts)
    wrong = 0
    for text, mine, theirs in zip(texts, ours, expected):
        if mine == theirs:
            continue
        wrong += 1
        at = next((i for i, (a, b) in enumerate(zip(mine, theirs)) if a != b), min(len(mine), len(theirs)))
        if wrong <= 5:
            print(f"{name}: place {at} differs: ours {mine[at:at + 5]!r}, expected {theirs[at:at + 5]!r}: {text[:80]!r}")
    print(f"{name}: {len(texts)} texts, {wrong} differ")
    return wrong


def check(args, name, path, texts, flags, reference):
    """The file at path holds the texts: one, or one per line with the flag --lines."""
    ids = [json.loads(line) for line in run(args, path, *flags).split("\n") if line]
    expected = [reference.encode(text).ids for text in texts]
    wrong = compare(f"{name}: ids", texts, ids, expected)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("".join(json.dumps(row) + "\n" for row in expected))
        file.flush()
        output = run(args, file.name, "--decode", *flags)
    decoded = output[:-1].split("\n") if flags else [output]
    wrong += compare(f"{name}: decoded", texts, decoded,
                     [reference.decode(row, skip_special_tokens=False) for row in expected])
    inputs = [reference.normalizer.normalize_str(text) if reference.normalizer else text for text in texts]
    print(f"{name}: {sum(a == b for a, b in zip(inputs, decoded))} of {len(texts)} come back as they were")
    return wrong


def check_model(args, reference):
    """How many texts gave other ids or another text."""
    reference.no_truncation()
    reference.no_padding()
    wrong = 0
    for path in args.file:
        text = pathlib.Path(path).read_bytes().decode()
        wrong += check(args, path, path, [text], [], reference)
    lists = {}
    if args.random:
        rng = random.Random(args.seed)
        texts = (random_text(rng) for _ in iter(int, 1))
        lists["random strings"] = list(itertools.islice((text for text in texts if text.strip()), args.random))
    if args.characters:
        lists["characters"] = list(every_character())
    for name, texts in lists.items():
        with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8", newline="") as file:
            file.write("".join(text + "\n" for text in texts))
            file.flush()
            wrong += check(args, name, file.name, texts, ["--lines"], reference)
    return wrong


def trained(args, folder, name):
    """Trains a family's tokenizer and leaves it in a folder of its own, which becomes the model."""
    corpus = "".join(pathlib.Path(path).read_text() for path in args.file)[:1_000_000]
    tokenizer = tokenizer_families.family(name, corpus.splitlines(keepends=True), args.size,
                                          tokenizer_families.odd_tokens())
    args.model = str(pathlib.Path(folder) / name)
    pathlib.Path(args.model).mkdir()
    tokenizer.save(args.model + "/tokenizer.json")
    pathlib.Path(args.model, "config.json").write_text("{}")  # makes the folder a model's
    return Tokenizer.from_file(args.model + "/tokenizer.json")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kvengine", required=True)
    parser.add_argument("--model")
    parser.add_argument("--reference", help="a tokenizer.json, where the model folder has none")
    parser.add_argument("--families", help="names with commas between, or all")
    parser.add_argument("--size", type=int, default=8000, help="entries of the families' tokenizers")
    parser.add_argument("--file", action="append", default=[])
    parser.add_argument("--random", type=int, default=0)
    parser.add_argument("--characters", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if (args.model is None) == (args.families is None):
        parser.error("expected either --model or --families")
    if args.families is None:
        reference = Tokenizer.from_file(args.reference or str(pathlib.Path(args.model) / "tokenizer.json"))
        sys.exit(1 if check_model(args, reference) else 0)
    names = tokenizer_families.ALL if args.families == "all" else args.families.split(",")
    wrong = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            print(f"== {name}", flush=True)
            wrong[name] = check_model(args, trained(args, folder, name))
    print(f"{sum(n == 0 for n in wrong.values())} of {len(names)} families equal in all texts; others: "
          f"{ {name: n for name, n in wrong.items() if n} }")
    sys.exit(1 if any(wrong.values()) else 0)


if __name__ == "__main__":
    main()
