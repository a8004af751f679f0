"""What answers have in common: the fields that every object of one answer repeats, usage, and log-probs.

Pure. It knows the engine's events, not the shape of any one endpoint.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from dittod.engine.protocol import Delta, Done, Finished, TokenLogprob
from dittod.types import FinishReason
from dittod_service.openai.errors import JsonObject

Event = Delta | Finished | Done

IMPOSSIBLE = -9999.0  # what OpenAI writes for the log-prob of a token that cannot be drawn: JSON has no infinity


@dataclass(frozen=True, slots=True)
class Head:
    """What every object of one answer repeats."""

    id: str
    created: int  # POSIX seconds
    model: str  # as the client wrote it
    system_fingerprint: str  # the adapter that answers, short, or 'base'
    choices: int  # how many answers there will be: prompts times n
    with_usage: bool  # the client asked for usage at the end of the stream

    def fields(self, kind: str) -> JsonObject:
        """The fields, in the order in which OpenAI sends them."""
        fingerprint = self.system_fingerprint
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": fingerprint,
        }


@dataclass(frozen=True, slots=True)
class Choice:
    """One whole answer."""

    index: int
    text: str
    logprobs: tuple[TokenLogprob, ...]
    finish_reason: FinishReason


def gather(events: Sequence[Event]) -> tuple[list[Choice], Done]:
    """The whole answers, and what they cost, from the events of a complete answer."""
    pieces: defaultdict[int, list[Delta]] = defaultdict(list)
    for event in events:
        if isinstance(event, Delta):
            pieces[event.index].append(event)
    finished = sorted((event for event in events if isinstance(event, Finished)), key=lambda event: event.index)
    (done,) = (event for event in events if isinstance(event, Done))
    return [_choice(end, pieces[end.index]) for end in finished], done


def _choice(end: Finished, pieces: Sequence[Delta]) -> Choice:
    text = "".join(piece.text for piece in pieces)
    return Choice(end.index, text, tuple(entry for piece in pieces for entry in piece.logprobs), end.finish_reason)


def usage(done: Done) -> JsonObject:
    """Tokens read and written."""
    return {
        "prompt_tokens": done.prompt_tokens,
        "completion_tokens": done.completion_tokens,
        "total_tokens": done.prompt_tokens + done.completion_tokens,
    }


def finite(logprob: float) -> float:
    """A log-prob that JSON can hold."""
    return max(logprob, IMPOSSIBLE)


def characters(event: Event) -> int:
    """How many characters the log-probs of an event describe: `text_offset` moves on by so many."""
    return sum(len(entry.token) for entry in event.logprobs) if isinstance(event, Delta) else 0
