"""Every parameter of a response is honoured, refused by its name, or harmless; what is answered is OpenAI's type."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import Response

from dittod.engine.protocol import Accepted, Generate, Sampling
from dittod.errors import RequestError
from dittod.serving import ServedModel
from dittod.types import Message, Tool, ToolCall
from dittod_service.openai.request import parse
from dittod_service.openai.responses import conversation
from dittod_service.openai.responses.exchange import ResponseExchange
from dittod_service.openai.responses.input import items_of
from dittod_service.openai.responses.request import ResponseRequest
from dittod_service.openai.responses.store import Store
from dittod_service.replies import encode

from .conftest import Ask
from .fakes import EMAIL, WORDS, FakeBackend
from .wire import error_of, valid

PATH = "/v1/responses"
HI = {"model": "base", "input": "hi"}
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}}
FUNCTION = {"type": "function", "name": "look", "description": "Looks", "parameters": SCHEMA, "strict": False}
OTHER = {"type": "function", "name": "listen"}
SAID = {"role": "assistant", "content": "so"}
LOOK = Tool("look", "Looks", SCHEMA)


def answered(ask: Ask, **parameters: object) -> dict[str, object]:
    response = ask("POST", PATH, json=HI | parameters)
    assert response.status_code == 200, response.text
    answer: dict[str, object] = response.json()
    valid(Response, answer)
    return answer


def asked(ask: Ask, backend: FakeBackend, **parameters: object) -> Generate:
    answered(ask, **parameters)
    return backend.asked[-1]


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
        ({"temperature": 0.5}, Sampling(temperature=0.5)),
        ({"top_p": 0.25}, Sampling(top_p=0.25)),
        ({"top_k": 5, "min_p": 0.125, "seed": 3, "stop": "x"}, Sampling(top_k=5, min_p=0.125, seed=3, stop=("x",))),
        ({"max_output_tokens": 2}, Sampling(max_tokens=2)),
        ({"include": ["message.output_text.logprobs"]}, Sampling(logprobs=0)),
        ({"include": ["message.output_text.logprobs"], "top_logprobs": 3}, Sampling(logprobs=3)),
        ({"top_logprobs": 3}, Sampling(logprobs=3)),
        ({"top_logprobs": 0}, Sampling()),
        ({"include": ["reasoning.encrypted_content"], "user": "u", "prompt_cache_key": "k"}, Sampling()),
        ({"service_tier": "auto", "client_metadata": {"a": "b"}, "safety_identifier": "s"}, Sampling()),
        ({"truncation": "disabled", "background": False, "max_tool_calls": 3}, Sampling()),
        ({"future": {"deep": [1]}}, Sampling()),
    ],
    ids=str,
)
def test_a_parameter_reaches_the_sampling(
    ask: Ask, backend: FakeBackend, parameter: dict[str, object], expected: Sampling
) -> None:
    assert asked(ask, backend, **parameter).sampling == expected


@pytest.mark.parametrize("name", sorted(ResponseRequest.model_fields.keys() - {"model", "input"}))
def test_null_is_absent(ask: Ask, backend: FakeBackend, name: str) -> None:
    left_out = asked(ask, backend)
    null = asked(ask, backend, **{name: None})
    assert (null.sampling, null.messages, null.tools) == (left_out.sampling, left_out.messages, left_out.tools)


def test_null_below_a_parameter_is_absent_too(ask: Ask, backend: FakeBackend) -> None:
    tool = FUNCTION | {"description": None, "parameters": None, "strict": None}
    nulls = {"reasoning": {"effort": None, "summary": None}, "text": {"format": None, "verbosity": None}}
    request = asked(ask, backend, tools=[tool], **nulls)
    assert (request.tools, request.reasoning_effort, request.json_schema) == ((Tool("look"),), None, None)


def test_instructions_stand_before_the_conversation(ask: Ask, backend: FakeBackend) -> None:
    answer = answered(ask, instructions="Be brief")
    assert backend.asked[-1].messages == (Message("system", "Be brief"), Message("user", "hi"))
    assert answer["instructions"] == "Be brief"


def test_items_become_the_turns_of_a_conversation(ask: Ask, backend: FakeBackend) -> None:
    items = [
        {"role": "developer", "content": "one"},
        {
            "type": "message",
            "role": "developer",
            "content": [{"type": "input_text", "text": "two"}, {"type": "input_text", "text": "three"}],
        },
        {"role": "system", "content": "four"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        {"role": "assistant", "content": "hello", "id": None, "type": None},
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [
                {"type": "output_text", "text": "and", "annotations": []},
                {"type": "refusal", "refusal": " no"},
            ],
        },
        {"role": "user", "content": ""},
    ]
    assert asked(ask, backend, input=items).messages == (
        Message("system", "one"),
        Message("system", "twothree"),
        Message("system", "four"),
        Message("user", "hi"),
        Message("assistant", "hello"),
        Message("assistant", "and no"),
        Message("user", ""),
    )


def test_reasoning_words_and_calls_of_one_turn_are_one_turn_again(ask: Ask, backend: FakeBackend) -> None:
    """A call after the answer to another call is a turn of its own, and thoughts that lead to nothing are none."""
    think = {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}
    secret = {"type": "reasoning", "id": "rs_2", "summary": [{"text": "s"}], "encrypted_content": "x", "content": None}
    first = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}", "id": "fc_1"}
    second = {"type": "function_call", "call_id": "c2", "name": "listen", "arguments": '{"a":1}', "status": None}
    seen = {"type": "function_call_output", "call_id": "c1", "output": "a tree"}
    heard = {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "a bird"}]}
    said = {"role": "assistant", "content": "Let me see"}
    items = [
        {"role": "user", "content": "hi"},
        secret,
        think,
        said,
        first,
        second,
        seen,
        heard,
        secret,
        first,
        seen,
        think,
    ]
    look, listen = ToolCall("c1", "look", "{}"), ToolCall("c2", "listen", '{"a":1}')
    assert asked(ask, backend, input=items).messages == (
        Message("user", "hi"),
        Message("assistant", "Let me see", "hm", (look, listen)),
        Message("tool", "a tree", tool_call_id="c1", name="look"),
        Message("tool", "a bird", tool_call_id="c2", name="listen"),
        Message("assistant", "", "", (look,)),
        Message("tool", "a tree", tool_call_id="c1", name="look"),
    )


def test_thoughts_in_a_row_are_one_thought(ask: Ask, backend: FakeBackend) -> None:
    thoughts = [
        {"type": "reasoning", "content": [{"type": "reasoning_text", "text": text}]} for text in ("hm", ", yes")
    ]
    items = [{"role": "assistant", "content": "hello"}, *thoughts, {"role": "assistant", "content": "so"}]
    assert asked(ask, backend, input=items).messages == (
        Message("assistant", "hello"),
        Message("assistant", "so", "hm, yes"),
    )


def test_words_after_a_thought_and_an_empty_message_still_belong_to_the_thought(ask: Ask, backend: FakeBackend) -> None:
    think = {"type": "reasoning", "content": "hm"}
    items = [think, {"role": "assistant", "content": ""}, {"role": "assistant", "content": "so"}]
    assert asked(ask, backend, input=items).messages == (Message("assistant", "so", "hm"),)


def test_thoughts_are_put_together_once_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []

    class Counted(Message):
        def __init__(self, *fields: Any, **named: Any) -> None:
            super().__init__(*fields, **named)
            written.append(len(self.reasoning))

    monkeypatch.setattr(conversation, "Message", Counted)
    thoughts = items_of([{"type": "reasoning", "content": "hm"}] * 500, "resp_1", (), {}.get)
    (message,) = conversation.to_messages(None, (*thoughts, *items_of([SAID], "resp_1", (), {}.get)))
    assert message.reasoning == "hm" * 500
    assert sum(written) == 2 * len(message.reasoning)


def test_a_conversation_has_so_many_calls_at_most_however_many_responses_it_has() -> None:
    call = {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"}
    items = items_of([call] * 4096, "resp_1", (), {}.get)
    assert len(conversation.to_messages(None, items)[0].tool_calls) == 4096
    with pytest.raises(RequestError) as caught:
        conversation.to_messages(None, (*items, items[0]))
    assert caught.value.param == "input"


@pytest.mark.parametrize("thought", [{}, {"content": "hm"}], ids=str)
def test_thoughts_alone_are_no_input(ask: Ask, backend: FakeBackend, thought: dict[str, object]) -> None:
    refused = ask("POST", PATH, json=HI | {"input": [{"type": "reasoning"} | thought]})
    assert (refused.status_code, error_of(refused)["param"]) == (400, "input")
    assert error_of(refused)["code"] == "missing_required_parameter"
    assert backend.asked == []


@pytest.mark.parametrize(
    ("param", "name"),
    [
        ("max_tokens", "max_output_tokens"),
        ("max_completion_tokens", "max_output_tokens"),
        ("response_format", "text.format"),
        ("reasoning_effort", "reasoning.effort"),
        ("logprobs", "top_logprobs"),
    ],
)
def test_what_chats_call_otherwise_is_refused_with_its_name_here(ask: Ask, param: str, name: str) -> None:
    refused = ask("POST", PATH, json=HI | {param: 5})
    assert (refused.status_code, error_of(refused)["param"]) == (400, param)
    assert f"'{name}'" in error_of(refused)["message"]


def test_functions_are_kept_and_other_tools_skipped(ask: Ask, backend: FakeBackend) -> None:
    tools = [FUNCTION, {"type": "namespace", "name": "x", "tools": []}, {"type": "web_search"}, {"type": "custom"}]
    answer = answered(ask, tools=tools)
    assert backend.asked[-1].tools == (LOOK,)
    assert answer["tools"] == [FUNCTION]
    assert answer["tool_choice"] == "auto"


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", ("auto", None, ["look", "listen"])),
        ("none", ("none", None, ["look", "listen"])),
        ("required", ("required", None, ["look", "listen"])),
        ({"type": "function", "name": "listen"}, ("required", "listen", ["look", "listen"])),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "look"}]},
            ("auto", None, ["look"]),
        ),
    ],
    ids=str,
)
def test_the_choice_of_a_tool_reaches_the_engine_and_is_told_back(
    ask: Ask, backend: FakeBackend, choice: object, expected: object
) -> None:
    answer = answered(ask, tools=[FUNCTION, OTHER], tool_choice=choice)
    request = backend.asked[-1]
    assert (request.tool_choice, request.tool_name, [tool.name for tool in request.tools]) == expected
    assert answer["tool_choice"] == choice


def test_parallel_calls_can_be_switched_off(ask: Ask, backend: FakeBackend) -> None:
    assert asked(ask, backend).parallel_tool_calls is True
    assert answered(ask, parallel_tool_calls=False)["parallel_tool_calls"] is False
    assert backend.asked[-1].parallel_tool_calls is False


@pytest.mark.parametrize(
    ("form", "schema"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "object"}),
        ({"type": "json_schema", "name": "person", "schema": SCHEMA, "strict": True}, SCHEMA),
        ({"type": "json_schema", "name": "person", "schema": SCHEMA, "strict": False}, SCHEMA),
    ],
    ids=str,
)
def test_a_format_becomes_a_schema_and_is_told_back(
    ask: Ask, backend: FakeBackend, form: dict[str, object], schema: object
) -> None:
    answer = answered(ask, text={"format": form, "verbosity": "low"})
    assert backend.asked[-1].json_schema == schema
    assert answer["text"] == {"format": form}


def test_the_effort_of_reasoning_reaches_the_engine(ask: Ask, backend: FakeBackend) -> None:
    answer = answered(ask, reasoning={"effort": "low", "summary": "auto"})
    assert backend.asked[-1].reasoning_effort == "low"
    assert answer["reasoning"] == {"effort": "low", "summary": None}


def test_a_whole_answer_says_what_was_asked_and_what_it_cost(ask: Ask, backend: FakeBackend) -> None:
    answer = answered(ask, model="ditto/email", metadata={"k": "v"}, temperature=0, top_p=0.5, max_output_tokens=4)
    assert backend.asked[-1].adapter == EMAIL
    assert (answer["model"], answer["metadata"], answer["status"]) == ("ditto/email", {"k": "v"}, "completed")
    assert (answer["temperature"], answer["top_p"], answer["max_output_tokens"]) == (0, 0.5, 4)
    assert str(answer["id"]).startswith("resp_")
    (message,) = answer["output"]
    assert message["id"].startswith("msg_")
    assert message["content"] == [{"type": "output_text", "text": "".join(WORDS), "annotations": [], "logprobs": []}]
    assert answer["usage"] == {
        "input_tokens": 1,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 4,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 5,
    }


def test_an_answer_that_is_cut_is_incomplete(ask: Ask) -> None:
    answer = answered(ask, max_output_tokens=2)
    assert (answer["status"], answer["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert [item["status"] for item in answer["output"]] == ["incomplete"]


def test_an_answer_without_a_word_has_a_message_nevertheless(ask: Ask, backend: FakeBackend) -> None:
    backend.words = ()
    assert [item["content"][0]["text"] for item in answered(ask)["output"]] == [""]


def test_thoughts_and_words_are_items_of_their_own(ask: Ask, backend: FakeBackend) -> None:
    backend.thought = "hm"
    thought, message = answered(ask)["output"]
    assert (thought["type"], thought["content"]) == ("reasoning", [{"type": "reasoning_text", "text": "hm"}])
    assert message["type"] == "message"


def test_calls_are_items_with_the_arguments_put_together(ask: Ask, backend: FakeBackend) -> None:
    backend.calls = (("look", ('{"name"', ':"Ann"}')), ("listen", ("{}",)))
    calls = answered(ask, tools=[FUNCTION, OTHER])["output"]
    told = [(call["type"], call["call_id"], call["name"], call["arguments"]) for call in calls]
    assert told == [("function_call", "call_0", "look", '{"name":"Ann"}'), ("function_call", "call_1", "listen", "{}")]
    assert len({call["id"] for call in calls}) == 2


def test_logprobs_tell_bytes_and_alternatives(ask: Ask) -> None:
    (message,) = answered(ask, include=["message.output_text.logprobs"], top_logprobs=2)["output"]
    last = message["content"][0]["logprobs"][-1]
    assert (last["token"], last["bytes"]) == (" Ærik", [32, 195, 134, 114, 105, 107])
    assert [(top["token"], top["logprob"]) for top in last["top_logprobs"]] == [("never", -9999.0), ("w0", -1.0)]


MESSAGE = {"role": "user", "content": "hi"}
IMAGE = {"type": "input_image", "image_url": "data:,"}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"truncation": "auto"}, "truncation"),
        ({"truncation": "never"}, "truncation"),
        ({"max_tokens": 5}, "max_tokens"),
        ({"max_completion_tokens": 5}, "max_completion_tokens"),
        ({"response_format": {"type": "text"}}, "response_format"),
        ({"reasoning_effort": "low"}, "reasoning_effort"),
        ({"logprobs": True}, "logprobs"),
        ({"temperature": 3}, "temperature"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"stream_options": {}}, "stream_options"),
        ({"instructions": []}, "instructions"),
        ({"store": "yes"}, "store"),
        ({"include": "x"}, "include"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"metadata": [1]}, "metadata"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({"metadata": {"a": "b" * 513}}, "metadata"),
        ({"metadata": {"a" * 65: "b"}}, "metadata"),
        ({"text": {"format": {"type": "grammar"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format.name"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "web_search"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "function", "name": "x"}, "tools": [FUNCTION]}, "tool_choice"),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": 5}, "input"),
        ({"input": ["hi"]}, "input[0]"),
        ({"input": [{}]}, "input[0].type"),
        ({"input": [{"type": "web_search_call"}]}, "input[0].type"),
        ({"input": [MESSAGE, {"role": "critic", "content": "x"}]}, "input[1].role"),
        ({"input": [{"type": "message"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": 5}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": ["x"]}]}, "input[0].content[0]"),
        ({"input": [{"role": "user", "content": [{"type": "x"}]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": [IMAGE]}]}, "input[0].content[0]"),
        ({"input": [MESSAGE | {"id": "m" * 65}]}, "input[0].id"),
        ({"input": [MESSAGE | {"id": 5}]}, "input[0].id"),
        ({"input": [{"type": "function_call", "name": "f", "arguments": "{}"}]}, "input[0].call_id"),
        ({"input": [{"type": "function_call", "name": "f", "call_id": "c"}]}, "input[0].arguments"),
        ({"input": [{"type": "function_call_output", "call_id": "c"}]}, "input[0].output"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": [IMAGE]}]}, "input[0].output[0]"),
        ({"input": [{"type": "item_reference", "id": "msg_unknown"}]}, "input[0].id"),
        ({"input": [{}] * 4097}, "input"),
        ({"moderation": {"model": "m"}}, "moderation"),
        ({"n": 2}, "n"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_not_honoured_is_refused_by_name(ask: Ask, backend: FakeBackend, body: object, param: str) -> None:
    response = ask("POST", PATH, content=json.dumps(HI | body))
    assert response.status_code == 400
    assert error_of(response)["param"] == param
    assert backend.asked == []


@pytest.mark.parametrize(
    ("named", "param"),
    [
        ("messages", "input"),
        ("response_format", "text.format"),
        ("reasoning_effort", "reasoning.effort"),
        ("tools", "tools"),
        (None, None),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_what_the_engine_refuses_has_the_name_that_it_has_here(
    ask: Ask, backend: FakeBackend, named: str | None, param: str | None, stream: bool
) -> None:
    backend.error = RequestError(f"{named} cannot be", "leave it out", param=named, code="a_code")
    error = error_of(ask("POST", PATH, json=HI | {"stream": stream}))
    assert (error["param"], error["code"], error["message"]) == (param, "a_code", f"{param} cannot be. leave it out")


@pytest.mark.parametrize(
    "content",
    [
        b'{"model": "base", "input": ' + b"[" * 40_000,
        b'{"model": "base", "input": ' + b'[{"content":' * 5_000 + b"1" + b"}]" * 5_000 + b"}",
        b'{"model": "base", "input": "\\ud800"}',
        b'{"model": "base", "input": "\xff"}',
        b'{"model": "base", "input": [{"role": "user", "content": NaN}]}',
        b'{"model": "base", "input": "hi", "temperature": NaN}',
        b'{"model": "base", "input": "hi", "tools": [{"type":"function","name":"f","parameters":{"default":1e999}}]}',
        b'{"model": "base", "input": "hi", "max_output_tokens": ' + b"9" * 5_000 + b"}",
        b'{"model": "base", "input": "hi", "metadata": {"a": NaN}}',
        b"[]",
        b"",
    ],
    ids=range(11),
)
def test_hostile_bodies_are_refused(ask: Ask, backend: FakeBackend, content: bytes) -> None:
    response = ask("POST", PATH, content=content)
    assert (response.status_code, bool(error_of(response))) == (400, True)
    assert backend.asked == []


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["function", "user"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "role", "content", "name", "format", "id", "x"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(name=st.sampled_from(sorted(ResponseRequest.model_fields)), value=VALUES)
def test_any_value_of_any_field_is_understood_or_refused(name: str, value: object) -> None:
    served = ServedModel("base", None, 0.0, "tiny", None, 512)
    try:
        request = parse(ResponseRequest, json.dumps(HI | {name: value}).encode())
        exchange = ResponseExchange(Store(time.monotonic), request, served, "resp_1")
    except RequestError as error:
        assert error.param is None or error.param.split(".")[0].split("[")[0] == name
    else:
        for event in (*exchange.opening(), *exchange.tell(Accepted("r"))):
            encode(event)


def test_a_refusal_does_not_quote_the_request(ask: Ask) -> None:
    secret = "Zaunkönigs-Geheimnis-4711"
    for body in (
        {"truncation": secret},
        {"metadata": {secret: 5}},
        {"previous_response_id": secret},
        {"input": [{"type": secret}]},
        {"input": [{"role": secret}]},
        {"input": [{"type": "item_reference", "id": secret}]},
        {"input": [{"role": "user", "content": [{"type": secret}]}]},
        {"reasoning": {"effort": secret}},
        {"text": {"format": {"type": secret}}},
    ):
        response = ask("POST", PATH, json=HI | body)
        assert response.status_code == 400
        assert "4711" not in response.text
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/input_items"), ("POST", "/cancel")):
        assert "4711" not in ask(method, f"{PATH}/resp_{secret}{path}", json={}).text


def test_the_path_without_v1_is_an_alias(ask: Ask) -> None:
    assert ask("POST", "/responses", json=HI).status_code == 200
