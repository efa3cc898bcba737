"""What every generator makes: one context and questions about it, as the runner shows them to a model."""

import dataclasses
import enum


class Layout(enum.Enum):
    """How the runner turns context and question into tokens (`tasks/tool_call.cc`, `passkey.cc`, `code_exec.cc`)."""

    CHAT = "chat"  # the context opens a user message; the question and the rest of the chat are tokenized alone
    PARTS = "parts"  # no chat; context and question are tokenized alone
    WHOLE = "whole"  # no chat; context and question are one string


Span = tuple[int, int]  # first character, and the one after the last


@dataclasses.dataclass(frozen=True)
class Copy:
    """Characters begin to end of an answer, which stand elsewhere too, capitals aside: from `source` on, in the context or
    else in the question's prompt."""

    begin: int
    end: int
    source: int
    in_context: bool

    def span(self) -> Span:
        return (self.begin, self.end)


@dataclasses.dataclass(frozen=True)
class ValueChain:
    """How a value of an answer is found: its key's description, the same word in the request, what is said beside it."""

    value: Span  # in the answer
    description: Span  # in the context
    field: Span  # in the prompt
    said: Span | None  # the value in the prompt; None where "with" or "without" stands for it


@dataclasses.dataclass(frozen=True)
class Match:
    """A word of the prompt by which a tool is found: "noun" or "verb"; where the context has the same one, and the tool."""

    kind: str
    prompt: Span
    context: tuple[Span, ...]
    tool: Span  # the description of the tool that is asked for


@dataclasses.dataclass(frozen=True)
class Question:
    """A question about a document's context, and the answer that ends with the end of text."""

    prompt: str
    answer: str
    copies: tuple[Copy, ...] = ()  # pieces of the answer that are known to be read somewhere
    chains: tuple[ValueChain, ...] = ()  # of its values, as far as they are clear
    follows: tuple[tuple[Span, Span], ...] = ()  # pieces of the answer, and of the context that says them
    matches: tuple[Match, ...] = ()  # words of the prompt that tell what is asked for


@dataclasses.dataclass(frozen=True)
class Document:
    """A context with its questions; without questions it is plain text."""

    kind: str  # what it was made as: "tool_call", "strings", "everyday", "code_exec", "passkey", ...
    layout: Layout
    context: str
    questions: tuple[Question, ...] = ()
