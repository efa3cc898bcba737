"""What every generator makes: one context and questions about it, as the runner shows them to a model."""

import dataclasses
import enum


class Layout(enum.Enum):
    """How the runner turns context and question into tokens (`tasks/tool_call.cc`, `passkey.cc`, `code_exec.cc`)."""

    CHAT = "chat"  # the context opens a user message; the question and the rest of the chat are tokenized alone
    PARTS = "parts"  # no chat; context and question are tokenized alone
    WHOLE = "whole"  # no chat; context and question are one string


@dataclasses.dataclass(frozen=True)
class Question:
    """A question about a document's context, and the answer that ends with the end of text."""

    prompt: str
    answer: str


@dataclasses.dataclass(frozen=True)
class Document:
    """A context with its questions; without questions it is plain text."""

    kind: str  # "tool_call", "code_exec", "passkey", "multikey", "prose"
    layout: Layout
    context: str
    questions: tuple[Question, ...] = ()
