"""Keys hidden among filler: the passkey task's own prompt, and several named keys in one text."""

import random

import prose
from document import Document, Layout, Question
from words import NOUNS, Vocabulary

# As in tasks/passkey.cc.
INSTRUCTION = (
    "There is an important info hidden inside a lot of irrelevant text. Find it and memorize it. I will quiz you about "
    "the important information there.\n"
)
NEEDLE = "The pass key is {key}. Remember it. {key} is the pass key."
QUESTION = "\nWhat is the pass key? The pass key is "

NAMED_NEEDLE = "The pass key of the {noun} is {key}."
NAMED_QUESTION = "\nWhat is the pass key of the {noun}? The pass key of the {noun} is "


def filler(rng: random.Random, held_out: bool, n_words: int) -> list[str]:
    """The first words of as many stories as are needed."""
    found: list[str] = []
    while len(found) < n_words:
        found += prose.make_story(rng, held_out, 30).split()
    return found[:n_words]


def hide(rng: random.Random, hay: list[str], needles: list[str]) -> str:
    """The needles among the words, each before a random word or at the end, as `Haystack::with_needle` joins them."""
    parts = list(hay)
    for needle in needles:
        parts.insert(rng.randint(0, len(parts)), needle)
    return " ".join(parts) + " "


def make_passkey(rng: random.Random, level: float, held_out: bool = False, hay: list[str] | None = None) -> Document:
    """The passkey task's prompt. level: 0 (40 words) to 1 (up to 720, some 1,000 tokens)."""
    n_words = rng.randint(20, 40 + round(680 * level))
    key = Vocabulary(rng, held_out).digits(rng.choice((5, 6, 7, 7, 7, 8)))
    words = filler(rng, held_out, n_words) if hay is None else hay[:n_words]
    context = INSTRUCTION + hide(rng, words, [NEEDLE.format(key=key)])
    return Document("passkey", Layout.PARTS, context, (Question(QUESTION, key),))


def make_multikey(rng: random.Random, level: float, held_out: bool = False, hay: list[str] | None = None) -> Document:
    """Several named keys, each asked for. level: 0 (two or three keys, 40 words) to 1 (up to nine, 400 words)."""
    vocabulary = Vocabulary(rng, held_out)
    nouns = vocabulary.sample(NOUNS, rng.randint(2, 3 + round(6 * level)))
    keys = [vocabulary.digits(rng.choice((4, 5, 6, 7))) for _ in nouns]
    n_words = rng.randint(20, 40 + round(360 * level))
    words = filler(rng, held_out, n_words) if hay is None else hay[:n_words]
    needles = [NAMED_NEEDLE.format(noun=noun, key=key) for noun, key in zip(nouns, keys)]
    questions = [Question(NAMED_QUESTION.format(noun=noun), key) for noun, key in zip(nouns, keys)]
    rng.shuffle(questions)
    return Document("multikey", Layout.PARTS, INSTRUCTION + hide(rng, words, needles), tuple(questions))
