"""A browser as far as sessions go: it keeps cookies and the key of the page, and says where a request comes from."""

from __future__ import annotations

import asyncio

import httpx
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from .conftest import BEARER

HERE = "http://127.0.0.1:3488"
JSON = {"content-type": "application/json"}


class Browser:
    """Without a network, at an application."""

    def __init__(self, app: Starlette, url: str = HERE) -> None:
        self.app = app
        self.url = url
        self.cookies: dict[str, str] = {}
        self.page_key = ""

    def ask(self, method: str, path: str, *, headers: dict[str, str] | None = None, **given: object) -> httpx.Response:
        """As the page does, with both halves of its session where it has one."""
        sent = {"sec-fetch-site": "same-origin", "x-dittod-page": self.page_key}
        sent |= {"cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        return asked(self.app, method, path, self.url, headers=sent | (headers or {}), **given)

    def sign_in(self, code: str) -> httpx.Response:
        """By the code of a link."""
        response = self.ask("POST", "/dashboard/session", json={"code": code})
        if response.is_success:
            self.cookies = dict(response.cookies)
            self.page_key = response.json()["page_key"]
        return response


def asked(app: Starlette, method: str, path: str, url: str = HERE, **given: object) -> httpx.Response:
    """One request, with nothing that it is not given."""

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "server": ("127.0.0.1", 3488)}, receive, send)  # an address, whatever name was asked for

    async def request() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(served), base_url=url) as client:
            return await client.request(method, path, **given)

    return asyncio.run(request())


def code_of(app: Starlette, url: str = HERE) -> str:
    """As `dittod open` gets it."""
    return str(asked(app, "POST", "/dashboard/link", url, headers=BEARER).json()["code"])


def signed_in(app: Starlette, url: str = HERE) -> Browser:
    """A browser with a session."""
    browser = Browser(app, url)
    assert browser.sign_in(code_of(app, url)).status_code == 200
    return browser
