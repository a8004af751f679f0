"""The answer of `/v1/completions`, as one object or as chunks.

Pure. `text_offset` counts characters from the start of the choice's own text, its echo included, as vLLM and SGLang
do. A token that is no whole text is written as 'bytes:\\xf0\\x9f', as OpenAI does: two such tokens stay two.
"""

from __future__ import annotations

import codecs
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from typing_extensions import TypedDict

from dittod.engine.protocol import Delta, Done, Echo, Finished, TokenLogprob
from dittod.types import FinishReason
from dittod_service.openai.answer import Choice, Event, Head, Usage, finite, gather, usage
from dittod_service.openai.errors import JsonObject


class CompletionLogprobs(TypedDict):
    """Four lists of the same length: one entry per token."""

    tokens: list[str]
    token_logprobs: list[float | None]  # null for the first token of an echo
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class CompletionChoice(TypedDict):
    """One answer to one prompt."""

    text: str
    index: int
    logprobs: CompletionLogprobs | None
    finish_reason: FinishReason


class Completion(TypedDict):
    """The whole answer."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[CompletionChoice]
    usage: Usage


def to_response(head: Head, events: Sequence[Event], *, prompts: int = 1) -> Completion:
    """The whole answer as one object. Of more choices than the head promises, those that are likeliest per token."""
    choices, done = gather(events)
    return {
        "id": head.id,
        "object": "text_completion",
        "created": head.created,
        "model": head.model,
        "system_fingerprint": head.system_fingerprint,
        "choices": [_choice(choice) for choice in _best(choices, prompts, head.choices)],
        "usage": usage(done),
    }


class CompletionChunks:
    """The same as chunks of a stream. Remembers where in its text each choice is."""

    def __init__(self, head: Head) -> None:
        self._head = head
        self._places: defaultdict[int, _Place] = defaultdict(_Place)

    def tell(self, event: Event) -> list[JsonObject]:
        """An event as chunks."""
        match event:
            case Echo() | Delta():
                logprobs = _logprobs(event.logprobs, self._places[event.index])
                return [self._chunk(event.index, event.text, logprobs=logprobs)]
            case Finished():
                return [self._chunk(event.index, "", finish_reason=event.finish_reason)]
            case Done() if self._head.with_usage:
                return [self._head.last_chunk("text_completion", event)]
            case _:
                return []

    def _chunk(
        self,
        index: int,
        text: str,
        *,
        logprobs: CompletionLogprobs | None = None,
        finish_reason: FinishReason | None = None,
    ) -> JsonObject:
        choice = {"text": text, "index": index, "logprobs": logprobs, "finish_reason": finish_reason}
        return self._head.chunk("text_completion", choice)


class _Place:
    """Where in a choice's text the next token stands. Tokens may end within a character: it counts whole ones."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._characters = 0

    def move_past(self, entry: TokenLogprob) -> int:
        """Where this token stands."""
        stands = self._characters
        self._characters += len(self._decoder.decode(bytes(entry.bytes)))
        return stands


def _best(choices: Sequence[Choice], prompts: int, told: int) -> list[Choice]:
    if len(choices) == told:
        return list(choices)
    drawn, kept = len(choices) // prompts, list[Choice]()
    for first in range(0, len(choices), drawn):
        ranked = sorted(choices[first : first + drawn], key=lambda choice: choice.logp_per_token, reverse=True)
        kept += ranked[: told // prompts]
    return [replace(choice, index=index) for index, choice in enumerate(kept)]


def _choice(choice: Choice) -> CompletionChoice:
    echo = choice.echo.text if choice.echo else ""
    entries = (*(choice.echo.logprobs if choice.echo else ()), *choice.logprobs)
    return {
        "text": echo + choice.text,
        "index": choice.index,
        "logprobs": _logprobs(entries, _Place()),
        "finish_reason": choice.finish_reason,
    }


def _logprobs(entries: Sequence[TokenLogprob], place: _Place) -> CompletionLogprobs | None:
    if not entries:
        return None
    return {
        "tokens": [_token(entry) for entry in entries],
        "token_logprobs": [None if entry.logprob is None else finite(entry.logprob) for entry in entries],
        "top_logprobs": [_top(entry) for entry in entries],
        "text_offset": [place.move_past(entry) for entry in entries],
    }


def _top(entry: TokenLogprob) -> dict[str, float] | None:
    """The alternatives, and always the token that was drawn."""
    if entry.logprob is None:
        return None
    alternatives = {_token(each): finite(each.logprob) for each in entry.alternatives}
    return {**alternatives, _token(entry): finite(entry.logprob)}


def _token(entry: TokenLogprob) -> str:
    if not entry.bytes or "\N{REPLACEMENT CHARACTER}" not in entry.token:
        return entry.token
    return "bytes:" + "".join(f"\\x{byte:02x}" for byte in entry.bytes)
