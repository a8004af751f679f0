"""YAML, changed so that all the rest stays as it is, comments too: new items and keys go behind the last ones of their
kind, values are replaced where they stand. Knows no file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from dittod.clients.combining import combined, is_named, place_of
from dittod.clients.formats import to_yaml
from dittod.clients.shape import Settings
from dittod.clients.spans import CannotMerge, Edit, applied, end_of_line, indented


def edited(text: str, wanted: Settings) -> str:
    """With the wanted settings merged in. Raises CannotMerge; ValueError is for `formats.parsed`, which comes first."""
    if "\t" in text:
        raise CannotMerge("it has tabs, which YAML counts in a way that is not known here")
    text = text if text.endswith("\n") else f"{text}\n"
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert root is not None
    return applied(text, _edits(text, root, yaml.safe_load(text), wanted, 0))


def _edits(text: str, node: yaml.Node, value: Any, wanted: Settings, column: int) -> Iterator[Edit]:
    """`column`: of the key that has this value."""
    if combined(value, wanted) == value:
        return
    if isinstance(value, dict) and isinstance(wanted, dict) and _is_block(node):
        yield from _keys(text, node, value, wanted)
    elif isinstance(value, list) and is_named(wanted) and _is_block(node):
        yield from _items(text, node, value, wanted)
    else:
        yield _replaced(text, node, combined(value, wanted), column)


def _keys(text: str, node: yaml.Node, value: dict[str, Any], wanted: dict[str, Settings]) -> Iterator[Edit]:
    nodes = {str(key.value): (key, child) for key, child in node.value}
    for key, each in wanted.items():
        if key in value and key not in nodes:
            raise CannotMerge("a key comes from an anchor")
        if key in value:
            yield from _edits(text, nodes[key][1], value[key], each, nodes[key][0].start_mark.column)
    if missing := {key: each for key, each in wanted.items() if key not in value}:
        yield _added(text, node, to_yaml(missing))


def _items(text: str, node: yaml.Node, value: list[Any], wanted: list[Settings]) -> Iterator[Edit]:
    places = [(place_of(each, value), each) for each in wanted]
    for place, each in places:
        if place < len(value):
            yield from _edits(text, node.value[place], value[place], each, node.value[place].start_mark.column)
    if missing := [each for place, each in places if place == len(value)]:
        yield _added(text, node, to_yaml(missing))


def _added(text: str, node: yaml.Node, new: str) -> Edit:
    place = end_of_line(text, _end(text, node))
    by = " " * node.start_mark.column
    return Edit(place, place, f"{by}{indented(new.rstrip(), by)}\n")


def _replaced(text: str, node: yaml.Node, whole: Settings, column: int) -> Edit:
    start, end = node.start_mark.index, node.end_mark.index
    if _is_block(node):  # it stands on lines of its own, behind its key
        start, end = len(text[:start].rstrip()), _end(text, node)
    if not isinstance(node, yaml.ScalarNode) and "#" in text[start:end]:
        raise CannotMerge("a comment would be lost")
    if not isinstance(whole, dict | list):
        new = yaml.safe_dump(whole, allow_unicode=True, width=10**6).removesuffix("...\n").strip()
        return Edit(start, end, new if text[start - 1 : start].isspace() else f" {new}")
    by = " " * (column + 2)
    return Edit(start, end, f"\n{by}{indented(to_yaml(whole).rstrip(), by)}")


def _is_block(node: yaml.Node) -> bool:
    return isinstance(node, yaml.CollectionNode) and not node.flow_style and bool(node.value)


def _end(text: str, node: yaml.Node) -> int:
    """Where its last word ends: a block itself ends where the next thing begins, behind all comments."""
    if _is_block(node):
        last = node.value[-1]
        return _end(text, last[1] if isinstance(last, tuple) else last)
    return len(text[: node.end_mark.index].rstrip()) if isinstance(node, yaml.ScalarNode) else node.end_mark.index
