"""Tool calls, reasoning and usage in chats: whole and streamed, as OpenAI's own types have them."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types.chat import ChatCompletion

from dittod.engine.protocol import AnswerEvent, CallDelta, Delta, Done, Echo, Finished, TokenLogprob
from dittod_service.openai.chat import ChatExchange, ChatRequest

from .conftest import Ask
from .fakes import WORDS, FakeBackend, served
from .wire import chunks, valid, valid_chat_chunk

PATH = "/v1/chat/completions"
FUNCTION = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
CHAT = {"model": "base", "messages": [{"role": "user", "content": "Is it raining?"}]}
WITH_TOOLS = CHAT | {"tools": [{"type": "function", "function": FUNCTION}]}
CALLS = (("weather", ('{"city"', ':"Bonn"}')), ("weather", ("{}",)))
TEXT = "".join(WORDS)


def whole(ask: Ask, body: dict[str, Any]) -> dict[str, Any]:
    answer = ask("POST", PATH, json=body).json()
    valid(ChatCompletion, answer)
    return dict(answer)


def streamed(ask: Ask, body: dict[str, Any]) -> list[dict[str, Any]]:
    told = chunks(ask("POST", PATH, json=body | {"stream": True}))
    for chunk in told:
        valid_chat_chunk(chunk)
    return told


def test_calls_are_told_in_place_of_text(ask: Ask, backend: FakeBackend) -> None:
    backend.calls = CALLS
    (choice,) = whole(ask, WITH_TOOLS)["choices"]
    assert choice["message"] == {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "tool_calls": [
            {"id": "call_0", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Bonn"}'}},
            {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}},
        ],
    }
    assert choice["finish_reason"] == "tool_calls"


def test_a_streamed_call_begins_with_its_name_and_goes_on_with_its_arguments(ask: Ask, backend: FakeBackend) -> None:
    backend.calls = CALLS
    choices = [chunk["choices"][0] for chunk in streamed(ask, WITH_TOOLS)]
    deltas = [choice["delta"] for choice in choices]
    assert deltas == [
        {"role": "assistant", "content": "", "refusal": None},
        {"tool_calls": [call(0, id="call_0", type="function", function={"name": "weather", "arguments": ""})]},
        {"tool_calls": [call(0, function={"arguments": '{"city"'})]},
        {"tool_calls": [call(0, function={"arguments": ':"Bonn"}'})]},
        {"tool_calls": [call(1, id="call_1", type="function", function={"name": "weather", "arguments": ""})]},
        {"tool_calls": [call(1, function={"arguments": "{}"})]},
        {},
    ]
    assert [choice["finish_reason"] for choice in choices] == [None] * 6 + ["tool_calls"]


def test_every_choice_names_its_own_calls(ask: Ask, backend: FakeBackend) -> None:
    backend.calls = CALLS[1:]
    body = WITH_TOOLS | {"n": 2}
    assert [len(choice["message"]["tool_calls"]) for choice in whole(ask, body)["choices"]] == [1, 1]
    for index in range(2):
        own = [chunk["choices"][0] for chunk in streamed(ask, body) if chunk["choices"][0]["index"] == index]
        (named,) = (c for c in own if "name" in str(c["delta"]))
        assert named["delta"]["tool_calls"][0]["id"] == "call_0"


def test_whoever_asked_with_functions_is_answered_with_a_function_call(ask: Ask, backend: FakeBackend) -> None:
    backend.calls = CALLS[:1]
    body = CHAT | {"functions": [FUNCTION]}
    (choice,) = whole(ask, body)["choices"]
    called = {"name": "weather", "arguments": '{"city":"Bonn"}'}
    message = {"role": "assistant", "content": None, "refusal": None, "function_call": called}
    assert (choice["message"], choice["finish_reason"]) == (message, "function_call")
    told = [chunk["choices"][0] for chunk in streamed(ask, body)]
    assert [choice["delta"].get("function_call") for choice in told[1:-1]] == [
        {"name": "weather", "arguments": ""},
        {"arguments": '{"city"'},
        {"arguments": ':"Bonn"}'},
    ]
    assert told[-1]["finish_reason"] == "function_call"


def test_functions_that_are_not_called_leave_plain_text(ask: Ask) -> None:
    (choice,) = whole(ask, CHAT | {"functions": [FUNCTION]})["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == (TEXT, "stop")
    assert "function_call" not in choice["message"]


def test_reasoning_is_told_apart_from_the_text(ask: Ask, backend: FakeBackend) -> None:
    backend.thought = "Ann is a friend."
    message = whole(ask, CHAT)["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == (TEXT, "Ann is a friend.")
    deltas = [chunk["choices"][0]["delta"] for chunk in streamed(ask, CHAT)]
    assert deltas[1] == {"reasoning_content": "Ann is a friend."}
    assert "".join(delta.get("content", "") for delta in deltas) == TEXT


def test_without_reasoning_or_calls_their_keys_are_not_there(ask: Ask) -> None:
    assert whole(ask, WITH_TOOLS)["choices"][0]["message"].keys() == {"role", "content", "refusal"}


def exchange(**extra: object) -> ChatExchange:
    return ChatExchange(ChatRequest.model_validate(CHAT | extra), served("base", None), "chatcmpl-1")


def test_usage_tells_what_was_known_already_and_what_was_only_thought() -> None:
    done = Done("a", 30, 12, cached_tokens=20, reasoning_tokens=5)
    events: list[AnswerEvent] = [Finished("a", 0, "stop"), done]
    answer: Any = exchange().whole(events)
    valid(ChatCompletion, answer)
    (last,) = exchange(stream=True, stream_options={"include_usage": True}).tell(done)
    valid_chat_chunk(dict(last))
    expected = {
        "prompt_tokens": 30,
        "completion_tokens": 12,
        "total_tokens": 42,
        "prompt_tokens_details": {"cached_tokens": 20, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 5,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
    assert answer["usage"] == last["usage"] == expected


def test_logprobs_are_those_of_the_text_not_of_the_reasoning() -> None:
    thought, word = TokenLogprob("hm", 1, -0.5, (104, 109)), TokenLogprob("yes", 2, -0.25, (121, 101, 115))
    events: list[AnswerEvent] = [
        Delta("a", 0, "hm", (thought,), "reasoning"),
        Delta("a", 0, "yes", (word,)),
        Finished("a", 0, "stop"),
        Done("a", 1, 2),
    ]
    answer: Any = exchange(logprobs=True).whole(events)
    told = [entry["token"] for entry in answer["choices"][0]["logprobs"]["content"]]
    assert told == ["yes"]
    stream = exchange(logprobs=True, stream=True)
    logprobs = [chunk["choices"][0]["logprobs"] for event in events[:2] for chunk in told_by(stream, event)]
    assert [each and each["content"][0]["token"] for each in logprobs] == [None, "yes"]


def test_text_before_a_call_stays() -> None:
    events: list[AnswerEvent] = [
        Delta("a", 0, "Let me see."),
        CallDelta("a", 0, 0, "call_x", "weather", "{}"),
        Finished("a", 0, "tool_calls"),
        Done("a", 1, 2),
    ]
    answer: Any = exchange().whole(events)
    message = answer["choices"][0]["message"]
    assert (message["content"], len(message["tool_calls"])) == ("Let me see.", 1)


@pytest.mark.parametrize("event", [Echo("a", "no chat has an echo"), Done("a", 1, 1)])
def test_what_a_chat_does_not_tell_makes_no_chunk(event: AnswerEvent) -> None:
    assert exchange(stream=True).tell(event) == []


def told_by(stream: ChatExchange, event: AnswerEvent) -> list[Any]:
    return list(stream.tell(event))


def call(index: int, **given: object) -> dict[str, object]:
    return {"index": index, **given}
