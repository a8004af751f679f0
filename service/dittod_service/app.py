"""The application: which path does what, behind which checks. It knows the daemon only as a `Backend`."""

from __future__ import annotations

from collections.abc import Collection

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dittod.errors import SettingsError
from dittod.serving import Backend
from dittod_service.failures import Failures
from dittod_service.generation import CHAT, COMPLETIONS, KEEP_ALIVE_SECONDS, Generation, headers
from dittod_service.openai.errors import from_status
from dittod_service.openai.models import to_list, to_model
from dittod_service.replies import failure_response, json_response
from dittod_service.security import (
    BearerToken,
    BodyLimit,
    BrowserHeaders,
    KnownHosts,
    KnownOrigins,
    NoWebSockets,
)

MAX_BODY_BYTES = 16 * 2**20


def create_app(
    backend: Backend,
    token: str,
    *,
    allowed_hosts: Collection[str] = (),
    allowed_origins: Collection[str] = (),
    max_body_bytes: int = MAX_BODY_BYTES,
    keep_alive_seconds: float = KEEP_ALIVE_SECONDS,
) -> Starlette:
    """The ASGI application. `allowed_hosts` are names of this machine besides the loopback's own."""
    if not token:
        raise SettingsError("The endpoint has no token", "delete the empty token file: a new one is made at start")
    checks = [
        Middleware(NoWebSockets),
        Middleware(BrowserHeaders),
        Middleware(Failures),
        Middleware(KnownHosts, allowed_hosts),
        Middleware(KnownOrigins, allowed_origins),
        Middleware(BodyLimit, max_body_bytes),
        Middleware(BearerToken, token),
    ]
    app = Starlette(
        routes=_routes(backend, keep_alive_seconds),
        middleware=checks,
        exception_handlers={HTTPException: _no_route},
    )
    app.router.redirect_slashes = False
    return app


def _routes(backend: Backend, keep_alive_seconds: float) -> list[BaseRoute]:
    chat = Generation(backend, CHAT, keep_alive_seconds)
    completions = Generation(backend, COMPLETIONS, keep_alive_seconds)
    queries = _Queries(backend)
    routes: list[BaseRoute] = [Route("/health", queries.health)]
    for prefix in ("/v1", ""):
        routes += [
            Route(f"{prefix}/models", queries.models),
            Route(f"{prefix}/models/{{id:path}}", queries.model),
            Route(f"{prefix}/chat/completions", chat, methods=["POST"]),
            Route(f"{prefix}/completions", completions, methods=["POST"]),
        ]
    return routes


class _Queries:
    """What is only looked up."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def health(self, request: Request) -> Response:
        return json_response(self._backend.health())

    async def models(self, request: Request) -> Response:
        return json_response(to_list(self._backend.models()))

    async def model(self, request: Request) -> Response:
        served = self._backend.resolve(request.path_params["id"])
        return json_response(to_model(served), headers=headers(served))


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return failure_response(from_status(error.status_code, error.headers))
