"""Signing in to the dashboard: a link works once, a session needs both of its halves, and nothing else opens it."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest
from starlette.applications import Starlette

from dittod_service.app import Callers, create_app
from dittod_service.dashboard.peers import TABLES
from dittod_service.dashboard.session import CODE_SECONDS, MOST_CODES, MOST_TRIES, SESSION_SECONDS, Sessions
from dittod_service.openai.errors import Refused

from .browsers import Browser, asked, code_of, signed_in
from .conftest import BEARER, TOKEN
from .dashboards import FakeDashboard
from .fakes import FakeBackend
from .servers import connect, post, read_all, running
from .wire import error_of

OTHER_UID = 12_345
CHAT = {"model": "base", "messages": [{"role": "user", "content": "hi"}]}
PATHS = [
    ("GET", "/dashboard/now"),
    ("GET", "/dashboard/token"),
    ("GET", "/dashboard/voices/email"),
    ("GET", "/dashboard/events"),
    ("GET", "/dashboard/nothing"),
    ("POST", "/dashboard/forget"),
    ("POST", "/dashboard/learning"),
    ("POST", "/dashboard/link"),
    ("DELETE", "/dashboard/session"),
]


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def app(backend: FakeBackend, dashboard: FakeDashboard) -> Starlette:
    return create_app(backend, TOKEN, dashboard=dashboard)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def held(sessions: Sessions, cookie: str, page_key: str) -> bool:
    return sessions.hold({"cookie": f"dittod_session={cookie}", "x-dittod-page": page_key})


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize(("method", "path"), PATHS)
def test_without_session_and_token_the_dashboard_says_nothing_and_does_nothing(
    backend: FakeBackend, dashboard: FakeDashboard, method: str, path: str, required: bool
) -> None:
    """Also where clients need no token."""
    app = create_app(backend, TOKEN, dashboard=dashboard, callers=Callers(require_token=required))
    response = asked(app, method, path)
    assert (response.status_code, error_of(response)["code"]) == (401, "signed_out")
    assert "dittod open" in error_of(response)["message"]
    assert dashboard.threads == set(), "it was not asked"


def test_a_link_signs_one_browser_in_once(app: Starlette) -> None:
    code = code_of(app)
    one, other = Browser(app), Browser(app)
    assert one.sign_in(code).status_code == 200
    refused = other.sign_in(code)
    assert (refused.status_code, error_of(refused)["code"]) == (401, "signed_out")
    assert one.ask("GET", "/dashboard/now").status_code == 200


def test_both_halves_are_needed_and_of_the_same_session(app: Starlette) -> None:
    one, other = signed_in(app), signed_in(app)
    for headers in ({"cookie": ""}, {"x-dittod-page": ""}, {"x-dittod-page": other.page_key}):
        response = one.ask("GET", "/dashboard/now", headers=headers)
        assert (response.status_code, error_of(response)["code"]) == (401, "signed_out")
    assert one.ask("GET", "/dashboard/now").status_code == 200


def test_no_half_can_be_made_from_the_other(clock: Clock) -> None:
    sessions = Sessions(TOKEN, clock)
    made = sessions.sign_in(sessions.code())
    stub, _, proof = made.cookie.rpartition(".")
    later = f"{int(clock()) + 10 * SESSION_SECONDS}.{stub.partition('.')[2]}"
    forged = [(made.cookie, proof), (f"{stub}.{made.page_key}", made.page_key), (f"{later}.{proof}", made.page_key)]
    forged += [("", ""), (".", ""), (stub, made.page_key), (f"{made.cookie}x", made.page_key), ("é", "\xe9")]
    assert not any(held(sessions, *each) for each in forged)
    assert held(sessions, made.cookie, made.page_key)


def test_a_session_ends_after_thirty_days(clock: Clock) -> None:
    sessions = Sessions(TOKEN, clock)
    made = sessions.sign_in(sessions.code())
    clock.now += 30 * 24 * 3600 - 1
    assert held(sessions, made.cookie, made.page_key)
    clock.now += 2
    assert not held(sessions, made.cookie, made.page_key)


def test_a_session_outlives_the_daemon_but_not_the_token(app: Starlette, backend: FakeBackend) -> None:
    browser = signed_in(app)
    browser.app = create_app(backend, TOKEN, dashboard=FakeDashboard())
    assert browser.ask("GET", "/dashboard/now").status_code == 200
    browser.app = create_app(backend, "another-token", dashboard=FakeDashboard())
    assert error_of(browser.ask("GET", "/dashboard/now"))["code"] == "signed_out"


def test_a_code_is_good_for_two_minutes(clock: Clock) -> None:
    sessions = Sessions(TOKEN, clock)
    one, other = sessions.code(), sessions.code()
    clock.now += CODE_SECONDS - 1
    assert sessions.sign_in(one).page_key
    clock.now += 2
    with pytest.raises(Refused, match="too old"):
        sessions.sign_in(other)


def test_five_wrong_codes_burn_the_right_one(clock: Clock) -> None:
    sessions = Sessions(TOKEN, clock)
    code = sessions.code()
    for guess in range(MOST_TRIES):
        with pytest.raises(Refused):
            sessions.sign_in(f"guess-{guess}")
    with pytest.raises(Refused):
        sessions.sign_in(code)
    assert sessions.sign_in(sessions.code()).page_key, "the next one is not"


def test_a_few_codes_may_wait_at_once_and_the_oldest_gives_way(clock: Clock) -> None:
    sessions = Sessions(TOKEN, clock)
    first, *others = [sessions.code() for _ in range(MOST_CODES + 1)]
    with pytest.raises(Refused):
        sessions.sign_in(first)
    assert all(sessions.sign_in(each).cookie for each in others)


def test_a_code_is_kept_as_its_hash_only(clock: Clock) -> None:
    sessions = Sessions(TOKEN, clock)
    code = sessions.code()
    assert code not in repr(sessions.__dict__) and len(code) >= 43, "256 bits"


def test_the_cookie_is_kept_from_scripts_and_from_other_sites(app: Starlette) -> None:
    given = Browser(app).sign_in(code_of(app)).headers["set-cookie"]
    name, *attributes = [each.strip().lower() for each in given.split(";")]
    assert re.fullmatch(r"dittod_session=[0-9]+\.[0-9a-f]{32}\.[0-9a-f]{64}", name)
    assert sorted(attributes) == ["httponly", "max-age=2592000", "path=/", "samesite=strict"]


def test_under_tls_the_cookie_never_goes_in_the_open(app: Starlette) -> None:
    url = "https://127.0.0.1:3488"
    given = Browser(app, url).sign_in(code_of(app, url)).headers["set-cookie"]
    assert "secure" in [each.strip().lower() for each in given.split(";")]


def test_signing_out_clears_the_cookie(app: Starlette) -> None:
    response = signed_in(app).ask("DELETE", "/dashboard/session")
    assert response.status_code == 200
    assert response.headers["set-cookie"].startswith('dittod_session="";')
    assert "Max-Age=0" in response.headers["set-cookie"]


def test_only_the_token_makes_links(app: Starlette) -> None:
    """Else a session could beget others for ever."""
    browser = signed_in(app)
    assert browser.ask("POST", "/dashboard/link").status_code == 401
    assert browser.ask("POST", "/dashboard/link", headers=BEARER).status_code == 200
    assert asked(app, "POST", "/dashboard/link", headers={"x-api-key": TOKEN}).json()["expires_in"] == CODE_SECONDS


def test_the_page_may_ask_what_clients_ask(app: Starlette, backend: FakeBackend) -> None:
    browser = signed_in(app)
    assert browser.ask("POST", "/v1/chat/completions", json=CHAT).status_code == 200
    edited = {"model": "ditto", "prompt": "Tea?", "answer": "No.", "edited": "Gladly."}
    assert browser.ask("POST", "/v1/feedback", json=edited).status_code == 200
    assert browser.ask("GET", "/metrics").status_code == 200
    assert len(backend.asked) == 1


def test_a_cookie_alone_opens_nothing_to_clients(app: Starlette) -> None:
    browser = signed_in(app)
    browser.page_key = ""
    assert browser.ask("POST", "/v1/chat/completions", json=CHAT).status_code == 401


def test_who_has_the_token_needs_no_session(app: Starlette) -> None:
    assert asked(app, "GET", "/dashboard/now", headers=BEARER).status_code == 200
    wrong = asked(app, "GET", "/dashboard/now", headers={"authorization": "Bearer wrong"})
    assert (wrong.status_code, error_of(wrong)["code"]) == (401, "invalid_api_key")


def test_a_client_without_a_token_is_told_so_as_ever(app: Starlette) -> None:
    assert error_of(asked(app, "GET", "/v1/models"))["code"] == "invalid_api_key"
    browser = Browser(app)
    assert error_of(browser.ask("GET", "/v1/models"))["code"] == "signed_out", "a page is told what to do"


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"origin": "http://127.0.0.1:8080"},
        {"origin": "http://localhost:3488"},
        {"origin": "null"},
    ],
)
def test_a_page_of_elsewhere_gets_nothing_even_with_both_halves(app: Starlette, headers: dict[str, str]) -> None:
    browser = signed_in(app)
    for method, path in (
        ("GET", "/dashboard/now"),
        ("POST", "/dashboard/session"),
        ("GET", "/"),
        ("GET", "/v1/models"),
    ):
        assert browser.ask(method, path, headers=headers, json={"code": "x"}).status_code == 403


@pytest.mark.parametrize("site", ["same-site", "cross-site"])
def test_pages_of_other_ports_and_hosts_cannot_load_anything_from_it(app: Starlette, site: str) -> None:
    """Images, scripts and styles come without Origin, and with the cookie from other ports of the same host."""
    browser = signed_in(app)
    for path in ("/", "/static/app.js", "/dashboard/events", "/dashboard/now"):
        assert browser.ask("GET", path, headers={"sec-fetch-site": site}).status_code == 403


@contextmanager
def another_user() -> Iterator[None]:
    """What is opened in the block belongs to somebody else, as far as the kernel knows."""
    own = os.geteuid()
    os.seteuid(OTHER_UID)
    try:
        yield
    finally:
        os.seteuid(own)


def by_ipv4(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=5)


def by_both(port: int) -> socket.socket:
    """As programs do that have one kind of socket for old and new addresses: it stands in another table."""
    client = socket.socket(socket.AF_INET6)
    client.settimeout(5)
    client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    client.connect(("::ffff:127.0.0.1", port))
    return client


@pytest.mark.skipif(os.geteuid() != 0 or not TABLES[0].exists(), reason="needs root, and a kernel that tells users")
@pytest.mark.parametrize("connecting", [by_ipv4, by_both])
def test_another_user_of_the_machine_is_not_signed_in_whatever_code_they_have(
    backend: FakeBackend, connecting: Callable[[int], socket.socket]
) -> None:
    """They may have read it in the list of processes, where a browser is started with it. Nor do their tries count."""
    with running(backend, dashboard=FakeDashboard()) as server:
        code = httpx.post(f"{server.url}/dashboard/link", headers=BEARER).json()["code"]
        for guess in [*("wrong" for _ in range(MOST_TRIES)), code]:
            with another_user():
                client = connecting(server.port)
            with client:
                client.sendall(post({"code": guess}, path="/dashboard/session", Connection="close"))
                answer = read_all(client).decode()
            assert answer.startswith("HTTP/1.1 403") and "other_user" in answer
            assert code not in answer and "set-cookie" not in answer.lower()
        with connect(server) as own:
            own.sendall(post({"code": code}, path="/dashboard/session", Connection="close"))
            assert read_all(own).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"code":1}', b'{"code":""}', b'{"code":null}', b"{}"])
def test_a_sign_in_without_sense_is_a_bad_request(app: Starlette, body: bytes) -> None:
    response = asked(app, "POST", "/dashboard/session", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400


def test_a_form_of_another_page_cannot_sign_anybody_in(app: Starlette) -> None:
    response = asked(app, "POST", "/dashboard/session", content=b"{}", headers={"content-type": "text/plain"})
    assert response.status_code == 415


def test_nothing_of_a_session_is_logged(app: Starlette, caplog: pytest.LogCaptureFixture) -> None:
    code = code_of(app)
    browser = Browser(app)
    browser.sign_in(code)
    browser.ask("GET", "/dashboard/now")
    browser.sign_in(code)
    for secret in (code, browser.page_key, browser.cookies["dittod_session"], TOKEN):
        assert secret not in caplog.text
