"""Pages in a real browser that try everything on an endpoint without a token get nothing; a listed one is answered."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from dittod_service.server import Terms

from .conftest import TOKEN
from .fakes import FakeBackend
from .servers import running

OPEN = Terms(require_token=False)

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
PAGES = Path(__file__).parent / "pages"
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
    "--disable-popup-blocking",
    "--host-resolver-rules=MAP evil.test 127.0.0.1",
    "--disable-features=LocalNetworkAccessChecks",  # this browser's own protection, which others lack
]
NOTHING_GAINED = {"failed", "opaque", "nothing", "status 403"}

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
    pytest.mark.timeout(120),
]


class UntouchedBackend(FakeBackend):
    """A daemon that remembers whether anything at all was asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.touched: list[str] = []

    def __getattribute__(self, name: str) -> object:
        if name in {"models", "resolve", "health", "answer", "embed", "tokenize", "detokenize", "ready"}:
            self.touched.append(name)
        return super().__getattribute__(name)


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that reached the endpoint, and its answer's status."""

    method: str
    path: str
    host: str
    origin: str | None
    site: str | None
    status: int


@dataclass
class Watched:
    """An application whose answers are noted."""

    app: Any = None
    seen: list[Seen] = field(default_factory=list[Seen])

    def around(self, app: Any) -> Watched:
        self.app = app
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = Headers(scope=scope)
                about = (headers["host"], headers.get("origin"), headers.get("sec-fetch-site"))
                self.seen.append(Seen(scope["method"], scope["path"], *about, message["status"]))
            await send(message)

        await self.app(scope, receive, noted)


class PageServer(ThreadingHTTPServer):
    """Serves one page, and takes one report."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Pages)
        self.page = b""
        self.asked_by_script = threading.Event()
        self.reported = threading.Event()
        self.report: Any = None
        self.port = int(self.server_address[1])


class _Pages(BaseHTTPRequestHandler):
    server: PageServer

    def do_GET(self) -> None:
        self._answer(self.server.page)
        if self.path == "/health":
            self.server.asked_by_script.set()

    def do_POST(self) -> None:
        self.server.report = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self._answer(b"")
        self.server.reported.set()

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.parametrize("name", ["127.0.0.1", "evil.test"])
def test_a_page_of_another_origin_gets_nothing_and_nothing_is_done_for_it(tmp_path: Path, name: str) -> None:
    backend, watched = UntouchedBackend(), Watched()
    with running(backend, OPEN, around=watched.around) as server, serving() as pages:
        pages.page = page("hostile.html", target=server.url, report=f"http://{name}:{pages.port}/")
        with browsing(f"http://{name}:{pages.port}/", tmp_path):
            assert pages.reported.wait(60)
    assert {key: value for key, value in pages.report.items() if value not in NOTHING_GAINED} == {}
    assert len(pages.report) == 34
    assert [each for each in watched.seen if each.status != 403 and each.path != "/favicon.ico"] == []
    assert backend.touched == []
    assert {each.method for each in watched.seen} >= {"GET", "POST", "OPTIONS"}
    assert {each.origin for each in watched.seen} == {None, "null", f"http://{name}:{pages.port}"}
    assert "same-site" in {each.site for each in watched.seen} or name == "evil.test"
    assert "cross-site" in {each.site for each in watched.seen} or name == "127.0.0.1"
    assert len(watched.seen) >= 25


def test_a_page_whose_name_was_pointed_here_gets_nothing(tmp_path: Path) -> None:
    """First the attacker answers under the name, then the endpoint does: to the browser it is one origin."""
    backend, watched = UntouchedBackend(), Watched()
    with serving() as reports, ExitStack() as browser:
        with serving() as attacker:
            attacker.page = page("hostile.html", target="", report=f"http://127.0.0.1:{reports.port}/")
            port = attacker.port
            browser.enter_context(browsing(f"http://evil.test:{port}/", tmp_path))
            assert attacker.asked_by_script.wait(30), "the page was not loaded"
        with running(backend, OPEN, port=port, around=watched.around):
            assert reports.reported.wait(60)
    assert {key: value for key, value in reports.report.items() if value not in NOTHING_GAINED} == {}
    assert reports.report["get"] == reports.report["postJson"] == "status 403"
    assert {(each.host, each.status) for each in watched.seen} == {(f"evil.test:{port}", 403)}
    assert backend.touched == []
    assert len(watched.seen) >= 25


def test_a_page_of_a_listed_origin_is_answered_word_by_word(tmp_path: Path, backend: FakeBackend) -> None:
    backend.word_seconds = 0.05
    with serving() as pages:
        origin = f"http://127.0.0.1:{pages.port}"
        watched = Watched()
        with running(backend, Terms(allowed_origins=[origin]), around=watched.around) as server:
            pages.page = page("friendly.html", target=server.url, report=origin + "/")
            with browsing(origin + "/", tmp_path):
                assert pages.reported.wait(60)
    streamed = pages.report["streamed"]
    assert (streamed["status"], streamed["adapter"], streamed["id"][:4]) == (200, "base", "req_")
    assert len(streamed["pieces"]) >= 4
    text = "".join(streamed["pieces"])
    assert " Ærik" in text and text.endswith("data: [DONE]\n\n")
    assert pages.report["refused"] == {"status": 401, "code": "invalid_api_key"}
    assert [(each.method, each.status) for each in watched.seen] == [
        ("OPTIONS", 204),
        ("POST", 200),
        ("OPTIONS", 204),
        ("GET", 401),
    ]


def page(name: str, *, target: str, report: str) -> bytes:
    text = (PAGES / name).read_text()
    for word, value in (("TARGET", target), ("REPORT", report), ("TOKEN", TOKEN)):
        text = text.replace(f'"{word}"', json.dumps(value))
    return text.encode()


@contextmanager
def serving() -> Iterator[PageServer]:
    server = PageServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def browsing(url: str, folder: Path) -> Iterator[None]:
    """A browser of its own on this page, gone with the block."""
    assert CHROMIUM is not None
    browser = subprocess.Popen(
        [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", url],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        os.killpg(browser.pid, signal.SIGKILL)
        browser.wait()
