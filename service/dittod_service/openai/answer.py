"""What answers have in common: the fields that every object of one answer repeats, usage, and log-probs.

Pure. It knows the engine's events, not the shape of any one endpoint.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from typing_extensions import TypedDict

from dittod.engine.protocol import AnswerEvent, CallDelta, Delta, Done, Echo, Finished, TokenLogprob
from dittod.serving import ServedModel
from dittod.types import FinishReason, ToolCall
from dittod_service.openai.errors import JsonObject
from dittod_service.openai.request import TextRequest

Event = AnswerEvent

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

    @classmethod
    def of(cls, request: TextRequest, served: ServedModel, id: str, choices: int) -> Head:
        """For the answer that begins now."""
        fingerprint = served.adapter.id[:12] if served.adapter else "base"
        return cls(id, int(time.time()), request.model, fingerprint, choices, request.with_usage)

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

    def chunk(self, kind: str, choice: JsonObject) -> JsonObject:
        """A piece of one choice in a stream; usage is there and null, if it comes at the end."""
        chunk = {**self.fields(kind), "choices": [choice]}
        return {**chunk, "usage": None} if self.with_usage else chunk

    def last_chunk(self, kind: str, done: Done) -> JsonObject:
        """What a stream cost, if the client asked."""
        return {**self.fields(kind), "choices": [], "usage": usage(done)}


@dataclass(frozen=True, slots=True)
class Choice:
    """One whole answer."""

    index: int
    text: str
    logprobs: tuple[TokenLogprob, ...]  # of the text
    finish_reason: FinishReason
    reasoning: str = ""  # what came before the text
    calls: tuple[ToolCall, ...] = ()
    echo: Echo | None = None
    logp_per_token: float = 0.0  # nats, of everything that was written


class PromptTokensDetails(TypedDict):
    """What kind of tokens were read."""

    cached_tokens: int
    audio_tokens: int


class CompletionTokensDetails(TypedDict):
    """What kind of tokens were written."""

    reasoning_tokens: int
    audio_tokens: int
    accepted_prediction_tokens: int
    rejected_prediction_tokens: int


class Usage(TypedDict):
    """What an answer cost."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails


class TokenObject(TypedDict):
    """One token, with its log-prob."""

    token: str
    logprob: float
    bytes: list[int] | None


class TokenLogprobObject(TokenObject):
    """One token, with its log-prob and those of the likeliest in its place."""

    top_logprobs: list[TokenObject]


def gather(events: Sequence[Event]) -> tuple[list[Choice], Done]:
    """The whole answers, and what they cost, from the events of a complete answer."""
    of_choice: defaultdict[int, list[Event]] = defaultdict(list)
    for event in events:
        if isinstance(event, Echo | Delta | CallDelta | Finished):
            of_choice[event.index].append(event)
    (done,) = (event for event in events if isinstance(event, Done))
    return [_choice(of_choice[index]) for index in sorted(of_choice)], done


def usage(done: Done) -> Usage:
    """Tokens read and written."""
    return {
        "prompt_tokens": done.prompt_tokens,
        "completion_tokens": done.completion_tokens,
        "total_tokens": done.prompt_tokens + done.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": done.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": done.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def token_logprob(entry: TokenLogprob) -> TokenLogprobObject:
    """One token as chats and responses tell it."""
    return {**_token(entry), "top_logprobs": [_token(each) for each in entry.alternatives]}


def finite(logprob: float | None) -> float:
    """A log-prob that JSON can hold."""
    return IMPOSSIBLE if logprob is None else max(logprob, IMPOSSIBLE)


def _choice(events: Sequence[Event]) -> Choice:
    deltas = [event for event in events if isinstance(event, Delta)]
    content = [delta for delta in deltas if delta.channel == "content"]
    (end,) = (event for event in events if isinstance(event, Finished))
    return Choice(
        end.index,
        "".join(delta.text for delta in content),
        tuple(entry for delta in content for entry in delta.logprobs),
        end.finish_reason,
        "".join(delta.text for delta in deltas if delta.channel == "reasoning"),
        _calls(event for event in events if isinstance(event, CallDelta)),
        next((event for event in events if isinstance(event, Echo)), None),
        end.logp / max(1, end.tokens),
    )


def _calls(pieces: Iterable[CallDelta]) -> tuple[ToolCall, ...]:
    of_call: defaultdict[int, list[CallDelta]] = defaultdict(list)
    for piece in pieces:
        of_call[piece.number].append(piece)
    return tuple(
        ToolCall(call[0].call_id, call[0].name, "".join(piece.arguments for piece in call))
        for _, call in sorted(of_call.items())
    )


def _token(entry: TokenLogprob) -> TokenObject:
    return {"token": entry.token, "logprob": finite(entry.logprob), "bytes": list(entry.bytes)}
