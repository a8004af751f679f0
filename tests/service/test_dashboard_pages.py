"""The page and its files: exactly those that ship, with headers that let nothing else in, never a stale one."""

from __future__ import annotations

import asyncio
import hashlib
import re
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from dittod_service.app import create_app
from dittod_service.dashboard.pages import CHART, INDEX, KINDS, Pages, shipped

from .browsers import asked
from .conftest import TOKEN
from .dashboards import FakeDashboard
from .fakes import FakeBackend
from .test_security import status_of

HTML = {"accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "form-action": "'none'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
OUTSIDE = re.compile(r"(?:https?:)?//(?!www\.w3\.org/)[a-z0-9.-]+\.[a-z]+", re.IGNORECASE)


@pytest.fixture
def app(backend: FakeBackend) -> Starlette:
    return create_app(backend, TOKEN, dashboard=FakeDashboard())


def test_browsers_get_the_page_and_clients_the_text_they_look_for(app: Starlette) -> None:
    page = asked(app, "GET", "/", headers=HTML)
    assert page.status_code == 200 and page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.text.lower().startswith("<!doctype html>")
    for accept in ({}, {"accept": "*/*"}, {"accept": "application/json"}):
        assert asked(app, "GET", "/", headers=accept).text.startswith("dittod is running")
    assert page.headers["vary"] == "Accept", "a cache must not give one for the other"


def test_the_page_lets_nothing_in_from_elsewhere(app: Starlette) -> None:
    headers = asked(app, "GET", "/", headers=HTML).headers
    policy = dict(each.strip().split(" ", 1) for each in headers["content-security-policy"].split(";"))
    assert policy == POLICY
    assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer" and headers["cross-origin-resource-policy"] == "same-origin"


def test_every_file_that_ships_is_served_to_anybody_with_its_type(app: Starlette) -> None:
    for name, path in shipped().items():
        if name == INDEX:
            continue
        response = asked(app, "GET", f"/static/{name}")
        assert response.status_code == 200 and response.content == path.read_bytes()
        assert response.headers["content-type"] == KINDS[path.suffix]
        assert response.headers["x-content-type-options"] == "nosniff"


def test_there_is_no_file_in_the_folder_that_would_not_be_served() -> None:
    folder = shipped()[INDEX].parent
    assert {path.name for path in folder.iterdir()} == shipped().keys() - {CHART}


def test_the_chart_library_is_the_installed_one(app: Starlette) -> None:
    text = asked(app, "GET", "/static/chart.js").text
    assert "Chart.js v4." in text[:200] and "Released under the MIT License" in text[:1000]


@pytest.mark.parametrize(
    "path",
    [
        *("/static/", "/static", "/static/nothing.js", "/static/index.html", "/static/../pages.py", "/static/./app.js"),
        *("/static//etc/passwd", "/static/..\\pages.py", "/static/app.js\0.css", "/static/APP.JS", "/static/app.js/"),
        *("/static//app.js", "/static/pages.py", "/static/__init__.py", "/static/chartkick.js", "/static/."),
        *("/static/Chart.bundle.js", "/static/..", "/static/~root", "//static/app.js", "/static/%2e%2e/pages.py"),
    ],
)
def test_only_names_of_that_list_are_served(app: Starlette, path: str) -> None:
    """As the path stands when percent signs have been read. What is no path of the page's needs the token."""
    assert asyncio.run(status_of(app, [(b"host", b"localhost")], path)) in (401, 404)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_files_are_only_read(app: Starlette, method: str) -> None:
    assert asked(app, method, "/static/app.js").status_code == 405


def test_a_browser_asks_each_time_and_gets_a_changed_file_at_once(tmp_path: Path) -> None:
    (tmp_path / "app.js").write_text("one()")
    (tmp_path / "index.html").write_text("<!doctype html>")
    pages = Pages({path.name: path for path in tmp_path.iterdir()})
    app = Starlette(routes=[Route("/static/{name}", pages.file)])
    first = asked(app, "GET", "/static/app.js")
    assert first.headers["cache-control"] == "no-cache"
    assert first.headers["etag"] == f'"{hashlib.sha256(b"one()").hexdigest()[:32]}"'
    for known in (first.headers["etag"], f'"x", W/{first.headers["etag"]}'):
        again = asked(app, "GET", "/static/app.js", headers={"if-none-match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    (tmp_path / "app.js").write_text("two()")
    changed = asked(app, "GET", "/static/app.js", headers={"if-none-match": first.headers["etag"]})
    assert (changed.status_code, changed.text) == (200, "two()")


def test_the_page_itself_is_revalidated_too(app: Starlette) -> None:
    tag = asked(app, "GET", "/", headers=HTML).headers["etag"]
    again = asked(app, "GET", "/", headers=HTML | {"if-none-match": tag})
    assert again.status_code == 304 and "script-src 'self'" in again.headers["content-security-policy"]


def test_nothing_of_ours_names_an_address_outside() -> None:
    """Whatever a page names it may ask for."""
    named = {
        f"{name}: {found}"
        for name, path in shipped().items()
        if name != CHART
        for found in OUTSIDE.findall(path.read_text(encoding="utf-8"))
    }
    assert named == set()


def test_the_page_keeps_to_its_own_policy() -> None:
    """No script, style or handler stands in the HTML itself: the policy would stop it."""
    page = shipped()[INDEX].read_text(encoding="utf-8")
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\son[a-z]+=|\sstyle=|javascript:", page) == []
