"""Which web pages may ask, and how browsers are told so: everybody else's are refused before any work.

Pure ASGI. A page of a listed origin is answered as CORS demands, errors and streams too. Every other request of a page
ends in a 403: browsers send simple ones without asking, and hide only the answer. Knows nothing of tokens.
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dittod_service.openai.errors import Failure, Refused

PREFLIGHT_SECONDS = "600"  # for which a browser need not ask again
EXPOSED = "x-dittod-adapter, x-dittod-note, x-request-id, x-should-retry, retry-after"  # what scripts may read
OWN_SITE = frozenset({"none", "same-origin"})  # of Sec-Fetch-Site: the user's own typing, and our own pages

_NOT_ALLOWED = Failure(
    403,
    "Web pages of this origin may not ask here: if yours is to, add its origin to `allowed_origins` in dittod.toml",
    code="origin_not_allowed",
)


class Origins:
    """The origins that the user listed: whole ones, or a scheme of extensions and programs as 'moz-extension://*'."""

    def __init__(self, listed: Iterable[str]) -> None:
        self._listed = frozenset(origin.lower().rstrip("/") for origin in listed)

    def allow(self, origin: str) -> bool:
        """Whether it is listed. Of http and https only whole origins ever are."""
        scheme, separator, _ = origin.lower().partition("://")
        any_of_scheme = separator and scheme not in ("http", "https") and f"{scheme}://*" in self._listed
        return bool(any_of_scheme) or origin.lower() in self._listed


class KnownOrigins:
    """Only pages of this server and of listed origins. Programs send no Origin. Preflights are answered here."""

    def __init__(self, app: ASGIApp, origins: Origins) -> None:
        self._app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if not self._allows(headers, scope["scheme"]):
            raise Refused(_NOT_ALLOWED)
        if scope["method"] == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers:
            await _preflight(headers)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _allows(self, headers: Headers, scheme: str) -> bool:
        """An image, a script or a form's GET comes without Origin: browsers say of those whose page they are on."""
        given = headers.getlist("origin")
        if not given:
            return headers.get("sec-fetch-site", "none").lower() in OWN_SITE
        own = f"{scheme}://{headers.get('host', '')}".lower()
        return all(origin.lower() == own or self._origins.allow(origin) for origin in given)


class CorsHeaders:
    """Every answer to a page of a listed origin may be read by it, also one that an error made."""

    def __init__(self, app: ASGIApp, origins: Origins) -> None:
        self._app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        origin = Headers(scope=scope).get("origin") if scope["type"] == "http" else None
        if origin is None or not self._origins.allow(origin):
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["access-control-allow-origin"] = origin  # never '*': it would not cover Authorization
                headers["access-control-expose-headers"] = EXPOSED
                headers.add_vary_header("Origin")
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _preflight(asked: Headers) -> Response:
    """Leave for whatever is asked for: clients send headers of their own, and the token guards what matters."""
    headers = {
        "access-control-allow-methods": asked["access-control-request-method"],
        "access-control-max-age": PREFLIGHT_SECONDS,
        "vary": "Access-Control-Request-Method, Access-Control-Request-Headers",
    }
    if "access-control-request-headers" in asked:
        headers["access-control-allow-headers"] = asked["access-control-request-headers"]
    if asked.get("access-control-request-private-network") == "true":
        headers["access-control-allow-private-network"] = "true"
    return Response(status_code=204, headers=headers)
