"""Every parameter is honoured, refused by its name, or harmless: what chats and plain completions share."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dittod.engine.protocol import Generate, Sampling
from dittod.errors import EngineUnavailable, ModelError, RequestError
from dittod_service.ollama.chat import ChatRequest as OllamaChatRequest
from dittod_service.openai.chat import ChatRequest
from dittod_service.openai.completions import CompletionRequest
from dittod_service.openai.request import ModelRequest, TextRequest, parse

from .conftest import Ask
from .fakes import FakeBackend
from .wire import error_of

CHAT = {"model": "base", "messages": [{"role": "user", "content": "hi"}]}
PLAIN = {"model": "base", "prompt": "hi"}
JSON_TYPE = {"content-type": "application/json"}


def asked(ask: Ask, backend: FakeBackend, path: str, body: dict[str, object]) -> Generate:
    response = ask("POST", path, json=body)
    assert response.status_code == 200, response.text
    return backend.asked[-1]


GOOD: list[tuple[dict[str, object], Sampling]] = [
    ({"temperature": 0}, Sampling(temperature=0)),
    ({"temperature": 0.5}, Sampling(temperature=0.5)),
    ({"top_p": 0.25}, Sampling(top_p=0.25)),
    ({"top_k": 5}, Sampling(top_k=5)),
    ({"top_k": -1}, Sampling(top_k=0)),
    ({"min_p": 0.125}, Sampling(min_p=0.125)),
    ({"presence_penalty": -2}, Sampling(presence_penalty=-2)),
    ({"frequency_penalty": 2}, Sampling(frequency_penalty=2)),
    ({"repetition_penalty": 1.5}, Sampling(repetition_penalty=1.5)),
    ({"logit_bias": {"17": -100, "3": 0.5}}, Sampling(logit_bias={17: -100.0, 3: 0.5})),
    ({"seed": -7}, Sampling(seed=-7)),
    ({"seed": 0}, Sampling(seed=0)),
    ({"stop": "Ann"}, Sampling(stop=("Ann",))),
    ({"stop": ["a", "b", "c", "d"]}, Sampling(stop=("a", "b", "c", "d"))),
    ({"stop": []}, Sampling()),
    ({"max_tokens": 2}, Sampling(max_tokens=2)),
    ({"user": "u", "metadata": {"a": "b"}, "store": True, "service_tier": "auto"}, Sampling()),
    ({"verbosity": "low", "safety_identifier": "s", "prompt_cache_key": "k", "prediction": {}}, Sampling()),
    (
        {"stream": True, "stream_options": {"include_obfuscation": False, "continuous_usage_stats": True}},
        Sampling(),
    ),
    ({"future": {"deep": [1]}}, Sampling()),
    (dict.fromkeys(["temperature", "n", "stop", "seed", "logit_bias", "stream", "max_tokens"]), Sampling()),
]


@pytest.mark.parametrize(("parameter", "expected"), GOOD, ids=str)
@pytest.mark.parametrize(("path", "body"), [("/v1/chat/completions", CHAT), ("/v1/completions", PLAIN)])
def test_a_parameter_reaches_the_engine(
    ask: Ask, backend: FakeBackend, path: str, body: dict[str, object], parameter: dict[str, object],
    expected: Sampling,
) -> None:  # fmt: skip
    assert asked(ask, backend, path, body | parameter).sampling == expected


BAD = [
    ({"temperature": 2.5}, "temperature"),
    ({"temperature": -0.1}, "temperature"),
    ({"temperature": "hot"}, "temperature"),
    ({"temperature": "0.5"}, "temperature"),
    ({"top_p": 1.5}, "top_p"),
    ({"top_k": -2}, "top_k"),
    ({"min_p": 2}, "min_p"),
    ({"n": 0}, "n"),
    ({"n": 17}, "n"),
    ({"n": 1.5}, "n"),
    ({"n": True}, "n"),
    ({"seed": 2**63}, "seed"),
    ({"seed": 10**400}, "seed"),
    ({"stop": ["a"] * 5}, "stop"),
    ({"stop": [1]}, "stop"),
    ({"stop": ""}, "stop"),
    ({"stop": {"a": 1}}, "stop"),
    ({"stop": "a" * 1025}, "stop"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": 2**31}, "max_tokens"),
    ({"max_tokens": -1}, "max_tokens"),
    ({"presence_penalty": 2.1}, "presence_penalty"),
    ({"frequency_penalty": -2.1}, "frequency_penalty"),
    ({"repetition_penalty": 0}, "repetition_penalty"),
    ({"logit_bias": {"a": 1}}, "logit_bias"),
    ({"logit_bias": {"-1": 1}}, "logit_bias"),
    ({"logit_bias": {"9" * 5000: 1}}, "logit_bias"),
    ({"logit_bias": {"1": 101}}, "logit_bias"),
    ({"logit_bias": {"1": True}}, "logit_bias"),
    ({"logit_bias": [1]}, "logit_bias"),
    ({"logit_bias": {str(i): 1 for i in range(1025)}}, "logit_bias"),
    ({"stream": "yes"}, "stream"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"stream": True, "stream_options": 1}, "stream_options"),
    ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
    ({"model": None}, "model"),
    ({"model": 5}, "model"),
    ({"model": "m" * 257}, "model"),
]
CASES = [
    *(("/v1/chat/completions", CHAT | extra, param) for extra, param in BAD),
    *(("/v1/completions", PLAIN | extra, param) for extra, param in BAD),
]


@pytest.mark.parametrize(("path", "body", "param"), CASES, ids=lambda value: str(value)[:70])
def test_what_cannot_be_served_is_refused_by_its_name(
    ask: Ask, backend: FakeBackend, path: str, body: dict[str, object], param: str
) -> None:
    response = ask("POST", path, json=body)
    error = error_of(response)
    assert (response.status_code, error["type"], error["param"]) == (400, "invalid_request_error", param)
    assert backend.asked == []


def test_no_parameter_is_left_out_above() -> None:
    assert set(TextRequest.model_fields) <= {name for extra, _ in [*GOOD, *BAD] for name in extra}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"hi"',
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b'{"model": "\\ud800"}',
        b'{"model": "\xff"}',
        b'{"seed": ' + b"1" * 5000 + b"}",
        b"[" * 5000,
        b'{"a":' * 5000,
        b"NaN",
    ],
    ids=lambda body: str(body[:20]),
)
def test_a_body_that_is_no_json_object_is_refused(ask: Ask, body: bytes) -> None:
    for path in ("/v1/chat/completions", "/v1/completions"):
        response = ask("POST", path, content=body, headers=JSON_TYPE)
        assert (response.status_code, error_of(response)["param"]) == (400, None)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize(
    "field", ["temperature", "top_p", "seed", "max_tokens", "logit_bias", "n", "repetition_penalty"]
)
def test_numbers_that_json_does_not_have_are_refused_by_name(ask: Ask, field: str, number: str) -> None:
    value = f'{{"1": {number}}}' if field == "logit_bias" else number
    body = json.dumps(PLAIN)[:-1] + f', "{field}": {value}}}'
    response = ask("POST", "/v1/completions", content=body, headers=JSON_TYPE)
    assert (response.status_code, error_of(response)["param"]) == (400, field)


def test_of_a_field_that_is_given_twice_the_last_counts(ask: Ask, backend: FakeBackend) -> None:
    body = json.dumps(PLAIN)[:-1] + ', "seed": 1, "seed": 2}'
    assert ask("POST", "/v1/completions", content=body, headers=JSON_TYPE).status_code == 200
    assert backend.asked[-1].sampling.seed == 2


MANY = 20_000
LARGE = [
    (ChatRequest, {"messages": [7] * MANY}, "messages"),
    (ChatRequest, {"messages": [{"role": 5}] * MANY}, "messages"),
    (ChatRequest, {"messages": [{"role": "assistant", "tool_calls": [5] * MANY}]}, "messages"),
    (ChatRequest, {"messages": [{"role": "assistant", "tool_calls": [5] * 20}] * 1000}, "messages"),
    (OllamaChatRequest, {"messages": [{"role": 5}] * MANY}, "messages"),
    (OllamaChatRequest, {"messages": [{"role": "assistant", "tool_calls": [5] * 20}] * 1000}, "messages"),
    (ChatRequest, {"model": "m" * 10_000_000}, "model"),
]


@pytest.mark.parametrize(("kind", "extra", "param"), LARGE, ids=lambda value: str(value)[:40])
def test_what_is_too_much_is_counted_before_it_is_looked_at_closely(
    kind: type[ModelRequest], extra: dict[str, object], param: str
) -> None:
    """None of these turns and calls is sound, and yet their number is what is wrong."""
    body = json.dumps(CHAT | extra).encode()
    with pytest.raises(RequestError) as caught:
        parse(kind, body)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [("/v1/chat/completions", CHAT, ChatRequest), ("/v1/completions", PLAIN, CompletionRequest)],
)
def test_null_is_absent_in_every_field(
    ask: Ask, backend: FakeBackend, path: str, body: dict[str, object], kind: type[ChatRequest | CompletionRequest]
) -> None:
    plain = asked(ask, backend, path, body)
    for name in kind.model_fields:
        response = ask("POST", path, json=body | {name: None})
        if name in body:
            error = error_of(response)
            assert (error["param"], error["code"]) == (name, "missing_required_parameter")
        else:
            assert response.status_code == 200, name
            assert replace(backend.asked[-1], id=plain.id) == plain


def test_an_unknown_model_is_told_which_there_are(ask: Ask) -> None:
    response = ask("POST", "/v1/chat/completions", json=CHAT | {"model": "gpt-5"})
    error = error_of(response)
    assert (response.status_code, error["code"], error["param"]) == (404, "model_not_found", "model")
    assert "base, ditto, ditto/email, ditto/email@1" in error["message"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("raised", "status", "header"),
    [
        (RequestError("Too long", param="messages", code="context_length_exceeded"), 400, ("retry-after", None)),
        (EngineUnavailable("Starting", retry_after_seconds=0.2), 503, ("retry-after", "1")),
        (ModelError("The adapter is damaged", "roll back"), 500, ("x-should-retry", "false")),
        (ZeroDivisionError("secret"), 500, ("x-should-retry", "false")),
    ],
)
def test_errors_before_the_first_word_are_http_errors(
    ask: Ask, backend: FakeBackend, raised: Exception, status: int, header: tuple[str, str | None], stream: bool
) -> None:
    backend.error = raised
    response = ask("POST", "/v1/chat/completions", json=CHAT | {"stream": stream})
    assert response.status_code == status
    assert response.headers.get(header[0]) == header[1]
    assert "secret" not in error_of(response)["message"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NAMES = sorted({*ChatRequest.model_fields, *CompletionRequest.model_fields, "user"})
SOUND = st.sampled_from([{}, CHAT, PLAIN, CHAT | PLAIN, CHAT | {"stream": True}, PLAIN | {"stream": True}])
FUZZ = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)


@FUZZ
@given(path=st.sampled_from(["/v1/chat/completions", "/v1/completions"]), body=JSON)
def test_no_json_at_all_makes_the_server_stumble(ask: Ask, path: str, body: object) -> None:
    assert ask("POST", path, content=json.dumps(body), headers=JSON_TYPE).status_code < 500


@FUZZ
@given(
    path=st.sampled_from(["/v1/chat/completions", "/v1/completions"]),
    sound=SOUND,
    odd=st.dictionaries(st.sampled_from(NAMES), JSON, min_size=1, max_size=3),
)
def test_no_odd_value_of_a_known_parameter_makes_the_server_stumble(
    ask: Ask, path: str, sound: dict[str, object], odd: dict[str, object]
) -> None:
    response = ask("POST", path, content=json.dumps(sound | odd), headers=JSON_TYPE)
    assert response.status_code < 500
    assert response.status_code == 200 or error_of(response)


LONG = "n" * 1025
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "assistant", "tool_calls": [CALL | {"id": LONG}]}]}, "id"),
        (
            "/v1/chat/completions",
            {"messages": [{"role": "assistant", "tool_calls": [CALL | {"function": {"name": LONG}}]}]},
            "name",
        ),
        ("/v1/chat/completions", {"messages": [{"role": "tool", "content": "", "tool_call_id": LONG}]}, "tool_call_id"),
        ("/v1/chat/completions", {"messages": [{"role": "tool", "content": "", "name": LONG}]}, "name"),
        (
            "/v1/responses",
            {"input": [{"type": "function_call", "call_id": "c", "name": LONG, "arguments": ""}]},
            "name",
        ),
        ("/v1/responses", {"input": [{"type": "function_call_output", "call_id": LONG, "output": ""}]}, "call_id"),
        ("/api/chat", {"messages": [{"role": "tool", "content": "", "tool_name": LONG}]}, "tool_name"),
    ],
)
def test_names_and_ids_are_short(ask: Ask, backend: FakeBackend, path: str, body: dict[str, Any], param: str) -> None:
    """A template may repeat a call's name with each of its results."""
    response = ask("POST", path, json={"model": "base"} | body)
    assert response.status_code == 400
    assert param in response.text and LONG not in response.text
    assert backend.asked == []
