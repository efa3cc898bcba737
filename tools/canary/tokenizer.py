"""The canary's tokenizer: byte-level BPE whose pieces are pairs of letters, single digits and the texts between words.

Words are cut into pairs from their start, so a word has the same pieces wherever it stands, capitalised or not, and a
word that training never saw has pieces that it saw. What stands between words in the generated texts (". ", " the ",
`": {"type": "string", "description": "`) is one token each: found by counting, not listed by hand.
"""

import collections
import json
import pathlib
import re
import string

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors

import programs
import prose
import words

BOS, EOS, PAD = "<|bos|>", "<|eos|>", "<|pad|>"
N_BETWEEN = 200
MIN_COUNT = 8
NOT_MADE_UP = {"name"}  # syllables by chance
MADE_UP = re.compile(r"([bdfgklmnprstvz][aeiou]){2,}")
WORD_OR_DIGIT = re.compile(r"[A-Za-z]+|[0-9]")
# Inside a text between words a new token begins with each line, sentence, step and capitalised word (not "Schema").
CUT = re.compile(r"(?<=\n)|(?<=[.?!] )|(?=, then )|(?=\.\n)|(?<= )(?=[A-Z](?!chema|SON))")


def listed_words() -> set[str]:
    """Every word that generators draw, in lower case."""
    return {word.lower() for group in (*words.LISTS, prose.PLACES) for word in group}


def is_drawn(word: str, listed: set[str]) -> bool:
    """Whether a word of a generated text was drawn and does not belong to the text around."""
    word = word.lower()
    return word.isdigit() or word in listed or (MADE_UP.fullmatch(word) is not None and word not in NOT_MADE_UP)


def cut(text: str) -> list[str]:
    """A text between two words, cut where a line or a sentence begins."""
    return [part for part in CUT.split(text) if part]


def texts_between(documents: list[str]) -> collections.Counter:
    """How often each text stands between two drawn words, numbers or sentence starts."""
    listed, counts = listed_words(), collections.Counter()
    for text in documents:
        start = 0
        for match in WORD_OR_DIGIT.finditer(text):
            if is_drawn(match.group(), listed):
                counts.update(cut(text[start : match.start()]))
                start = match.end()
        counts.update(cut(text[start:]))
    return counts


def fixed_texts() -> list[str]:
    """Fixed texts with words that are also drawn: the parts of a step, said and as a statement."""
    found = {"    return x", " set to "} | {f"(x), x is a {kind}" for kind in programs.STEPS}
    for said, statement, takes in (step for steps in programs.STEPS.values() for step in steps):
        quote = '"' if takes == "word" else ""
        before, _, after = said.replace("{k}", f"{quote}\0{quote}").partition("\0")
        found |= {f": {before}", f", then {before}", after}
        before, _, after = statement.replace("{k}", f"{quote}\0{quote}").partition("\0")
        found |= {f"    {before}", after}
    return sorted(text for text in found if len(text) > 1)


def frequent_texts(documents: list[str]) -> list[str]:
    """The texts between words that save most tokens, and those of program steps."""
    counts = texts_between(documents)
    useful = [text for text, count in counts.items() if len(text) > 1 and count >= MIN_COUNT]
    useful.sort(key=lambda text: (-counts[text] * min(len(text) - 1, 8), text))
    steps = fixed_texts()
    return steps + [text for text in useful if text not in steps][:N_BETWEEN]


def letter_pairs() -> list[str]:
    """aa to zz and Aa to Zz."""
    lower = string.ascii_lowercase
    return [a + b for first in (lower, string.ascii_uppercase) for a in first for b in lower]


def build(documents: list[str]) -> Tokenizer:
    """A tokenizer from sample documents of the training side."""
    names = [BOS, EOS, PAD] + sorted(pre_tokenizers.ByteLevel.alphabet()) + letter_pairs()
    vocabulary = {name: index for index, name in enumerate(names)}
    tokenizer = Tokenizer(models.BPE(vocabulary, [tuple(pair) for pair in letter_pairs()]))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"\p{L}\p{L}?|\p{N}|[^\p{L}\p{N}]"), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, vocabulary[BOS])]
    )
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in (BOS, EOS, PAD)])
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in frequent_texts(documents)])
    return tokenizer


def save(tokenizer: Tokenizer, folder: pathlib.Path) -> None:
    """tokenizer.json and tokenizer_config.json."""
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": BOS, "eos_token": EOS, "pad_token": PAD,
        "add_bos_token": True, "model_max_length": 4096, "clean_up_tokenization_spaces": False,
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
