"""Responses are kept for a while, in memory, within bounds; a conversation can be gone on from any that is kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from openai.types.responses import Response
from openai.types.responses.response_item_list import ResponseItemList

from dittod.errors import RequestError
from dittod.types import Message, ToolCall
from dittod_service.openai.responses import store as stores
from dittod_service.openai.responses.input import items_of
from dittod_service.openai.responses.request import ResponseRequest
from dittod_service.openai.responses.response import ResponseObject, begun
from dittod_service.openai.responses.store import Store
from dittod_service.openai.tools import ToolUse

from .conftest import Ask
from .fakes import MODELS, WORDS, FakeBackend
from .wire import error_of, valid

PATH = "/v1/responses"
TEXT = "".join(WORDS)
LOOK = {"type": "function", "name": "look"}
Create = Callable[..., dict[str, Any]]


@pytest.fixture
def create(ask: Ask) -> Create:
    def one(**parameters: object) -> dict[str, Any]:
        response = ask("POST", PATH, json={"model": "base", "input": "hi"} | parameters)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    return one


def test_a_response_is_looked_up_and_deleted(ask: Ask, create: Create) -> None:
    made = create()
    found = ask("GET", f"{PATH}/{made['id']}")
    assert (found.status_code, found.json()) == (200, made)
    valid(Response, found.json())
    deleted = ask("DELETE", f"{PATH}/{made['id']}")
    assert deleted.json() == {"id": made["id"], "object": "response", "deleted": True}
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/input_items"), ("POST", "/cancel")):
        gone = ask(method, f"{PATH}/{made['id']}{path}", headers={"content-type": "application/json"})
        assert (gone.status_code, error_of(gone)["param"]) == (404, "response_id")


def test_a_streamed_response_is_kept_too(ask: Ask, create: Create) -> None:
    stream = ask("POST", PATH, json={"model": "base", "input": "hi", "stream": True})
    last = json.loads(stream.text.split("data: ")[-1])["response"]
    assert ask("GET", f"{PATH}/{last['id']}").json() == last


def test_a_response_that_shall_not_be_stored_is_not(ask: Ask, create: Create) -> None:
    made = create(store=False)
    assert ask("GET", f"{PATH}/{made['id']}").status_code == 404
    refused = ask("POST", PATH, json={"model": "base", "input": "go on", "previous_response_id": made["id"]})
    assert (refused.status_code, error_of(refused)["code"]) == (400, "previous_response_not_found")
    assert error_of(refused)["param"] == "previous_response_id"


def test_looking_changes_nothing_and_what_is_made_cannot_be_cancelled(ask: Ask, create: Create) -> None:
    made = create()
    for path in ("", "/input_items", ""):
        assert ask("GET", f"{PATH}/{made['id']}{path}").status_code == 200
    cancelled = ask("POST", f"{PATH}/{made['id']}/cancel", headers={"content-type": "application/json"})
    assert (cancelled.status_code, error_of(cancelled)["param"]) == (400, "response_id")
    again = ask("GET", f"{PATH}/{made['id']}?stream=true")
    assert (again.status_code, error_of(again)["param"]) == (400, "stream")
    assert ask("GET", f"{PATH}/{made['id']}").json() == made


def test_a_conversation_goes_on_without_the_old_instructions(create: Create, backend: FakeBackend) -> None:
    first = create(instructions="Be brief")
    second = create(input="and then", previous_response_id=first["id"], model="ditto/email")
    assert backend.asked[-1].messages == (
        Message("user", "hi"),
        Message("assistant", TEXT),
        Message("user", "and then"),
    )
    assert (second["previous_response_id"], second["instructions"]) == (first["id"], None)
    create(input="end", previous_response_id=second["id"], instructions="Be long")
    assert [message.content for message in backend.asked[-1].messages or ()] == [
        "Be long", "hi", TEXT, "and then", TEXT, "end",
    ]  # fmt: skip


def test_a_conversation_can_be_gone_on_from_twice_and_without_new_input(create: Create, backend: FakeBackend) -> None:
    first = create()
    for words in ("one", "other"):
        create(input=words, previous_response_id=first["id"])
        assert [message.content for message in backend.asked[-1].messages or ()] == ["hi", TEXT, words]
    create(input=None, previous_response_id=first["id"])
    assert len(backend.asked[-1].messages or ()) == 2


def test_the_chain_holds_when_its_beginning_is_gone(ask: Ask, create: Create, backend: FakeBackend) -> None:
    first = create()
    second = create(input="and then", previous_response_id=first["id"])
    ask("DELETE", f"{PATH}/{first['id']}")
    create(input="end", previous_response_id=second["id"])
    assert [message.content for message in backend.asked[-1].messages or ()] == ["hi", TEXT, "and then", TEXT, "end"]


def test_the_answer_to_a_call_goes_on_from_the_call(create: Create, backend: FakeBackend) -> None:
    backend.thought, backend.calls = "hm", (("look", ("{}",)),)
    first = create(tools=[LOOK])
    output = {"type": "function_call_output", "call_id": "call_0", "output": "a tree"}
    create(input=[output], previous_response_id=first["id"])
    assert backend.asked[-1].messages == (
        Message("user", "hi"),
        Message("assistant", "", "hm", (ToolCall("call_0", "look", "{}"),)),
        Message("tool", "a tree", tool_call_id="call_0", name="look"),
    )


def test_a_reference_stands_for_an_item_whose_id_was_made_here(ask: Ask, create: Create, backend: FakeBackend) -> None:
    first = create()
    (heard,) = ask("GET", f"{PATH}/{first['id']}/input_items").json()["data"]
    said = first["output"][0]["id"]
    create(input=[{"type": "item_reference", "id": heard["id"]}, {"id": said}, {"role": "user", "content": "go on"}])
    assert [message.content for message in backend.asked[-1].messages or ()] == ["hi", TEXT, "go on"]


def test_a_clients_own_id_stands_for_its_item_in_the_same_conversation_only(
    ask: Ask, create: Create, backend: FakeBackend
) -> None:
    def named(words: str) -> dict[str, str]:
        return {"role": "user", "content": words, "id": "msg_1"}

    reference = {"type": "item_reference", "id": "msg_1"}
    mine = create(input=[named("mine"), reference])
    create(input=[named("another's")])
    create(input=[reference], previous_response_id=mine["id"])
    said = [message.content for message in backend.asked[-1].messages or ()]
    assert said == ["mine", "mine", TEXT, "mine"]
    changed = {"role": "assistant", "content": "changed", "id": mine["output"][0]["id"]}
    create(input=[changed, {"type": "item_reference", "id": changed["id"]}])
    assert [message.content for message in backend.asked[-1].messages or ()] == ["changed", "changed"]
    refused = ask("POST", PATH, json={"model": "base", "input": [reference]})
    assert (refused.status_code, error_of(refused)["param"]) == (400, "input[0].id")


def test_an_item_can_be_referred_to_while_any_conversation_with_it_is_kept(
    ask: Ask, create: Create, backend: FakeBackend
) -> None:
    first = create()
    said = {"type": "item_reference", "id": first["output"][0]["id"]}
    second = create(input=[said, {"role": "user", "content": "go on"}])
    create(input=first["output"])  # the client's own copy
    ask("DELETE", f"{PATH}/{first['id']}")
    create(input=[said], store=False)
    assert [message.content for message in backend.asked[-1].messages or ()] == [TEXT]
    ask("DELETE", f"{PATH}/{second['id']}")
    assert ask("POST", PATH, json={"model": "base", "input": [said]}).status_code == 400


def test_the_items_of_an_input_are_listed_page_by_page(ask: Ask, create: Create) -> None:
    words = [{"role": "user", "content": str(number), "id": f"msg_{number}"} for number in range(30)]
    id = create(input=words)["id"]

    def listed(query: str) -> tuple[list[str], bool]:
        answer = ask("GET", f"{PATH}/{id}/input_items{query}").json()
        valid(ResponseItemList, answer)
        ids = [item["id"] for item in answer["data"]]
        assert [answer["first_id"], answer["last_id"]] == ([ids[0], ids[-1]] if ids else ["", ""])
        return ids, answer["has_more"]

    assert listed("") == ([f"msg_{number}" for number in range(29, 9, -1)], True)
    assert listed("?after=msg_10") == ([f"msg_{number}" for number in range(9, -1, -1)], False)
    assert listed("?order=asc&limit=2&after=msg_3") == (["msg_4", "msg_5"], True)
    assert listed("?order=asc&limit=2&after=msg_27") == (["msg_28", "msg_29"], False)
    assert listed("?limit=100&order=desc&after=msg_0") == ([], False)


def test_all_kinds_of_items_are_listed_and_so_is_the_conversation_before(
    ask: Ask, create: Create, backend: FakeBackend
) -> None:
    backend.thought, backend.calls = "hm", (("look", ("{}",)),)
    first = create(tools=[LOOK], input=[{"role": "developer", "content": "one"}])
    output = {"type": "function_call_output", "call_id": "call_0", "output": "a tree"}
    said = {"role": "assistant", "content": "so"}
    called = {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"}
    second = create(input=[output, said, called], previous_response_id=first["id"])
    answer = ask("GET", f"{PATH}/{second['id']}/input_items?order=asc").json()
    valid(ResponseItemList, answer)
    kinds = [item["type"] for item in answer["data"]]
    assert kinds == ["message", "reasoning", "function_call", "function_call_output", "message", "function_call"]
    assert len({item["id"] for item in answer["data"]}) == 6


@pytest.mark.parametrize("query", ["order=up", "limit=0", "limit=101", "limit=x", "limit=-1", "limit=²", "after=msg_x"])
def test_a_page_that_does_not_exist_is_refused_by_name(ask: Ask, create: Create, query: str) -> None:
    refused = ask("GET", f"{PATH}/{create()['id']}/input_items?{query}")
    assert (refused.status_code, error_of(refused)["param"]) == (400, query.split("=")[0])


def test_conversations_with_an_answer_of_a_version_that_was_forgotten_are_gone_and_the_others_stay(
    ask: Ask, create: Create, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve, forgotten = backend.resolve, set[str]()
    monkeypatch.setattr(backend, "resolve", lambda name: replace(resolve(name), is_withdrawn=lambda: name in forgotten))
    first = create(model="ditto/email")
    said = {"type": "item_reference", "id": first["output"][0]["id"]}
    other = create()
    continued = create(previous_response_id=first["id"])
    quoting = create(input=[said])
    ask("DELETE", f"{PATH}/{first['id']}")
    assert ask("GET", f"{PATH}/{continued['id']}").status_code == 200
    forgotten.add("ditto/email")
    refused = ask("POST", PATH, json={"model": "base", "input": [said]})
    assert (refused.status_code, error_of(refused)["param"]) == (400, "input[0].id")
    for gone in (first, continued, quoting):
        assert ask("GET", f"{PATH}/{gone['id']}").status_code == 404
        refused = ask("POST", PATH, json={"model": "base", "input": "on", "previous_response_id": gone["id"]})
        assert (refused.status_code, error_of(refused)["code"]) == (400, "previous_response_not_found")
    assert ask("GET", f"{PATH}/{other['id']}").json() == other
    ended_too_late = create(model="ditto/email")
    assert ask("GET", f"{PATH}/{ended_too_late['id']}").status_code == 404


class Clock:
    """A clock that stands still until it is set."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def response(id: str) -> ResponseObject:
    return begun(ResponseRequest(model="base", input="hi"), id, 0, (), ToolUse())


