"""Several answers are told as one: their costs are added up, and none goes on when nobody listens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from dittod.engine.protocol import Accepted, AnswerEvent, Done, Generate, Sampling
from dittod_service.merge import merged

from .fakes import FakeBackend

REQUESTS = [Generate(id, None, Sampling(), prompt="hi") for id in ("first", "second")]


class Costly(FakeBackend):
    """Says at once what it cost."""

    async def answer(self, request: Generate) -> AsyncGenerator[AnswerEvent, None]:
        yield Accepted(request.id)
        yield Done(request.id, prompt_tokens=1, completion_tokens=20, cached_tokens=300, reasoning_tokens=4000)


class Lingering(FakeBackend):
    """Needs a while to end an answer."""

    async def answer(self, request: Generate) -> AsyncGenerator[AnswerEvent, None]:
        yield Accepted(request.id)
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(10):
                await asyncio.sleep(0)
            self.closed.append(request.id)


def test_all_costs_are_added_up() -> None:
    async def scenario() -> list[AnswerEvent | None]:
        return [event async for event in merged(Costly(), REQUESTS, 10, 10)]

    assert asyncio.run(scenario())[-1] == Done("first", 2, 40, 600, 8000)


def test_when_it_is_closed_every_answer_has_ended() -> None:
    """Not merely been told to: its place is given away next."""

    async def scenario() -> list[str]:
        backend = Lingering()
        merging = merged(backend, REQUESTS, 10, 10)
        assert await anext(merging) == Accepted("first")
        await merging.aclose()
        return list(backend.closed)

    assert sorted(asyncio.run(scenario())) == ["first", "second"]
