"""Ollama's paths. What manages models (`/api/pull`, `/api/create`, …) is not here: dittod makes its own."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from dittod.engine.protocol import Ready
from dittod.serving import Backend, ServedModel
from dittod_service.admission import Admission
from dittod_service.generation import Format, Generation
from dittod_service.ollama import chat, generate
from dittod_service.ollama.embed import EmbeddingsRequest, EmbedRequest, embed, embeddings
from dittod_service.ollama.models import Shown, ShowRequest, to_loaded, to_show, to_tags, to_version
from dittod_service.replies import LINES, json_response
from dittod_service.single import Single

NAMES = {"reasoning_effort": "think", "response_format": "format"}

CHAT = Format(chat.ChatRequest, chat.exchange, LINES, prefix="ollama-", names=NAMES)
GENERATE = Format(generate.GenerateRequest, generate.exchange, LINES, prefix="ollama-", names=NAMES)


def ollama_routes(backend: Backend, admission: Admission, keep_alive_seconds: float) -> list[BaseRoute]:
    """All of them."""
    queries = _Queries(backend)
    posts: dict[str, ASGIApp] = {
        "chat": Generation(backend, CHAT, admission, keep_alive_seconds),
        "generate": Generation(backend, GENERATE, admission, keep_alive_seconds),
        "show": Single(backend, ShowRequest, show, admission),
        "embed": Single(backend, EmbedRequest, embed, admission),
        "embeddings": Single(backend, EmbeddingsRequest, embeddings, admission),
    }
    gets = {"version": queries.version, "tags": queries.tags, "ps": queries.loaded}
    return [
        *(Route(f"/api/{name}", endpoint, methods=["POST"]) for name, endpoint in posts.items()),
        *(Route(f"/api/{name}", endpoint) for name, endpoint in gets.items()),
    ]


async def show(backend: Backend, request: ShowRequest, served: ServedModel) -> Shown:
    """`/api/show`."""
    return to_show(served, await backend.ready())


class _Queries:
    """What is only looked up. None of it loads the model."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def version(self, request: Request) -> Response:
        return json_response(to_version())

    async def tags(self, request: Request) -> Response:
        return json_response(to_tags(self._backend.models(), await self._loaded()))

    async def loaded(self, request: Request) -> Response:
        return json_response(to_loaded(self._backend.models(), await self._loaded()))

    async def _loaded(self) -> Ready | None:
        return await self._backend.ready() if self._backend.health().get("engine") == "ready" else None
