"""The text of an answer to its parts: content, reasoning, calls of tools.

Reads pieces as they come and gives out what is certain. A call is given out when it is whole: one that is malformed,
cut off, or of a tool that there is not, is content like any other text. White space around calls and reasoning belongs
to none of them. Knows the dialect of the model; knows nothing of tokens, and leaves schemas to grammars.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from dittod.model.dialect import ARGUMENTS, CALL_ID, Dialect
from dittod.model.textstream import beginning_at_end

Channel = Literal["content", "reasoning"]
_NAMED = re.compile(rf"\s*([^\s\[\]{{}}]+)(?:{re.escape(CALL_ID)}\w+)?{re.escape(ARGUMENTS)}\s*")
_CLOSERS = frozenset("}]>")
_SHORT = 100  # so much of a call is looked at with every piece: what begins badly is soon content
_MORE = None  # what a reader returns while a call may still become whole


@dataclass(frozen=True, slots=True)
class Said:
    """A piece of text, and where in the answer's text it stands."""

    channel: Channel
    text: str
    start: int

    @property
    def end(self) -> int:
        """Where it ends there."""
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class Called:
    """A tool is called."""

    name: str
    arguments: str  # a JSON object


@dataclass(frozen=True, slots=True)
class _Read:
    """What was made of the text behind an opening: calls, or None if it is none; and where they end."""

    calls: list[Called] | None
    end: int = 0


