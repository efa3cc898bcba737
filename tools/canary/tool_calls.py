"""Catalogues of tools, and requests that can only be answered with the catalogue.

Names and argument keys are arbitrary: the request speaks the descriptions' words, and what the call must be written
with stands in the catalogue alone. The text of catalogue and request is that of `tools/six_columns.py`.
"""

import dataclasses
import json
import random
import re
from collections.abc import Iterable

import six_columns_path  # noqa: F401
import six_columns
from document import Copy, Document, Layout, Match, Question, Span, ValueChain
from words import CHOICES, FIELDS, FLAGS, NOUNS, QUANTITIES, VERBS, Vocabulary

MAX_NEW_TOKENS = 128
TEMPLATES = (
    "{Verb} the {noun} with {args}.",
    "Please {verb} the {noun}: {args}.",
    "Can you {verb} the {noun}? {Args}.",
    "I need you to {verb} the {noun}, {args}.",
    "{Args}: {verb} the {noun}, please.",
    "{Verb} the {noun}, {args}.",
)
PHRASES = ("{field} {value}", "{field}: {value}", "the {field} {value}", "{value} as {field}", "{field} set to {value}")


@dataclasses.dataclass(frozen=True)
class Argument:
    """One argument of a tool; `field` is what requests call it."""

    key: str
    field: str
    schema: dict
    required: bool


@dataclasses.dataclass(frozen=True)
class Tool:
    """One tool of a catalogue; verb and noun are what requests call it."""

    name: str
    verb: str
    noun: str
    arguments: tuple[Argument, ...]

    def catalog_entry(self) -> dict:
        """The tool as `six_columns.catalog` takes it."""
        properties = {argument.key: argument.schema for argument in self.arguments}
        required = [argument.key for argument in self.arguments if argument.required]
        return {
            "name": self.name,
            "description": f"{self.verb.capitalize()} the {self.noun}.",
            "parameters": six_columns.arguments_schema(properties, required),
        }


def make_argument(words: Vocabulary, field: str, kind: str, plain: bool, required: bool) -> Argument:
    """One argument; a plain one is called what it means, any other has a made-up key and a description."""
    schema: dict = {"type": kind}
    if kind == "enum":
        schema = {"type": "string", "enum": words.sample(CHOICES, words.rng.randint(2, 3))}
    if plain:
        return Argument(field, field, schema, required)
    return Argument(words.made_up(), field, schema | {"description": field}, required)


@dataclasses.dataclass(frozen=True)
class Mix:
    """How many arguments tools have and of which kinds, as weights; the share of strings that are two words."""

    counts: dict[int, int]
    kinds: dict[str, int]
    pairs: float = 0.1


ORDINARY = Mix({1: 35, 2: 45, 3: 20}, {"string": 40, "integer": 22, "number": 8, "boolean": 10, "enum": 20})
STRINGS = Mix({2: 15, 3: 35, 4: 50}, {"string": 70, "integer": 6, "number": 6, "boolean": 8, "enum": 10}, pairs=0.35)


def make_arguments(words: Vocabulary, count: int, plain_share: float, mix: Mix = ORDINARY) -> tuple[Argument, ...]:
    """Arguments of one tool: the first is required, later ones are optional in a third of the cases."""
    kinds = words.rng.choices(tuple(mix.kinds), tuple(mix.kinds.values()), k=count)
    lists = {"string": FIELDS, "integer": QUANTITIES, "number": QUANTITIES, "boolean": FLAGS, "enum": FIELDS}
    made: dict[str, Argument] = {}
    for kind in kinds:
        field = words.term([field for field in lists[kind] if field not in made])
        required = not made or words.rng.random() < 0.67
        made[field] = make_argument(words, field, kind, words.rng.random() < plain_share, required)
    if len({argument.key for argument in made.values()}) < count:
        return make_arguments(words, count, plain_share, mix)
    return tuple(made.values())


def make_name(words: Vocabulary, verb: str, noun: str, plain_share: float) -> str:
    """A name that says what the tool does (plain), or one that does not."""
    if words.rng.random() < plain_share:
        return f"{verb}_{noun}"
    return "_".join(words.made_up() for _ in range(2)) if words.rng.random() < 0.8 else words.made_up(3)


