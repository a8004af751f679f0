"""The application: which path does what, behind which checks. It knows the daemon as a `Backend` and a `Dashboard`."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from dittod.errors import SettingsError
from dittod.serving import Backend, Dashboard
from dittod_service.admission import MOST_ANSWERS, MOST_SECONDS, Admission
from dittod_service.body import BODY_SECONDS, MOST_BYTES_HELD, BodyLimit, JsonOnly
from dittod_service.cors import CorsHeaders, KnownOrigins, Origins
from dittod_service.dashboard.events import Changes
from dittod_service.dashboard.pages import Pages, asks_for_page, shipped
from dittod_service.dashboard.routes import DashboardPaths, dashboard_routes
from dittod_service.dashboard.session import Sessions
from dittod_service.failures import Failures
from dittod_service.feedback import FeedbackPaths
from dittod_service.generation import KEEP_ALIVE_SECONDS, Format, Generation, headers, resolved
from dittod_service.metrics import CountedBackend, CountedRequests, Metrics
from dittod_service.ollama.routes import ollama_routes
from dittod_service.openai.chat import ChatExchange, ChatRequest
from dittod_service.openai.completions import CompletionExchange, CompletionRequest
from dittod_service.openai.embeddings import EmbeddingRequest
from dittod_service.openai.errors import from_status
from dittod_service.openai.models import to_list, to_model
from dittod_service.openai.responses.exchange import ResponseExchange
from dittod_service.openai.responses.request import NAMES, ResponseRequest
from dittod_service.openai.responses.store import Store
from dittod_service.openapi import document
from dittod_service.replies import CHUNKS, TYPED_EVENTS, failure_response, json_response
from dittod_service.security import BrowserHeaders, KnownHosts, NoWebSockets, RequestId, Token
from dittod_service.single import Single
from dittod_service.stored import StoredResponses
from dittod_service.tokens import DetokenizeRequest, TokenizeRequest, detokenize, tokenize
from dittod_service.vectors import embed

MAX_BODY_BYTES = 16 * 2**20

CHAT = Format(ChatRequest, ChatExchange, CHUNKS, prefix="chatcmpl-")
COMPLETIONS = Format(CompletionRequest, CompletionExchange, CHUNKS, prefix="cmpl-")


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the endpoint takes on."""

    body_bytes: int = MAX_BODY_BYTES  # of one request
    bytes_held: int = MOST_BYTES_HELD  # of all bodies that are being read or parsed
    body_seconds: float = BODY_SECONDS  # until it must have come in
    answers: int = MOST_ANSWERS  # running and waiting together
    request_seconds: float = MOST_SECONDS  # until the answer must be complete
    keep_alive_seconds: float = KEEP_ALIVE_SECONDS  # of silence, before a stream gives a sign of life


@dataclass(frozen=True, slots=True)
class Callers:
    """Who is let in."""

    allowed_hosts: Collection[str] = ()  # names of this machine besides the loopback's own
    allowed_origins: Collection[str] = ()  # of web pages that may ask
    require_token: bool = True  # of clients; the dashboard is never without


def create_app(
    backend: Backend,
    token: str,
    *,
    dashboard: Dashboard | None = None,
    callers: Callers = Callers(),
    limits: Limits = Limits(),
) -> Starlette:
    """The ASGI application. Its `state.changes` are to be told when the server ends; without a dashboard it has no
    paths for one."""
    if not token:
        raise SettingsError("The endpoint has no token", "delete the empty token file: a new one is made at start")
    metrics, sessions = Metrics(), Sessions(token)
    routes = _routes(CountedBackend(backend, metrics), limits, metrics)
    changes = None
    if dashboard is None:
        routes.append(Route("/", _root))
    else:
        changes, pages = Changes(dashboard.digest), Pages(shipped())
        paths = DashboardPaths(dashboard, sessions, token, metrics)
        routes += [Route("/", _RootOrPage(pages).answer), *dashboard_routes(paths, pages, changes)]
    app = Starlette(
        routes=routes,
        middleware=_checks(
            Middleware(Token, token, sessions, required=callers.require_token), metrics, callers, limits
        ),
        exception_handlers={HTTPException: _no_route},
    )
    app.router.redirect_slashes = False
    app.state.changes = changes
    return app


