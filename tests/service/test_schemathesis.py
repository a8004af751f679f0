"""Thousands of requests drawn from /openapi.json, and from the types of OpenAI's own client: none is a 5xx, and every
answer is what was promised.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from openai.types import CreateEmbeddingResponse, completion_create_params, embedding_create_params
from openai.types.chat import ChatCompletion
from openai.types.chat import completion_create_params as chat_create_params
from openai.types.responses import Response, response_create_params
from pydantic import TypeAdapter
from schemathesis import Case
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.config import SchemathesisConfig

from dittod.engine.protocol import Detokenize, Detokenized
from dittod.errors import RequestError
from dittod_service.app import create_app
from dittod_service.openapi import document

from .conftest import BEARER, JSON, TOKEN
from .fakes import FakeBackend
from .test_responses_stream import told
from .wire import chunks, error_of, valid, valid_chat_chunk, valid_completion, valid_completion_chunk

load_all_checks()
CHECKED = CHECKS.get_by_names(
    [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
        "response_headers_conformance",
        "negative_data_rejection",
        "unsupported_method",
        "allow_header_conformance",
    ]
)
CASES = settings(
    max_examples=50, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
# there is one model and one token: a request that names or brings another learns little
CONFIG: dict[str, Any] = {"max-stream-events": 10_000, "generation": {"with-security-parameters": False}}
INDISPENSABLE: dict[str, dict[str, object]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hello"}]},
    "/v1/completions": {"prompt": "Hello"},
    "/v1/embeddings": {"input": "Hello"},
    "/v1/responses": {"input": "Hello"},
}
URL = "http://localhost"
ALIASES = r"^/(models|chat|completions|embeddings|tokenize|detokenize|responses|feedback)"

OURS = schemathesis.openapi.from_dict(
    json.loads(json.dumps(document())), config=SchemathesisConfig.from_dict(CONFIG)
).exclude(path_regex=ALIASES)

OPENAIS_TYPES: dict[str, Any] = {
    "/v1/chat/completions": chat_create_params.CompletionCreateParams,
    "/v1/completions": completion_create_params.CompletionCreateParams,
    "/v1/embeddings": embedding_create_params.EmbeddingCreateParams,
    "/v1/responses": response_create_params.ResponseCreateParams,
}


def openais() -> dict[str, Any]:
    """A description of OpenAI's API, made from the types of its client's parameters."""
    adapters = [(path, "validation", TypeAdapter(kind)) for path, kind in OPENAIS_TYPES.items()]
    bodies, shared = TypeAdapter.json_schemas(adapters, ref_template="#/components/schemas/{model}")
    return {
        "openapi": "3.1.0",
        "info": {"title": "OpenAI", "version": "1"},
        "components": {"schemas": shared["$defs"]},
        "paths": {
            path: {
                "post": {
                    "requestBody": {
                        "required": True,
                        "content": {"application/json": {"schema": schema | {"required": [*INDISPENSABLE[path]]}}},
                    },
                    "responses": {"default": {"description": "Any"}},
                }
            }
            for (path, _), schema in bodies.items()
        },
    }


VALID: dict[str, Any] = {"generation": {"mode": "positive"}, "phases": {"coverage": {"enabled": False}}}
THEIRS = schemathesis.openapi.from_dict(openais(), config=SchemathesisConfig.from_dict(CONFIG | VALID))


class Engine(FakeBackend):
    """It knows no more than a million tokens, as engines do."""

    async def detokenize(self, command: Detokenize) -> Detokenized:
        if max(command.token_ids, default=0) > 1_000_000:
            raise RequestError("There is no such token", param="tokens", code="invalid_value")
        return await super().detokenize(command)


class Endpoint:
    """The application, asked one request after the other."""

    def __init__(self, backend: FakeBackend) -> None:
        self.app = create_app(backend, TOKEN)
        self._transport = httpx.ASGITransport(self.app)
        self._runner = asyncio.Runner()

    def post(self, path: str, body: object) -> httpx.Response:
        async def request() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url=URL) as client:
                return await client.post(path, headers=BEARER | JSON, content=json.dumps(body))

        return self._runner.run(request())

    def close(self) -> None:
        self._runner.close()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    endpoint = Endpoint(Engine(thought="Hm.", calls=(("look", ('{"at":', "1}")),)))
    yield endpoint
    endpoint.close()


@OURS.parametrize()
@CASES
def test_every_answer_is_as_described(case: Case, endpoint: Endpoint) -> None:
    name_what_there_is(case, endpoint)
    answer = case.call_and_validate(URL, app=endpoint.app, headers=BEARER, checks=CHECKED)
    assert answer.status_code not in (401, 403)
    if answer.headers["content-type"][0].startswith("text/event-stream"):
        assert answer.content.endswith(b"\n\n")
        assert b'"error":{' not in answer.content


def name_what_there_is(case: Case, endpoint: Endpoint) -> None:
    """Most names that are drawn are nobody's, and most turns are empty: it would all be refused."""
    if isinstance(case.body, dict) and isinstance(name := case.body.get("model"), str) and len(name) <= 256:
        case.body = {**case.body, "model": "ditto"}
    if isinstance(case.body, dict) and isinstance(turns := case.body.get("messages"), list):
        case.body = {**case.body, "messages": [spoken(turn) for turn in turns]}
    if case.path.startswith("/v1/responses/{id}") and len(str(case.path_parameters["id"])) % 2:
        kept = endpoint.post("/v1/responses", {"model": "ditto", "input": "Hello"}).json()
        case.path_parameters = {"id": kept["id"]}
    elif case.path == "/v1/feedback/{id}" and len(str(case.path_parameters["id"])) % 2:
        said = {"model": "ditto", "prompt": "Hello", "answer": "Hello", "rating": "up"}
        case.path_parameters = {"id": endpoint.post("/v1/feedback", said).json()["id"]}
    elif case.path == "/v1/models/{id}" and len(str(case.path_parameters["id"])) % 2:
        case.path_parameters = {"id": "ditto/email"}


