"""Small stories whose later sentences follow from earlier ones: who is where, who has what, what it looks like.

A story keeps the state of a small world. Its events change the state and its reminders repeat it, so that a reader who
remembers predicts the reminders and one who forgets cannot.
"""

import random

from document import Document, Layout
from words import CHOICES, NOUNS, PEOPLE, Vocabulary

PLACES = [
    "kitchen", "garden", "library", "harbor", "market", "museum", "studio", "cellar", "attic", "station", "chapel",
    "stable", "orchard", "bakery", "workshop", "courtyard", "meadow", "mill", "tower", "quarry", "school", "forge",
    "tavern", "barn", "terrace", "vineyard", "theatre", "hall", "pier", "greenhouse",
]  # fmt: skip


def with_article(words: str) -> str:
    """"a red lamp", "an early bus"."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


class Story:
    """A cast, places and things, told one sentence at a time."""

    def __init__(self, words: Vocabulary):
        self.rng = words.rng
        self.cast = words.sample(PEOPLE, 3)
        self.places = words.sample(PLACES, 3)
        self.things = words.sample(NOUNS, 4)
        self.look = dict(zip(self.things, words.sample(CHOICES, 4)))
        self.where = {person: self.rng.choice(self.places) for person in self.cast}
        self.holder: dict[str, str] = {}
        self.lies = {thing: self.rng.choice(self.places) for thing in self.things}

    def opening(self) -> list[str]:
        """Sentences that say how things stand."""
        lines = [f"{person} was in the {place}." for person, place in self.where.items()]
        lines += [f"In the {place} lay {with_article(self.look[thing])} {thing}." for thing, place in self.lies.items()]
        self.rng.shuffle(lines)
        return lines

    def move(self) -> str:
        """Somebody goes elsewhere."""
        person = self.rng.choice(self.cast)
        target = self.rng.choice([place for place in self.places if place != self.where[person]])
        origin, self.where[person] = self.where[person], target
        return f"{person} left the {origin} and went to the {target}."

    def handle(self) -> str:
        """Somebody takes what lies there, or puts down what they have."""
        person = self.rng.choice(self.cast)
        place = self.where[person]
        held = [thing for thing, holder in self.holder.items() if holder == person]
        near = [thing for thing, where in self.lies.items() if where == place]
        if held and (not near or self.rng.random() < 0.5):
            thing = held[0]
            del self.holder[thing]
            self.lies[thing] = place
            return f"{person} put the {self.look[thing]} {thing} down in the {place}."
        if not near:
            return self.move()
        thing = self.rng.choice(near)
        del self.lies[thing]
        self.holder[thing] = person
        return f"In the {place} {person} picked up the {self.look[thing]} {thing}."

    def remind(self) -> str:
        """A sentence that only repeats how things stand."""
        thing = self.rng.choice(self.things)
        if thing in self.holder:
            person = self.holder[thing]
            return f"The {self.look[thing]} {thing} was now with {person}, in the {self.where[person]}."
        if self.rng.random() < 0.5:
            return f"The {self.look[thing]} {thing} was still in the {self.lies[thing]}."
        person = self.rng.choice(self.cast)
        return f"{person} was still in the {self.where[person]}."

    def sentence(self) -> str:
        """The next sentence."""
        return self.rng.choices((self.move, self.handle, self.remind), (25, 30, 45))[0]()


def make_story(rng: random.Random, held_out: bool, n_sentences: int) -> str:
    """A story of about n_sentences sentences, in one line."""
    story = Story(Vocabulary(rng, held_out))
    lines = story.opening()
    while len(lines) < n_sentences:
        lines.append(story.sentence())
    return " ".join(lines)


def make_document(rng: random.Random, level: float, held_out: bool = False) -> Document:
    """A story. level: 0 (15 sentences) to 1 (up to 60)."""
    return Document("prose", Layout.PARTS, make_story(rng, held_out, rng.randint(15, 20 + round(40 * level))))