def _checks(token: Middleware, metrics: Metrics, callers: Callers, limits: Limits) -> list[Middleware]:
    """The table in docs/security.md follows this order."""
    origins = Origins(callers.allowed_origins)
    return [
        Middleware(NoWebSockets),
        Middleware(CountedRequests, metrics),
        Middleware(RequestId),
        Middleware(BrowserHeaders),
        Middleware(CorsHeaders, origins),
        Middleware(Failures),
        Middleware(KnownHosts, callers.allowed_hosts),
        Middleware(KnownOrigins, origins),
        Middleware(BodyLimit, limits.body_bytes, limits.body_seconds, limits.bytes_held),
        token,
        Middleware(JsonOnly),
    ]


def _routes(backend: Backend, limits: Limits, metrics: Metrics) -> list[BaseRoute]:
    admission = Admission(limits.answers, limits.request_seconds)
    embeddings = Single(backend, EmbeddingRequest, embed, admission)
    tokens = Single(backend, TokenizeRequest, tokenize, admission)
    texts = Single(backend, DetokenizeRequest, detokenize, admission)
    chat = Generation(backend, CHAT, admission, limits.keep_alive_seconds)
    completions = Generation(backend, COMPLETIONS, admission, limits.keep_alive_seconds)
    store = Store(time.monotonic)
    stored = StoredResponses(store)
    form = Format(ResponseRequest, partial(ResponseExchange, store), TYPED_EVENTS, prefix="resp_", names=NAMES)
    responses = Generation(backend, form, admission, limits.keep_alive_seconds)
    feedback = FeedbackPaths(backend)
    queries = _Queries(backend, metrics)
    routes: list[BaseRoute] = [Route("/health", queries.health), Route("/metrics", queries.metrics)]
    routes.append(Route("/openapi.json", _openapi))
    routes += ollama_routes(backend, admission, limits.keep_alive_seconds)
    for prefix in ("/v1", ""):
        routes += [
            Route(f"{prefix}/models", queries.models),
            Route(f"{prefix}/models/{{id:path}}", queries.model),
            Route(f"{prefix}/chat/completions", chat, methods=["POST"]),
            Route(f"{prefix}/completions", completions, methods=["POST"]),
            Route(f"{prefix}/embeddings", embeddings, methods=["POST"]),
            Route(f"{prefix}/tokenize", tokens, methods=["POST"]),
            Route(f"{prefix}/detokenize", texts, methods=["POST"]),
            Route(f"{prefix}/responses", responses, methods=["POST"]),
            Route(f"{prefix}/responses/{{id}}", stored.response, methods=["GET", "DELETE"]),
            Route(f"{prefix}/responses/{{id}}/input_items", stored.input_items),
            Route(f"{prefix}/responses/{{id}}/cancel", stored.cancel, methods=["POST"]),
            Route(f"{prefix}/feedback", feedback.all, methods=["GET", "POST"]),
            Route(f"{prefix}/feedback/{{id}}", feedback.one, methods=["DELETE"]),
        ]
    return routes


class _Queries:
    """What is only looked up."""

    def __init__(self, backend: Backend, metrics: Metrics) -> None:
        self._backend = backend
        self._metrics = metrics

    async def metrics(self, request: Request) -> Response:
        text = self._metrics.text(self._backend.health().get("engine"))
        return Response(text, media_type=CONTENT_TYPE_PLAIN_0_0_4)

    async def health(self, request: Request) -> Response:
        return json_response(self._backend.health())

    async def models(self, request: Request) -> Response:
        return json_response(to_list(self._backend.models()))

    async def model(self, request: Request) -> Response:
        served = resolved(self._backend, request.path_params["id"])
        return json_response(to_model(served), headers=headers(served))


class _RootOrPage:
    """What a person sees who opens the address in a browser."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    async def answer(self, request: Request) -> Response:
        return await (self._pages.index if asks_for_page(request) else _root)(request)


async def _root(request: Request) -> Response:
    """Clients look here for whether there is a server."""
    return PlainTextResponse("dittod is running. Its API is at /v1; the key is what `dittod token` prints.\n")


async def _openapi(request: Request) -> Response:
    """What there is."""
    return json_response(document())


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return failure_response(from_status(error.status_code, error.headers), request.url.path)
