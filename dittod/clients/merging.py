"""A part of a client's settings, merged into the text of its file: everything else stays, and the result is read again
to see that it does. Knows no file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dittod.clients import env_text, json_text, yaml_text
from dittod.clients.combining import combined
from dittod.clients.formats import parsed, text_of, to_toml
from dittod.clients.shape import Part
from dittod.clients.spans import CannotMerge

_MARK = "\ufeff"  # some editors on Windows begin files with it


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
    if before is None:  # a file of comments, or of a word for nothing
        after, new = parsed(part.language, text_of(part)), f"{text.rstrip()}\n{text_of(part)}"
    else:
        after, new = combined(before, part.settings), _edited(text, before, part)
    if not _is(after, new, part):
        raise CannotMerge("something in it would not stay as it is")
    return new


def _edited(text: str, before: Any, part: Part) -> str:
    if type(before) is not type(part.settings):
        raise CannotMerge("it is not laid out as this client's settings are")
    if combined(before, part.settings) == before:
        return text
    try:
        return _EDITORS[part.language](text, part.settings)
    except RecursionError:  # an anchor within itself
        raise CannotMerge("it is nested without an end") from None


def _toml_anew(text: str, wanted: Any) -> str:
    """The only file of this format is dittod's own. One that has anything else in it is left alone."""
    if "#" in text or combined(parsed("toml", text), wanted) != wanted:
        raise CannotMerge("it has more in it than dittod's settings, and TOML is not merged")
    return to_toml(wanted)


_EDITORS: dict[str, Callable[[str, Any], str]] = {
    "json": json_text.edited,
    "yaml": yaml_text.edited,
    "toml": _toml_anew,
    "env": env_text.edited,
}


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
