"""Bodies are bounded together, and in how many objects they become; a refusal waits for what still comes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import httpx
import pytest
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from dittod.errors import RequestError
from dittod_service.app import Limits, create_app
from dittod_service.body import BodyLimit
from dittod_service.failures import Failures
from dittod_service.openai.chat import ChatRequest
from dittod_service.openai.completions import CompletionRequest
from dittod_service.openai.errors import Failure, Refused
from dittod_service.openai.request import MAX_CONTAINERS, MAX_VALUES, parse

from .conftest import BEARER, TOKEN
from .fakes import FakeBackend
from .servers import CHAT

POST: Scope = {"type": "http", "method": "POST", "path": "/", "headers": []}

CROWDS = {
    "objects": b"{}," * (MAX_CONTAINERS + 1),
    "lists": b"[]," * (MAX_CONTAINERS + 1),
    "behind a backslash": rb'"\\",{},"\\",' * (MAX_CONTAINERS + 1),
    "behind a quote": rb'"\"",{},"\"",' * (MAX_CONTAINERS + 1),
    "numbers": b"7," * (MAX_VALUES + 1),
    "texts": b'"",' * (MAX_VALUES + 1),
}


async def read(scope: Scope, receive: Receive, send: Send) -> None:
    """An endpoint that reads the body and has ended."""
    await Request(scope, receive).body()


async def nothing(message: Message) -> None:
    """An answer that nobody hears."""


def piece(length: int, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": b"x" * length, "more_body": more}


def pieces(*messages: Message) -> Callable[[], Awaitable[Message]]:
    """A client that sends these, and then nothing."""
    coming = iter(messages)

    async def receive() -> Message:
        for message in coming:
            return message
        await asyncio.Event().wait()
        raise AssertionError

    return receive


def test_bodies_that_are_being_read_are_bounded_together() -> None:
    async def scenario() -> None:
        limit = BodyLimit(read, max_body_bytes=100, most_bytes_held=100)
        slow = asyncio.create_task(limit(POST, pieces(piece(60, more=True)), nothing))
        await asyncio.sleep(0)
        for _ in range(2):  # what is refused does not count
            with pytest.raises(Refused) as caught:
                await limit(POST, pieces(piece(60)), nothing)
            failure = caught.value.failure
            assert (failure.status, failure.code, failure.headers) == (503, "too_many_bodies", {"retry-after": "1"})
        await limit(POST, pieces(piece(40)), nothing)
        slow.cancel()
        await asyncio.wait([slow])
        await limit(POST, pieces(piece(60, more=True), piece(40)), nothing)

    asyncio.run(scenario())


def test_a_body_counts_no_longer_when_it_has_been_parsed() -> None:
    """The answer may take half an hour."""

    async def scenario() -> None:
        backend = FakeBackend(word_seconds=3600)
        app = create_app(backend, TOKEN, limits=Limits(bytes_held=len(json.dumps(CHAT)) + 10))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=BEARER) as client:
            asking: list[asyncio.Task[httpx.Response]] = []
            for running in range(1, 4):
                asking.append(asyncio.create_task(client.post("/v1/chat/completions", json=CHAT)))
                while backend.running < running and not asking[-1].done():
                    await asyncio.sleep(0)
            assert backend.running == 3
            for task in asking:
                task.cancel()
            await asyncio.wait(asking)

    asyncio.run(scenario())


@pytest.mark.parametrize("crowd", CROWDS.values(), ids=CROWDS)
def test_a_crowd_is_refused_before_any_of_it_becomes_an_object(crowd: bytes) -> None:
    """Also in a field that nobody reads. That the body ends without sense shows that it was not parsed."""
    with pytest.raises(RequestError) as caught:
        parse(ChatRequest, b'{"other": [' + crowd)
    assert caught.value.code == "too_many_parts"


def test_a_text_may_be_as_full_of_braces_as_it_likes() -> None:
    code = r"""if (a["x"] == '\\') { b[0] = {"c": "\"{" }; }""" * 50_000
    body = json.dumps(CHAT | {"messages": [{"role": "user", "content": code}]}).encode()
    assert body.count(b"{") > MAX_CONTAINERS
    assert parse(ChatRequest, body).messages[0].content == code


def test_as_many_token_ids_as_any_model_reads_are_no_crowd() -> None:
    ids = [7] * 2**18
    body = json.dumps({"model": "base", "prompt": ids}).encode()
    assert parse(CompletionRequest, body).prompt == ids


def test_a_refusal_waits_until_the_client_has_said_everything() -> None:
    """Some clients read nothing before that, and would see a broken connection."""
    seen: list[str] = []
    receive = pieces(piece(1, more=True), piece(1, more=True), piece(1))

    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        raise Refused(Failure(401, "no"))

    async def heard() -> Message:
        seen.append("piece")
        return await receive()

    async def send(message: Message) -> None:
        seen.append(message["type"])

    asyncio.run(Failures(refuse)(POST, heard, send))
    assert seen == ["piece"] * 3 + ["http.response.start", "http.response.body"]
