"""Changes to a text, each with the span that it takes the place of. Knows no format."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_INDENTED = re.compile(r"^([ \t]+)\S", re.MULTILINE)


class CannotMerge(Exception):
    """A text is left as it is, with the reason: what would be lost, or is not understood. Never what stands there."""


@dataclass(frozen=True, slots=True)
class Edit:
    """`new` in the place of what stands from `start` to `end`; where both are the same, between."""

    start: int
    end: int
    new: str


def applied(text: str, edits: Iterable[Edit]) -> str:
    """The text with all of them, which do not overlap."""
    pieces, at = [], 0
    for edit in sorted(edits, key=lambda each: each.start):
        pieces += [text[at : edit.start], edit.new]
        at = edit.end
    return "".join([*pieces, text[at:]])


def indentation_at(text: str, place: int) -> str:
    """Of the line in which the place is."""
    line = text[text.rfind("\n", 0, place) + 1 :]
    return line[: len(line) - len(line.lstrip(" \t"))]


def unit(text: str) -> str:
    """By how much this text indents."""
    first = _INDENTED.search(text)
    return "  " if first is None else "\t" if "\t" in first[1] else first[1][:8]


def indented(text: str, by: str) -> str:
    """Every line but the first further in."""
    return text.replace("\n", f"\n{by}")


def end_of_line(text: str, place: int) -> int:
    """Behind the line break of the line in which a value ends; a comment behind the value belongs to it."""
    if place and text[place - 1] == "\n":
        return place
    found = text.find("\n", place)
    return len(text) if found < 0 else found + 1
