"""`/metrics`: what the endpoint does, counted, for Prometheus.

Requests are counted by a pure ASGI middleware, answers and tokens on their way through a `Backend`. Labels are routes
and states that this code knows: nothing that a client wrote becomes one. Every application has figures of its own.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.samples import Sample
from starlette.datastructures import Headers
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dittod.engine.protocol import (
    AnswerEvent,
    CallDelta,
    Delta,
    Detokenize,
    Detokenized,
    Done,
    Embed,
    Embedded,
    Generate,
    Ready,
    Tokenize,
    Tokenized,
)
from dittod.serving import Backend, FeedbackDesk, ServedModel
from dittod_service.dashboard.session import PAGE_HEADER
from dittod_service.merge import close

ENGINE_STATES = ("stopped", "starting", "ready", "backing off", "failed")
NO_ROUTE = "none"  # of requests that were refused before their path was read, or for it
DASHBOARD = "dashboard"  # of everything that its page asks for
PAGE_PATHS = ("/dashboard/", "/static/")
NO_CLIENTS = frozenset({DASHBOARD, "/", "/health", "/metrics", "/openapi.json"})  # routes of those who only look
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)


class Metrics:
    """The figures of one application."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        self.requests = Counter(
            "dittod_requests",
            "Requests that ended, by route and class of status",
            ("route", "status"),
            registry=registry,
        )
        self.request_seconds = Histogram(
            "dittod_request_duration_seconds",
            "From a request to the last byte of its answer",
            ("route",),
            registry=registry,
            buckets=_SECONDS,
        )
        self.first_token_seconds = Histogram(
            "dittod_time_to_first_token_seconds",
            "From a prompt to the first piece of its answer",
            registry=registry,
            buckets=_SECONDS,
        )
        self.waiting = Gauge("dittod_answers_waiting", "Answers of which nothing is written yet", registry=registry)
        self.running = Gauge("dittod_answers_running", "Answers that are being written", registry=registry)
        self.read = Counter("dittod_tokens_read", "Tokens of prompts and of texts to embed", registry=registry)
        self.cached = Counter("dittod_tokens_cached", "Those of them that were known from before", registry=registry)
        self.written = Counter("dittod_tokens_written", "Tokens of answers", registry=registry)
        self._engine = Gauge("dittod_engine_state", "1 at the state it is in", ("state",), registry=registry)

    def text(self, engine_state: object) -> bytes:
        """All of it, as Prometheus reads it."""
        for state in ENGINE_STATES:
            self._engine.labels(state).set(state == engine_state)
        return generate_latest(self._registry)

    def summary(self) -> dict[str, Any]:
        """What clients have asked for since the start, for the dashboard. Its own requests are left out."""
        counted = [
            {"route": each.labels["route"], "status": each.labels["status"], "count": int(each.value)}
            for each in _samples(self.requests, "_total")
            if each.labels["route"] not in NO_CLIENTS
        ]
        failed = (each["count"] for each in counted if each["status"] in ("4xx", "5xx"))
        return {
            "total": sum(each["count"] for each in counted),
            "failed": sum(failed),
            "running": _value(self.running),
            "waiting": _value(self.waiting),
            "tokens_read": _value(self.read, "_total"),
            "tokens_written": _value(self.written, "_total"),
            "recent": sorted(counted, key=lambda each: -each["count"]),
        }


class CountedRequests:
    """Pure ASGI middleware that counts and times requests."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = "none"  # the client left, or the server ended

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = f"{message['status'] // 100}xx"
            await send(message)

        begun = time.monotonic()
        try:
            await self._app(scope, receive, watched)
        finally:
            route = _route(scope)
            self._metrics.requests.labels(route, status).inc()
            self._metrics.request_seconds.labels(route).observe(time.monotonic() - begun)


class CountedBackend:
    """A `Backend` whose answers and tokens are counted."""

    def __init__(self, backend: Backend, metrics: Metrics) -> None:
        self._backend = backend
        self._metrics = metrics

    @property
    def feedback(self) -> FeedbackDesk:
        return self._backend.feedback

    def models(self) -> list[ServedModel]:
        return self._backend.models()

    def resolve(self, name: str) -> ServedModel:
        return self._backend.resolve(name)

    def health(self) -> dict[str, object]:
        return self._backend.health()

    async def ready(self) -> Ready:
        return await self._backend.ready()

    async def tokenize(self, command: Tokenize) -> Tokenized:
        return await self._backend.tokenize(command)

    async def detokenize(self, command: Detokenize) -> Detokenized:
        return await self._backend.detokenize(command)

    async def embed(self, command: Embed) -> Embedded:
        embedded = await self._backend.embed(command)
        self._metrics.read.inc(embedded.prompt_tokens)
        return embedded

    async def answer(self, request: Generate) -> AsyncIterator[AnswerEvent]:
        with _Progress(self._metrics, request.n) as progress:
            answer = self._backend.answer(request)
            try:
                async for event in answer:
                    progress.see(event)
                    yield event
            finally:
                await close(answer)


class _Progress:
    """One request on its way from waiting over running to its end."""

    def __init__(self, metrics: Metrics, answers: int) -> None:
        self._metrics = metrics
        self._answers = answers
        self._begun = time.monotonic()
        self._in = metrics.waiting

    def __enter__(self) -> _Progress:
        self._in.inc(self._answers)
        return self

    def __exit__(self, *_: object) -> None:
        self._in.dec(self._answers)

    def see(self, event: AnswerEvent) -> None:
        if isinstance(event, Delta | CallDelta) and self._in is self._metrics.waiting:
            self._metrics.first_token_seconds.observe(time.monotonic() - self._begun)
            self._in.dec(self._answers)
            self._in = self._metrics.running
            self._in.inc(self._answers)
        elif isinstance(event, Done):
            self._metrics.read.inc(event.prompt_tokens)
            self._metrics.cached.inc(event.cached_tokens)
            self._metrics.written.inc(event.completion_tokens)


def _samples(figure: Counter | Gauge, suffix: str = "") -> list[Sample]:
    """Those of that name: a counter has the time of its making, too."""
    (family,) = figure.collect()
    return [each for each in family.samples if each.name == family.name + suffix]


def _value(figure: Counter | Gauge, suffix: str = "") -> int:
    return int(sum(each.value for each in _samples(figure, suffix)))


def _route(scope: Scope) -> str:
    if scope["path"].startswith(PAGE_PATHS) or PAGE_HEADER in Headers(scope=scope):
        return DASHBOARD
    route = scope.get("route")
    return route.path if isinstance(route, Route) else NO_ROUTE
