"""Pages of listed origins are answered as browsers demand, all others not at all."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from dittod_service.app import Callers, create_app
from dittod_service.cors import Origins

from .conftest import BEARER, TOKEN
from .fakes import FakeBackend
from .wire import error_of

CHAT = {"model": "base", "messages": [{"role": "user", "content": "hi"}]}
OBSIDIAN = "app://obsidian.md"
LISTED = (OBSIDIAN, "moz-extension://*", "https://chat.example.org")
PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,x-stainless-os"}


@pytest.fixture
def opened(backend: FakeBackend) -> Starlette:
    return create_app(backend, TOKEN, callers=Callers(allowed_origins=LISTED))


@pytest.mark.parametrize(
    "origin", [OBSIDIAN, "APP://obsidian.md", "moz-extension://0c1f-22", "https://chat.example.org"]
)
def test_a_listed_origin_is_allowed(origin: str) -> None:
    assert Origins(LISTED).allow(origin)


@pytest.mark.parametrize(
    "origin",
    [
        *("null", "", "*", "app://obsidian.md.evil", "app://obsidian", "app://*", "moz-extension:", "moz-extension"),
        *("https://chat.example.org:8443", "http://chat.example.org", "https://evil.example"),
        *("https://chat.example.org.evil.example", "https://x.chat.example.org", "moz-extensions://x"),
    ],
)
def test_what_only_looks_like_a_listed_origin_is_not_allowed(origin: str) -> None:
    assert not Origins(LISTED).allow(origin)


def test_all_of_the_web_can_never_be_listed() -> None:
    """The settings refuse it; this is the second lock."""
    origins = Origins(["http://*", "https://*", "*", "null"])
    assert not any(origins.allow(each) for each in ("http://evil.example", "https://evil.example"))


def test_a_preflight_is_answered_without_token_and_without_work(opened: Starlette, backend: FakeBackend) -> None:
    response = ask(opened, "OPTIONS", "/v1/chat/completions", {"origin": OBSIDIAN, "authorization": ""} | PREFLIGHT)
    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["access-control-allow-origin"] == OBSIDIAN
    assert response.headers["access-control-allow-methods"] == "POST"
    assert response.headers["access-control-allow-headers"] == "authorization,x-stainless-os"
    assert response.headers["access-control-max-age"] == "600"
    assert "Origin" in response.headers["vary"]
    assert "access-control-allow-credentials" not in response.headers
    assert "access-control-allow-private-network" not in response.headers
    assert backend.asked == []


def test_leave_for_the_private_network_is_given_when_asked_for(opened: Starlette) -> None:
    asked = {"origin": OBSIDIAN, "access-control-request-private-network": "true"} | PREFLIGHT
    response = ask(opened, "OPTIONS", "/v1/chat/completions", asked)
    assert response.headers["access-control-allow-private-network"] == "true"


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
def test_the_preflight_of_another_origin_is_refused(opened: Starlette, origin: str) -> None:
    response = ask(opened, "OPTIONS", "/v1/chat/completions", {"origin": origin} | PREFLIGHT)
    assert (response.status_code, error_of(response)["code"]) == (403, "origin_not_allowed")
    assert not [name for name in response.headers if name.startswith("access-control")]


def test_without_listed_origins_no_preflight_succeeds(app: Starlette) -> None:
    assert ask(app, "OPTIONS", "/v1/chat/completions", {"origin": OBSIDIAN} | PREFLIGHT).status_code == 403


def test_options_of_a_program_is_no_preflight(opened: Starlette) -> None:
    assert ask(opened, "OPTIONS", "/v1/chat/completions", {}).status_code == 405
    assert ask(opened, "OPTIONS", "/v1/chat/completions", {"authorization": ""} | PREFLIGHT).status_code == 401


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({}, 200),
        ({"stream": True}, 200),
        ({"messages": 5}, 400),
        ({"model": "none"}, 404),
    ],
)
def test_every_answer_to_a_listed_page_can_be_read_by_it(
    opened: Starlette, given: dict[str, object], status: int
) -> None:
    response = ask(opened, "POST", "/v1/chat/completions", {"origin": OBSIDIAN}, CHAT | given)
    assert response.status_code == status
    assert_readable(response)


def test_refusals_can_be_read_by_a_listed_page_too(opened: Starlette, backend: FakeBackend) -> None:
    unauthorised = ask(opened, "GET", "/v1/models", {"origin": OBSIDIAN, "authorization": ""})
    unknown = ask(opened, "GET", "/v1/nothing", {"origin": OBSIDIAN})
    backend.error = ZeroDivisionError()
    broken = ask(opened, "POST", "/v1/chat/completions", {"origin": OBSIDIAN}, CHAT)
    assert [each.status_code for each in (unauthorised, unknown, broken)] == [401, 404, 500]
    for each in (unauthorised, unknown, broken):
        assert_readable(each)


def test_answers_to_programs_say_nothing_of_origins(opened: Starlette) -> None:
    response = ask(opened, "GET", "/v1/models", {})
    assert not [name for name in response.headers if name.startswith("access-control")]


@pytest.mark.parametrize("site", ["cross-site", "same-site", "CROSS-SITE", "nonsense", ""])
@pytest.mark.parametrize("path", ["/health", "/", "/v1/models", "/v1/chat/completions"])
def test_what_a_foreign_page_loads_without_origin_is_refused(app: Starlette, site: str, path: str) -> None:
    """Images, scripts, frames and links; another port of localhost is 'same-site'."""
    response = ask(app, "GET", path, {"sec-fetch-site": site})
    assert (response.status_code, error_of(response)["code"]) == (403, "origin_not_allowed")


def test_what_the_user_types_and_our_own_pages_load_is_answered(opened: Starlette) -> None:
    for site in ("none", "same-origin"):
        assert ask(opened, "GET", "/v1/models", {"sec-fetch-site": site}).status_code == 200
    listed = {"sec-fetch-site": "cross-site", "origin": OBSIDIAN}
    assert ask(opened, "GET", "/v1/models", listed).status_code == 200


def test_of_several_origins_all_must_be_allowed(opened: Starlette) -> None:
    for origins, status in (([OBSIDIAN, "https://evil.example"], 403), ([OBSIDIAN, OBSIDIAN], 200)):
        headers = [("origin", each) for each in origins]
        assert ask(opened, "GET", "/v1/models", [*BEARER.items(), *headers]).status_code == status


def assert_readable(response: httpx.Response) -> None:
    assert response.headers["access-control-allow-origin"] == OBSIDIAN
    exposed = response.headers["access-control-expose-headers"].split(", ")
    assert {"x-dittod-adapter", "x-request-id", "retry-after"} <= set(exposed)
    assert "Origin" in response.headers["vary"]
    assert "access-control-allow-credentials" not in response.headers


def ask(app: Starlette, method: str, path: str, headers: Any, body: object = None) -> httpx.Response:
    async def request() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        given = BEARER | headers if isinstance(headers, dict) else headers
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:3488") as client:
            return await client.request(method, path, headers=given, json=body)

    return asyncio.run(request())
