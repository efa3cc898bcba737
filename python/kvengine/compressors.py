"""Compressor specs: what exists, and their one canonical form."""

from __future__ import annotations

from typing import List, NamedTuple

from kvengine import _core


class Compressor(NamedTuple):
    """One method of this build."""

    name: str
    kind: str  # "policy" (which rows stay) or "codec" (how they are stored)
    doc: str
    paper: str  # "" for our own
    params: dict  # name -> default as it would be written; None: must be given


def compressors() -> List[Compressor]:
    """Every policy and codec that a spec may name."""
    return [Compressor(**method) for method in _core.compressors()]


def canonical(spec: str) -> List[str]:
    """The canonical forms of a spec: one, or one for each ratio of a list. ValueError for a wrong spec."""
    return _core.canonical(spec)
