"""Every object that is answered validates against the official package's types, and says what the engine said."""

from __future__ import annotations

import pytest
from openai.types import Model
from openai.types.chat import ChatCompletion

from .conftest import Ask
from .fakes import EMAIL, WORDS, FakeBackend
from .wire import chunks, error_of, events, valid, valid_chat_chunk, valid_completion, valid_completion_chunk

TEXT = "".join(WORDS)
CHAT = {"model": "base", "messages": [{"role": "user", "content": "Write to Ann"}]}
PLAIN = {"model": "base", "prompt": "Dear Ann"}


@pytest.mark.parametrize("extra", [{}, {"n": 3}, {"logprobs": True}, {"logprobs": True, "top_logprobs": 2}])
def test_chat_answers_are_valid(ask: Ask, extra: dict[str, object]) -> None:
    answer = ask("POST", "/v1/chat/completions", json=CHAT | extra).json()
    valid(ChatCompletion, answer)
    for index, choice in enumerate(answer["choices"]):
        assert choice["index"] == index
        assert choice["message"] == {"role": "assistant", "content": TEXT, "refusal": None}
        assert choice.keys() == {"index", "message", "logprobs", "finish_reason"}


@pytest.mark.parametrize("extra", [{}, {"n": 3}, {"logprobs": True}, {"logprobs": True, "top_logprobs": 2}])
@pytest.mark.parametrize("usage", [True, False])
def test_chat_chunks_are_valid(ask: Ask, extra: dict[str, object], usage: bool) -> None:
    options = {"stream": True, "stream_options": {"include_usage": usage}}
    streamed = chunks(ask("POST", "/v1/chat/completions", json=CHAT | extra | options))
    for chunk in streamed:
        valid_chat_chunk(chunk)
        assert ("usage" in chunk) is usage
    assert (streamed[-1]["choices"] == []) is usage


@pytest.mark.parametrize("extra", [{}, {"n": 2}, {"logprobs": 0}, {"logprobs": 3}, {"prompt": ["a", "b"]}])
def test_plain_answers_and_chunks_are_valid(ask: Ask, extra: dict[str, object]) -> None:
    valid_completion(ask("POST", "/v1/completions", json=PLAIN | extra).json())
    for chunk in chunks(ask("POST", "/v1/completions", json=PLAIN | extra | {"stream": True})):
        valid_completion_chunk(chunk)


def test_chat_logprobs_tell_bytes_and_alternatives(ask: Ask) -> None:
    """' Ærik' is six bytes in UTF-8; what cannot be drawn has -9999, for JSON has no infinity."""
    answer = ask("POST", "/v1/chat/completions", json=CHAT | {"logprobs": True, "top_logprobs": 2}).json()
    last = answer["choices"][0]["logprobs"]["content"][-1]
    assert (last["token"], last["bytes"]) == (" Ærik", [32, 195, 134, 114, 105, 107])
    assert [(top["token"], top["logprob"]) for top in last["top_logprobs"]] == [("never", -9999.0), ("w0", -1.0)]


def test_plain_logprobs_tell_where_each_token_stands_also_in_a_stream(ask: Ask) -> None:
    """'Kind', ' regards', ',' and ' Ærik' begin at the characters 0, 4, 12 and 13."""
    whole = ask("POST", "/v1/completions", json=PLAIN | {"logprobs": 1}).json()["choices"][0]["logprobs"]
    assert whole["text_offset"] == [0, 4, 12, 13]
    assert whole["tokens"] == list(WORDS)
    assert whole["top_logprobs"][0] == {"never": -9999.0, "Kind": -0.25}
    streamed = chunks(ask("POST", "/v1/completions", json=PLAIN | {"logprobs": 1, "stream": True}))
    logprobs = [chunk["choices"][0]["logprobs"] for chunk in streamed]
    assert [each["text_offset"] for each in logprobs if each] == [[0], [4], [12], [13]]


def test_the_choices_of_several_prompts_are_numbered_on(ask: Ask, backend: FakeBackend) -> None:
    """Two prompts of 2 and 3 words, two choices each, one word per choice: 5 tokens read and 4 written."""
    body = PLAIN | {"prompt": ["one two", "one two three"], "n": 2, "max_tokens": 1}
    answer = ask("POST", "/v1/completions", json=body).json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert answer["usage"].items() >= {"prompt_tokens": 5, "completion_tokens": 4, "total_tokens": 9}.items()
    assert [request.prompt for request in backend.asked] == ["one two", "one two three"]
    assert len({request.id for request in backend.asked}) == 2
    assert backend.most_running == 2
    streamed = chunks(ask("POST", "/v1/completions", json=body | {"stream": True}))
    assert {chunk["choices"][0]["index"] for chunk in streamed} == {0, 1, 2, 3}


