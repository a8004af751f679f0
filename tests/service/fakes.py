"""A daemon for the endpoint's tests: it answers every prompt with the same four words.

It honours `n`, `max_tokens`, `stop` (within one word) and `logprobs`, counts a word as a token, and remembers what it
was asked and which answers were closed before their end. It has no model, draws nothing, and ignores every other
sampling parameter: tests read those off the recorded requests.
"""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from dittod.engine.protocol import (
    Accepted,
    AdapterRef,
    AnswerEvent,
    CallDelta,
    Delta,
    Detokenize,
    Detokenized,
    Done,
    Echo,
    Embed,
    Embedded,
    Finished,
    Generate,
    Ready,
    Tokenize,
    Tokenized,
    TokenLogprob,
)
from dittod.errors import NotFound
from dittod.serving import Feedback, Remark, ServedModel
from dittod.types import FinishReason

WORDS = ("Kind", " regards", ",", " Ærik")
EMAIL = AdapterRef("0123456789abcdef0123456789abcdef", "/adapters/0123")


def served(name: str, adapter: AdapterRef | None) -> ServedModel:
    parent = None if name == "base" else "base"
    profile = {"base": "", "ditto": "default"}.get(name, name.removeprefix("ditto/").partition("@")[0])
    return ServedModel(name, adapter, 1_700_000_000.5, "tiny-llama", parent, 512, profile)


READY = Ready("tiny-llama", "0" * 40, "", 512, 2**20, "llama", 1_000, 2, reasons=False, fills_in=False)
MODELS = [
    served("base", None),
    served("ditto", None),
    served("ditto/email", EMAIL),
    served("ditto/email@1", EMAIL),
]


@dataclass
class FakeDesk:
    """It knows one kept answer, writes nothing down but what was said, and says of all of it that it was noted."""

    taken: list[Remark] = field(default_factory=list[Remark])
    error: Exception | None = None  # raised instead

    def take(self, remark: Remark) -> Feedback:
        if self.error is not None:
            raise self.error
        if remark.answer_id not in ("", "chatcmpl-kept"):
            raise NotFound("there is no such answer", "answers are kept where keep_interactions says so")
        self.taken.append(remark)
        return self.all()[-1]

    def all(self) -> list[Feedback]:
        return [
            Feedback(f"fb-{number}", each.profile, each.rating or "edited", "noted", 1_700_000_000.5)
            for number, each in enumerate(self.taken)
        ]

    def take_back(self, id: str) -> None:
        if id not in [each.id for each in self.all()]:
            raise NotFound("there is no such feedback", "")
        del self.taken[int(id.removeprefix("fb-"))]


@dataclass
class FakeBackend:
    asked: list[Generate] = field(default_factory=list[Generate])
    closed: list[str] = field(default_factory=list[str])  # ids of answers that did not come to their end
    running: int = 0
    most_running: int = 0
    error: Exception | None = None  # raised instead of an answer, or after `error_after` words
    error_after: int = 0
    word_seconds: float = 0.0  # before every word
    words: tuple[str, ...] = WORDS
    thought: str = ""  # written in the channel 'reasoning' first
    calls: tuple[tuple[str, tuple[str, ...]], ...] = ()  # names and pieces of arguments, made if there are tools
    embedded: list[Embed] = field(default_factory=list[Embed])
    feedback: FakeDesk = field(default_factory=FakeDesk)

    def models(self) -> list[ServedModel]:
        return MODELS

    def resolve(self, name: str) -> ServedModel:
        for model in MODELS:
            if model.name == name:
                return model
        raise NotFound(f"There is no model '{name}'", "there are: " + ", ".join(m.name for m in MODELS))

    def health(self) -> dict[str, object]:
        return {"status": "ok", "engine": "stopped"}

    async def ready(self) -> Ready:
        return READY

    async def embed(self, command: Embed) -> Embedded:
        """Every text becomes the same vector of length 1; a word is a token."""
        self.embedded.append(command)
        if self.error is not None:
            raise self.error
        vector = base64.b64encode(struct.pack("<2f", 0.6, 0.8)).decode()
        tokens = sum(len(each.split()) if isinstance(each, str) else len(each) for each in command.inputs)
        return Embedded(command.id, (vector,) * len(command.inputs), tokens)

    async def tokenize(self, command: Tokenize) -> Tokenized:
        """A code point is a token."""
        text = command.prompt or "".join(message.content for message in command.messages or ())
        return Tokenized(command.id, (*((1,) if command.add_special_tokens else ()), *map(ord, text)))

    async def detokenize(self, command: Detokenize) -> Detokenized:
        return Detokenized(command.id, "".join(map(chr, command.token_ids)))

    async def answer(self, request: Generate) -> AsyncGenerator[AnswerEvent, None]:
        self.asked.append(request)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        ended = False
        try:
            async for event in self._events(request):
                ended = isinstance(event, Done)
                yield event
        finally:
            self.running -= 1
            if not ended and self.error is None:
                self.closed.append(request.id)

    async def _events(self, request: Generate) -> AsyncGenerator[AnswerEvent, None]:
        allowed = _or(request.sampling.max_tokens, len(self.words))
        written = 0
        if self.error is None or self.error_after:
            yield Accepted(request.id)
        for event in self._before(request):
            yield event
        if request.tools and request.tool_choice != "none" and self.calls:
            async for event in self._called(request):
                yield event
            return
        for number, word in enumerate(self.words[:allowed]):
            await asyncio.sleep(self.word_seconds)
            if self.error is not None and number >= self.error_after:
                raise self.error
            if word.strip() in request.sampling.stop:
                allowed = len(self.words)
                break
            for index in range(request.n):
                written += 1
                yield Delta(request.id, index, word, _logprobs(word, request.sampling.logprobs))
        for index in range(request.n):
            reason: FinishReason = "length" if allowed < len(self.words) else "stop"
            tokens = written // request.n
            yield Finished(
                request.id, index, reason, tokens, -0.25 * tokens * (request.n - index)
            )  # the last is likeliest
        yield Done(request.id, prompt_tokens(request), written)

    def _before(self, request: Generate) -> list[AnswerEvent]:
        text = request.prompt or ""
        echo: list[AnswerEvent] = [Echo(request.id, text, _logprobs(text, request.sampling.logprobs))]
        thought = (Delta(request.id, i, self.thought, channel="reasoning") for i in range(request.n))
        return [*(echo if request.echo else []), *(thought if self.thought else [])]

    async def _called(self, request: Generate) -> AsyncGenerator[AnswerEvent, None]:
        for index in range(request.n):
            for number, (name, arguments) in enumerate(self.calls):
                yield CallDelta(request.id, index, number, f"call_{number}", name, "")
                for piece in arguments:
                    yield CallDelta(request.id, index, number, f"call_{number}", name, piece)
            yield Finished(request.id, index, "tool_calls", 3, -0.75)
        yield Done(request.id, prompt_tokens(request), 3 * request.n)


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


def prompt_tokens(request: Generate) -> int:
    if request.prompt_token_ids is not None:
        return len(request.prompt_token_ids)
    if request.prompt is not None:
        return len(request.prompt.split())
    return sum(len(message.content.split()) for message in request.messages or ())


def _logprobs(word: str, alternatives: int | None) -> tuple[TokenLogprob, ...]:
    if alternatives is None:
        return ()
    others = (("never", float("-inf")), *((f"w{i}", -1.0 - i) for i in range(alternatives)))[:alternatives]
    known = tuple(TokenLogprob(token, 8, logprob, tuple(token.encode())) for token, logprob in others)
    return (TokenLogprob(word, 7, -0.25, tuple(word.encode()), known),)
