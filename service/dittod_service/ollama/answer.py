"""How an answer is told in ollama's way: lines that end with one that says how long everything took.

It knows the engine's events and a clock, not whether a conversation or a prompt was answered: that is `shape`. A call
is told once it is whole, since ollama's arguments are objects.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NotRequired

from typing_extensions import TypedDict

from dittod.engine.protocol import (
    Accepted,
    AnswerEvent,
    CallDelta,
    Delta,
    Done,
    Finished,
    Generate,
    TokenLogprob,
)
from dittod_service.ollama.errors import to_error
from dittod_service.openai.answer import finite
from dittod_service.openai.errors import Failure, JsonObject
from dittod_service.replies import encode


class TokenObject(TypedDict):
    """A token."""

    token: str
    logprob: float
    bytes: list[int]


class LogprobObject(TokenObject):
    """A token that was drawn, with others that might have been."""

    top_logprobs: list[TokenObject]


class Line(TypedDict):
    """What every line of an answer has; the last one has it all. Durations are nanoseconds."""

    model: str
    created_at: str
    logprobs: NotRequired[list[LogprobObject]]
    done: bool
    done_reason: NotRequired[str]
    total_duration: NotRequired[int]
    load_duration: NotRequired[int]
    prompt_eval_count: NotRequired[int]
    prompt_eval_duration: NotRequired[int]
    eval_count: NotRequired[int]
    eval_duration: NotRequired[int]


@dataclass(frozen=True, slots=True)
class Call:
    """A whole tool call."""

    id: str
    number: int
    name: str
    arguments: JsonObject


@dataclass(frozen=True, slots=True)
class Piece:
    """What one line adds to the answer."""

    content: str = ""
    thinking: str = ""
    calls: tuple[Call, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()


Shape = Callable[[Piece], JsonObject]


@dataclass(slots=True)
class _Durations:
    """Nanoseconds, as far as they were seen."""

    begun: int
    accepted: int | None = None
    first: int | None = None  # when the first token was there

    def fields(self) -> JsonObject:
        """Of an answer that is complete now. What was not seen by itself is part of the evaluation."""
        now = time.monotonic_ns()
        accepted = self.accepted or self.begun
        first = self.first or accepted
        seen = {"load_duration": accepted - self.begun, "prompt_eval_duration": first - accepted}
        return {
            "total_duration": now - self.begun,
            **{name: spent for name, spent in seen.items() if spent},
            "eval_duration": now - first,
        }


class OllamaExchange:
    """See `dittod_service.generation.Exchange`. Without a Generate it only says that the model is loaded."""

    def __init__(self, model: str, generates: Sequence[Generate], streamed: bool, shape: Shape) -> None:
        self.generates = generates
        self.streamed = streamed and bool(generates)
        self._model = model
        self._shape = shape
        self._durations = _Durations(time.monotonic_ns())
        self._call: list[CallDelta] = []  # the pieces of the call that is being written
        self._finished: Finished | None = None

    def whole(self, events: Sequence[AnswerEvent]) -> JsonObject:
        if not self.generates:
            return {**self._line(Piece()), "done": True, "done_reason": "load"}
        answer = _together([piece for event in events for piece in self._pieces(event)])
        (done,) = (event for event in events if isinstance(event, Done))
        return self._last(answer, done)

    def opening(self) -> list[JsonObject]:
        """Ollama has nothing to say before its text."""
        return []

    def tell(self, event: AnswerEvent) -> Iterable[JsonObject]:
        self._look_at_the_clock(event)
        for piece in self._pieces(event):
            yield {**self._line(piece), "done": False}
        if isinstance(event, Done):
            yield self._last(Piece(), event)

    def fail(self, failure: Failure) -> list[JsonObject]:
        return [to_error(failure)]

    def _look_at_the_clock(self, event: AnswerEvent) -> None:
        if isinstance(event, Accepted):  # heard again in each silence
            self._durations.accepted = self._durations.accepted or time.monotonic_ns()
        else:
            self._durations.first = self._durations.first or time.monotonic_ns()

    def _pieces(self, event: AnswerEvent) -> list[Piece]:
        match event:
            case Delta(text=text, logprobs=logprobs, channel="reasoning"):
                return [*self._ended_call(), Piece(thinking=text, logprobs=logprobs)]
            case Delta(text=text, logprobs=logprobs):
                return [*self._ended_call(), Piece(content=text, logprobs=logprobs)]
            case CallDelta(number=number):
                ended = self._ended_call() if self._call and self._call[0].number != number else []
                self._call.append(event)
                return ended
            case Finished():
                self._finished = event
                return self._ended_call()
            case _:
                return []

    def _ended_call(self) -> list[Piece]:
        """The call whose pieces were heard, if any."""
        pieces, self._call = self._call, []
        return [_called(pieces)] if pieces else []

    def _line(self, piece: Piece) -> JsonObject:
        line = {"model": self._model, "created_at": rfc3339(time.time()), **self._shape(piece)}
        return {**line, "logprobs": [_logprob(each) for each in piece.logprobs]} if piece.logprobs else line

    def _last(self, piece: Piece, done: Done) -> JsonObject:
        assert self._finished is not None, "an answer ended without Finished"
        return {
            **self._line(piece),
            "done": True,
            "done_reason": "length" if self._finished.finish_reason == "length" else "stop",
            **self._durations.fields(),
            "prompt_eval_count": done.prompt_tokens,
            "eval_count": done.completion_tokens,
        }


def _together(pieces: Sequence[Piece]) -> Piece:
    return Piece(
        "".join(piece.content for piece in pieces),
        "".join(piece.thinking for piece in pieces),
        tuple(call for piece in pieces for call in piece.calls),
        tuple(entry for piece in pieces for entry in piece.logprobs),
    )


def rfc3339(posix_seconds: float) -> str:
    """A time as ollama writes it."""
    return datetime.fromtimestamp(posix_seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _called(pieces: Sequence[CallDelta]) -> Piece:
    """A call as a whole; what was cut off within its arguments is shown as it was written, for no program to run."""
    first, arguments = pieces[0], "".join(piece.arguments for piece in pieces)
    try:
        parsed = json.loads(arguments or "{}")
        encode(parsed)  # no infinity and no half of a surrogate pair can be sent on
    except (ValueError, RecursionError):
        return Piece(content=arguments)
    if not isinstance(parsed, dict):
        return Piece(content=arguments)
    return Piece(calls=(Call(first.call_id, first.number, first.name, parsed),))


def _logprob(entry: TokenLogprob) -> LogprobObject:
    return {**_token(entry), "top_logprobs": [_token(each) for each in entry.alternatives]}


def _token(entry: TokenLogprob) -> TokenObject:
    return {"token": entry.token, "logprob": finite(entry.logprob), "bytes": list(entry.bytes)}
