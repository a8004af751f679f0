"""What a chat's own parameters make of a request: turns, tools, formats; and what is refused by its name."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

from dittod.engine.protocol import Generate, Sampling
from dittod.types import Message, Tool, ToolCall
from dittod_service.openai.chat import ChatRequest
from dittod_service.openai.request import TextRequest

from .conftest import Ask
from .fakes import EMAIL, FakeBackend
from .wire import error_of

PATH = "/v1/chat/completions"
CHAT = {"model": "base", "messages": [{"role": "user", "content": "hi"}]}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "of a city", "parameters": CITY}}
CLOCK = {"type": "function", "function": {"name": "clock", "strict": True}}
BOTH = [WEATHER, CLOCK]
THE_WEATHER, THE_CLOCK = Tool("weather", "of a city", CITY), Tool("clock", strict=True)
NAMED = {"type": "function", "function": {"name": "clock"}}


def of_function(**given: object) -> dict[str, object]:
    return {"tools": [{"type": "function", "function": {"name": "f"} | given}]}


def of_schema(**given: object) -> dict[str, object]:
    return {"response_format": {"type": "json_schema", "json_schema": given}}


def turn(**given: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": "hi"}, given]}


def allowed(**given: object) -> dict[str, object]:
    return {"type": "allowed_tools", "allowed_tools": given}


def asked(ask: Ask, backend: FakeBackend, extra: dict[str, object]) -> Generate:
    response = ask("POST", PATH, json=CHAT | extra)
    assert response.status_code == 200, response.text
    return backend.asked[-1]


def said(ask: Ask, backend: FakeBackend, *turns: dict[str, object]) -> tuple[Message, ...] | None:
    return asked(ask, backend, {"messages": list(turns)}).messages


def changed(request: Generate) -> dict[str, object]:
    """The fields of a request that are not as they are without being asked for."""
    neutral = Generate(request.id, None, Sampling(), (Message("user", "hi"),))
    names = (field.name for field in fields(Generate))
    return {name: getattr(request, name) for name in names if getattr(request, name) != getattr(neutral, name)}


GOOD: list[tuple[dict[str, object], dict[str, object]]] = [
    ({"max_completion_tokens": 3}, {"sampling": Sampling(max_tokens=3)}),
    ({"max_completion_tokens": 3, "max_tokens": 3}, {"sampling": Sampling(max_tokens=3)}),
    ({"logprobs": True}, {"sampling": Sampling(logprobs=0)}),
    ({"logprobs": True, "top_logprobs": 20}, {"sampling": Sampling(logprobs=20)}),
    ({"logprobs": False}, {}),
    ({"n": 3}, {"n": 3}),
    ({"modalities": ["text"]}, {}),
    ({"reasoning_effort": "none"}, {"reasoning_effort": "none"}),
    ({"reasoning_effort": "xhigh"}, {"reasoning_effort": "xhigh"}),
    ({"model": "ditto/email"}, {"adapter": EMAIL, "profile": "email"}),
    ({"response_format": {"type": "text"}}, {}),
    ({"response_format": {"type": "json_object"}}, {"json_schema": {"type": "object"}}),
    (of_schema(name="a", schema=CITY), {"json_schema": CITY}),
    (of_schema(name="a", strict=False, schema=CITY), {"json_schema": CITY}),
    (of_schema(schema={}), {"json_schema": {}}),
    ({"response_format": {"type": "json_schema", "name": "a", "schema": CITY}}, {"json_schema": CITY}),
    ({"tools": []}, {}),
    ({"tools": [], "tool_choice": "auto"}, {}),
    ({"tools": [{"type": "web_search"}, {"type": "custom", "custom": {}}]}, {}),
    ({"tools": BOTH}, {"tools": (THE_WEATHER, THE_CLOCK)}),
    ({"tools": [{"type": "mcp"}, CLOCK]}, {"tools": (THE_CLOCK,)}),
    ({"tools": [{"type": "function", "name": "clock", "strict": True}]}, {"tools": (THE_CLOCK,)}),
    ({"tools": [CLOCK], "tool_choice": "auto"}, {"tools": (THE_CLOCK,)}),
    ({"tools": [CLOCK], "tool_choice": "none"}, {"tools": (THE_CLOCK,), "tool_choice": "none"}),
    ({"tools": [CLOCK], "tool_choice": "required"}, {"tools": (THE_CLOCK,), "tool_choice": "required"}),
    (
        {"tools": BOTH, "tool_choice": NAMED},
        {"tools": (THE_WEATHER, THE_CLOCK), "tool_choice": "required", "tool_name": "clock"},
    ),
    (
        {"tools": BOTH, "tool_choice": {"type": "function", "name": "clock"}},
        {"tools": (THE_WEATHER, THE_CLOCK), "tool_choice": "required", "tool_name": "clock"},
    ),
    (
        {"tools": BOTH, "tool_choice": allowed(mode="auto", tools=[NAMED])},
        {"tools": (THE_CLOCK,)},
    ),
    (
        {"tools": BOTH, "tool_choice": allowed(mode="required", tools=[NAMED, {"type": "mcp"}])},
        {"tools": (THE_CLOCK,), "tool_choice": "required"},
    ),
    (
        {"tools": BOTH, "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [NAMED]}},
        {"tools": (THE_CLOCK,)},
    ),
    ({"tools": [CLOCK], "parallel_tool_calls": False}, {"tools": (THE_CLOCK,), "parallel_tool_calls": False}),
    ({"tools": [CLOCK], "parallel_tool_calls": True}, {"tools": (THE_CLOCK,)}),
    ({"functions": []}, {}),
    ({"functions": [CLOCK["function"]]}, {"tools": (THE_CLOCK,), "parallel_tool_calls": False}),
    (
        {"functions": [CLOCK["function"]], "function_call": "none"},
        {"tools": (THE_CLOCK,), "parallel_tool_calls": False, "tool_choice": "none"},
    ),
    (
        {"functions": [CLOCK["function"]], "function_call": {"name": "clock"}},
        {
            "tools": (THE_CLOCK,),
            "parallel_tool_calls": False,
            "tool_choice": "required",
            "tool_name": "clock",
        },
    ),
]


@pytest.mark.parametrize(("parameter", "expected"), GOOD, ids=lambda value: str(value)[:90])
def test_a_parameter_reaches_the_engine(
    ask: Ask, backend: FakeBackend, parameter: dict[str, object], expected: dict[str, object]
) -> None:
    assert changed(asked(ask, backend, parameter)) == expected


def test_a_conversation_reaches_the_engine_turn_by_turn(ask: Ask, backend: FakeBackend) -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": " two"}]
    messages = said(
        ask,
        backend,
        {"role": "assistant", "content": "I begin"},
        {"role": "system", "content": "be brief"},
        {"role": "developer", "content": parts},
        {"role": "user", "content": "hi", "name": "ann"},
        {"role": "user", "content": "are you there?"},
        {"role": "assistant", "content": None},
        {"role": "assistant", "content": "", "tool_calls": [], "refusal": None},
        {"role": "assistant", "content": None, "refusal": "I will not"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
        {"role": "user", "content": []},
    )
    assert messages == (
        Message("assistant", "I begin"),
        Message("system", "be brief"),
        Message("system", "one two"),
        Message("user", "hi"),
        Message("user", "are you there?"),
        Message("assistant", ""),
        Message("assistant", ""),
        Message("assistant", "I will not"),
        Message("assistant", "no"),
        Message("user", ""),
    )


def test_calls_and_their_results_reach_the_engine(ask: Ask, backend: FakeBackend) -> None:
    """A result says by its call's id which function it comes from; one without a call is taken as it is."""
    function = {"name": "weather", "arguments": '{"city":"Bonn"}'}
    calls = [
        {"id": "call_1", "type": "function", "function": function},
        {"id": "call_2", "type": "custom", "custom": {"name": "x", "input": "y"}},
        {"id": "call_3", "function": {"name": "clock"}},
    ]
    messages = said(
        ask,
        backend,
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "rain"}]},
        {"role": "tool", "tool_call_id": "call_9", "content": "lost"},
        {"role": "tool", "content": "", "name": "own"},
    )
    assert messages == (
        Message(
            "assistant",
            "",
            tool_calls=(ToolCall("call_1", "weather", '{"city":"Bonn"}'), ToolCall("call_3", "clock", "{}")),
        ),
        Message("tool", "rain", tool_call_id="call_1", name="weather"),
        Message("tool", "lost", tool_call_id="call_9"),
        Message("tool", "", name="own"),
    )