class Parts:
    """The parts of one answer.

    `thinking`: the prompt has begun the reasoning. `tools`: the names that can be called. `several`: False ends the
    answer after one call; `ended` is then true.
    """

    def __init__(self, dialect: Dialect, *, thinking: bool, tools: frozenset[str], several: bool) -> None:
        self._syntax = dialect.calls
        self._reasoning = dialect.reasoning
        self._tools = tools
        self._several = several
        self._text = ""  # held back
        self._at = 0  # where it begins in the answer's text
        self._untouched = True  # no content, and nothing but white space, so far
        self._trims = False  # white space comes after reasoning or a call
        self._state: Callable[[list[Said | Called], bool], bool] = self._think if thinking else self._speak
        self._trims_reasoning = True
        self.ended = False

    @property
    def called(self) -> bool:
        """Whether a call was the last thing, and nothing has begun behind it."""
        return self._trims and self._state == self._speak and not self._text.strip()

    def push(self, piece: str) -> list[Said | Called]:
        """What has become certain with this piece."""
        self._text += piece
        if self._state == self._call and not _CLOSERS & set(piece) and len(self._text) > _SHORT:
            return []  # nothing can have become whole; looking again at every token would take quadratic time
        return self._read(over=False)

    def finish(self) -> list[Said | Called]:
        """What was still held back, when the answer has ended."""
        return self._read(over=True)

    def _read(self, over: bool) -> list[Said | Called]:
        parts: list[Said | Called] = []
        while not self.ended and self._state(parts, over):
            pass
        return parts

    # Each state takes what it can from the held text and says whether another state has to go on.

    def _think(self, parts: list[Said | Called], over: bool) -> bool:
        assert self._reasoning is not None
        if self._trims_reasoning:
            self._drop_white_space()
        closing = self._reasoning[1]
        at = self._text.find(closing)
        if at >= 0:
            self._say(parts, "reasoning", len(self._text[:at].rstrip()))
            self._drop(self._text.index(closing) + len(closing))
            self._state, self._trims = self._speak, True
            return True
        self._say(parts, "reasoning", len(self._text) if over else self._certain(closing))
        self._trims_reasoning = self._trims_reasoning and not parts
        return False

    def _speak(self, parts: list[Said | Called], over: bool) -> bool:
        if self._trims:
            self._drop_white_space()
        if self._untouched and (begun := self._begin(over)) is not None:
            return begun
        opening = self._syntax.opening
        at = self._text.find(opening) if self._tools and self._syntax.form != "bare" else -1
        if at >= 0:
            self._say(parts, "content", len(self._text[:at].rstrip()))
            self._state = self._call
            return True
        held_for = opening if self._tools else ""
        self._say(parts, "content", len(self._text) if over else self._certain(held_for))
        return False

    def _begin(self, over: bool) -> bool | None:
        """At the very beginning: reasoning, or a call without an opening. None: neither."""
        said = self._text.lstrip()
        opening = self._reasoning[0] if self._reasoning else ""
        if opening and said.startswith(opening):
            self._drop(self._text.index(opening) + len(opening))
            self._state, self._untouched = self._think, False
            return True
        bare = self._syntax.form == "bare" and bool(self._tools)
        if bare and (said.startswith(self._syntax.opening) or said.startswith("{")):
            self._state = self._call
            return True
        markers = [each for each in (opening, self._syntax.opening if bare else "") if each]
        may_begin = any(marker.startswith(said) for marker in markers)
        return False if may_begin and not over else None

    def _call(self, parts: list[Said | Called], over: bool) -> bool:
        said = self._text.lstrip()  # what stands before it is content if this is none
        opened = said.startswith(self._syntax.opening)
        start = len(self._text) - len(said) + (len(self._syntax.opening) if opened else 0)
        reader = {"tagged": self._tagged, "bare": self._tagged, "listed": self._listed, "named": self._named}
        read = reader[self._syntax.form](start, over)
        if read is _MORE and not over:
            return False
        self._untouched = False
        self._state = self._speak
        if read is None or read.calls is None:
            self._say(parts, "content", start if opened else start + 1)
            return True
        parts += read.calls
        self._drop(read.end)
        self._trims = True
        self.ended = not self._several
        return True

    # Each reader looks at the held text from `start`, behind the opening.

    def _tagged(self, start: int, over: bool) -> _Read | None:
        value, end = _json_from(self._text, start, "{", over)
        if end is None:
            return _MORE
        call = self._known_call(value)
        if call is None:
            return _Read(None)
        rest = self._text[end:].lstrip()
        closing = self._syntax.closing
        if closing and not rest.startswith(closing):
            may_come = closing.startswith(rest) and not over
            return _MORE if may_come else _Read([call], end)
        return _Read([call], len(self._text) - len(rest) + len(closing))

    def _listed(self, start: int, over: bool) -> _Read | None:
        values, end = _json_from(self._text, start, "[", over)
        if end is None:
            return _MORE
        calls = [self._known_call(value) for value in values] if isinstance(values, list) else []
        whole = [call for call in calls if call is not None]
        one_or_all = whole if self._several else whole[:1]
        return _Read(one_or_all if whole and len(whole) == len(calls) else None, end)

    def _named(self, start: int, over: bool) -> _Read | None:
        named = _NAMED.match(self._text, start)
        if named is None:
            hopeless = over or "{" in self._text[start:]
            return _Read(None) if hopeless else _MORE
        value, end = _json_from(self._text, named.end(), "{", over)
        if end is None:
            return _MORE
        call = self._known_call({"name": named[1], self._syntax.arguments: value})
        return _Read(None if call is None else [call], end)

    def _known_call(self, value: object) -> Called | None:
        name = value.get("name") if isinstance(value, dict) else None
        if not isinstance(value, dict) or not isinstance(name, str) or name not in self._tools:
            return None
        arguments = value.get(self._syntax.arguments)
        if arguments is None:  # models mix the two words up, and leave empty ones out
            arguments = value.get("parameters", value.get("arguments", {}))
        written = _json_text(arguments)
        return None if written is None else Called(name, written)

    def _say(self, parts: list[Said | Called], channel: Channel, length: int) -> None:
        text = self._text[:length]
        if text:
            parts.append(Said(channel, text, self._at))
            if text.strip() and channel == "content":
                self._untouched = self._trims = False
        self._drop(length)

    def _drop(self, length: int) -> None:
        self._text, self._at = self._text[length:], self._at + length

    def _drop_white_space(self) -> None:
        self._drop(len(self._text) - len(self._text.lstrip()))

    def _certain(self, marker: str) -> int:
        """How much of the held text can be given out: no marker begins in it, and no white space before one."""
        if not marker:
            return len(self._text)
        certain = self._text[: len(self._text) - beginning_at_end(self._text, marker)]
        return len(certain.rstrip())


def _json_from(text: str, start: int, begins: str, over: bool) -> tuple[object, int | None]:
    """The JSON value at `start` and where it ends; (None, start) if there is none, (None, None) if it is not whole."""
    at = len(text) - len(text[start:].lstrip())
    if at < len(text) and text[at] != begins:
        return None, start
    try:
        value, end = json.JSONDecoder(strict=False).raw_decode(text, at)
    except (ValueError, RecursionError):
        return (None, start) if over else (None, None)
    return value, end


def _json_text(arguments: object) -> str | None:
    """An object as JSON; some models write it as a string that holds one. None: it is none."""
    try:
        value = json.loads(arguments, strict=False) if isinstance(arguments, str) else arguments
        return json.dumps(value, ensure_ascii=False, allow_nan=False) if isinstance(value, dict) else None
    except (ValueError, RecursionError):
        return None
