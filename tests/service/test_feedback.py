"""`/v1/feedback`: what the user says of answers, as clients say it."""

from __future__ import annotations

import json

import pytest
from openai import OpenAI

from dittod.errors import DittodError, RequestError
from dittod.serving import Remark
from dittod.types import Message
from dittod_service.feedback import FeedbackRequest
from dittod_service.openai.request import parse
from dittod_service.server import Server

from .conftest import TOKEN, Ask
from .fakes import FakeBackend
from .wire import error_of

PATH = "/v1/feedback"
KEPT = {"id": "chatcmpl-kept"}
BROUGHT = {"model": "ditto/email", "prompt": "Ask Bo for tea.", "answer": "Dear Bo, tea?"}


@pytest.mark.parametrize(
    ("said", "remark"),
    [
        (KEPT | {"edited": "Bo! Tea?"}, Remark("chatcmpl-kept", edited="Bo! Tea?")),
        (KEPT | {"rating": "up"}, Remark("chatcmpl-kept", rating="up")),
        (
            BROUGHT | {"rating": "down"},
            Remark("", "email", (Message("user", "Ask Bo for tea."),), "Dear Bo, tea?", None, "down"),
        ),
        (
            BROUGHT | {"rating": "down", "edited": "Bo! Tea?"},
            Remark("", "email", (Message("user", "Ask Bo for tea."),), "Dear Bo, tea?", "Bo! Tea?", "down"),
        ),
        (
            {
                "model": "ditto",
                "messages": [{"role": "developer", "content": "Be kind."}, {"role": "user", "content": "Hi"}],
                "answer": "Hello.",
                "edited": "Hi!",
            },
            Remark("", "default", (Message("system", "Be kind."), Message("user", "Hi")), "Hello.", "Hi!"),
        ),
        (
            BROUGHT | {"model": "ditto/email@1:latest", "id": None, "messages": None, "edited": "Bo!"},
            Remark("", "email", (Message("user", "Ask Bo for tea."),), "Dear Bo, tea?", "Bo!"),
        ),
    ],
)
def test_what_a_client_says_reaches_the_desk(
    ask: Ask, backend: FakeBackend, said: dict[str, object], remark: Remark
) -> None:
    answer = ask("POST", PATH, json=said)
    assert backend.feedback.taken == [remark]
    assert answer.status_code == 200
    assert answer.json() == {
        "id": "fb-0",
        "object": "feedback",
        "created": 1_700_000_000,
        "profile": remark.profile,
        "rating": remark.rating or "edited",
        "outcome": "noted",
    }


@pytest.mark.parametrize(
    ("said", "param", "code"),
    [
        (KEPT, "edited", "missing_required_parameter"),
        (KEPT | {"rating": "up", "edited": "Bo!"}, "rating", "invalid_value"),
        (KEPT | {"rating": "sideways"}, "rating", "invalid_value"),
        (KEPT | {"rating": 1}, "rating", "invalid_value"),
        (KEPT | {"edited": ""}, "edited", "invalid_value"),
        (KEPT | {"edited": 3}, "edited", "invalid_type"),
        (KEPT | {"answer": "Hi", "rating": "up"}, "answer", "invalid_value"),
        (KEPT | {"prompt": "Hi", "rating": "up"}, "prompt", "invalid_value"),
        ({"id": "", "rating": "up"}, "id", "invalid_value"),
        ({"rating": "up"}, "id", "missing_required_parameter"),
        ({"prompt": "Hi", "rating": "up"}, "answer", "missing_required_parameter"),
        ({"prompt": "Hi", "answer": "Ho", "rating": "up"}, "model", "missing_required_parameter"),
        ({"model": "ditto", "answer": "Ho", "rating": "up"}, "messages", "missing_required_parameter"),
        (BROUGHT | {"messages": [{"role": "user", "content": "Hi"}], "rating": "up"}, "prompt", "invalid_value"),
        (BROUGHT | {"prompt": None, "messages": [], "rating": "up"}, "messages", "invalid_value"),
        (BROUGHT | {"prompt": None, "messages": [{"role": "user"}], "rating": "up"}, "messages[0].content", None),
        (BROUGHT | {"model": "base", "rating": "up"}, "model", "invalid_value"),
        (BROUGHT | {"model": 7, "rating": "up"}, "model", "invalid_type"),
    ],
)
def test_what_does_not_go_together_is_refused_by_name(
    ask: Ask, backend: FakeBackend, said: dict[str, object], param: str, code: str | None
) -> None:
    answer = ask("POST", PATH, content=json.dumps(said))
    assert answer.status_code == 400, answer.text
    error = error_of(answer)
    assert error["param"] == param
    assert code in (None, error["code"])
    assert backend.feedback.taken == []


