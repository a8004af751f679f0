"""Every parameter is honoured, refused by its name, or harmless."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dittod.engine.protocol import Generate, Sampling
from dittod.errors import EngineUnavailable, ModelError, RequestError
from dittod.types import Message

from .conftest import Ask
from .fakes import EMAIL, FakeBackend
from .wire import error_of

CHAT = {"model": "base", "messages": [{"role": "user", "content": "hi"}]}
PLAIN = {"model": "base", "prompt": "hi"}


def asked(ask: Ask, backend: FakeBackend, path: str, body: dict[str, object]) -> Generate:
    response = ask("POST", path, json=body)
    assert response.status_code == 200, response.text
    return backend.asked[-1]


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
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
        ({"future": {"deep": [1]}}, Sampling()),
        (dict.fromkeys(["temperature", "n", "stop", "seed", "logit_bias", "stream", "max_tokens"]), Sampling()),
    ],
    ids=str,
)
@pytest.mark.parametrize(("path", "body"), [("/v1/chat/completions", CHAT), ("/v1/completions", PLAIN)])
def test_a_parameter_reaches_the_engine(
    ask: Ask, backend: FakeBackend, path: str, body: dict[str, object], parameter: dict[str, object],
    expected: Sampling,
) -> None:  # fmt: skip
    assert asked(ask, backend, path, body | parameter).sampling == expected


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
        ({"max_completion_tokens": 3}, Sampling(max_tokens=3)),
        ({"max_completion_tokens": 3, "max_tokens": 3}, Sampling(max_tokens=3)),
        ({"logprobs": True}, Sampling(logprobs=0)),
        ({"logprobs": True, "top_logprobs": 20}, Sampling(logprobs=20)),
        ({"logprobs": False}, Sampling()),
        ({"response_format": {"type": "text"}}, Sampling()),
        ({"tools": [], "tool_choice": "auto"}, Sampling()),
        ({"tools": [{"type": "function"}], "tool_choice": "none"}, Sampling()),
        ({"modalities": ["text"]}, Sampling()),
        (dict.fromkeys(["tools", "tool_choice", "response_format", "logprobs", "top_logprobs"]), Sampling()),
    ],
    ids=str,
)
def test_a_chat_parameter_reaches_the_engine(
    ask: Ask, backend: FakeBackend, parameter: dict[str, object], expected: Sampling
) -> None:
    assert asked(ask, backend, "/v1/chat/completions", CHAT | parameter).sampling == expected


def test_a_conversation_reaches_the_engine_turn_by_turn(ask: Ask, backend: FakeBackend) -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": " two"}]
    turns = [
        {"role": "system", "content": "be brief"},
        {"role": "developer", "content": parts},
        {"role": "user", "content": "hi", "name": "ann"},
        {"role": "assistant", "content": None},
        {"role": "assistant", "content": "", "tool_calls": [], "refusal": None},
        {"role": "user", "content": []},
    ]
    request = asked(ask, backend, "/v1/chat/completions", {"model": "ditto/email", "messages": turns, "n": 2})
    assert request.messages == (
        Message("system", "be brief"),
        Message("system", "one two"),
        Message("user", "hi"),
        Message("assistant", ""),
        Message("assistant", ""),
        Message("user", ""),
    )
    assert (request.adapter, request.n, request.prompt, request.prompt_token_ids) == (EMAIL, 2, None, None)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("text", [("text", None)]),
        ("", [("", None)]),
        (["a", "b"], [("a", None), ("b", None)]),
        ([5, 6], [(None, (5, 6))]),
        ([[5], [6, 7]], [(None, (5,)), (None, (6, 7))]),
    ],
)
def test_prompts_are_texts_or_token_ids_one_or_many(
    ask: Ask, backend: FakeBackend, prompt: object, expected: object
) -> None:
    assert ask("POST", "/v1/completions", json=PLAIN | {"prompt": prompt}).status_code == 200
    assert [(request.prompt, request.prompt_token_ids) for request in backend.asked] == expected


def test_plain_completions_take_logprobs_as_a_number_and_a_best_of_that_asks_for_nothing(
    ask: Ask, backend: FakeBackend
) -> None:
    request = asked(ask, backend, "/v1/completions", PLAIN | {"logprobs": 5, "n": 2, "best_of": 2, "suffix": ""})
    assert (request.sampling.logprobs, request.n) == (5, 2)


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
    ({"max_tokens": 0}, "max_tokens"),
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
]
BAD_CHAT = [
    ({"messages": []}, "messages"),
    ({"messages": None}, "messages"),
    ({"messages": "hi"}, "messages"),
    ({"messages": [7]}, "messages[0]"),
    ({"messages": [{"content": "hi"}]}, "messages[0].role"),
    ({"messages": [{"role": "pirate", "content": "hi"}]}, "messages[0].role"),
    ({"messages": [{"role": "tool", "content": "hi"}]}, "messages[0].role"),
    ({"messages": [{"role": "function", "content": "hi"}]}, "messages[0].role"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": 5}]}, "messages[1].content"),
    ({"messages": [{"role": "user", "content": ["a"]}]}, "messages[0].content[0]"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0]"),
    ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0]"),
    ({"messages": [{"role": "user", "content": [{"type": "smell"}]}]}, "messages[0].content[0].type"),
    ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "messages[0].tool_calls"),
    ({"logprobs": 3}, "logprobs"),
    ({"top_logprobs": 3}, "top_logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ({"max_completion_tokens": 0}, "max_completion_tokens"),
    ({"max_completion_tokens": 3, "max_tokens": 4}, "max_tokens"),
    ({"response_format": {"type": "json_object"}}, "response_format"),
    ({"response_format": "text"}, "response_format"),
    ({"tools": [{"type": "function"}]}, "tools"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"functions": [{}]}, "functions"),
    ({"modalities": ["text", "audio"]}, "modalities"),
]
BAD_PLAIN = [
    ({"prompt": None}, "prompt"),
    ({"prompt": []}, "prompt"),
    ({"prompt": [[]]}, "prompt[0]"),
    ({"prompt": 5}, "prompt"),
    ({"prompt": {"a": 1}}, "prompt"),
    ({"prompt": ["a", 5]}, "prompt[1]"),
    ({"prompt": [5, "a"]}, "prompt"),
    ({"prompt": [5, -1]}, "prompt"),
    ({"prompt": [True]}, "prompt"),
    ({"prompt": [2**31]}, "prompt"),
    ({"prompt": ["a"] * 129}, "prompt"),
    ({"echo": True}, "echo"),
    ({"suffix": "the end"}, "suffix"),
    ({"best_of": 2}, "best_of"),
    ({"logprobs": 6}, "logprobs"),
    ({"logprobs": True}, "logprobs"),
]
CASES = [
    *(("/v1/chat/completions", CHAT | extra, param) for extra, param in BAD + BAD_CHAT),
    *(("/v1/completions", PLAIN | extra, param) for extra, param in BAD + BAD_PLAIN),
]


@pytest.mark.parametrize(("path", "body", "param"), CASES, ids=lambda value: str(value)[:70])
def test_what_cannot_be_served_is_refused_by_its_name(
    ask: Ask, backend: FakeBackend, path: str, body: dict[str, object], param: str
) -> None:
    response = ask("POST", path, json=body)
    error = error_of(response)
    assert (response.status_code, error["type"], error["param"]) == (400, "invalid_request_error", param)
    assert backend.asked == []


@pytest.mark.parametrize(
    "body", [b"", b"{", b"null", b"[]", b'"hi"', b"\xff\xfe", b'{"model": "\\ud800"}', b"[" * 5000, b"NaN"]
)
def test_a_body_that_is_no_json_object_is_refused(ask: Ask, body: bytes) -> None:
    for path in ("/v1/chat/completions", "/v1/completions"):
        response = ask("POST", path, content=body)
        assert (response.status_code, error_of(response)["param"]) == (400, None)


def test_json_is_read_whatever_the_content_type_says(ask: Ask) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        response = ask("POST", "/v1/completions", content=json.dumps(PLAIN), headers={"content-type": kind})
        assert response.status_code == 200


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
NAMES = sorted({name for _, body, _ in CASES for name in body} | {"user", "audio", "tools"})
SOUND = st.sampled_from([{}, CHAT, PLAIN, CHAT | PLAIN, CHAT | {"stream": True}, PLAIN | {"stream": True}])
FUZZ = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)


@FUZZ
@given(path=st.sampled_from(["/v1/chat/completions", "/v1/completions"]), body=JSON)
def test_no_json_at_all_makes_the_server_stumble(ask: Ask, path: str, body: object) -> None:
    assert ask("POST", path, content=json.dumps(body)).status_code < 500


@FUZZ
@given(
    path=st.sampled_from(["/v1/chat/completions", "/v1/completions"]),
    sound=SOUND,
    odd=st.dictionaries(st.sampled_from(NAMES), JSON, min_size=1, max_size=3),
)
def test_no_odd_value_of_a_known_parameter_makes_the_server_stumble(
    ask: Ask, path: str, sound: dict[str, object], odd: dict[str, object]
) -> None:
    response = ask("POST", path, content=json.dumps(sound | odd))
    assert response.status_code < 500
    assert response.status_code == 200 or error_of(response)