def spoken(turn: object) -> object:
    return {**turn, "content": "Hello"} if isinstance(turn, dict) and turn.get("content") is None else turn


CHOICE = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"name": "look"}]}}
LOOK = {"type": "function", "function": {"name": "look"}}


@pytest.mark.parametrize(
    ("path", "parameters", "param"),
    [
        ("/v1/responses", {"input": {}}, "input"),
        ("/v1/responses", {"input": False}, "input"),
        ("/v1/chat/completions", {"tools": [{"type": {}}]}, "tools[0].type"),
        ("/v1/chat/completions", {"tools": [LOOK], "tool_choice": CHOICE}, "tool_choice.tools[0].type"),
    ],
)
def test_what_was_once_taken_for_nothing_is_refused(
    endpoint: Endpoint, path: str, parameters: dict[str, object], param: str
) -> None:
    answer = endpoint.post(path, {"model": "ditto", **INDISPENSABLE[path], **parameters})
    assert answer.status_code == 400
    assert error_of(answer)["param"] == param


@pytest.mark.parametrize("parameters", [{"tools": [None]}, {"think": -1}])
def test_a_request_that_only_loads_the_model_is_read_as_any_other(
    endpoint: Endpoint, parameters: dict[str, object]
) -> None:
    assert endpoint.post("/api/chat", {"model": "ditto", **parameters}).status_code == 400


@THEIRS.parametrize()
@CASES
def test_whatever_openais_types_allow_is_answered_or_refused_by_name(case: Case, endpoint: Endpoint) -> None:
    """And without what is refused it comes to an answer in the end."""
    assert isinstance(case.body, dict)
    body, plain = {**case.body, "model": "ditto"}, INDISPENSABLE[case.path]
    while (answer := endpoint.post(case.path, body)).status_code != 200:
        assert answer.status_code == 400, answer.text
        error = error_of(answer)
        blamed = re.split(r"[.[]", error["param"])[0]
        assert blamed in body or error["code"] == "missing_required_parameter"
        refused = body.pop(blamed, None)
        assert refused != plain.get(blamed, ...)
        body |= plain if blamed in plain else {}
    check(case.path, body, answer)


def check(path: str, body: dict[str, Any], answer: httpx.Response) -> None:
    """The answer to a body is of OpenAI's types."""
    match path, bool(body.get("stream")):
        case "/v1/chat/completions", True:
            for chunk in chunks(answer):
                valid_chat_chunk(chunk)
        case "/v1/completions", True:
            for chunk in chunks(answer):
                valid_completion_chunk(chunk)
        case "/v1/responses", True:
            told(answer)
        case "/v1/chat/completions", False:
            valid(ChatCompletion, answer.json())
        case "/v1/completions", False:
            valid_completion(answer.json())
        case "/v1/responses", False:
            valid(Response, answer.json())
        case "/v1/embeddings", False if body.get("encoding_format") != "base64":
            valid(CreateEmbeddingResponse, answer.json())