def make_catalog(words: Vocabulary, count: int, plain_share: float, mix: Mix = ORDINARY) -> list[Tool]:
    """Different tools; some share their verb or their noun, so that both must be read."""
    tools: dict[str, Tool] = {}
    taken: set[tuple[str, str]] = set()
    while len(tools) < count:
        verb, noun = words.term(VERBS), words.term(NOUNS)
        if tools and words.rng.random() < 0.25:
            other = words.rng.choice(list(tools.values()))
            verb, noun = (other.verb, noun) if words.rng.random() < 0.5 else (verb, other.noun)
        name = make_name(words, verb, noun, plain_share)
        if (verb, noun) in taken or name in tools:
            continue
        taken.add((verb, noun))
        n_arguments = words.rng.choices(tuple(mix.counts), tuple(mix.counts.values()))[0]
        arguments = make_arguments(words, n_arguments, plain_share, mix)
        tools[name] = Tool(name, verb, noun, arguments)
    return list(tools.values())


def make_value(words: Vocabulary, schema: dict, pairs: float) -> object:
    """A value that the schema allows; pairs: the share of strings that are two words."""
    if "enum" in schema:
        return words.rng.choice(schema["enum"])
    if schema["type"] == "boolean":
        return words.rng.random() < 0.5
    if schema["type"] == "integer":
        return words.integer(1, 99) if words.rng.random() < 0.7 else words.integer(100, 2999)
    if schema["type"] == "number":
        return words.integer(1, 99) + words.rng.choice((0.25, 0.5, 0.75))
    draw = words.rng.random()
    if draw < pairs:
        return f"{words.value()} {words.value()}"
    if draw < pairs + 0.05:
        return f"{words.made_up(1).upper()}-{words.integer(10, 999)}"
    return words.value()


def phrase(words: Vocabulary, argument: Argument, value: object) -> str:
    """How a request says one value."""
    if isinstance(value, bool):
        return f"{'with' if value else 'without'} {argument.field}"
    return words.rng.choice(PHRASES).format(field=argument.field, value=value)


def make_request(words: Vocabulary, tool: Tool, mix: Mix = ORDINARY) -> tuple[str, dict]:
    """A request for a tool and the arguments of its call, in the schema's order."""
    said = [argument for argument in tool.arguments if argument.required or words.rng.random() < 0.5]
    values = {argument.key: make_value(words, argument.schema, mix.pairs) for argument in said}
    phrases = [phrase(words, argument, values[argument.key]) for argument in said]
    words.rng.shuffle(phrases)
    args = phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"
    template = words.rng.choice(TEMPLATES)
    request = template.format(
        verb=tool.verb, Verb=tool.verb.capitalize(), noun=tool.noun, args=args, Args=opening(args, values.values())
    )
    return request, values


def opening(text: str, values: Iterable[object]) -> str:
    """The text at the beginning of a sentence: with a capital, unless it begins with one of the values, which must be written
    as they are said."""
    said_first = any(text.startswith(str(value)) for value in values)
    return text if said_first else text[0].upper() + text[1:]


def make_rows(
    rng: random.Random, held_out: bool, n_tools: int, n_requests: int, plain_share: float = 0.0
) -> list[dict]:
    """Rows in six columns that share one catalogue; requests are about different tools as long as there are some."""
    words = Vocabulary(rng, held_out)
    return ask(words, make_catalog(words, n_tools, plain_share), n_requests)


def ask(words: Vocabulary, tools: list[Tool], n_requests: int, mix: Mix = ORDINARY) -> list[dict]:
    """The rows of requests to a catalogue."""
    entries = [tool.catalog_entry() for tool in tools]
    asked: list[Tool] = []
    while len(asked) < n_requests:
        asked += words.rng.sample(tools, min(len(tools), n_requests - len(asked)))
    rows = []
    for tool in asked:
        request, values = make_request(words, tool, mix)
        rows.append(six_columns.row(entries, request, tool.name, values, max_new_tokens=MAX_NEW_TOKENS))
    return rows


def gold_text(row: dict) -> str:
    """The call that a row expects, as a model should write it."""
    answer = json.loads(row["answer"])
    return json.dumps({"name": answer["name"], "arguments": answer["arguments"]}, ensure_ascii=False)


@dataclasses.dataclass(frozen=True)
class CallPart:
    """A key of a call and its value: characters of the call, and where the catalogue has the key."""

    key: Span
    value: Span
    entry: int


