"""Only who has the token and names this machine is served, and nothing larger than the limit is read."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.datastructures import Headers

from dittod.errors import SettingsError
from dittod_service.app import Callers, create_app
from dittod_service.body import has_body
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
    ("GET", "/health/"),
    ("GET", "/health/../v1/models"),
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


def test_the_token_is_taken_from_two_headers_and_no_other(ask: Ask) -> None:
    for name, status in (("x-api-key", 200), ("X-API-Key", 200), ("api-key", 401), ("cookie", 401)):
        assert ask("GET", "/v1/models", headers={"authorization": "", name: TOKEN}).status_code == status
    for given in (TOKEN[:-1], f"Bearer {TOKEN}", "\xe9"):
        headers = {"authorization": "", "x-api-key": given.encode("latin-1")}
        assert ask("GET", "/v1/models", headers=headers).status_code == 401


def test_one_right_token_of_two_is_enough(ask: Ask) -> None:
    """A client that must be given some key sends that one too."""
    for headers in ({"x-api-key": "none"}, {"authorization": "Bearer none", "x-api-key": TOKEN}):
        assert ask("GET", "/v1/models", headers=headers).status_code == 200


def test_without_a_token_to_know_everybody_is_let_in_who_passes_the_other_checks(backend: FakeBackend) -> None:
    app = create_app(backend, TOKEN, callers=Callers(require_token=False))
    given: list[dict[str, str]] = [{"authorization": ""}, {"authorization": "Bearer whatever"}, {"x-api-key": "x"}]
    assert statuses(app, *given) == [200, 200, 200]
    refused = [{"host": "evil.example"}, {"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}]
    assert statuses(app, *refused) == [403, 403, 403]


def test_where_a_client_looks_for_a_server_it_finds_one(ask: Ask) -> None:
    for method in ("GET", "HEAD"):
        for path in ("/", "/health"):
            response = ask(method, path, headers={"authorization": ""})
            assert (response.status_code, TOKEN in response.text) == (200, False)
    assert ask("GET", "/").text.startswith("dittod is running")


def test_the_scheme_may_be_written_in_any_case(ask: Ask) -> None:
    assert ask("GET", "/v1/models", headers={"authorization": f"bearer  {TOKEN} "}).status_code == 200


def test_an_empty_token_is_no_token(backend: FakeBackend) -> None:
    with pytest.raises(SettingsError, match="no token"):
        create_app(backend, "")


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:3488", "127.0.0.1.evil.example", "[::2]", "", "a b", "@", ":80", "[::1"),
        *("localhost.", "localhost:x", "localhost:99999", "localhost:1:2", "me@localhost", "localhost@evil.example"),
        *("http://localhost", "localhost/", "localhost,evil.example", "127.1", "2130706433", "::1", "0.0.0.0", "\xe9"),
    ],
)
def test_a_foreign_host_is_refused_even_with_the_token(ask: Ask, backend: FakeBackend, host: str) -> None:
    for path in ("/v1/models", "/health"):
        response = ask("GET", path, headers={"host": host.encode("latin-1")})
        assert (response.status_code, error_of(response)["code"]) == (403, "host_not_allowed")
    assert backend.asked == []


def test_of_several_hosts_none_is_believed(app: Starlette) -> None:
    assert asyncio.run(status_of(app, [(b"host", b"localhost"), (b"host", b"evil.example")])) == 403
    assert asyncio.run(status_of(app, [(b"host", b"localhost"), (b"host", b"localhost")])) == 403
    assert asyncio.run(status_of(app, [])) == 403
    assert asyncio.run(status_of(app, [(b"host", b"localhost")])) == 200


def test_a_request_meant_for_a_proxy_is_refused(app: Starlette) -> None:
    """Its host stands in the target, and Host may say another."""
    for target in ("http://evil.example/health", "evil.example:80", "*"):
        assert asyncio.run(status_of(app, [(b"host", b"localhost")], target)) == 400


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:3488", "[::1]:3488", "[::1]"])
def test_the_machines_own_names_are_taken_with_any_port(ask: Ask, host: str) -> None:
    assert ask("GET", "/v1/models", headers={"host": host}).status_code == 200


def test_names_that_the_user_allows_are_taken(backend: FakeBackend) -> None:
    app = create_app(backend, TOKEN, callers=Callers(["Desk.local", "fd00::7"], ["app://obsidian.md"]))
    assert statuses(app, {"host": "desk.local:3488"}, {"host": "[fd00::7]:3488"}, {"host": "other.local"}) == [
        200,
        200,
        403,
    ]
    assert statuses(app, {"origin": "app://obsidian.md"}, {"origin": "app://other"}) == [200, 403]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_a_body_that_does_not_say_it_is_json_is_refused_with_what_to_send(
    ask: Ask, backend: FakeBackend, kind: str
) -> None:
    """Browsers send these, and an empty type, for any page without asking."""
    for given in (kind, "", "application/json, text/plain", "application/jsonp"):
        response = ask("POST", "/v1/chat/completions", content=json.dumps(CHAT), headers={"content-type": given})
        assert (response.status_code, error_of(response)["code"]) == (415, "unsupported_media_type")
        assert "Content-Type: application/json" in error_of(response)["message"]
    assert backend.asked == []


def test_the_type_of_a_body_may_have_parameters_and_any_case(ask: Ask) -> None:
    for kind in ("application/json; charset=utf-8", "Application/JSON ;charset=x"):
        response = ask("POST", "/v1/chat/completions", content=json.dumps(CHAT), headers={"content-type": kind})
        assert response.status_code == 200


def test_a_post_without_a_body_needs_no_type(app: Starlette) -> None:
    assert not has_body(Headers({"content-length": "0"})) and not has_body(Headers({}))
    assert has_body(Headers({"content-length": "10"})) and has_body(Headers({"transfer-encoding": "chunked"}))


def test_every_answer_has_a_name_of_its_own(ask: Ask) -> None:
    paths = ("/health", "/v1/models", "/v1/nothing", "/v1/models/none")
    ids = [ask("GET", path, headers={"x-request-id": "mine"}).headers["x-request-id"] for path in paths]
    ids += [ask("GET", "/", headers={"host": "evil.example"}).headers["x-request-id"]]
    ids += [ask("POST", "/v1/chat/completions", json=CHAT | {"stream": True}).headers["x-request-id"]]
    assert len(set(ids)) == 6
    assert all(re.fullmatch("req_[0-9a-f]{32}", each) for each in ids)


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


async def status_of(app: Starlette, headers: list[tuple[bytes, bytes]], path: str = "/health") -> int:
    """Of a request that httpx would not send."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b""}
    await app(scope | {"scheme": "http", "root_path": "", "headers": headers}, receive, send)
    return int(sent[0]["status"])


def statuses(app: Starlette, *headers: dict[str, str]) -> list[int]:
    async def requests() -> list[int]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:3488") as client:
            return [(await client.get("/v1/models", headers=BEARER | each)).status_code for each in headers]

    return asyncio.run(requests())


@pytest.mark.parametrize(("headers", "status"), [({}, 200), ({"sec-fetch-site": "same-origin"}, 415)])
def test_only_a_program_may_leave_the_type_of_its_body_out(
    app: Starlette, headers: dict[str, str], status: int
) -> None:
    async def request() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
            content = json.dumps(CHAT).encode()
            return await client.post("/v1/chat/completions", content=content, headers=BEARER | headers)

    assert asyncio.run(request()).status_code == status