def test_the_order_of_a_chat_stream_is_role_text_end(ask: Ask) -> None:
    streamed = chunks(ask("POST", "/v1/chat/completions", json=CHAT | {"stream": True}))
    deltas = [chunk["choices"][0]["delta"] for chunk in streamed]
    role = {"role": "assistant", "content": "", "refusal": None}
    assert deltas == [role, *({"content": word} for word in WORDS), {}]
    assert streamed[0]["id"].startswith("chatcmpl-")


def test_silence_is_broken_by_comments_that_no_client_takes_for_the_end(ask: Ask, backend: FakeBackend) -> None:
    """A word every 0.12 s and a sign of life after each 0.05 s of silence: two before every word."""
    backend.word_seconds = 0.12
    response = ask("POST", "/v1/chat/completions", json=CHAT | {"stream": True, "max_tokens": 2})
    comments = [line for line in events(response) if line.startswith(":")]
    assert 2 <= len(comments) <= 4
    assert set(comments) == {": keep-alive"}
    assert len(chunks(response)) == 4


def test_an_error_after_the_first_word_is_the_last_event(ask: Ask, backend: FakeBackend) -> None:
    backend.error, backend.error_after = ValueError("secret"), 1
    response = ask("POST", "/v1/chat/completions", json=CHAT | {"stream": True})
    assert response.status_code == 200
    assert events(response)[-1].startswith('data: {"error":{"message":"The server had an error')
    assert "secret" not in response.text


def test_models_say_what_they_stand_on(ask: Ask) -> None:
    listed = ask("GET", "/v1/models").json()
    assert listed["object"] == "list"
    for model in listed["data"]:
        valid(Model, model)
    assert listed["data"][2] == {
        "id": "ditto/email",
        "object": "model",
        "created": 1_700_000_000,
        "owned_by": "dittod",
        "root": "tiny-llama",
        "parent": "base",
        "max_model_len": 512,
    }


@pytest.mark.parametrize("path", ["ditto/email@1", "ditto%2Femail%401", "ditto%2femail@1"])
def test_a_model_is_found_however_its_name_is_written(ask: Ask, path: str) -> None:
    assert ask("GET", f"/v1/models/{path}").json()["id"] == "ditto/email@1"


def test_the_headers_say_who_answers(ask: Ask) -> None:
    def headers(model: str, stream: bool) -> tuple[str | None, str | None]:
        response = ask("POST", "/v1/chat/completions", json=CHAT | {"model": model, "stream": stream})
        return response.headers.get("x-dittod-adapter"), response.headers.get("x-dittod-note")

    for stream in (False, True):
        assert headers("base", stream) == ("base", None)
        assert headers("ditto", stream) == ("base", "no adapter is promoted and usable, answered by base")
        assert headers("ditto/email", stream) == (EMAIL.id, None)


@pytest.mark.parametrize(("path", "body"), [("/chat/completions", CHAT), ("/completions", PLAIN)])
def test_paths_without_v1_are_aliases(ask: Ask, path: str, body: dict[str, object]) -> None:
    assert ask("POST", path, json=body).status_code == 200
    assert ask("GET", "/models").json() == ask("GET", "/v1/models").json()


def test_health_needs_no_token(ask: Ask) -> None:
    response = ask("GET", "/health", headers={"authorization": ""})
    assert (response.status_code, response.json()["status"]) == (200, "ok")
    assert ask("HEAD", "/health", headers={"authorization": ""}).status_code == 200


def test_what_is_not_there_is_said_in_openais_shape(ask: Ask) -> None:
    for path in ("/v1/nothing", "/v1/models/", "/v1/models/gpt-5"):
        response = ask("GET", path)
        assert (response.status_code, bool(error_of(response))) == (404, True)
    wrong = ask("GET", "/v1/chat/completions")
    assert (wrong.status_code, wrong.headers["allow"], bool(error_of(wrong))) == (405, "POST", True)
    assert ask("POST", "/v1/models", json={}).status_code == 405
