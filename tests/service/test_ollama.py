"""Ollama's API: what clients read of an answer, and what they are told instead."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from itertools import pairwise

import httpx
import pytest

from dittod.engine.protocol import Accepted, Delta, Done, Finished, Ready
from dittod.errors import EngineUnavailable, RequestError
from dittod_service.app import create_app
from dittod_service.ollama.chat import ChatLine
from dittod_service.ollama.generate import GenerateLine, GenerateRequest
from dittod_service.ollama.generate import exchange as generate_exchange
from dittod_service.openai.errors import JsonObject

from .conftest import TOKEN, Ask
from .fakes import WORDS, FakeBackend, served
from .ollama import CHAT, PATHS, PROMPT, WEATHER, fits, lines, refused

TEXT = "".join(WORDS)


def test_a_conversation_is_streamed_unless_told_otherwise(ask: Ask) -> None:
    *pieces, last = lines(ask("POST", "/api/chat", json=CHAT))
    assert [piece["message"] for piece in pieces] == [{"role": "assistant", "content": word} for word in WORDS]
    assert [piece["done"] for piece in pieces] == [False] * len(WORDS)
    assert last["message"] == {"role": "assistant", "content": ""}
    assert (last["done"], last["done_reason"], last["prompt_eval_count"], last["eval_count"]) == (True, "stop", 3, 4)


def test_a_prompt_is_streamed_unless_told_otherwise(ask: Ask) -> None:
    *pieces, last = lines(ask("POST", "/api/generate", json=PROMPT))
    assert [piece["response"] for piece in pieces] == list(WORDS)
    assert (last["response"], last["done"], last["done_reason"]) == ("", True, "stop")


@pytest.mark.parametrize(("path", "body"), PATHS)
def test_every_line_names_the_model_as_it_was_asked_and_the_time(ask: Ask, path: str, body: dict[str, object]) -> None:
    told = lines(ask("POST", path, json=body | {"model": "ditto/email:latest"}))
    assert {line["model"] for line in told} == {"ditto/email:latest"}
    times = [datetime.fromisoformat(line["created_at"]) for line in told]
    assert all(line["created_at"].endswith("Z") for line in told)
    assert all(earlier <= later for earlier, later in pairwise(times))


@pytest.mark.parametrize(("path", "body"), PATHS)
def test_a_whole_answer_is_one_object(ask: Ask, path: str, body: dict[str, object]) -> None:
    answer = ask("POST", path, json=body | {"stream": False})
    assert answer.headers["content-type"] == "application/json"
    said = answer.json()
    assert said.get("response", said.get("message", {}).get("content")) == TEXT
    assert (said["done"], said["done_reason"], said["eval_count"]) == (True, "stop", 4)
    assert said["total_duration"] >= said["eval_duration"] > 0


def test_durations_are_nanoseconds_of_what_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter((1_000, 1_010, 1_500, 1_700, 9_999))
    monkeypatch.setattr("time.monotonic_ns", lambda: next(clock))
    exchange = generate_exchange(GenerateRequest(model="base", prompt="Dear Ann"), served("base", None), "id")
    accepted = Accepted("id")
    told: list[JsonObject] = []
    for event in (accepted, accepted, Delta("id", 0, "Kind"), accepted, Finished("id", 0, "stop"), Done("id", 3, 1)):
        told += exchange.tell(event)
    spent = {name: value for name, value in told[-1].items() if name.endswith("_duration")}
    assert spent == {
        "load_duration": 10, "prompt_eval_duration": 490, "eval_duration": 200, "total_duration": 700
    }  # fmt: skip


def test_the_pieces_of_a_whole_answer_are_put_together_once() -> None:
    class Lonely(str):
        """It is joined with others, never added to one of them."""

        def __add__(self, other: str) -> str:
            raise AssertionError("a piece was added")

        __radd__ = __add__

    request = GenerateRequest(model="base", prompt="a", stream=False)
    pieces = [Delta("r", 0, Lonely(word)) for word in WORDS]
    answer = generate_exchange(request, served("base", None), "r").whole(
        [*pieces, Finished("r", 0, "stop"), Done("r", 1, 4)]
    )
    assert answer["response"] == TEXT


def test_an_answer_that_was_cut_off_says_so(ask: Ask) -> None:
    for stream in (True, False):
        body = CHAT | {"stream": stream, "options": {"num_predict": 2}}
        assert json.loads(ask("POST", "/api/chat", json=body).text.splitlines()[-1])["done_reason"] == "length"


@pytest.mark.parametrize("stream", [True, False])
def test_thoughts_have_a_field_of_their_own(ask: Ask, backend: FakeBackend, stream: bool) -> None:
    backend.thought = "She knows me"
    chat = [json.loads(line) for line in ask("POST", "/api/chat", json=CHAT | {"stream": stream}).text.splitlines()]
    assert chat[0]["message"]["thinking"] == "She knows me"
    assert "".join(line["message"]["content"] for line in chat) == TEXT
    plain = ask("POST", "/api/generate", json=PROMPT | {"stream": stream}).text.splitlines()
    assert json.loads(plain[0])["thinking"] == "She knows me"


@pytest.mark.parametrize("stream", [True, False])
def test_calls_are_told_whole_with_their_arguments_as_objects(ask: Ask, backend: FakeBackend, stream: bool) -> None:
    backend.calls = (("weather", ('{"at": ', '"Århus"}')), ("clock", ()))
    body = CHAT | {"tools": [WEATHER], "stream": stream}
    told = [json.loads(line) for line in ask("POST", "/api/chat", json=body).text.splitlines()]
    calls = [call for line in told for call in line["message"].get("tool_calls", [])]
    assert [call["function"] for call in calls] == [
        {"index": 0, "name": "weather", "arguments": {"at": "Århus"}},
        {"index": 1, "name": "clock", "arguments": {}},
    ]
    assert told[-1]["done_reason"] == "stop"


@pytest.mark.parametrize("arguments", ['{"at": "Aar', "[1]", '{"at": NaN}', '{"at": "\\ud800"}', "[" * 100_000])
def test_arguments_that_are_no_object_are_shown_and_called_by_nobody(
    ask: Ask, backend: FakeBackend, arguments: str
) -> None:
    backend.calls = (("weather", (arguments,)),)
    message = ask("POST", "/api/chat", json=CHAT | {"tools": [WEATHER], "stream": False}).json()["message"]
    assert message == {"role": "assistant", "content": arguments}


@pytest.mark.parametrize(("path", "body"), PATHS)
def test_log_probs_are_told_where_asked(ask: Ask, path: str, body: dict[str, object]) -> None:
    told = lines(ask("POST", path, json=body | {"logprobs": True, "top_logprobs": 1}))
    never = {"token": "never", "logprob": -9999.0, "bytes": list(b"never")}
    assert told[0]["logprobs"] == [{"token": "Kind", "logprob": -0.25, "bytes": list(b"Kind"), "top_logprobs": [never]}]
    assert "logprobs" not in lines(ask("POST", path, json=body))[0]
    whole = ask("POST", path, json=body | {"logprobs": True, "stream": False}).json()
    assert [entry["token"] for entry in whole["logprobs"]] == list(WORDS)


@pytest.mark.parametrize(
    ("path", "body"), [("/api/chat", {"model": "base", "messages": []}), ("/api/generate", {"model": "base"})]
)
def test_who_says_nothing_loads_the_model(ask: Ask, backend: FakeBackend, path: str, body: dict[str, object]) -> None:
    answer = ask("POST", path, json=body)
    assert (answer.json()["done"], answer.json()["done_reason"]) == (True, "load")
    assert (answer.headers["content-type"], backend.asked) == ("application/json", [])
    assert "keep_alive" in refused(ask("POST", path, json=body | {"keep_alive": 0}))


def test_a_model_that_cannot_be_loaded_is_an_error() -> None:
    class Unavailable(FakeBackend):
        async def ready(self) -> Ready:
            raise EngineUnavailable("It is backing off", "wait")

    async def load() -> httpx.Response:
        transport = httpx.ASGITransport(create_app(Unavailable(), TOKEN))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:3488") as client:
            headers = {"authorization": f"Bearer {TOKEN}"}
            return await client.post("/api/generate", json={"model": "base"}, headers=headers)

    assert refused(asyncio.run(load()), 503) == "It is backing off. wait"


def test_silence_is_kept_without_a_byte(ask: Ask, backend: FakeBackend) -> None:
    backend.word_seconds = 0.12  # the application of these tests gives signs of life after 0.05
    assert len(lines(ask("POST", "/api/generate", json=PROMPT))) == len(WORDS) + 1


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("path", "body", "kind"), [("/api/chat", CHAT, ChatLine), ("/api/generate", PROMPT, GenerateLine)]
)
def test_every_line_is_as_its_type_says(
    ask: Ask, backend: FakeBackend, path: str, body: dict[str, object], kind: type, stream: bool
) -> None:
    backend.thought = "She knows me"
    for extra in ({"logprobs": True}, {"tools": [WEATHER]}, {"prompt": "", "messages": []}):
        backend.calls = (("weather", ("{}",)),)
        for line in ask("POST", path, json=body | extra | {"stream": stream}).text.splitlines():
            fits(kind, json.loads(line))


def test_errors_are_texts_under_ollamas_paths(ask: Ask) -> None:
    assert "There is no model 'llama3'" in refused(ask("POST", "/api/chat", json=CHAT | {"model": "llama3"}), 404)
    assert refused(ask("POST", "/api/chat", content=b"{", headers={"content-type": "application/json"}))
    assert refused(ask("GET", "/api/chat"), 405)
    assert refused(ask("GET", "/api/tags", headers={"authorization": "Bearer wrong"}), 401)


@pytest.mark.parametrize("path", ["pull", "push", "create", "copy", "delete", "blobs/sha256:00", "nothing"])
def test_models_cannot_be_managed(ask: Ask, path: str) -> None:
    for method in ("POST", "DELETE", "GET"):
        assert refused(ask(method, f"/api/{path}", json={"model": "base", "name": "base"}), 404)


@pytest.mark.parametrize(("param", "name"), [("reasoning_effort", "think"), ("response_format", "format")])
def test_the_engine_names_a_parameter_as_the_client_wrote_it(
    ask: Ask, backend: FakeBackend, param: str, name: str
) -> None:
    backend.error = RequestError(f"{param} cannot be that", param=param)
    assert refused(ask("POST", "/api/chat", json=CHAT)) == f"{name} cannot be that"


@pytest.mark.parametrize("stream", [True, False])
def test_errors_before_the_first_word_are_http_errors(ask: Ask, backend: FakeBackend, stream: bool) -> None:
    backend.error = RequestError("It is too long", param="messages", code="context_length_exceeded")
    assert refused(ask("POST", "/api/chat", json=CHAT | {"stream": stream})) == "It is too long"


def test_later_errors_are_told_in_the_stream(ask: Ask, backend: FakeBackend) -> None:
    backend.error, backend.error_after = ZeroDivisionError("secret"), 2
    told = lines(ask("POST", "/api/chat", json=CHAT))
    assert [line.get("done") for line in told] == [False, False, None]
    assert told[-1].keys() == {"error"}
    assert "secret" not in told[-1]["error"]
