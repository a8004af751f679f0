"""A daemon for the endpoint's tests: it answers every prompt with the same four words.

It honours `n`, `max_tokens`, `stop` (within one word) and `logprobs`, counts a word as a token, and remembers what it
was asked and which answers were closed before their end. It has no model, draws nothing, and ignores every other
sampling parameter: tests read those off the recorded requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from dittod.engine.protocol import AdapterRef, Delta, Done, Finished, Generate, TokenLogprob
from dittod.errors import NotFound
from dittod.serving import ServedModel

WORDS = ("Kind", " regards", ",", " Ærik")
EMAIL = AdapterRef("0123456789abcdef0123456789abcdef", "/adapters/0123")


def served(name: str, adapter: AdapterRef | None) -> ServedModel:
    parent = None if name == "base" else "base"
    return ServedModel(name, adapter, 1_700_000_000.5, "tiny-llama", parent, 512)


MODELS = [
    served("base", None),
    served("ditto", None),
    served("ditto/email", EMAIL),
    served("ditto/email@1", EMAIL),
]


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

    def models(self) -> list[ServedModel]:
        return MODELS

    def resolve(self, name: str) -> ServedModel:
        for model in MODELS:
            if model.name == name:
                return model
        raise NotFound(f"There is no model '{name}'", "there are: " + ", ".join(m.name for m in MODELS))

    def health(self) -> dict[str, object]:
        return {"status": "ok", "engine": {"state": "ready"}}

    async def answer(self, request: Generate) -> AsyncGenerator[Delta | Finished | Done, None]:
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

    async def _events(self, request: Generate) -> AsyncGenerator[Delta | Finished | Done, None]:
        allowed = request.sampling.max_tokens or len(self.words)
        written = 0
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
            yield Finished(request.id, index, "length" if allowed < len(self.words) else "stop")
        yield Done(request.id, prompt_tokens(request), written)


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
    return (TokenLogprob(word, 7, -0.25, others),)