@pytest.mark.parametrize(
    ("said", "answer", "remark"),
    [({}, True, True), ({"model": "ditto"}, True, True), ({"rating": "up"}, True, False), (KEPT, False, True)],
)
def test_everything_that_is_missing_is_named(ask: Ask, said: dict[str, str], answer: bool, remark: bool) -> None:
    message = error_of(ask("POST", PATH, json=said))["message"]
    assert ("'id' of a kept answer, or 'model', 'answer' and one of 'messages' and 'prompt'" in message) == answer
    assert ("one of 'edited' and 'rating'" in message) == remark


@pytest.mark.parametrize("param", ["edited", "answer", "prompt"])
def test_a_text_that_is_too_long_is_refused(param: str) -> None:
    body = {**BROUGHT, "edited": "Bo!", param: "x" * 100_001}
    with pytest.raises(RequestError) as refused:
        parse(FeedbackRequest, json.dumps(body).encode())
    assert (refused.value.param, refused.value.code) == (param, "invalid_value")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b'{"edited": "\\ud800"}', b"\xff\xfe{}"])
def test_what_is_no_object_is_refused(ask: Ask, body: bytes) -> None:
    assert ask("POST", PATH, content=body).status_code == 400


def test_an_answer_that_is_not_kept_is_not_found_and_the_setting_is_named(ask: Ask) -> None:
    answer = ask("POST", PATH, json={"id": "chatcmpl-lost", "rating": "up"})
    assert (answer.status_code, error_of(answer)["param"], error_of(answer)["code"]) == (404, "id", "not_found")
    assert "keep_interactions" in error_of(answer)["message"]


def test_a_model_that_does_not_exist_is_not_found(ask: Ask) -> None:
    answer = ask("POST", PATH, json=BROUGHT | {"model": "ditto/diary", "rating": "up"})
    assert (answer.status_code, error_of(answer)["param"]) == (404, "model")


def test_what_the_desk_refuses_is_told_as_it_says_it(ask: Ask, backend: FakeBackend) -> None:
    backend.feedback.error = RequestError("The edited answer is empty", "rate it down", param="edited")
    answer = ask("POST", PATH, json=KEPT | {"edited": " "})
    assert (answer.status_code, error_of(answer)["param"]) == (400, "edited")
    backend.feedback.error = DittodError("the disk is full", "make room on it")
    assert ask("POST", PATH, json=KEPT | {"edited": "Bo!"}).status_code == 500


def test_feedback_is_listed_without_texts_and_taken_back(ask: Ask, backend: FakeBackend) -> None:
    ask("POST", PATH, json=BROUGHT | {"edited": "Bo! Tea?"})
    listed = ask("GET", PATH)
    assert (listed.json()["object"], [each["id"] for each in listed.json()["data"]]) == ("list", ["fb-0"])
    assert "Bo" not in listed.text
    assert ask("DELETE", f"{PATH}/fb-0").json() == {"id": "fb-0", "object": "feedback", "deleted": True}
    assert ask("GET", PATH).json()["data"] == []
    gone = ask("DELETE", f"{PATH}/fb-0")
    assert (gone.status_code, error_of(gone)["param"]) == (404, "feedback_id")


def test_who_has_no_token_and_pages_of_strangers_say_nothing(ask: Ask, backend: FakeBackend) -> None:
    for method, path in (("POST", PATH), ("GET", PATH), ("DELETE", f"{PATH}/fb-0")):
        assert ask(method, path, headers={"authorization": ""}).status_code == 401
        assert ask(method, path, headers={"origin": "https://evil.example"}).status_code == 403
    plain = {"content-type": "text/plain"}
    assert ask("POST", PATH, headers=plain, content=json.dumps(KEPT | {"rating": "up"})).status_code == 415
    assert backend.feedback.taken == []


def test_other_methods_are_told_which_there_are(ask: Ask) -> None:
    answer = ask("PUT", PATH, json=KEPT)
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) >= {"GET", "POST"}


def test_openais_client_gives_feedback_through_its_post(server: Server, backend: FakeBackend) -> None:
    with OpenAI(base_url=f"{server.url}/v1", api_key=TOKEN) as client:
        said = client.post("/feedback", body={**BROUGHT, "edited": "Bo! Tea?"}, cast_to=object)
        listed = client.get("/feedback", cast_to=object)
    assert isinstance(said, dict) and isinstance(listed, dict)
    assert said["object"] == "feedback"
    assert listed["data"] == [said]


def test_an_answer_is_asked_for_in_the_name_of_its_profile(ask: Ask, backend: FakeBackend) -> None:
    for model, path, said in (
        ("ditto/email", "/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}]}),
        ("ditto/email@1", "/v1/responses", {"input": "Hi"}),
        ("ditto", "/v1/completions", {"prompt": "Hi"}),
        ("base", "/api/chat", {"messages": [{"role": "user", "content": "Hi"}]}),
    ):
        assert ask("POST", path, json={"model": model, **said}).status_code == 200
    assert [each.profile for each in backend.asked] == ["email", "email", "default", ""]