def test_functions_as_openai_had_them_before_tools_reach_the_engine(ask: Ask, backend: FakeBackend) -> None:
    messages = said(
        ask,
        backend,
        {"role": "assistant", "content": None, "function_call": {"name": "clock", "arguments": ""}},
        {"role": "function", "name": "clock", "content": "noon"},
    )
    assert messages == (
        Message("assistant", "", tool_calls=(ToolCall("", "clock", "{}"),)),
        Message("tool", "noon", name="clock"),
    )


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_reasoning_that_a_client_kept_goes_back(ask: Ask, backend: FakeBackend, key: str) -> None:
    messages = said(
        ask, backend, {"role": "assistant", "content": "4", key: "2 and 2"}, {"role": "user", "content": "?"}
    )
    assert messages == (Message("assistant", "4", reasoning="2 and 2"), Message("user", "?"))


def nested(depth: int) -> dict[str, object]:
    return {"type": "object", "properties": {"a": nested(depth - 1)}} if depth else {"type": "object"}


BAD = [
    ({"messages": []}, "messages"),
    ({"messages": "hi"}, "messages"),
    ({"messages": {"role": "user"}}, "messages"),
    ({"messages": [{"role": "a"}] * 4097}, "messages"),
    ({"messages": [7]}, "messages[0]"),
    (turn(content="hi"), "messages[1].role"),
    (turn(role="pirate", content="hi"), "messages[1].role"),
    (turn(role="user"), "messages[1].content"),
    (turn(role="tool", tool_call_id="a"), "messages[1].content"),
    (turn(role="user", content=5), "messages[1].content"),
    (turn(role="user", content={"type": "text"}), "messages[1].content"),
    (turn(role="user", content=["a"]), "messages[1].content[0]"),
    (turn(role="user", content=[{"type": "text"}]), "messages[1].content[0].text"),
    (turn(role="user", content=[{"type": "text", "text": 5}]), "messages[1].content[0].text"),
    (turn(role="user", content=[{"type": "text", "text": ""}, {"type": "image_url"}]), "messages[1].content[1]"),
    (turn(role="user", content=[{"type": "input_audio"}]), "messages[1].content[0]"),
    (turn(role="user", content=[{"type": "file"}]), "messages[1].content[0]"),
    (turn(role="user", content=[{"type": "smell"}]), "messages[1].content[0].type"),
    (turn(role="user", content=[{"type": ["text"]}]), "messages[1].content[0].type"),
    (turn(role="user", content=[{}]), "messages[1].content[0].type"),
    (turn(role="user", content="hi", name=5), "messages[1].name"),
    (turn(role="assistant", tool_calls="x"), "messages[1].tool_calls"),
    (turn(role="assistant", tool_calls=[{}] * 4097), "messages"),
    ({"messages": [{"role": "assistant", "tool_calls": [{}] * 2049}] * 2}, "messages"),
    (turn(role="assistant", tool_calls=[{}]), "messages[1].tool_calls[0].function"),
    (turn(role="assistant", tool_calls=[{"function": {}}]), "messages[1].tool_calls[0].function.name"),
    (
        turn(role="assistant", tool_calls=[{"function": {"name": "a", "arguments": {}}}]),
        "messages[1].tool_calls[0].function.arguments",
    ),
    (turn(role="assistant", function_call={}), "messages[1].function_call.name"),
    (turn(role="assistant", reasoning_content=["a"]), "messages[1].reasoning_content"),
    (turn(role="tool", content="", tool_call_id=5), "messages[1].tool_call_id"),
    ({"logprobs": 3}, "logprobs"),
    ({"top_logprobs": 3}, "top_logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ({"max_completion_tokens": 0}, "max_completion_tokens"),
    ({"max_completion_tokens": 3, "max_tokens": 4}, "max_tokens"),
    ({"modalities": ["text", "audio"]}, "modalities"),
    ({"modalities": [5]}, "modalities[0]"),
    ({"audio": {"voice": "alloy", "format": "wav"}}, "audio"),
    ({"web_search_options": {}}, "web_search_options"),
    ({"moderation": {"model": "m"}}, "moderation"),
    ({"reasoning_effort": "a lot"}, "reasoning_effort"),
    ({"response_format": "text"}, "response_format"),
    ({"response_format": {}}, "response_format.type"),
    ({"response_format": {"type": "grammar"}}, "response_format.type"),
    ({"response_format": {"type": ["text"]}}, "response_format.type"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    ({"response_format": {"type": "json_schema", "json_schema": []}}, "response_format.json_schema"),
    (of_schema(name="a"), "response_format.json_schema.schema"),
    (of_schema(name="a", schema=None), "response_format.json_schema.schema"),
    (of_schema(name="a", schema=True), "response_format.json_schema.schema"),
    (of_schema(name="a b", schema={}), "response_format.json_schema.name"),
    (of_schema(name="a", schema={}, strict="yes"), "response_format.json_schema.strict"),
    (of_schema(name="a", schema={"enum": ["x" * 66_000]}), "response_format.json_schema.schema"),
    ({"tools": {}}, "tools"),
    ({"tools": [5]}, "tools[0]"),
    ({"tools": [{}]}, "tools[0].type"),
    ({"tools": [{"type": "function"}]}, "tools[0].name"),
    ({"tools": [{"type": "function", "function": 5}]}, "tools[0].function"),
    ({"tools": [WEATHER, {"type": "function", "function": {}}]}, "tools[1].function.name"),
    (of_function(name="a b"), "tools[0].function.name"),
    (of_function(name="n" * 65), "tools[0].function.name"),
    (of_function(name="line\n"), "tools[0].function.name"),
    (of_function(description=5), "tools[0].function.description"),
    (of_function(description="d" * 66_000), "tools[0].function.description"),
    (of_function(parameters=[]), "tools[0].function.parameters"),
    (of_function(parameters={"type": "string"}), "tools[0].function.parameters"),
    (of_function(parameters={"type": "object", "title": "t" * 66_000}), "tools[0].function.parameters"),
    (of_function(strict=1), "tools[0].function.strict"),
    ({"tools": [CLOCK, CLOCK]}, "tools"),
    ({"tools": [{"type": "function", "function": {"name": f"f{i}"}} for i in range(129)]}, "tools"),
    ({"tool_choice": "auto"}, "tool_choice"),
    ({"tool_choice": "required", "tools": []}, "tool_choice"),
    ({"tool_choice": "required", "tools": [{"type": "web_search"}]}, "tool_choice"),
    ({"tool_choice": NAMED, "tools": [WEATHER]}, "tool_choice"),
    ({"tool_choice": NAMED, "tools": []}, "tool_choice"),
    ({"tool_choice": "some", "tools": [CLOCK]}, "tool_choice"),
    ({"tool_choice": ["none"], "tools": [CLOCK]}, "tool_choice"),
    ({"tool_choice": {}, "tools": [CLOCK]}, "tool_choice.type"),
    ({"tool_choice": {"type": "function", "function": {}}, "tools": [CLOCK]}, "tool_choice.function.name"),
    ({"tool_choice": {"type": "function", "function": 5}, "tools": [CLOCK]}, "tool_choice.function"),
    ({"tool_choice": {"type": "allowed_tools"}, "tools": [CLOCK]}, "tool_choice"),
    ({"tool_choice": allowed(mode="x", tools=[NAMED]), "tools": [CLOCK]}, "tool_choice.mode"),
    ({"tool_choice": allowed(mode="auto", tools=[NAMED]), "tools": [WEATHER]}, "tool_choice.tools[0]"),
    ({"tool_choice": allowed(mode="auto", tools=[NAMED] * 129), "tools": [CLOCK]}, "tool_choice.tools"),
    ({"tool_choice": allowed(mode="required", tools=[]), "tools": [CLOCK]}, "tool_choice"),
    ({"parallel_tool_calls": "no"}, "parallel_tool_calls"),
    ({"functions": [{}]}, "functions[0].name"),
    ({"functions": [CLOCK["function"]], "tools": [CLOCK]}, "functions"),
    ({"functions": [CLOCK["function"]], "function_call": {"name": "g"}}, "function_call"),
    ({"function_call": "auto"}, "function_call"),
]  # fmt: skip


@pytest.mark.parametrize(("extra", "param"), BAD, ids=lambda value: str(value)[:70])
def test_what_cannot_be_served_is_refused_by_its_name(
    ask: Ask, backend: FakeBackend, extra: dict[str, object], param: str
) -> None:
    response = ask("POST", PATH, json=CHAT | extra)
    error = error_of(response)
    assert (response.status_code, error["type"], error["param"]) == (400, "invalid_request_error", param)
    assert backend.asked == []


def test_no_parameter_is_left_out_above() -> None:
    """Those that plain completions have too are in test_requests.py."""
    own = set(ChatRequest.model_fields) - set(TextRequest.model_fields)
    assert own <= {name for extra, _ in [*GOOD, *BAD] for name in extra}


@pytest.mark.parametrize("extra", [of_function(parameters=nested(20)), of_schema(name="a", schema=nested(20))])
def test_schemas_with_numbers_that_json_does_not_have_are_refused(ask: Ask, extra: dict[str, object]) -> None:
    body = json.dumps(CHAT | extra).replace('{"type": "object"}', '{"type": "object", "minimum": NaN}')
    response = ask("POST", PATH, content=body, headers={"content-type": "application/json"})
    assert (response.status_code, error_of(response)["param"].split(".")[-1]) in ((400, "parameters"), (400, "schema"))
    assert ask("POST", PATH, json=CHAT | extra).status_code == 200
