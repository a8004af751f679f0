"""JSON as editors keep it, with comments and commas at the end: read with the place of every value, and changed so that
all the rest stays as it is, comments and indentation too. Knows no file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dittod.clients.combining import combined, is_named, place_of
from dittod.clients.shape import Settings
from dittod.clients.spans import CannotMerge, Edit, applied, indentation_at, indented, unit

_SKIPPED = re.compile(r"(?:\s|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_COMMENT = re.compile(r"//|/\*")
_DEEPEST = 100


def _refuse(name: str) -> None:
    raise ValueError(name)


_DECODER = json.JSONDecoder(parse_constant=_refuse)  # NaN and Infinity are Python's own


@dataclass(frozen=True, slots=True)
class Node:
    """A value with its place in the text."""

    value: Any
    start: int
    end: int
    children: dict[str | int, Node]  # by key, or by place in a list
    begins: int = 0  # where its first child begins, key and all
    has_last_comma: bool = False  # behind the last child


def read(text: str) -> Node:
    """Raises ValueError with the line of a fault."""
    node, end = _value(text, _skipped(text, 0), 0)
    if _skipped(text, end) != len(text):
        raise _fault(text, _skipped(text, end))
    return node


def edited(text: str, wanted: Settings) -> str:
    """With the wanted settings merged in. Raises CannotMerge, ValueError."""
    return applied(text, _edits(text, read(text), wanted))


def _edits(text: str, node: Node, wanted: Settings) -> Iterator[Edit]:
    if combined(node.value, wanted) == node.value:
        return
    if isinstance(node.value, dict) and isinstance(wanted, dict):
        pairs = [(key, each, key in node.value) for key, each in wanted.items()]
    elif isinstance(node.value, list) and is_named(wanted):
        places = [place_of(each, node.value) for each in wanted]
        pairs = [(place, each, place < len(node.value)) for place, each in zip(places, wanted, strict=True)]
    else:
        yield _replaced(text, node, wanted)
        return
    for key, each, there in pairs:
        if there:
            yield from _edits(text, node.children[key], each)
    if missing := [(key, each) for key, each, there in pairs if not there]:
        yield from _added(text, node, missing)


def _replaced(text: str, node: Node, wanted: Settings) -> Edit:
    if isinstance(node.value, dict | list) and _COMMENT.search(text, node.start, node.end):
        raise CannotMerge("a comment would be lost")
    return Edit(node.start, node.end, _written(wanted, unit(text), indentation_at(text, node.start)))


def _added(text: str, node: Node, missing: list[tuple[str | int, Settings]]) -> Iterator[Edit]:
    """Behind the last child, on lines of their own unless the first child stands beside the bracket."""
    close = node.end - 1
    outer = indentation_at(text, node.start)
    on_lines = not node.children or "\n" in text[node.start : node.begins]
    inner = indentation_at(text, node.begins) if node.children and on_lines else outer + unit(text)
    pieces = [_named(key, _written(each, unit(text), inner if on_lines else outer)) for key, each in missing]
    if not on_lines:
        last = max(child.end for child in node.children.values())
        yield Edit(last, last, "".join(f", {piece}" for piece in pieces))
        return
    place = len(text[:close].rstrip())
    new = ",".join(f"\n{inner}{piece}" for piece in pieces)
    if "\n" not in text[place:close]:
        new += f"\n{outer}"
    last = max((child.end for child in node.children.values()), default=place)
    if node.children and not node.has_last_comma:
        yield Edit(last, last, ",")
    yield Edit(place, close if text[place:close].isspace() and "\n" not in text[place:close] else place, new)


def _written(value: Settings, by: str, outer: str) -> str:
    return indented(json.dumps(value, ensure_ascii=False, indent=by), outer)


def _named(key: str | int, piece: str) -> str:
    return f"{json.dumps(key, ensure_ascii=False)}: {piece}" if isinstance(key, str) else piece


def _value(text: str, at: int, depth: int) -> tuple[Node, int]:
    if depth > _DEEPEST:
        raise _fault(text, at)
    if text.startswith(("{", "["), at):
        return _collection(text, at, depth)
    value, end = _scalar(text, at)
    return Node(value, at, end, {}), end


def _collection(text: str, start: int, depth: int) -> tuple[Node, int]:
    is_object = text[start] == "{"
    children: dict[str | int, Node] = {}
    at, comma = _skipped(text, start + 1), False
    begins = at
    while not text.startswith("}" if is_object else "]", at):
        if children and not comma:
            raise _fault(text, at)
        key, at = _key(text, at) if is_object else (len(children), at)
        if key in children:  # which of them counts is up to the program
            raise _fault(text, at)
        children[key], at = _value(text, at, depth + 1)
        at = _skipped(text, at)
        comma = text.startswith(",", at)
        at = _skipped(text, at + comma)
    value = (
        {key: each.value for key, each in children.items()} if is_object else [each.value for each in children.values()]
    )
    return Node(value, start, at + 1, children, begins, comma), at + 1


def _key(text: str, at: int) -> tuple[str, int]:
    if not text.startswith('"', at):
        raise _fault(text, at)
    key, at = _scalar(text, at)
    at = _skipped(text, at)
    if not text.startswith(":", at):
        raise _fault(text, at)
    return key, _skipped(text, at + 1)


def _scalar(text: str, at: int) -> tuple[Any, int]:
    """A text, a number, a truth or null."""
    try:
        return _DECODER.raw_decode(text, at)
    except ValueError:
        raise _fault(text, at) from None


def _skipped(text: str, at: int) -> int:
    found = _SKIPPED.match(text, at)
    assert found is not None
    return found.end()


def _fault(text: str, at: int) -> ValueError:
    return ValueError(f"line {text.count(chr(10), 0, at) + 1} is not valid JSON")
