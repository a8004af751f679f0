"""The typed events of a response come in OpenAI's order, are numbered without gaps, and end as its whole answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, get_args

import httpx
import pytest
from openai.types.responses import Response, ResponseStreamEvent

from dittod.engine.protocol import Accepted, CallDelta, Delta, Done, Finished
from dittod.errors import EngineUnavailable, RequestError
from dittod_service.openai.errors import Failure
from dittod_service.openai.responses.request import ResponseRequest
from dittod_service.openai.responses.response import begun
from dittod_service.openai.responses.stream import Stream
from dittod_service.openai.tools import ToolUse
from dittod_service.server import Server

from .conftest import BEARER, Ask
from .fakes import WORDS, FakeBackend
from .wire import error_of, events, valid

PATH = "/v1/responses"
HI = {"model": "base", "input": "hi", "stream": True}
TOOLS = [{"type": "function", "name": "look"}, {"type": "function", "name": "listen"}]
KINDS = {get_args(each.model_fields["type"].annotation)[0]: each for each in get_args(get_args(ResponseStreamEvent)[0])}


def told(response: httpx.Response) -> list[dict[str, Any]]:
    """The events of a stream, each valid; what its line says is what its data says."""
    assert response.status_code == 200, response.text
    found = []
    for event in events(response):
        if not event.startswith(":"):
            line, data = event.split("\n")
            found.append(json.loads(data.removeprefix("data: ")))
            assert line == f"event: {found[-1]['type']}"
    return checked(found)


def checked(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for number, event in enumerate(found):
        valid(KINDS[event["type"]], event)
        assert event["sequence_number"] == number
    return found


def kinds(found: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in found]


def test_the_order_of_the_events_of_a_message_is_openais(ask: Ask) -> None:
    found = told(ask("POST", PATH, json=HI))
    assert kinds(found) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        *["output_text.delta"] * 4,
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event["delta"] for event in found if "delta" in event] == list(WORDS)
    assert found[-4]["text"] == "".join(WORDS)
    assert found[0]["response"]["status"] == "in_progress"
    assert found[0]["response"]["output"] == []
    assert {event["item_id"] for event in found if "item_id" in event} == {found[2]["item"]["id"]}


def test_thoughts_and_calls_have_events_of_their_own(ask: Ask, backend: FakeBackend) -> None:
    backend.thought = "hm"
    backend.calls = (("look", ("{", "}")), ("listen", ("{}",)))
    found = told(ask("POST", PATH, json=HI | {"tools": TOOLS}))
    assert kinds(found) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    items = [event["item"] for event in found if event["type"] == "response.output_item.done"]
    assert found[-1]["response"]["output"] == items
    assert [event["output_index"] for event in found if event["type"] == "response.output_item.done"] == [0, 1, 2]


@pytest.mark.parametrize("extra", [{}, {"max_output_tokens": 2}, {"tools": TOOLS}, {"top_logprobs": 2}], ids=str)
def test_a_stream_ends_with_what_would_have_been_the_whole_answer(
    ask: Ask, backend: FakeBackend, extra: dict[str, object]
) -> None:
    backend.thought, backend.calls = "hm", (("look", ("{}",)),)
    streamed = told(ask("POST", PATH, json=HI | extra))[-1]["response"]
    whole = ask("POST", PATH, json=HI | extra | {"stream": False}).json()
    for name in whole.keys() - {"id", "created_at", "output"}:
        assert streamed[name] == whole[name]
    for one, other in zip(streamed["output"], whole["output"], strict=True):
        assert one | {"id": ""} == other | {"id": ""}


def test_logprobs_come_with_each_delta(ask: Ask) -> None:
    found = told(ask("POST", PATH, json=HI | {"top_logprobs": 1}))
    deltas = [event["logprobs"] for event in found if event["type"] == "response.output_text.delta"]
    assert [logprob["token"] for (logprob,) in deltas] == list(WORDS)
    assert [event["logprobs"] for event in found if "text" in event] == [
        [logprob for each in deltas for logprob in each]
    ]


def test_a_stream_that_is_cut_ends_as_incomplete(ask: Ask) -> None:
    found = told(ask("POST", PATH, json=HI | {"max_output_tokens": 1}))
    assert kinds(found)[-1] == "incomplete"
    assert found[-1]["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert found[-2]["item"]["status"] == "incomplete"


def test_silence_is_broken_by_events_that_clients_count(ask: Ask, backend: FakeBackend) -> None:
    """One client's clock runs on over comments, and it gives up after five minutes."""
    backend.word_seconds = 0.12
    backend.thought = "hm"
    found = told(ask("POST", PATH, json=HI | {"max_output_tokens": 2}))
    assert kinds(found).count("in_progress") >= 3
    assert kinds(found)[-1] == "incomplete"


