"""Who may ask, and how much: a server on localhost can be reached by every web page that the user has open.

Pure ASGI middlewares, in the order in which `create_app` stacks them: headers for browsers, `Host` against
DNS rebinding, `Origin` against foreign pages, the size of the body, the bearer token. They raise `Refused`; none
knows what is asked, and none reads a body.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dittod_service.openai.errors import Failure, Refused

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
OPEN_PATHS = frozenset({"/health"})  # what needs no token

BROWSER_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "content-security-policy": "frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}

_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]]+)(:\d{1,5})?")


class BrowserHeaders:
    """Every answer tells browsers not to sniff, frame or keep it; a route may say otherwise."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in BROWSER_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class KnownHosts:
    """Only requests that name this machine: a page whose own name was re-pointed here sends that name."""

    def __init__(self, app: ASGIApp, allowed_hosts: Iterable[str] = ()) -> None:
        self._app = app
        self._allowed = LOOPBACK | {_bracketed(host) for host in allowed_hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and host_name(Headers(scope=scope).get("host", "")) not in self._allowed:
            hint = "set `host` in dittod.toml to the name by which clients reach this machine"
            raise Refused(Failure(403, f"The Host of this request is not known here: {hint}", code="host_not_allowed"))
        await self._app(scope, receive, send)


class KnownOrigins:
    """Only pages of this server and of the origins that the user listed. Programs send no Origin."""

    def __init__(self, app: ASGIApp, allowed_origins: Iterable[str] = ()) -> None:
        self._app = app
        self._allowed = {origin.lower().rstrip("/") for origin in allowed_origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._allows(Headers(scope=scope), scope["scheme"]):
            raise Refused(Failure(403, "Web pages of this origin may not ask here", code="origin_not_allowed"))
        await self._app(scope, receive, send)

    def _allows(self, headers: Headers, scheme: str) -> bool:
        own = f"{scheme}://{headers.get('host', '')}".lower()
        return all(origin.lower() == own or origin.lower() in self._allowed for origin in headers.getlist("origin"))


class BodyLimit:
    """No body larger than this, whether its length was announced or it comes in chunks."""

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        self._check(int(announced) if announced.isdecimal() else 0)
        read_bytes = 0

        async def counted() -> Message:
            nonlocal read_bytes
            message = await receive()
            read_bytes += len(message.get("body", b""))
            self._check(read_bytes)
            return message

        await self._app(scope, counted, send)

    def _check(self, body_bytes: int) -> None:
        if body_bytes > self._max_body_bytes:
            message = f"The body of the request is larger than {self._max_body_bytes} bytes"
            raise Refused(Failure(413, message, code="request_too_large"))


class BearerToken:
    """Only who knows the token. The comparison takes the same time however much of a guess is right."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            self._check(bearer(Headers(scope=scope).get("authorization", "")))
        await self._app(scope, receive, send)

    def _check(self, given: str | None) -> None:
        if given is None:
            raise Refused(_unauthorised("You did not provide the token: send 'Authorization: Bearer <token>'"))
        if not hmac.compare_digest(given.encode("latin-1"), self._token):
            raise Refused(_unauthorised("Incorrect token provided: `dittod token` prints the right one"))


class NoWebSockets:
    """There is nothing to talk to over a WebSocket, and browsers let any page open one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        await self._app(scope, receive, send)


def host_name(host: str) -> str | None:
    """The name in a Host header, without its port; None when there is no sense in it."""
    match = _HOST.fullmatch(host.lower())
    return match[1] if match else None


def bearer(authorization: str) -> str | None:
    """The token in an Authorization header."""
    scheme, _, token = authorization.strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def _bracketed(host: str) -> str:
    """An IPv6 address as Host headers write it."""
    name = host.lower()
    return f"[{name}]" if ":" in name and not name.startswith("[") else name


def _unauthorised(message: str) -> Failure:
    headers = {"www-authenticate": "Bearer"}
    return Failure(401, message, "invalid_request_error", code="invalid_api_key", headers=headers)
