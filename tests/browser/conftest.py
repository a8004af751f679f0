"""A real browser over the real service, with a dashboard of sample documents behind it. No daemon, no model.

Every page is watched: a script's error, a line in the console or a request to another address fails its test.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from dittod_service.server import Server

from ..service.conftest import BEARER
from ..service.dashboards import FakeDashboard
from ..service.fakes import FakeBackend
from ..service.servers import running

PHONE = {"width": 360, "height": 740}
HEADING = "main h1"
WAIT_MILLISECONDS = 10_000  # on a busy machine
OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"  # there is no other host


@dataclass
class Site:
    """The service under test."""

    server: Server
    dashboard: FakeDashboard
    backend: FakeBackend

    @property
    def url(self) -> str:
        return self.server.url

    def code(self) -> str:
        """What signs a browser in, once."""
        return str(httpx.post(f"{self.url}/dashboard/link", headers=BEARER).json()["code"])

    def end(self) -> None:
        """The daemon ends, and has left its port."""
        self.server.should_exit = True
        while True:
            try:
                httpx.get(f"{self.url}/health").close()
            except httpx.TransportError:
                return

    def link(self) -> str:
        """What `dittod open` opens."""
        return f"{self.url}/#sign-in={self.code()}"


@dataclass
class Watch:
    """What must not happen on a page. A test may say what it provokes."""

    site: Site
    faults: list[str] = field(default_factory=list[str])
    expected: tuple[str, ...] = ()  # parts of lines in the console

    def over(self, page: Page) -> Page:
        page.on("pageerror", lambda error: self.faults.append(f"script: {error}"))
        page.on("console", self._heard)
        page.on("request", self._sent)
        page.set_default_timeout(WAIT_MILLISECONDS)
        expect.set_options(timeout=WAIT_MILLISECONDS)
        return page

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(each in message.text for each in self.expected):
            self.faults.append(f"console: {message.text}")

    def _sent(self, request: Request) -> None:
        if not request.url.startswith((f"{self.site.url}/", "data:")):
            self.faults.append(f"request: {request.url}")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's, without a window. While it is there no other test can run an event loop, so it ends with its file."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("needs the program chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu", OFFLINE])
        yield browser
        browser.close()


@pytest.fixture
def site() -> Iterator[Site]:
    dashboard, backend = FakeDashboard(), FakeBackend()
    with running(backend, dashboard=dashboard) as server:
        yield Site(server, dashboard, backend)


@pytest.fixture
def watch(site: Site) -> Iterator[Watch]:
    watching = Watch(site)
    yield watching
    assert watching.faults == []


@pytest.fixture
def stranger(chromium: Browser, watch: Watch) -> Iterator[Page]:
    """A page of a browser that is not signed in, on a blank page."""
    context = chromium.new_context(locale="en-GB", reduced_motion="reduce")
    yield watch.over(context.new_page())
    context.close()


@pytest.fixture
def page(stranger: Page, site: Site) -> Page:
    """A page that is signed in, and shows Now."""
    stranger.goto(site.link())
    stranger.wait_for_url("**/#now")
    settled(stranger)
    return stranger


def settled(page: Page) -> None:
    """Waits until the page has drawn what it is about."""
    page.wait_for_selector("main .page:not([aria-busy])")


def visit(page: Page, place: str) -> None:
    """Goes to a page by its place, as a link to it does: visit(page, 'voices/email')."""
    page.evaluate(
        "place => {"
        "  document.querySelector('main').replaceChildren();"  # else the page before would count as drawn
        "  if (location.hash === `#${place}`) dispatchEvent(new HashChangeEvent('hashchange'));"
        "  else location.hash = place;"
        "}",
        place,
    )
    settled(page)


def flaws(page: Page) -> list[str]:
    """What axe-core finds fault with, of whatever weight, in words."""
    found = Axe().run(page).response["violations"]
    return [f"{each['impact']} {each['id']}: {each['nodes'][0]['html']}" for each in found]


def is_wider_than_its_window(page: Page) -> bool:
    """Whether one has to scroll sideways to see it all."""
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))