def test_a_sign_of_life_repeats_all_that_was_told() -> None:
    """The client for Node puts what it says in the place of what it has."""
    stream = stream_of()
    for event in (Accepted("r"), Delta("r", 0, "hm", channel="reasoning"), Delta("r", 0, "Kind"), Delta("r", 0, " re")):
        stream.tell(event)
    (told_again,) = stream.tell(Accepted("r"))
    valid(KINDS["response.in_progress"], told_again)
    output = told_again["response"]["output"]
    assert [(item["status"], item["content"][0]["text"]) for item in output] == [
        ("completed", "hm"),
        ("in_progress", "Kind re"),
    ]


def test_an_error_before_the_first_event_is_an_http_error(ask: Ask, backend: FakeBackend) -> None:
    backend.error = RequestError("The prompt is too long", param="input", code="context_length_exceeded")
    response = ask("POST", PATH, json=HI)
    assert (response.status_code, error_of(response)["code"]) == (400, "context_length_exceeded")


def test_an_error_after_the_first_word_ends_the_stream_as_failed(ask: Ask, backend: FakeBackend) -> None:
    backend.error, backend.error_after = EngineUnavailable("The engine died", "ask again"), 2
    found = told(ask("POST", PATH, json=HI))
    assert kinds(found)[-2:] == ["output_text.delta", "failed"]
    failed = found[-1]["response"]
    assert failed["error"] == {"code": "server_error", "message": "The engine died. ask again"}
    assert (failed["status"], failed["output"]) == ("failed", [])
    assert ask("GET", f"{PATH}/{failed['id']}").status_code == 404


def test_an_unexpected_error_says_nothing_of_itself(ask: Ask, backend: FakeBackend) -> None:
    backend.error, backend.error_after = ValueError("secret"), 1
    response = ask("POST", PATH, json=HI)
    assert kinds(told(response))[-1] == "failed"
    assert "secret" not in response.text


def test_a_client_that_leaves_in_the_middle_ends_the_work_and_leaves_nothing(
    server: Server, backend: FakeBackend, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    backend.words, backend.word_seconds = ("word ",) * 1000, 0.01
    with httpx.Client(base_url=server.url, headers=BEARER) as client:
        with client.stream("POST", PATH, json=HI) as response:
            lines = response.iter_lines()
            next(lines)
            id = json.loads(next(lines).removeprefix("data: "))["response"]["id"]
        eventually(lambda: backend.running == 0)
        assert client.get(f"{PATH}/{id}").status_code == 404


def stream_of(**parameters: object) -> Stream:
    request = ResponseRequest(model="base", input="hi", **parameters)  # type: ignore[arg-type]
    return Stream(begun(request, "resp_1", 1_700_000_000, (), ToolUse()))


def test_words_between_calls_are_items_between_items() -> None:
    stream = stream_of()
    given = [
        Accepted("r"),
        Delta("r", 0, "", channel="reasoning"),
        Delta("r", 0, "one"),
        CallDelta("r", 0, 0, "c0", "look", "{}"),
        Delta("r", 0, "two"),
        Delta("r", 0, ""),
        CallDelta("r", 0, 1, "c1", "look", ""),
        Finished("r", 0, "tool_calls"),
        Done("r", 7, 5, 3, 2),
    ]
    found = checked([*stream.opening(), *(event for each in given for event in stream.tell(each))])
    valid(Response, stream.response)
    output = stream.response["output"]
    assert [item["type"] for item in output] == ["message", "function_call", "message", "function_call"]
    assert len({item["id"] for item in output}) == 4
    assert [event["item"] for event in found if event["type"] == "response.output_item.done"] == output
    assert stream.response["usage"] == {
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 12,
    }


def test_a_stream_can_fail_before_its_first_word() -> None:
    stream = stream_of()
    found = checked([*stream.opening(), *stream.fail(Failure(503, "The server is shutting down", "server_error"))])
    assert kinds(found) == ["created", "failed"]


def test_thoughts_that_were_cut_are_all_there_is() -> None:
    stream = stream_of()
    for event in (Delta("r", 0, "hm", channel="reasoning"), Finished("r", 0, "length"), Done("r", 1, 1)):
        stream.tell(event)
    assert [(item["type"], item["status"]) for item in stream.response["output"]] == [("reasoning", "incomplete")]
    assert stream.response["status"] == "incomplete"
