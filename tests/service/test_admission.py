"""Answers take places, each its own, and give back as many; whoever finds none free is told so at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from dittod.engine.protocol import Ready
from dittod_service import admission
from dittod_service.admission import Admission
from dittod_service.app import Limits, create_app
from dittod_service.openai.errors import Refused

from .conftest import BEARER, JSON, TOKEN
from .fakes import FakeBackend
from .servers import CHAT
from .wire import error_of

PATH = "/v1/chat/completions"
LOAD = {"model": "base"}  # nothing to answer: ollama's clients load a model so


class Loading(FakeBackend):
    """Its model never comes."""

    async def ready(self) -> Ready:
        self.running += 1
        await asyncio.Event().wait()
        raise AssertionError


@asynccontextmanager
async def client_of(backend: FakeBackend, limits: Limits) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(backend, TOKEN, limits=limits))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=BEARER | JSON) as client:
        async with asyncio.timeout(10):  # the transport has none
            yield client


@asynccontextmanager
async def under_way(client: httpx.AsyncClient, backend: FakeBackend, path: str, body: object) -> AsyncIterator[None]:
    """A request that runs as long as the block."""
    before = backend.running
    task = asyncio.create_task(client.post(path, json=body))
    await until(lambda: backend.running > before)
    yield
    task.cancel()
    await asyncio.wait([task])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


def test_places_are_given_back_as_they_were_taken() -> None:
    admission = Admission(4)
    with admission.place(3), admission.place(1):
        with pytest.raises(Refused), admission.place(1):
            pass
        assert admission.taken == 4
    assert admission.taken == 0


def test_every_answer_of_a_request_takes_a_place() -> None:
    async def scenario() -> None:
        backend = FakeBackend(word_seconds=3600)
        async with client_of(backend, Limits(answers=4)) as client:
            async with under_way(client, backend, PATH, CHAT | {"n": 3}):
                assert (await client.post(PATH, json=CHAT | {"n": 2})).status_code == 429
                async with under_way(client, backend, PATH, CHAT):
                    assert (await client.post(PATH, json=CHAT)).status_code == 429
            async with under_way(client, backend, PATH, CHAT), under_way(client, backend, PATH, CHAT | {"n": 3}):
                pass

    asyncio.run(scenario())


def test_where_no_place_is_free_nothing_is_parsed() -> None:
    async def scenario() -> None:
        backend = FakeBackend(word_seconds=3600)
        async with client_of(backend, Limits(answers=1)) as client, under_way(client, backend, PATH, CHAT):
            for path in (PATH, "/v1/embeddings"):
                answer = await client.post(path, content=b"no JSON")
                assert (answer.status_code, error_of(answer)["code"]) == (429, "rate_limit_exceeded")
                assert int(answer.headers["retry-after"]) > 0

    asyncio.run(scenario())


@pytest.mark.parametrize("path", ["/api/generate", "/api/chat"])
def test_loading_a_model_takes_a_place(path: str) -> None:
    async def scenario() -> None:
        backend = Loading()
        async with client_of(backend, Limits(answers=1)) as client, under_way(client, backend, path, LOAD):
            assert (await client.post(path, json=LOAD)).status_code == 429

    asyncio.run(scenario())


def test_loading_a_model_may_take_no_longer_than_any_request() -> None:
    async def scenario() -> httpx.Response:
        async with client_of(Loading(), Limits(request_seconds=0.01)) as client:
            return await client.post("/api/generate", json=LOAD)

    answer = asyncio.run(scenario())
    assert (answer.status_code, answer.headers["x-should-retry"]) == (504, "false")


def test_who_finds_no_place_is_told_to_wait_as_long_as_the_oldest_has_run(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 117.5])
    monkeypatch.setattr(admission.time, "monotonic", lambda: next(clock))
    places = Admission(most_answers=1)
    held = places.place(1)
    held.__enter__()
    with pytest.raises(Refused) as caught:
        places.check()
    assert caught.value.failure.headers["retry-after"] == "18"
