"""A part of a client's settings, merged into the text of its file: everything else stays, and the result is read again
to see that it does. Knows no file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dittod.clients import json_text, line_text, yaml_text
from dittod.clients.combining import combined
from dittod.clients.formats import parsed, text_of
from dittod.clients.shape import Part
from dittod.clients.spans import CannotMerge

_MARK = "\ufeff"  # some editors on Windows begin files with it
_EDITORS: dict[str, Callable[[str, Any], str]] = {
    "json": json_text.edited,
    "yaml": yaml_text.edited,
    "toml": line_text.edited_toml,
    "env": line_text.edited_env,
}


def merged(text: str, part: Part) -> str:
    """What the file is to hold; `text` itself where it has all of it. Raises CannotMerge."""
    if text.startswith(_MARK):
        return _MARK + merged(text[1:], part)
    if "\r\n" in text:
        plain = text.replace("\r\n", "\n")
        new = merged(plain, part)
        return text if new == plain else new.replace("\n", "\r\n")
    if not text.strip():
        return text_of(part)
    before = _read(text, part)
    after = combined(before, part.settings)
    if before is None:  # a file of comments
        return f"{text.rstrip()}\n{text_of(part)}"
    if type(before) is not type(part.settings):
        raise CannotMerge("it is not laid out as this client's settings are")
    if after == before:
        return text
    new = _EDITORS[part.language](text, part.settings)
    if not _is(after, new, part):
        raise CannotMerge("something in it would not stay as it is")
    return new


def _is(wanted: Any, text: str, part: Part) -> bool:
    try:
        return bool(parsed(part.language, text) == wanted)
    except (ValueError, RecursionError):
        return False


def _read(text: str, part: Part) -> Any:
    try:
        return parsed(part.language, text)
    except (ValueError, RecursionError) as error:
        raise CannotMerge(str(error)) from None
