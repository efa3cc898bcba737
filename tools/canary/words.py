"""Words, made-up names and numbers for the generated tasks, split into training and evaluation.

One rule splits everything: a word, a name or a number belongs to the evaluation where its CRC-32 is divisible by four.
So neither side ever sees the other's words, whatever the seed, and the lists can grow without moving an entry.
"""

import random
import zlib
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

VERBS = """get set find list add remove update send book cancel open close start stop check track convert translate play
pause order schedule share count sort merge split rename archive restore print scan copy paint wash lift lower fill empty
fold wrap weigh measure polish repair inspect lock unlock rent lend borrow return store label seal mix heat cool dry press
cut trim join roll stack load unload clean tune test record erase mark draw map plan rate review pick plant water feed
carry tow park launch land recall""".split()

NOUNS = """weather stock email event currency flight text reminder invoice song photo ticket recipe room task contact
report route parcel lamp door timer alarm note file folder meeting playlist budget score table taxi hotel menu price ride
shift badge crate pump valve drone sensor garden kitchen engine pipeline ledger voucher locker mirror fountain bridge
tunnel harbor museum library clinic studio market anchor barrel basket blanket bottle bucket cabin candle canvas carpet
chain chair clock coat compass cradle curtain desk drum fence ferry flag glove hammer helmet jar kettle kite ladder lantern
letter magnet mast medal needle oven paddle panel pillow piano plank pocket quilt radio ribbon rope saddle sail scarf
shelf shovel sled spoon stamp statue stove tent thread tower trunk tube umbrella vase violin wagon wheel whistle window
""".split()

FIELDS = """city title subject target origin label owner color place topic street brand team planet animal author guest
driver client vendor region district station venue country material flavor genre language season pattern shape sender
receiver captain doctor tenant village river island crop metal fabric sport dance""".split()

QUANTITIES = """count minutes level amount floor size year limit speed weight width height depth age days hours pages
seats rows copies distance pressure volume angle budget quota rank dose stars points units rounds steps laps boxes
nights tons liters meters degrees percent cents turns layers coins parts tries cups lots""".split()

FLAGS = """express insurance breakfast backup wifi discount receipt parking music subtitles priority heating cover
autosave encryption shade tax tracking""".split()

CHOICES = """fast slow left right low high north south east west red green blue black white round square flat thick thin
soft hard wet dry hot cold early late daily weekly monthly small medium large single double public private open closed
sweet sour plain spicy metric imperial rough smooth light dark loud quiet warm fresh frozen steel wooden glass paper
inner outer upper rear front""".split()

VALUES = """Paris Tokyo Oslo Lima Cairo Rome Delhi Quito Berlin Madrid Lisbon Dublin Vienna Prague Athens Havana Nairobi
Lagos Hanoi Seoul Osaka Perth Boston Denver Dallas Geneva Zurich Milan Turin Porto amber azure coral ivory jade olive
pearl ruby sable teal cedar maple willow birch aspen otter heron lynx bison raven stork falcon badger beaver marten
salmon Mars Venus Saturn Pluto Jupiter Neptune copper silver cotton linen velvet granite marble basalt quartz saffron
ginger pepper cinnamon vanilla lemon mango papaya walnut almond barley clover thistle lavender orchid tulip poppy
lotus harvest winter summer autumn spring tango waltz polka salsa ballet tennis rowing fencing hockey""".split()

PEOPLE = """Alice Bob Carol David Erin Frank Grace Heidi Ivan Judy Hugo Nora Omar Petra Quinn Rosa Simon Tara Ursula
Victor Wanda Xavier Yara Zoe Adam Beth Clara Dora Emil Fiona Gavin Hana Igor Jonas Karin Leo Mona Nils Olga Pavel Rita
Stefan Tina Uma Vera Walter Yusuf Zelda Anton Bruno Celia Diego Elsa Felix""".split()

LISTS = (VERBS, NOUNS, FIELDS, QUANTITIES, FLAGS, CHOICES, VALUES, PEOPLE)

SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]


def is_held_out(word: object) -> bool:
    """Whether a word, name or number is kept for evaluation."""
    return zlib.crc32(str(word).encode()) % 4 == 0


class Vocabulary:
    """Random words of one side of the split, from one random stream.

    invented: the share of listed words that are replaced by invented ones, so that a model which is trained from scratch
    cannot know the lists by heart and has to read.
    further: words beside the lists. spelled: the share of string values that are taken from them, so that a model which
    knows a word as one token learns to spell any, and not the lists by heart. varied: the same of the words by which tools
    and arguments are described, so that it learns to compare words.
    """

    invented = 0.0
    further: list[str] = []
    spelled = 0.0
    varied = 0.0

    def __init__(self, rng: random.Random, held_out: bool):
        self.rng = rng
        self.held_out = held_out

    def allows(self, word: object) -> bool:
        """Whether the word is on this vocabulary's side."""
        return is_held_out(word) == self.held_out

    def draw(self, make: Callable[[], T]) -> T:
        """The first of what `make` makes that is on this vocabulary's side."""
        while not self.allows(made := make()):
            pass
        return made

    def choose(self, words: list[str]) -> str:
        """One word of a list."""
        return self.sample(words, 1)[0]

    def sample(self, words: list[str], count: int) -> list[str]:
        """Different words of a list, in random order."""
        chosen = self.rng.sample([word for word in words if self.allows(word)], count)
        if self.invented:
            chosen = [self.invent(word) if self.rng.random() < self.invented else word for word in chosen]
        return chosen

    def term(self, words: list[str]) -> str:
        """One word of a list, or in a share of the cases any other, without a capital."""
        if self.varied and self.rng.random() < self.varied:
            return self.draw(lambda: self.rng.choice(self.further).lower())
        return self.choose(words)

    def invent(self, word: str) -> str:
        """Random letters, as long and as capitalised as the word."""
        return self.draw(lambda: self._spell_like(word))

    def _spell_like(self, word: str) -> str:
        letters = "".join(self.rng.choice("eaiotnrslcudphmgbyfvkwxzjq"[: self.rng.choice((8, 16, 26))]) for _ in word)
        return letters.capitalize() if word[0].isupper() else letters

    def made_up(self, syllables: int = 0) -> str:
        """A name that means nothing: "tukavo". Two or three syllables where none are asked for."""
        return self.draw(lambda: self._join_syllables(syllables or self.rng.randint(2, 3)))

    def _join_syllables(self, count: int) -> str:
        return "".join(self.rng.choice(SYLLABLES) for _ in range(count))

    def integer(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return self.draw(lambda: self.rng.randint(low, high))

    def digits(self, count: int) -> str:
        """A string of random digits that does not begin with 0."""
        return str(self.integer(10 ** (count - 1), 10**count - 1))

    def value(self) -> str:
        """A word that can stand for anything: a place, a person, a colour, a made-up name."""
        if self.spelled and self.rng.random() < self.spelled:
            return self.draw(lambda: self.rng.choice(self.further))
        draw = self.rng.random()
        if draw < 0.4:
            return self.choose(VALUES)
        if draw < 0.6:
            return self.choose(PEOPLE)
        return self.made_up().capitalize()
