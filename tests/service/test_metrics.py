"""`/metrics`: everything that happened is in it once, and nothing that anybody wrote."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from dittod.engine.protocol import Accepted, AnswerEvent, Delta, Done, Finished, Generate
from dittod_service.app import create_app

from .conftest import BEARER, TOKEN, Ask
from .fakes import FakeBackend
from .wire import error_of

CHAT = {"model": "base", "messages": [{"role": "user", "content": "Write to Ann"}]}


def figure(page: httpx.Response, name: str, **labels: str) -> float:
    """One sample; 0 where there is none."""
    assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(page.text)
    found = [each for family in families for each in family.samples if (each.name, each.labels) == (name, labels)]
    return found[0].value if found else 0.0


def test_requests_are_counted_by_route_and_class_of_status(ask: Ask) -> None:
    for path in ("/v1/models/base", "/v1/models/ditto", "/v1/models/gpt-5", "/nowhere", "/elsewhere"):
        ask("GET", path)
    ask("GET", "/v1/models", headers={"authorization": "Bearer wrong"})
    ask("GET", "/v1/chat/completions")
    page = ask("GET", "/metrics")
    assert figure(page, "dittod_requests_total", route="/v1/models/{id:path}", status="2xx") == 2
    assert figure(page, "dittod_requests_total", route="/v1/models/{id:path}", status="4xx") == 1
    assert figure(page, "dittod_requests_total", route="/v1/chat/completions", status="4xx") == 1
    assert figure(page, "dittod_requests_total", route="none", status="4xx") == 3
    assert figure(page, "dittod_request_duration_seconds_count", route="/v1/models/{id:path}") == 3


@pytest.mark.parametrize("stream", [True, False])
def test_answers_and_their_tokens_are_counted(ask: Ask, backend: FakeBackend, stream: bool) -> None:
    backend.word_seconds = 0.002
    ask("POST", "/v1/chat/completions", json=CHAT | {"stream": stream, "n": 2})
    ask("POST", "/api/chat", json=CHAT | {"stream": stream})
    page = ask("GET", "/metrics")
    assert figure(page, "dittod_tokens_read_total") == 6
    assert figure(page, "dittod_tokens_written_total") == 12
    assert figure(page, "dittod_time_to_first_token_seconds_count") == 2
    assert figure(page, "dittod_time_to_first_token_seconds_sum") >= 0.004
    assert figure(page, "dittod_answers_waiting") == figure(page, "dittod_answers_running") == 0


def test_texts_that_were_embedded_are_read_tokens(ask: Ask) -> None:
    ask("POST", "/v1/embeddings", json={"model": "base", "input": ["a b", "c"]})
    assert figure(ask("GET", "/metrics"), "dittod_tokens_read_total") == 3


def test_an_answer_that_fails_is_neither_waiting_nor_running(ask: Ask, backend: FakeBackend) -> None:
    backend.error, backend.error_after = ZeroDivisionError("secret"), 2
    ask("POST", "/v1/chat/completions", json=CHAT)
    page = ask("GET", "/metrics")
    assert figure(page, "dittod_requests_total", route="/v1/chat/completions", status="5xx") == 1
    assert figure(page, "dittod_answers_waiting") == figure(page, "dittod_answers_running") == 0
    assert figure(page, "dittod_tokens_written_total") == 0


class Gated(FakeBackend):
    """It waits for a sign before its first word, and for another after it."""

    def __init__(self) -> None:
        super().__init__()
        self.begin, self.end = asyncio.Event(), asyncio.Event()

    async def answer(self, request: Generate) -> AsyncGenerator[AnswerEvent, None]:
        yield Accepted(request.id)
        await self.begin.wait()
        yield Delta(request.id, 0, "Kind")
        await self.end.wait()
        yield Finished(request.id, 0, "stop")
        yield Done(request.id, 3, 1, cached_tokens=2)


def test_answers_wait_then_run_then_are_gone() -> None:
    backend = Gated()

    async def watch() -> list[tuple[float, float]]:
        transport = httpx.ASGITransport(create_app(backend, TOKEN))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=BEARER) as client:

            async def counted() -> tuple[float, float]:
                page = await client.get("/metrics")
                return figure(page, "dittod_answers_waiting"), figure(page, "dittod_answers_running")

            async def until(wanted: tuple[float, float]) -> tuple[float, float]:
                while (seen := await counted()) != wanted:
                    await asyncio.sleep(0)
                return seen

            asking = asyncio.create_task(client.post("/v1/chat/completions", json=CHAT | {"n": 3}))
            waiting = await until((3, 0))
            backend.begin.set()
            running = await until((0, 3))
            backend.end.set()
            await asking
            assert figure(await client.get("/metrics"), "dittod_tokens_cached_total") == 2
            return [waiting, running, await counted()]

    assert asyncio.run(watch()) == [(3, 0), (0, 3), (0, 0)]


class BackingOff(FakeBackend):
    def health(self) -> dict[str, object]:
        return {"status": "ok", "engine": "backing off"}


@pytest.mark.parametrize("backend", [BackingOff()])
def test_the_state_of_the_engine_is_the_one_that_is_1(ask: Ask, backend: FakeBackend) -> None:
    page = ask("GET", "/metrics")
    states = {state: figure(page, "dittod_engine_state", state=state) for state in ("ready", "backing off", "stopped")}
    assert states == {"ready": 0, "backing off": 1, "stopped": 0}


def test_nothing_that_a_client_wrote_is_in_it(ask: Ask) -> None:
    ask("GET", "/v1/models/hunter2")
    ask("GET", "/hunter2", params={"hunter2": "hunter2"}, headers={"x-hunter2": "hunter2"})
    ask("HUNTER2", "/v1/models")
    ask("POST", "/v1/chat/completions", json=CHAT | {"user": "hunter2", "model": "hunter2"})
    assert "hunter2" not in ask("GET", "/metrics").text.lower()


def test_it_needs_the_token(ask: Ask) -> None:
    assert error_of(ask("GET", "/metrics", headers={"authorization": ""}))["code"] == "invalid_api_key"


def test_every_application_counts_for_itself(ask: Ask) -> None:
    ask("GET", "/v1/models")
    other = create_app(FakeBackend(), TOKEN)

    async def page() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(other), base_url="http://127.0.0.1") as client:
            return await client.get("/metrics", headers=BEARER)

    assert figure(asyncio.run(page()), "dittod_requests_total", route="/v1/models", status="2xx") == 0
    assert figure(ask("GET", "/metrics"), "dittod_requests_total", route="/v1/models", status="2xx") == 1
