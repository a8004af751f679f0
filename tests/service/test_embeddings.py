"""`/v1/embeddings`: texts and token ids become vectors in both encodings, whoever of the models is named."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse

from dittod.engine.protocol import Embed, Embedded
from dittod.errors import EngineUnavailable, RequestError
from dittod_service.app import Limits, create_app
from dittod_service.openai.embeddings import EmbeddingRequest
from dittod_service.server import Server

from .conftest import BEARER, TOKEN, Ask
from .fakes import FakeBackend
from .wire import error_of, valid

ONE: dict[str, Any] = {"model": "base", "input": "Dear Ann"}


@pytest.mark.parametrize("path", ["/v1/embeddings", "/embeddings"])
def test_answers_are_valid_and_count_what_was_read(ask: Ask, path: str) -> None:
    answer = ask("POST", path, json=ONE | {"input": ["Dear Ann", "Hi"]}).json()
    valid(CreateEmbeddingResponse, answer)
    assert [entry["index"] for entry in answer["data"]] == [0, 1]
    assert answer["data"][0]["embedding"] == pytest.approx([0.6, 0.8])
    assert (answer["model"], answer["usage"]) == ("base", {"prompt_tokens": 3, "total_tokens": 3})


@pytest.mark.parametrize(
    ("given", "inputs"),
    [
        ("text", ("text",)),
        (["a", "b"], ("a", "b")),
        ([5, 6], ((5, 6),)),
        ([[5], [6, 7]], ((5,), (6, 7))),
        (["a", [5]], ("a", (5,))),
        (["a"] * 2048, ("a",) * 2048),
    ],
    ids=lambda value: str(value)[:30],
)
def test_texts_and_token_ids_reach_the_engine(
    ask: Ask, backend: FakeBackend, given: object, inputs: tuple[object, ...]
) -> None:
    answer = ask("POST", "/v1/embeddings", json=ONE | {"input": given})
    assert len(answer.json()["data"]) == len(inputs)
    assert backend.embedded[-1].inputs == inputs


def test_base64_holds_the_same_numbers(ask: Ask) -> None:
    answer = ask("POST", "/v1/embeddings", json=ONE | {"encoding_format": "base64"}).json()
    vector = answer["data"][0]["embedding"]
    assert struct.unpack("<2f", base64.b64decode(vector)) == pytest.approx((0.6, 0.8))
    plain = ask("POST", "/v1/embeddings", json=ONE | {"encoding_format": "float"}).json()
    assert plain["data"][0]["embedding"] == list(struct.unpack("<2f", base64.b64decode(vector)))


def test_every_model_gives_the_base_models_vectors_and_is_named_as_it_was_asked(ask: Ask) -> None:
    for model in ("base", "ditto", "ditto/email@1", "base:latest"):
        answer = ask("POST", "/v1/embeddings", json=ONE | {"model": model}).json()
        assert (answer["model"], answer["data"][0]["embedding"]) == (model, pytest.approx([0.6, 0.8]))


def test_the_size_that_they_have_may_be_asked_for(ask: Ask) -> None:
    assert ask("POST", "/v1/embeddings", json=ONE | {"dimensions": 2, "user": "u", "future": 1}).status_code == 200


def test_null_is_absent(ask: Ask) -> None:
    nulls = dict.fromkeys(name for name in EmbeddingRequest.model_fields if name not in ONE)
    assert ask("POST", "/v1/embeddings", json=ONE | nulls).json() == ask("POST", "/v1/embeddings", json=ONE).json()


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ({"input": None}, "input"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": 5}, "input"),
        ({"input": {"text": "a"}}, "input"),
        ({"input": ["a", ""]}, "input[1]"),
        ({"input": ["a", 5]}, "input[1]"),
        ({"input": ["a", None]}, "input[1]"),
        ({"input": [5, "a"]}, "input"),
        ({"input": [5, -1]}, "input"),
        ({"input": [5, 2**31]}, "input"),
        ({"input": [True]}, "input"),
        ({"input": [[]]}, "input[0]"),
        ({"input": [[5], [True]]}, "input[1]"),
        ({"input": ["a"] * 2049}, "input"),
        ({"encoding_format": "int8"}, "encoding_format"),
        ({"dimensions": 1}, "dimensions"),
        ({"dimensions": 0}, "dimensions"),
        ({"model": None}, "model"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_served_is_refused_by_its_name(
    ask: Ask, backend: FakeBackend, extra: dict[str, object], param: str
) -> None:
    answer = ask("POST", "/v1/embeddings", json=ONE | extra)
    assert (answer.status_code, error_of(answer)["param"]) == (400, param)
    assert backend.embedded == []


@pytest.mark.parametrize(
    ("raised", "status"),
    [
        (RequestError("Too long", param="input", code="context_length_exceeded"), 400),
        (EngineUnavailable("Starting"), 503),
        (ZeroDivisionError("secret"), 500),
    ],
)
def test_the_engines_errors_are_http_errors(ask: Ask, backend: FakeBackend, raised: Exception, status: int) -> None:
    backend.error = raised
    answer = ask("POST", "/v1/embeddings", json=ONE)
    assert answer.status_code == status
    assert "secret" not in error_of(answer)["message"]


def test_the_official_client_reads_the_vectors(server: Server) -> None:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=TOKEN) as client:
        answer = client.embeddings.create(model="ditto", input=["Dear Ann", "Hi"])  # asks for base64 by itself
        assert answer.data[1].embedding == pytest.approx([0.6, 0.8])
        with pytest.raises(openai.BadRequestError):
            client.embeddings.create(model="ditto", input="Dear Ann", dimensions=7)


class Slow(FakeBackend):
    """It embeds for ever."""

    asked_to_embed = 0
    cancelled = 0

    async def embed(self, command: Embed) -> Embedded:
        self.asked_to_embed += 1
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        raise AssertionError


@pytest.mark.parametrize("backend", [Slow()])
def test_the_work_ends_when_the_client_leaves(
    server: Server, backend: Slow, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.url}/v1/embeddings", json=ONE, headers=BEARER, timeout=0.3)
    eventually(lambda: backend.cancelled == 1)


def test_it_takes_a_place_and_no_longer_than_a_request_may() -> None:
    backend = Slow()

    async def two() -> tuple[httpx.Response, httpx.Response]:
        app = create_app(backend, TOKEN, limits=Limits(answers=1, request_seconds=0.2))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=BEARER) as client:
            first = asyncio.create_task(client.post("/v1/embeddings", json=ONE))
            while not backend.asked_to_embed:
                await asyncio.sleep(0)
            return await client.post("/v1/embeddings", json=ONE), await first

    refused, late = asyncio.run(two())
    assert (refused.status_code, late.status_code) == (429, 504)
    assert error_of(late)["code"] == "request_timeout"


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
@given(
    odd=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    ),
    name=st.sampled_from([*EmbeddingRequest.model_fields]),
)
def test_no_odd_value_makes_the_server_stumble(ask: Ask, odd: object, name: str) -> None:
    headers = {"content-type": "application/json"}
    answer = ask("POST", "/v1/embeddings", content=json.dumps(ONE | {name: odd}), headers=headers)
    assert answer.status_code < 500
    assert answer.status_code == 200 or error_of(answer)
