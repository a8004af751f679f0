"""`/openapi.json`: every path with its parameters, bodies and answers, for programs that read such descriptions.

Bodies are described from the models that read them, answers from the types that they are built as. It does not know
which route answers a path: tests hold the operations below against the application's routes, and the answers against
their descriptions. The dashboard's paths are for its own page, change with it, and are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from dittod import __version__
from dittod_service import feedback
from dittod_service.ollama import chat as ollama_chat
from dittod_service.ollama.embed import EmbedAnswer, EmbeddingsAnswer, EmbeddingsRequest, EmbedRequest
from dittod_service.ollama.errors import PATHS, ErrorText
from dittod_service.ollama.generate import GenerateLine, GenerateRequest
from dittod_service.ollama.models import Processes, Shown, ShowRequest, Tags, Version
from dittod_service.openai.chat import ChatRequest
from dittod_service.openai.chat_answer import ChatCompletion
from dittod_service.openai.completion_answer import Completion
from dittod_service.openai.completions import CompletionRequest
from dittod_service.openai.embeddings import EmbeddingRequest, EmbeddingResponse
from dittod_service.openai.errors import ErrorBody, JsonObject
from dittod_service.openai.models import ModelList, ModelObject
from dittod_service.openai.request import ModelRequest
from dittod_service.openai.responses.pages import MOST_ITEMS, Deleted, ItemPage
from dittod_service.openai.responses.request import ResponseRequest
from dittod_service.openai.responses.response import ResponseObject
from dittod_service.security import OPEN_PATHS
from dittod_service.tokens import DetokenizeRequest, DetokenizeResponse, TokenizeRequest, TokenizeResponse

JSON = "application/json"
TEXT = "text/plain"
PAGE = "text/html"  # to browsers
EVENTS = "text/event-stream"  # with "stream": true
LINES = "application/x-ndjson"  # unless "stream": false

ERRORS = {
    400: "The request cannot be served as it was asked; `param` names what is wrong",
    401: "The token is missing or wrong",
    403: "The Host or the Origin of the request is not let in",
    404: "There is nothing of this name",
    408: "The body did not come to its end in time",
    413: "The body is too large",
    415: "The body is not JSON",
    429: "Too many answers are running or waiting",
    500: "Something went wrong here",
    503: "The engine cannot answer now",
    504: "The answer took longer than a request may",
}
OF_ALL = {403, 500, 503}
OF_BODIES = {400, 404, 408, 413, 415, 429, 504}
RETRIED = {429, 503}  # these say when to try again
KINDS = {"OpenAI": ErrorBody, "Ollama": ErrorText}  # whose error object it is


@dataclass(frozen=True, slots=True)
class Operation:
    """A method of a path."""

    method: str
    path: str  # those that begin with /v1 have an alias without it
    summary: str
    answers: Mapping[str, Any]  # media type → type of the whole answer, `object` for a stream; empty: it never succeeds
    request: type[ModelRequest] | None = None
    query: Mapping[str, JsonObject] | None = None  # parameters that may be in it; None: it is not read

    @property
    def errors(self) -> list[int]:
        """Statuses of what may go wrong."""
        found = OF_ALL | (OF_BODIES if self.request else set())
        found |= set() if self.path in OPEN_PATHS else {401}
        found |= {404} if "{" in self.path else set()
        found |= {400} if self.query is not None or not self.answers else set()
        return sorted(found | ({415} if self.method == "post" else set()))


_STREAM: JsonObject = {"const": False}
_PAGE: Mapping[str, JsonObject] = {
    "order": {"enum": ["asc", "desc"]},
    "limit": {"type": "integer", "minimum": 1, "maximum": MOST_ITEMS},
    "after": {"type": "string"},
}

OPERATIONS = (
    Operation("get", "/", "Is there a server?", {TEXT: str, PAGE: str}),
    Operation("get", "/health", "State of daemon and engine", {JSON: dict[str, object]}),
    Operation("get", "/metrics", "Counters for Prometheus", {TEXT: str}),
    Operation("get", "/openapi.json", "This description", {JSON: dict[str, object]}),
    Operation("get", "/v1/models", "The models", {JSON: ModelList}),
    Operation("get", "/v1/models/{id}", "One model", {JSON: ModelObject}),
    Operation("post", "/v1/chat/completions", "Chat", {JSON: ChatCompletion, EVENTS: object}, ChatRequest),
    Operation("post", "/v1/completions", "Go on with a text", {JSON: Completion, EVENTS: object}, CompletionRequest),
    Operation("post", "/v1/embeddings", "Texts as vectors", {JSON: EmbeddingResponse}, EmbeddingRequest),
    Operation("post", "/v1/tokenize", "Token ids of a text", {JSON: TokenizeResponse}, TokenizeRequest),
    Operation("post", "/v1/detokenize", "Text of token ids", {JSON: DetokenizeResponse}, DetokenizeRequest),
    Operation("post", "/v1/responses", "Respond", {JSON: ResponseObject, EVENTS: object}, ResponseRequest),
    Operation("get", "/v1/responses/{id}", "A response", {JSON: ResponseObject}, query={"stream": _STREAM}),
    Operation("delete", "/v1/responses/{id}", "Forget a response", {JSON: Deleted}),
    Operation("get", "/v1/responses/{id}/input_items", "What it responds to", {JSON: ItemPage}, query=_PAGE),
    Operation("post", "/v1/responses/{id}/cancel", "Refused: none is made in the background", {}),
    Operation(
        "post", "/v1/feedback", "Say something of an answer", {JSON: feedback.FeedbackObject}, feedback.FeedbackRequest
    ),
    Operation("get", "/v1/feedback", "What was said so far", {JSON: feedback.FeedbackList}),
    Operation("delete", "/v1/feedback/{id}", "Take it back", {JSON: feedback.Deleted}),
    Operation("post", "/api/chat", "Chat", {JSON: ollama_chat.ChatLine, LINES: object}, ollama_chat.ChatRequest),
    Operation("post", "/api/generate", "Answer a prompt", {JSON: GenerateLine, LINES: object}, GenerateRequest),
    Operation("post", "/api/embed", "Texts as vectors", {JSON: EmbedAnswer}, EmbedRequest),
    Operation("post", "/api/embeddings", "A text as a vector", {JSON: EmbeddingsAnswer}, EmbeddingsRequest),
    Operation("post", "/api/show", "One model", {JSON: Shown}, ShowRequest),
    Operation("get", "/api/version", "The version of ollama whose API this is", {JSON: Version}),
    Operation("get", "/api/tags", "The models", {JSON: Tags}),
    Operation("get", "/api/ps", "The models in memory", {JSON: Processes}),
)


@cache
def document() -> dict[str, Any]:
    """The whole description, made once."""
    described, definitions = _schemas()
    paths: dict[str, dict[str, JsonObject]] = {}
    for operation in OPERATIONS:
        for path in _paths(operation.path):
            paths.setdefault(path, {})[operation.method] = _operation(operation, described)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "dittod",
            "version": __version__,
            "description": "OpenAI's API, and ollama's below /api, answered by a model that writes as you do. Unknown "
            "fields are ignored, and null is read as absent.",
        },
        "paths": paths,
        "components": {
            "schemas": definitions,
            "responses": _errors(described),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "What `dittod token` prints"},
                "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key", "description": "The same"},
            },
        },
        "security": [{"token": []}, {"key": []}],
    }


def _paths(path: str) -> list[str]:
    return [path, path.removeprefix("/v1")] if path.startswith("/v1/") else [path]


def _schemas() -> tuple[dict[object, JsonObject], JsonObject]:
    """The JSON schema of every type, and the definitions that they refer to."""
    requests = {operation.request for operation in OPERATIONS if operation.request}
    answers = [kind for operation in OPERATIONS for kind in operation.answers.values()]
    adapters = {kind: TypeAdapter[Any](kind) for kind in (*requests, *answers, *KINDS.values())}
    found, shared = TypeAdapter.json_schemas(
        [(str(number), "validation", adapter) for number, adapter in enumerate(adapters.values())],
        ref_template="#/components/schemas/{model}",
    )
    return {kind: found[str(number), "validation"] for number, kind in enumerate(adapters)}, shared["$defs"]


def _operation(operation: Operation, described: Mapping[object, JsonObject]) -> JsonObject:
    content = {media_type: {"schema": described[kind]} for media_type, kind in operation.answers.items()}
    whose = "Ollama" if operation.path.startswith(PATHS) else "OpenAI"
    errors = {str(status): {"$ref": f"#/components/responses/{whose}{status}"} for status in operation.errors}
    told: dict[str, object] = {
        "summary": operation.summary,
        "parameters": list(_parameters(operation)),
        "responses": {**({"200": {"description": "The answer", "content": content}} if content else {}), **errors},
    }
    if operation.request:
        told["requestBody"] = {"required": True, "content": {JSON: {"schema": described[operation.request]}}}
    if operation.path in OPEN_PATHS:
        told["security"] = []
    return told


def _parameters(operation: Operation) -> Iterator[JsonObject]:
    if "{id}" in operation.path:
        yield {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    for name, schema in (operation.query or {}).items():
        yield {"name": name, "in": "query", "schema": schema}


def _errors(described: Mapping[object, JsonObject]) -> JsonObject:
    """The answers that say what went wrong, in both wire formats."""
    return {
        f"{whose}{status}": {
            "description": meaning,
            "content": {JSON: {"schema": described[kind]}},
            **({"headers": _RETRY_AFTER} if status in RETRIED else {}),
        }
        for whose, kind in KINDS.items()
        for status, meaning in ERRORS.items()
    }


_RETRY_AFTER: JsonObject = {
    "Retry-After": {"description": "Seconds", "schema": {"type": "string", "pattern": "^[0-9]+$"}}
}
