"""Ollama's API: what its clients send reaches the engine or is refused by its name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dittod.engine.protocol import Sampling
from dittod.types import Message, Tool, ToolCall
from dittod_service.ollama.chat import ChatRequest
from dittod_service.ollama.generate import GenerateRequest
from dittod_service.ollama.request import Options

from .conftest import Ask
from .fakes import EMAIL, FakeBackend
from .ollama import CHAT, PATHS, PROMPT, WEATHER, asked, refused

OPTIONS: list[tuple[dict[str, object], Sampling]] = [
    ({"temperature": 0}, Sampling(temperature=0)),
    ({"temperature": 3.5}, Sampling(temperature=3.5)),
    ({"top_k": 5}, Sampling(top_k=5)),
    ({"top_p": 0.25}, Sampling(top_p=0.25)),
    ({"min_p": 0.125}, Sampling(min_p=0.125)),
    ({"num_predict": 7}, Sampling(max_tokens=7)),
    ({"num_predict": -1}, Sampling()),
    ({"num_predict": -2}, Sampling()),
    ({"seed": 0}, Sampling(seed=0)),
    ({"seed": -1}, Sampling()),
    ({"stop": "Ann"}, Sampling(stop=("Ann",))),
    ({"stop": [str(i) for i in range(64)]}, Sampling(stop=tuple(str(i) for i in range(64)))),
    ({"repeat_penalty": 1.1}, Sampling(repetition_penalty=1.1)),
    ({"repeat_penalty": 1.1, "repeat_last_n": -1}, Sampling(repetition_penalty=1.1)),
    ({"repeat_penalty": 1.0, "repeat_last_n": 64}, Sampling(repetition_penalty=1.0)),
    ({"presence_penalty": 1.5}, Sampling(presence_penalty=1.5)),
    ({"frequency_penalty": -0.5}, Sampling(frequency_penalty=-0.5)),
    ({"num_ctx": 10**6, "num_gpu": 1, "use_mmap": True, "future": [1]}, Sampling()),
    ({"mirostat": 0, "typical_p": 1.0, "tfs_z": 1}, Sampling()),
    (dict.fromkeys(Options.model_fields), Sampling()),
]


@pytest.mark.parametrize(("options", "expected"), OPTIONS, ids=str)
@pytest.mark.parametrize(("path", "body"), PATHS)
def test_an_option_reaches_the_engine(
    ask: Ask, backend: FakeBackend, path: str, body: dict[str, object], options: dict[str, object], expected: Sampling
) -> None:
    assert asked(ask, backend, path, body | {"options": options}).sampling == expected


@pytest.mark.parametrize(("path", "body"), PATHS)
@pytest.mark.parametrize(
    ("think", "effort"),
    [(None, None), (True, "medium"), (False, "none"), ("low", "low"), ("high", "high"), ("max", "xhigh")],
)
def test_thinking_is_asked_for_by_a_word_or_a_switch(
    ask: Ask, backend: FakeBackend, path: str, body: dict[str, object], think: object, effort: str | None
) -> None:
    assert asked(ask, backend, path, body | {"think": think}).reasoning_effort == effort


@pytest.mark.parametrize(("path", "body"), PATHS)
@pytest.mark.parametrize(
    ("form", "schema"),
    [(None, None), ("", None), ("json", {"type": "object"}), ({"type": "array"}, {"type": "array"})],
)
def test_a_format_is_a_word_or_a_schema(
    ask: Ask, backend: FakeBackend, path: str, body: dict[str, object], form: object, schema: object
) -> None:
    assert asked(ask, backend, path, body | {"format": form}).json_schema == schema


def test_a_conversation_reaches_the_engine_turn_by_turn(ask: Ask, backend: FakeBackend) -> None:
    call = {"function": {"name": "weather", "arguments": {"at": "Århus"}}}
    turns = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "hi", "images": []},
        {"role": "assistant", "content": "", "thinking": "hm", "tool_calls": [call, call | {"id": "second"}]},
        {"role": "tool", "content": "rain", "tool_name": "weather"},
        {"role": "tool", "content": "sun"},
        {"role": "tool", "content": "hail"},
    ]
    request = asked(ask, backend, "/api/chat", {"model": "ditto/email", "messages": turns, "tools": [WEATHER]})
    calls = tuple(ToolCall(id, "weather", '{"at": "Århus"}') for id in ("call_2_0", "second"))
    assert request.messages == (
        Message("system", "be brief"),
        Message("user", "hi"),
        Message("assistant", "", "hm", calls),
        Message("tool", "rain", tool_call_id="call_2_0", name="weather"),
        Message("tool", "sun", tool_call_id="second", name="weather"),
        Message("tool", "hail"),
    )
    assert request.tools == (Tool("weather", "says", {"type": "object", "properties": {}}),)
    assert request.adapter == EMAIL


def test_a_tools_answer_finds_its_call_by_id(ask: Ask, backend: FakeBackend) -> None:
    calls = [{"id": id, "function": {"name": id, "arguments": {}}} for id in ("one", "two")]
    turns = [
        {"role": "assistant", "content": "", "tool_calls": calls},
        {"role": "tool", "content": "2", "tool_call_id": "two"},
        {"role": "tool", "content": "1"},
    ]
    messages = asked(ask, backend, "/api/chat", {"model": "base", "messages": turns}).messages or ()
    assert [(message.tool_call_id, message.name) for message in messages[1:]] == [("two", "two"), ("one", "one")]


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({}, (None, None, (Message("user", "Dear Ann"),))),
        ({"system": "be brief"}, (None, None, (Message("system", "be brief"), Message("user", "Dear Ann")))),
        ({"raw": True}, ("Dear Ann", None, None)),
        ({"suffix": "Yours"}, ("Dear Ann", "Yours", None)),
        ({"suffix": "", "system": "", "template": "", "context": [], "images": []},
         (None, None, (Message("user", "Dear Ann"),))),
    ],
)  # fmt: skip
def test_a_prompt_is_a_turn_or_stands_as_it_is(
    ask: Ask, backend: FakeBackend, extra: dict[str, object], expected: object
) -> None:
    request = asked(ask, backend, "/api/generate", PROMPT | extra)
    assert (request.prompt, request.suffix, request.messages) == expected


@pytest.mark.parametrize(
    ("path", "kind", "body"), [("/api/chat", ChatRequest, CHAT), ("/api/generate", GenerateRequest, PROMPT)]
)
def test_null_is_absent(ask: Ask, backend: FakeBackend, path: str, kind: Any, body: dict[str, object]) -> None:
    given = [name for name in kind.model_fields if name not in body]
    requests = [asked(ask, backend, path, body | extra) for extra in ({}, dict.fromkeys(given))]
    assert requests[0].sampling == requests[1].sampling
    assert requests[0].messages == requests[1].messages


BAD_OPTIONS: list[tuple[dict[str, object], str]] = [
    ({"temperature": -1}, "options.temperature"),
    ({"temperature": "hot"}, "options.temperature"),
    ({"top_k": -1}, "options.top_k"),
    ({"top_p": 1.5}, "options.top_p"),
    ({"min_p": -1}, "options.min_p"),
    ({"num_predict": -3}, "options.num_predict"),
    ({"seed": 2**63}, "options.seed"),
    ({"stop": [""]}, "options.stop"),
    ({"stop": 5}, "options.stop"),
    ({"stop": ["a"] * 65}, "options.stop"),
    ({"repeat_penalty": 0}, "options.repeat_penalty"),
    ({"repeat_penalty": 1.1, "repeat_last_n": 64}, "options.repeat_last_n"),
    ({"presence_penalty": 3}, "options.presence_penalty"),
    ({"frequency_penalty": -3}, "options.frequency_penalty"),
    ({"mirostat": 2}, "options.mirostat"),
    ({"typical_p": 0.7}, "options.typical_p"),
    ({"tfs_z": 0.5}, "options.tfs_z"),
]
BAD: list[tuple[dict[str, object], str]] = [
    *(({"options": options}, param) for options, param in BAD_OPTIONS),
    ({"options": [1]}, "options"),
    ({"stream": 1}, "stream"),
    ({"format": "xml"}, "format"),
    ({"format": {"a": "b" * 70_000}}, "format"),
    ({"think": "deeply"}, "think"),
    ({"think": 1}, "think"),
    ({"top_logprobs": 3}, "top_logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ({"template": "{{ .Prompt }}"}, "template"),
    ({"truncate": True}, "truncate"),
    ({"shift": True}, "shift"),
    ({"model": None}, "model"),
]
IMAGE = [{"role": "user", "content": "see", "images": ["aGk="]}]
BAD_CHAT: list[tuple[dict[str, object], str]] = [
    ({"messages": "hi"}, "messages"),
    ({"messages": [{"content": "hi"}]}, "messages[0].role"),
    ({"messages": [{"role": "pirate", "content": "hi"}]}, "messages[0].role"),
    ({"messages": [{"role": "user", "content": ["hi"]}]}, "messages[0].content"),
    ({"messages": IMAGE}, "messages[0].images"),
    ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "messages[0].tool_calls[0].function"),
    ({"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "a", "arguments": "{}"}}]}]},
     "messages[0].tool_calls[0].function.arguments"),
    ({"messages": [{"role": "user"}] * 4097}, "messages"),
    ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
]  # fmt: skip
BAD_PROMPT: list[tuple[dict[str, object], str]] = [
    ({"prompt": ["a"]}, "prompt"),
    ({"images": ["aGk="]}, "images"),
    ({"context": [1, 2]}, "context"),
    ({"raw": True, "system": "be brief"}, "system"),
    ({"suffix": "Yours", "system": "be brief"}, "system"),
]
REFUSED = [
    *(("/api/chat", CHAT | extra, param) for extra, param in BAD + BAD_CHAT),
    *(("/api/generate", PROMPT | extra, param) for extra, param in BAD + BAD_PROMPT),
]


@pytest.mark.parametrize(("path", "body", "param"), REFUSED, ids=lambda value: str(value)[:70])
def test_what_cannot_be_served_is_refused_by_its_name(
    ask: Ask, backend: FakeBackend, path: str, body: dict[str, object], param: str
) -> None:
    assert f"'{param}'" in refused(ask("POST", path, json=body))
    assert backend.asked == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
BODIES = {
    "/api/chat": (CHAT, ChatRequest),
    "/api/generate": (PROMPT, GenerateRequest),
    "/api/show": ({"model": "base"}, ChatRequest),
    "/api/embed": ({"model": "base", "input": "a"}, ChatRequest),
    "/api/embeddings": ({"model": "base", "prompt": "a"}, GenerateRequest),
}


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
@given(data=st.data(), path=st.sampled_from(sorted(BODIES)), odd=JSON)
def test_no_odd_value_makes_the_server_stumble(ask: Ask, data: st.DataObject, path: str, odd: object) -> None:
    sound, kind = BODIES[path]
    names = sorted({*kind.model_fields, *sound, "input"})
    body = json.dumps(sound | {data.draw(st.sampled_from(names)): odd})
    answer = ask("POST", path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 200 or refused(answer, answer.status_code)
    assert answer.status_code < 500
