"""A page of another program of this machine, in a browser that is signed in to the dashboard: it gets the cookie, since
cookies go to all ports of a host, and nothing by it."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from playwright.sync_api import sync_playwright

from .conftest import BEARER
from .dashboards import FakeDashboard
from .fakes import FakeBackend
from .servers import running

pytestmark = pytest.mark.browser

CHROMIUM = shutil.which("chromium")
ATTEMPTS = """async (target) => {
  const found = {};
  const tried = async (name, action) => {
    const late = new Promise(done => setTimeout(() => done("nothing"), 5000));
    try { found[name] = await Promise.race([action(), late]); } catch { found[name] = "failed"; }
  };
  const asked = async (path, options) => {
    const answer = await fetch(target + path, {credentials: "include", ...options});
    return answer.type === "opaque" ? "opaque" : `status ${answer.status}`;
  };
  const loaded = (kind, attributes) => new Promise(done => {
    const element = Object.assign(document.createElement(kind), attributes);
    element.onload = () => done("loaded");
    element.onerror = () => done("failed");
    document.body.append(element);
  });
  const json = {method: "POST", headers: {"Content-Type": "application/json"}, body: '{"do":"pause","seconds":9}'};
  const text = {method: "POST", mode: "no-cors", body: '{"do":"pause","seconds":9}'};
  await tried("read", () => asked("/dashboard/now"));
  await tried("readWithGuess", () => asked("/dashboard/now", {headers: {"X-Dittod-Page": "guess"}}));
  await tried("readBlind", () => asked("/dashboard/now", {mode: "no-cors"}));
  await tried("order", () => asked("/dashboard/learning", json));
  await tried("orderBlind", () => asked("/dashboard/learning", text));
  await tried("chat", () => asked("/v1/models"));
  await tried("image", () => loaded("img", {src: target + "/static/icon.svg"}));
  await tried("script", () => loaded("script", {src: target + "/static/app.js"}));
  await tried("listen", () => new Promise(done => {
    const events = new EventSource(target + "/dashboard/events", {withCredentials: true});
    events.onopen = () => done("opened");
    events.onerror = () => { events.close(); done("failed"); };
  }));
  found.cookie = document.cookie;
  return found;
}"""


class Neighbour(ThreadingHTTPServer):
    """Another program that listens on this machine, and writes down the cookies that it is sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.cookies: list[str] = []


class Handler(BaseHTTPRequestHandler):
    server: Neighbour

    def do_GET(self) -> None:
        self.server.cookies.append(self.headers.get("cookie", ""))
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>next door</title><body>")

    def log_message(self, format: str, *args: object) -> None:
        """Not on the terminal."""


@contextmanager
def next_door() -> Iterator[Neighbour]:
    server = Neighbour()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.skipif(CHROMIUM is None, reason="needs the program chromium")
def test_a_page_of_another_port_gets_the_cookie_and_nothing_by_it(backend: FakeBackend) -> None:
    dashboard = FakeDashboard()
    with running(backend, dashboard=dashboard) as server, next_door() as neighbour, sync_playwright() as playwright:
        code = httpx.post(f"{server.url}/dashboard/link", headers=BEARER).json()["code"]
        signed_in = httpx.post(f"{server.url}/dashboard/session", json={"code": code})
        cookie = {"name": "dittod_session", "value": signed_in.cookies["dittod_session"]}
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context()
        context.add_cookies([{**cookie, "url": server.url, "httpOnly": True, "sameSite": "Strict"}])
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{neighbour.server_address[1]}/")
        found = page.evaluate(ATTEMPTS, server.url)
        browser.close()
        with_cookie = httpx.get(f"{server.url}/dashboard/now", headers={"cookie": neighbour.cookies[0]})
    assert neighbour.cookies[0] == f"{cookie['name']}={cookie['value']}", "it is why a session has two halves"
    assert with_cookie.status_code == 401
    assert found.pop("cookie") == "", "no script reads it"
    assert set(found.values()) <= {"failed", "opaque"}, found
    assert dashboard.threads == set() and dashboard.paused_until is None
