"""Make the goldens of the tokenizer tests: small tokenizers in the settings of known model families, trained on text
that this script makes up, and the ids that Hugging Face's `tokenizers` gives for strings chosen to be difficult.

  make_tokenizer_golden.py            writes tests/data/tokenizer/*.json

Needs the Python package tokenizers (0.22.2 made the committed files). The tests themselves need no Python.
"""
import json
import pathlib
import random

from tokenizers import Regex, normalizers, pre_tokenizers

from tokenizer_families import SENTENCEPIECE, UNIGRAM, byte_level, family, odd_tokens, split, train_byte_level

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "tokenizer"
RANDOM_TEXTS = 40  # as many before the fixed ones; the committed files stay small


def corpus():
    rng = random.Random(7)
    words = ("the a of and to in is that it was for on are with as his they be at one have this from or had by cache key "
             "value head token layer model prompt window score rotate compress keep evict memory speed don't we'll "
             "it's über straße naïve café привет мир модель 你好 世界 模型 こんにちは مرحبا").split()
    for _ in range(400):
        line = " ".join(rng.choice(words) for _ in range(rng.randint(4, 14)))
        yield line.capitalize() + rng.choice([".", "!", "?", ":", ";"]) + rng.choice(["", "\n", "\n\n"])
        yield f"def {rng.choice(words)}_{rng.randint(0, 999)}(x, y=[{rng.random():.3f}]):\n    return x + y  # {line}\n"


def tokenizers():
    sequence = pre_tokenizers.Sequence
    for name, size in (("gpt2", 700), ("smollm", 700), ("qwen2", 800), ("llama3", 800)):
        yield name, family(name, corpus(), size, odd_tokens())
    for name in SENTENCEPIECE:
        yield name, family(name, corpus(), 620)
    for name in UNIGRAM:
        yield name, family(name, corpus(), 400)
    for behavior in ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"):
        for invert in (False, True):
            steps = [split(Regex(r"[aeiou ]|\d+") if not invert else " ", behavior, invert),
                     pre_tokenizers.Digits(individual_digits=invert), byte_level(use_regex=False)]
            yield (f"split_{behavior}_{'invert' if invert else 'plain'}",
                   train_byte_level(corpus(), 280, pre_tokenizer=sequence(steps)))
    chain = normalizers.Sequence([normalizers.Strip(), normalizers.NFKC(), normalizers.Lowercase(),
                                  normalizers.Replace(Regex(r"\s+"), " "), normalizers.Prepend("_")])
    yield "normalizers", train_byte_level(corpus(), 280, normalizer=chain, pre_tokenizer=byte_level(), added=odd_tokens())


def texts():
    rng = random.Random(11)
    fixed = ["", " ", "  ", "\n", "\n\n\n", " \n \t\r\n ", "a", "Hello world", "  two  spaces  ", "don't WE'LL it'S 'tis",
             "123 4567 8 90123456", "٣٤٥ 一二三 ⅧⅨ ½²", "naïve café", "nai\u0308ve cafe\u0301", "A\u030angstro\u0308m Ångström",
             "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽", "\u200b\u200d\ufeff\u00ad", "\x00\x01\x7f\x85", "e\u0301\u0327\u0334", "한국어 \u1112\u1161\u11ab",
             "<|im_start|>user\nHi<|im_end|>\n", "<|im_end|>x", "<|im_end|", "a <mask> b", "a\n <mask>\tb", "<mask><mask>",
             "x <eat>  \n y", "x<eat><eat> <eat>", " <both> ", "a  <both>\n\n<both>  b", "cat cats cat, acat 猫cat _cat cat", "cat\u0301",
             "def f(x):\n    return x  # done\n", "http://a.b/c?d=e&f=%20", "\u2028\u2029\u3000\u00a0x\u00a0", "ſ 'ſ 'S",
             "İstanbul ǅ ﬁ ①", "مرحبا بالعالم", "שלום", "ไทย", "हिन्दी", "\U0001d54f\U00020000\U0010ffff", "\ufffd\ufffe\uffff",
             "ͅ\u0345α", "a" * 300, " " * 120 + "x", "\n" * 50, "0" * 40, "🙂" * 20, "the the the cache", "\ufb01\u2126\u212b",
             "\u0d3b\u0334 \u1dfa\u0334", "<|endoftext|><|endoftext|>", "<s>x</s> y<unk>", " lead and \u2581mark\u2581\u2581", "a  b   c     d", "\t\tx\t",
             "<|user|>\n hi<|end|>\n<|assistant|>\n", "\n\n\n\nx\n\n", "<0x41><0xE2>", "<table> <table>", "\u20ac\U0001f600 \u20ac",
             "the cache " * 40]
    pools = [[chr(c) for c in range(32, 127)], list(" \n\t\r'"), list("ab1é 日😀\u0301\u200d"),
             [chr(c) for c in range(0xa0, 0x530)], [chr(c) for c in range(0x900, 0x1200)],
             [chr(c) for c in range(0x2000, 0x2600)], [chr(c) for c in range(0x1f300, 0x1f650)],
             ["<mask>", " cat", "<eat>", "<|im_end|>", "'s", " the", "12", "Ångström", "<both>"],
             [chr(c) for c in range(0x10000, 0x110000, 977)], [chr(c) for c in range(0x3040, 0xd7a4, 31)]]
    for _ in range(RANDOM_TEXTS):
        chosen = rng.sample(pools, 3)
        yield "".join(rng.choice(rng.choice(chosen)) for _ in range(rng.randint(1, 24)))
    yield from fixed


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    strings = list(texts())
    (OUT / "texts.json").write_text(json.dumps(strings, ensure_ascii=True, separators=(",", ":")) + "\n")
    for name, tokenizer in tokenizers():
        (OUT / f"{name}.tokenizer.json").write_text(tokenizer.to_str(pretty=False) + "\n")
        used = strings if not name.startswith("split") else strings[RANDOM_TEXTS + 10:]
        rows = []
        for text in used:
            ids = tokenizer.encode(text).ids
            rows.append({"ids": ids, "plain": len(ids) - len(tokenizer.encode(text, add_special_tokens=False).ids),
                         "text": tokenizer.decode(ids, skip_special_tokens=False), "skipped": tokenizer.decode(ids)})
        for row, text in zip(rows, used):  # leave out what is easily rebuilt
            if row["skipped"] == row["text"]:
                del row["skipped"]
            if row["text"] == text:
                del row["text"]
            if row["plain"] == 0:
                del row["plain"]
        (OUT / f"{name}.expected.json").write_text(json.dumps(rows, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