def items(words: str) -> Any:
    return items_of(words, "resp_x", (), {}.get)


def test_a_response_is_kept_for_an_hour() -> None:
    clock = Clock()
    store = Store(clock)
    store.keep(response("resp_1"), items("hi"), MODELS[0])
    clock.seconds = 1800
    store.keep(response("resp_2"), items("hi"), MODELS[0])
    clock.seconds = 3599
    assert store.find("resp_1") is not None
    clock.seconds = 3600
    assert store.find("resp_1") is None
    assert store.conversation("resp_2") == items("hi")
    clock.seconds = 5400
    with pytest.raises(RequestError, match="not found"):
        store.conversation("resp_2")
    assert store.item("msg_xin0") is None


def test_the_oldest_make_room_for_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "MOST_RESPONSES", 2)
    store = Store(Clock())
    for number in range(3):
        store.keep(response(f"resp_{number}"), items("hi"), MODELS[0])
    assert [store.find(f"resp_{number}") is not None for number in range(3)] == [False, True, True]


def test_large_responses_make_room_and_too_large_ones_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the first three is a little more than 10,000 bytes long."""
    monkeypatch.setattr(stores, "MOST_BYTES", 25_000)
    store = Store(Clock())
    for number in range(3):
        store.keep(response(f"resp_{number}"), items("x" * 10_000), MODELS[0])
    store.keep(response("resp_3"), items("x" * 25_000), MODELS[0])
    assert [store.find(f"resp_{number}") is not None for number in range(4)] == [False, True, True, False]
    store.drop("resp_1")
    store.keep(response("resp_4"), items("x" * 10_000), MODELS[0])
    assert store.find("resp_2") is not None
