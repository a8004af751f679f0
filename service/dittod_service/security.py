"""Who may ask: a server on localhost can be reached by every web page that the user has open.

Pure ASGI middlewares: a name for each answer, headers for browsers, `Host` against DNS rebinding, the token. `Origin`
is looked at in cors.py, the body in body.py, the connection in connections.py. They raise `Refused`; none knows what
is asked.
"""

from __future__ import annotations

import hmac
import re
import uuid
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dittod_service.dashboard.session import PAGE_HEADER, Sessions, signed_out
from dittod_service.openai.errors import Failure, Refused

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
OPEN_PATHS = frozenset({"/", "/health"})  # what needs no token: neither says anything of the user's
OPEN_FOLDER = "/static/"  # nor does what the dashboard's page consists of
DASHBOARD = "/dashboard/"
SIGN_IN = ("POST", "/dashboard/session")  # it brings a code of its own
LINK = "/dashboard/link"  # a session is not to beget others: the token alone
EVENTS = "/dashboard/events"  # browsers add no header to what they listen to, and nothing of the user's is in it

BROWSER_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?")


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


class RequestId:
    """Every answer has a name under which a user can speak of it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["x-request-id"] = f"req_{uuid.uuid4().hex}"
            await send(message)

        await self._app(scope, receive, send_with_id)


class KnownHosts:
    """Only requests that name this machine: a page whose own name was re-pointed here sends that name."""

    def __init__(self, app: ASGIApp, allowed_hosts: Iterable[str] = ()) -> None:
        self._app = app
        self._allowed = LOOPBACK | {_bracketed(host) for host in allowed_hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self._check(Headers(scope=scope).getlist("host"), scope["path"])
        await self._app(scope, receive, send)

    def _check(self, hosts: list[str], path: str) -> None:
        if len(hosts) != 1 or host_name(hosts[0]) not in self._allowed:
            hint = "add the name by which clients reach this machine to `allowed_hosts` in dittod.toml"
            raise Refused(Failure(403, f"The Host of this request is not known here: {hint}", code="host_not_allowed"))
        if not path.startswith("/"):  # 'GET http://other.example/': a request to a proxy, whose host is not Host
            raise Refused(Failure(400, "The target of the request is not a path", code="invalid_request_target"))


class Token:
    """Only who knows the token, or has signed in by it. The comparison takes the same time however much of a guess is
    right. Where it is `required` of nobody, the dashboard asks for it all the same."""

    def __init__(self, app: ASGIApp, token: str, sessions: Sessions, *, required: bool = True) -> None:
        self._app = app
        self._token = token.encode()
        self._sessions = sessions
        self._required = required

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._is_open(scope["method"], scope["path"]):
            self._check(Headers(scope=scope), scope["path"])
        await self._app(scope, receive, send)

    def _is_open(self, method: str, path: str) -> bool:
        if path.startswith(DASHBOARD):
            return (method, path) == SIGN_IN
        return not self._required or path in OPEN_PATHS or path.startswith(OPEN_FOLDER)

    def _check(self, headers: Headers, path: str) -> None:
        tokens = tokens_of(headers)
        if any([hmac.compare_digest(each, self._token) for each in tokens]):  # a list: all are always compared
            return
        if path != LINK and self._has_session(headers, path):
            return
        if tokens:
            raise Refused(_unauthorised("Incorrect token provided: `dittod token` prints the right one"))
        if PAGE_HEADER in headers or path.startswith(DASHBOARD):
            raise Refused(signed_out())
        raise Refused(_unauthorised("You did not provide the token: send 'Authorization: Bearer <token>'"))

    def _has_session(self, headers: Headers, path: str) -> bool:
        return self._sessions.hold(headers) or (path == EVENTS and self._sessions.holds_cookie(headers))


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
    return match[1] if match and int(match[2] or 0) <= 65535 else None


def bearer(authorization: str) -> str | None:
    """The token in an Authorization header."""
    scheme, _, token = authorization.strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def tokens_of(headers: Headers) -> list[bytes]:
    """What a client gave for the token, right or wrong."""
    given = [bearer(headers.get("authorization", "")), headers.get("x-api-key", "").strip()]
    return [each.encode("latin-1") for each in given if each]


def _bracketed(host: str) -> str:
    """An IPv6 address as Host headers write it."""
    name = host.lower()
    return f"[{name}]" if ":" in name and not name.startswith("[") else name


def _unauthorised(message: str) -> Failure:
    headers = {"www-authenticate": "Bearer"}
    return Failure(401, message, "invalid_request_error", code="invalid_api_key", headers=headers)
