"""Specifications of several functions, and the bodies that follow from them.

A specification names functions arbitrarily and says in words what each does to a number, a text or a list, in steps
with constants. What is asked for is one function's body: one line for each step.
"""

import dataclasses
import random
import re

from document import Document, Layout, Question, Span
from words import NOUNS, VALUES, Vocabulary

# What a step says, the statement for it, and which constants it takes: whole numbers from a to b, or a word.
Step = tuple[str, str, tuple[int, int] | str | None]

NUMBER_STEPS: tuple[Step, ...] = (
    ("add {k}", "x = x + {k}", (2, 60)),
    ("subtract {k}", "x = x - {k}", (2, 60)),
    ("multiply by {k}", "x = x * {k}", (2, 30)),
    ("divide by {k} and round down", "x = x // {k}", (2, 12)),
    ("take the remainder by {k}", "x = x % {k}", (5, 60)),
    ("take the larger of it and {k}", "x = max(x, {k})", (2, 60)),
    ("take the smaller of it and {k}", "x = min(x, {k})", (20, 90)),
)
TEXT_STEPS: tuple[Step, ...] = (
    ("put {k} in front", "x = {k} + x", "word"),
    ("put {k} at the end", "x = x + {k}", "word"),
    ("repeat it {k} times", "x = x * {k}", (2, 5)),
    ("keep the first {k} letters", "x = x[:{k}]", (3, 9)),
    ("drop the first {k} letters", "x = x[{k}:]", (2, 5)),
    ("reverse it", "x = x[::-1]", None),
    ("make it upper case", "x = x.upper()", None),
)
LIST_STEPS: tuple[Step, ...] = (
    ("append {k}", "x = x + [{k}]", (2, 90)),
    ("put {k} in front", "x = [{k}] + x", (2, 90)),
    ("add {k} to every item", "x = [v + {k} for v in x]", (2, 60)),
    ("multiply every item by {k}", "x = [v * {k} for v in x]", (2, 30)),
    ("keep the items above {k}", "x = [v for v in x if v > {k}]", (2, 40)),
    ("keep the first {k} items", "x = x[:{k}]", (2, 6)),
    ("drop the first {k} items", "x = x[{k}:]", (2, 4)),
    ("reverse it", "x = x[::-1]", None),
    ("sort it", "x = sorted(x)", None),
)
STEPS = {"number": NUMBER_STEPS, "text": TEXT_STEPS, "list": LIST_STEPS}
N_TESTS = 5
CONSTANT = re.compile(r"\d+|(?<=\")\w+")


@dataclasses.dataclass(frozen=True)
class Function:
    """One function of a specification."""

    name: str
    kind: str  # of its argument: a key of STEPS
    said: tuple[str, ...]
    statements: tuple[str, ...]

    def spec_line(self) -> str:
        """What the specification says of it."""
        return f"# {self.name}(x), x is a {self.kind}: {', then '.join(self.said)}.\n"

    def header(self) -> str:
        """The prompt's last line."""
        return f"\ndef {self.name}(x):\n"

    def body(self) -> str:
        """The answer, without the last line's end."""
        return "".join(f"    {statement}\n" for statement in self.statements) + "    return x"

    def run(self, value: object) -> object:
        """What the function returns, from its statements."""
        scope = {"x": value}
        for statement in self.statements:
            exec(statement, {}, scope)  # our own statements only
            if "for v in x" in statement:
                scope.pop("v", None)
        return scope["x"]


def constant(words: Vocabulary, what: tuple[int, int] | str | None) -> str:
    """A constant as it stands in the specification and in the program."""
    if what is None:
        return ""
    if what == "word":
        return f'"{words.choose(VALUES).lower() if words.rng.random() < 0.5 else words.made_up()}"'
    low, high = what
    if high - low < 12:  # too few numbers to keep some for evaluation
        return str(words.rng.randint(low, high))
    return str(words.integer(low, high))


