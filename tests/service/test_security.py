"""Only who has the token and names this machine is served, and nothing larger than the limit is read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from dittod.errors import SettingsError
from dittod_service.app import create_app
from dittod_service.security import bearer, host_name

from .conftest import BEARER, TOKEN, Ask
from .fakes import FakeBackend
from .wire import error_of

CHAT = {"model": "base", "messages": [{"role": "user", "content": "hi"}]}
ROUTES = [
    ("GET", "/v1/models"),
    ("GET", "/v1/models/base"),
    ("GET", "/models"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/completions"),
    ("GET", "/v1/nothing"),
    ("GET", "/"),
    ("GET", "/health/"),
    ("GET", "//health"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "given",
    ["", TOKEN, f"Basic {TOKEN}", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer \xe9"],
)
def test_without_the_right_token_nothing_is_answered(
    ask: Ask, backend: FakeBackend, method: str, path: str, given: str
) -> None:
    response = ask(method, path, headers={"authorization": given.encode("latin-1")}, json=CHAT)
    error = error_of(response)
    assert (response.status_code, error["code"]) == (401, "invalid_api_key")
    assert response.headers["www-authenticate"] == "Bearer"
    assert TOKEN not in response.text
    assert backend.asked == []


def test_the_token_is_taken_from_no_other_header(ask: Ask) -> None:
    for name in ("api-key", "x-api-key", "cookie"):
        assert ask("GET", "/v1/models", headers={"authorization": "", name: TOKEN}).status_code == 401


def test_the_scheme_may_be_written_in_any_case(ask: Ask) -> None:
    assert ask("GET", "/v1/models", headers={"authorization": f"bearer  {TOKEN} "}).status_code == 200


def test_an_empty_token_is_no_token(backend: FakeBackend) -> None:
    with pytest.raises(SettingsError, match="no token"):
        create_app(backend, "")


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:3488", "127.0.0.1.evil.example", "localhost.", "[::2]", "", "a b", "@", ":80"],
)
def test_a_foreign_host_is_refused_even_with_the_token(ask: Ask, backend: FakeBackend, host: str) -> None:
    for path in ("/v1/models", "/health"):
        response = ask("GET", path, headers={"host": host})
        assert (response.status_code, error_of(response)["code"]) == (403, "host_not_allowed")
    assert backend.asked == []


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:3488", "[::1]:3488", "[::1]"])
def test_the_machines_own_names_are_taken_with_any_port(ask: Ask, host: str) -> None:
    assert ask("GET", "/v1/models", headers={"host": host}).status_code == 200


def test_names_that_the_user_allows_are_taken(backend: FakeBackend) -> None:
    app = create_app(backend, TOKEN, allowed_hosts=["Desk.local", "fd00::7"], allowed_origins=["app://obsidian.md"])
    assert statuses(app, {"host": "desk.local:3488"}, {"host": "[fd00::7]:3488"}, {"host": "other.local"}) == [
        200,
        200,
        403,
    ]
    assert statuses(app, {"origin": "app://obsidian.md"}, {"origin": "app://other"}) == [200, 403]


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:8080", "https://127.0.0.1:3488", "app://x", ""]
)
def test_pages_of_other_origins_are_refused_before_any_work(ask: Ask, backend: FakeBackend, origin: str) -> None:
    for method in ("POST", "OPTIONS"):
        response = ask(method, "/v1/chat/completions", headers={"origin": origin}, json=CHAT)
        assert (response.status_code, error_of(response)["code"]) == (403, "origin_not_allowed")
        assert "access-control-allow-origin" not in response.headers
    assert backend.asked == []


def test_the_servers_own_pages_may_ask(ask: Ask) -> None:
    own = {"origin": "http://localhost:3488", "host": "localhost:3488"}
    assert ask("POST", "/v1/chat/completions", headers=own, json=CHAT).status_code == 200


def test_an_announced_body_that_is_too_large_is_refused(ask: Ask, backend: FakeBackend) -> None:
    response = ask("POST", "/v1/chat/completions", content=b"x" * 100_001)
    assert (response.status_code, error_of(response)["code"]) == (413, "request_too_large")
    assert backend.asked == []


def test_a_body_in_chunks_is_refused_once_it_is_too_large(ask: Ask) -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x" * 10_000

    assert error_of(ask("POST", "/v1/completions", content=body()))["code"] == "request_too_large"


def test_every_answer_tells_browsers_to_keep_their_hands_off(ask: Ask) -> None:
    answers = [
        ask("GET", "/health"),
        ask("GET", "/v1/models", headers={"authorization": ""}),
        ask("GET", "/v1/models", headers={"host": "evil.example"}),
        ask("GET", "/v1/nothing"),
        ask("POST", "/v1/chat/completions", json=CHAT | {"stream": True}),
    ]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers


def test_a_websocket_is_closed_at_once(app: Starlette) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    scope = {"type": "websocket", "path": "/v1/chat/completions", "headers": [], "query_string": b""}
    asyncio.run(app(scope, receive, send))
    assert [message["type"] for message in sent] == ["websocket.close"]


def test_host_headers_and_bearers_are_read_strictly() -> None:
    assert [host_name(host) for host in ("a:1", "[::1]:2", "a:b", "a:1:2", "[::1", "")] == ["a", "[::1]", *[None] * 4]
    assert [bearer(text) for text in ("Bearer a", "bearer  a ", "Bearer", "a", "")] == ["a", "a", None, None, None]


def statuses(app: Starlette, *headers: dict[str, str]) -> list[int]:
    async def requests() -> list[int]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:3488") as client:
            return [(await client.get("/v1/models", headers=BEARER | each)).status_code for each in headers]

    return asyncio.run(requests())