def call_parts(row: dict, gold: str) -> list[CallPart]:
    """The arguments of a row's call; first the name, as a part without a value."""
    call, context = json.loads(gold), row["context"]
    end = gold.index(call["name"]) + len(call["name"])
    entry = context.index(f". {call['name']} ") + len(". ")
    parts = [CallPart((end - len(call["name"]), end), (end, end), entry)]
    for key, value in call["arguments"].items():
        key_end = gold.index(f'"{key}": ', end) + 1 + len(key)
        begin = key_end + len('": ') + isinstance(value, str)
        end = begin + len(value if isinstance(value, str) else json.dumps(value))
        place = context.index(f'"{key}": {{', entry) + 1
        parts.append(CallPart((key_end - len(key), key_end), (begin, end), place))
    return parts


def find_once(text: str, what: str) -> Span | None:
    """Where a word or number stands in a text, capitals aside; None unless it does exactly once."""
    found = re.finditer(rf"(?<![\w.-]){re.escape(what)}(?!\w|\.\d|-)", text, re.IGNORECASE)
    spans = [match.span() for match in found]
    return spans[0] if len(spans) == 1 else None


def find_copies(row: dict, gold: str, parts: list[CallPart]) -> tuple[Copy, ...]:
    """Where the call's name and keys stand in the catalogue, and its values in the request (those that stand there once)."""
    copies = []
    for part in parts:
        copies.append(Copy(*part.key, part.entry, True))
        said = find_once(row["question"], gold[slice(*part.value)]) if part.value[0] < part.value[1] else None
        if said:
            copies.append(Copy(*part.value, said[0], False))
    return tuple(copies)


def find_chains(row: dict, gold: str, arguments: list[CallPart]) -> tuple[ValueChain, ...]:
    """How each value is found, where the request has its field and the value once."""
    chains = []
    for part in arguments:
        schema, _ = json.JSONDecoder().raw_decode(row["context"], row["context"].index("{", part.entry))
        word = schema.get("description", gold[slice(*part.key)])
        begin = row["context"].index(word, part.entry + len(word) if "description" in schema else part.entry)
        field = find_once(row["question"], word)
        said = find_once(row["question"], gold[slice(*part.value)])
        if field and (said or schema["type"] == "boolean"):
            chains.append(ValueChain(part.value, (begin, begin + len(word)), field, said))
    return tuple(chains)


def find_matches(row: dict, gold: str) -> tuple[Match, ...]:
    """The request's noun, if it stands there once, in the descriptions of all tools with that noun; and the " the " behind
    its verb, where a model that reads from left to right knows the verb, in those of all tools with that verb."""
    tools = list(re.finditer(r"\. (\w+) — (\w+)( the )(\w+)\.\n", row["context"]))
    asked = next(tool for tool in tools if tool[1] == json.loads(gold)["name"])
    _, verb, _, noun = asked.groups()
    here = find_once(row["question"], noun)
    if here is None:
        return ()
    nouns = tuple(tool.span(4) for tool in tools if tool[4] == noun)
    verbs = tuple(tool.span(3) for tool in tools if tool[2] == verb)
    description = (asked.start(2), asked.end(4))
    return (
        Match("noun", here, nouns, description),
        Match("verb", (here[0] - len(" the "), here[0]), verbs, description),
    )


def make_question(row: dict) -> Question:
    """A row's request and call, and how the one is found in the other."""
    gold = gold_text(row)
    parts = call_parts(row, gold)
    copies, chains = find_copies(row, gold, parts), find_chains(row, gold, parts[1:])
    return Question(row["question"], gold, copies, chains, matches=find_matches(row, gold))


def make_questions(rows: list[dict]) -> tuple[Question, ...]:
    """The rows' requests and calls."""
    return tuple(map(make_question, rows))


def make_document(rng: random.Random, level: float, held_out: bool = False) -> Document:
    """A catalogue with several requests. level: 0 (two or three tools) to 1 (three to twelve)."""
    n_tools = rng.randint(2 + round(level), 3 + round(9 * level))
    plain_share = 0.0 if held_out or rng.random() < 0.75 else rng.choice((0.5, 1.0))
    rows = make_rows(rng, held_out, n_tools, rng.randint(8, 14), plain_share)
    return Document("tool_call", Layout.CHAT, rows[0]["context"], make_questions(rows))


def make_strings_document(rng: random.Random, level: float) -> Document:
    """A short catalogue whose tools take several strings, with many requests: many words to spell, and to tell apart."""
    words = Vocabulary(rng, held_out=False)
    rows = ask(words, make_catalog(words, rng.randint(2, 3 + round(2 * level)), 0.0, STRINGS), rng.randint(10, 18), STRINGS)
    return Document("strings", Layout.CHAT, rows[0]["context"], make_questions(rows))