def make_function(words: Vocabulary) -> Function:
    """A function of one to three steps."""
    kind = words.rng.choices(("number", "text", "list"), (40, 30, 30))[0]
    n_steps = words.rng.choices((1, 2, 3), (20, 50, 30))[0]
    said, statements = [], []
    for what, statement, takes in words.rng.sample(STEPS[kind], n_steps):
        k = constant(words, takes)
        said.append(what.format(k=k))
        statements.append(statement.format(k=k))
    name = f"{words.made_up()}_{words.choose(NOUNS)}" if words.rng.random() < 0.5 else words.made_up(3)
    return Function(name, kind, tuple(said), tuple(statements))


def make_specification(words: Vocabulary, count: int) -> list[Function]:
    """Functions with different names and different steps."""
    functions: dict[str, Function] = {}
    while len(functions) < count:
        function = make_function(words)
        if all(function.statements != other.statements for other in functions.values()):
            functions.setdefault(function.name, function)
    return list(functions.values())


def spec_text(functions: list[Function]) -> str:
    """The part of the prompt that all functions share."""
    return "# Specification\n" + "".join(function.spec_line() for function in functions)


def find_follows(context: str, function: Function) -> tuple[tuple[Span, Span], ...]:
    """Each statement and its constant in the body, and the step and constant in the specification."""
    found, at, said_at = [], 0, context.index(function.spec_line()) + len(f"# {function.name}(x), x is a ")
    for said, statement in zip(function.said, function.statements):
        at, said_at = function.body().index(statement, at), context.index(said, said_at)
        found.append(((at, at + len(statement)), (said_at, said_at + len(said))))
        constant_said = CONSTANT.search(said)
        if constant_said:
            begin, length = statement.index(constant_said.group()), len(constant_said.group())
            there = said_at + constant_said.start()
            found.append(((at + begin, at + begin + length), (there, there + length)))
        at, said_at = at + len(statement), said_at + len(said)
    return tuple(found)


def random_input(rng: random.Random, kind: str) -> object:
    """An argument on which wrong constants show: long enough for every step."""
    if kind == "number":
        return rng.randint(20, 999)
    if kind == "text":
        return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(12, 16)))
    return [rng.randint(1, 99) for _ in range(rng.randint(8, 10))]


def make_tests(rng: random.Random, function: Function, others: list[Function]) -> str | None:
    """HumanEval's check(); None where another function of the same kind would pass it."""
    inputs = [random_input(rng, function.kind) for _ in range(N_TESTS)]
    expected = [function.run(value) for value in inputs]
    for other in others:
        if other.kind == function.kind and [other.run(value) for value in inputs] == expected:
            return None
    lines = [f"    assert candidate({value!r}) == {want!r}\n" for value, want in zip(inputs, expected)]
    return "def check(candidate):\n" + "".join(lines)


def make_problem(rng: random.Random, held_out: bool, count: int, task_id: str) -> dict:
    """One problem in HumanEval's form, whose prompt is a specification of `count` functions and one header."""
    while True:
        functions = make_specification(Vocabulary(rng, held_out), count)
        asked = rng.choice(functions)
        test = make_tests(rng, asked, [function for function in functions if function is not asked])
        if test is None:
            continue
        return {
            "task_id": task_id,
            "prompt": spec_text(functions) + asked.header(),
            "entry_point": asked.name,
            "canonical_solution": asked.body() + "\n",
            "test": test,
        }


def make_document(rng: random.Random, level: float, held_out: bool = False) -> Document:
    """A specification with several functions asked for. level: 0 (two or three functions) to 1 (three to eight)."""
    functions = make_specification(Vocabulary(rng, held_out), rng.randint(2 + round(level), 3 + round(5 * level)))
    asked = rng.sample(functions, min(len(functions), 5))
    context = spec_text(functions)
    questions = tuple(
        Question(function.header(), function.body(), follows=find_follows(context, function)) for function in asked
    )
    return Document("code_exec", Layout.WHOLE, context, questions)
