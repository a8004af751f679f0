"""Ollama's API: what its clients send reaches the engine or is refused by its name; they can read what they get."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from itertools import pairwise
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from dittod.engine.protocol import Accepted, Delta, Done, Finished, Generate, Ready, Sampling
from dittod.errors import EngineUnavailable, RequestError
from dittod.types import Message, Tool, ToolCall
from dittod_service.app import create_app
from dittod_service.ollama.chat import ChatLine, ChatRequest
from dittod_service.ollama.embed import EmbedAnswer, EmbeddingsAnswer
from dittod_service.ollama.generate import GenerateLine, GenerateRequest
from dittod_service.ollama.generate import exchange as generate_exchange
from dittod_service.ollama.models import Processes, Shown, Tags, Version
from dittod_service.ollama.request import Options
from dittod_service.openai.errors import JsonObject

from .conftest import TOKEN, Ask
from .fakes import EMAIL, READY, WORDS, FakeBackend, served

TEXT = "".join(WORDS)
CHAT: dict[str, Any] = {"model": "base", "messages": [{"role": "user", "content": "Write to Ann"}]}
PROMPT: dict[str, Any] = {"model": "base", "prompt": "Dear Ann"}
PATHS = [("/api/chat", CHAT), ("/api/generate", PROMPT)]
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "says", "parameters": {"type": "object", "properties": {}}},
}


def lines(response: httpx.Response) -> list[dict[str, Any]]:
    """The objects of a stream."""
    assert (response.status_code, response.headers["content-type"]) == (200, "application/x-ndjson")
    assert response.text.endswith("\n")
    return [json.loads(line) for line in response.text.removesuffix("\n").split("\n")]


def asked(ask: Ask, backend: FakeBackend, path: str, body: dict[str, object]) -> Generate:
    response = ask("POST", path, json=body)
    assert response.status_code == 200, response.text
    return backend.asked[-1]


def refused(response: httpx.Response, status: int = 400) -> str:
    assert response.status_code == status, response.text
    body = response.json()
    assert body.keys() == {"error"}
    return str(body["error"])


def fits(kind: type, value: dict[str, Any]) -> None:
    """It has every key that the type demands, and no others."""
    assert TypeAdapter(kind).validate_json(json.dumps(value), strict=True) == value


# --- answers ------------------------------------------------------------------------------------------------------


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


# --- requests -----------------------------------------------------------------------------------------------------

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


# --- errors -------------------------------------------------------------------------------------------------------


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


# --- models -------------------------------------------------------------------------------------------------------


class Loaded(FakeBackend):
    """Its engine is there, as the daemon says it."""

    def health(self) -> dict[str, object]:
        return {"status": "ok", "engine": "ready"}

    async def ready(self) -> Ready:
        return Ready("tiny", "0" * 40, "", 512, 2**20, "llama", 8_030_000_000, 2, reasons=True, fills_in=True)


def test_the_version_is_one_that_clients_take(ask: Ask) -> None:
    version = ask("GET", "/api/version").json()["version"]
    assert tuple(int(number) for number in version.split(".")) >= (0, 6, 4)


def test_all_models_are_listed_with_the_tag_that_clients_look_for(ask: Ask) -> None:
    models = ask("GET", "/api/tags").json()["models"]
    names = [f"{name}:latest" for name in ("base", "ditto", "ditto/email", "ditto/email@1")]
    assert [model["name"] for model in models] == [model["model"] for model in models] == names
    assert models[2]["digest"] == models[3]["digest"] != models[0]["digest"] == models[1]["digest"]
    for model in models:
        assert datetime.fromisoformat(model["modified_at"]).year == 2023
        assert isinstance(model["size"], int)
        assert len(model["digest"]) == 64
        assert model["details"]["format"] == "safetensors"


@pytest.mark.parametrize("backend", [Loaded()])
def test_a_loaded_model_is_listed_with_what_is_known_of_it(ask: Ask, backend: FakeBackend) -> None:
    details = ask("GET", "/api/tags").json()["models"][0]["details"]
    assert (details["family"], details["families"], details["parameter_size"]) == ("llama", ["llama"], "8.0B")
    (base, *_) = ask("GET", "/api/ps").json()["models"]
    assert (base["name"], base["context_length"]) == ("base:latest", 512)
    assert datetime.fromisoformat(base["expires_at"])


def test_no_model_is_loaded_before_the_engine_is_ready(ask: Ask) -> None:
    assert ask("GET", "/api/ps").json() == {"models": []}


@pytest.mark.parametrize("key", ["model", "name"])
def test_copilot_and_continue_find_what_they_ask_of_a_model(ask: Ask, key: str) -> None:
    shown = ask("POST", "/api/show", json={key: "ditto/email:latest"}).json()
    information = shown["model_info"]
    architecture = information["general.architecture"]
    assert (architecture, information["general.basename"]) == (READY.architecture, "ditto/email")
    assert information[f"{architecture}.context_length"] == READY.context_tokens
    assert information[f"{architecture}.embedding_length"] == READY.embedding_size
    assert shown["capabilities"] == ["completion", "tools"]
    assert shown["details"]["family"] == READY.architecture
    assert (shown["parameters"].split(), shown["template"]) == (["num_ctx", "512"], "")
    assert "license" not in shown


@pytest.mark.parametrize("backend", [Loaded()])
def test_what_a_model_can_do_besides_is_told(ask: Ask, backend: FakeBackend) -> None:
    shown = ask("POST", "/api/show", json={"model": "base"}).json()
    assert shown["capabilities"] == ["completion", "tools", "insert", "thinking"]
    assert ".Suffix" in shown["template"]


def test_a_model_that_is_not_there_is_not_shown(ask: Ask) -> None:
    assert refused(ask("POST", "/api/show", json={"model": "llama3:latest"}), 404)
    assert "'model'" in refused(ask("POST", "/api/show", json={}))


def test_names_with_the_tag_are_the_same_models_everywhere(ask: Ask) -> None:
    assert ask("GET", "/v1/models/ditto/email:latest").json() == ask("GET", "/v1/models/ditto/email").json()
    answer = ask("POST", "/v1/chat/completions", json=CHAT | {"model": "ditto/email:latest"})
    assert answer.headers["x-dittod-adapter"] == EMAIL.id
    assert answer.json()["model"] == "ditto/email:latest"
    assert ask("POST", "/api/chat", json=CHAT | {"model": "base:7b"}).status_code == 404


# --- embeddings ---------------------------------------------------------------------------------------------------


def test_texts_become_vectors(ask: Ask, backend: FakeBackend) -> None:
    answer = ask("POST", "/api/embed", json={"model": "base", "input": ["a b", "c"], "options": {"num_ctx": 5}}).json()
    assert answer["embeddings"] == [pytest.approx([0.6, 0.8])] * 2
    assert (answer["model"], answer["prompt_eval_count"]) == ("base", 3)
    assert answer["total_duration"] >= answer["load_duration"] >= 0
    assert backend.embedded[0].inputs == ("a b", "c")
    one = ask("POST", "/api/embed", json={"model": "base", "input": "a", "dimensions": 2}).json()
    assert len(one["embeddings"]) == 1


def test_one_text_becomes_one_vector_in_the_older_way(ask: Ask) -> None:
    answer = ask("POST", "/api/embeddings", json={"model": "base", "prompt": "a"}).json()
    assert answer == {"embedding": pytest.approx([0.6, 0.8])}


def test_nothing_to_embed_gives_no_vectors(ask: Ask, backend: FakeBackend) -> None:
    for nothing in ("", []):
        assert ask("POST", "/api/embed", json={"model": "base", "input": nothing}).json()["embeddings"] == []
    assert ask("POST", "/api/embeddings", json={"model": "base"}).json() == {"embedding": []}
    assert backend.embedded == []


def test_what_is_too_long_to_embed_is_cut_unless_forbidden(ask: Ask, backend: FakeBackend) -> None:
    long = "æ" * 600
    for path, text in (("embed", "input"), ("embeddings", "prompt")):
        assert ask("POST", f"/api/{path}", json={"model": "base", text: long}).status_code == 200
        (cut,) = backend.embedded.pop().inputs
        assert cut == (1, *[ord("æ")] * (READY.context_tokens - 1))
    ask("POST", "/api/embed", json={"model": "base", "input": long, "truncate": False})
    assert backend.embedded.pop().inputs == (long,)


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ({"input": None}, "input"),
        ({"input": 5}, "input"),
        ({"input": [1, 2]}, "input"),
        ({"input": ["a", ""]}, "input[1]"),
        ({"input": ["a", 5]}, "input[1]"),
        ({"input": ["a"] * 2049}, "input"),
        ({"dimensions": 3}, "dimensions"),
        ({"truncate": "no"}, "truncate"),
    ],
    ids=str,
)
def test_what_cannot_be_embedded_is_refused_by_its_name(ask: Ask, extra: dict[str, object], param: str) -> None:
    assert f"'{param}'" in refused(ask("POST", "/api/embed", json={"model": "base", "input": "a"} | extra))


@pytest.mark.parametrize("backend", [FakeBackend(), Loaded()])
def test_everything_else_is_as_its_type_says(ask: Ask, backend: FakeBackend) -> None:
    for path, kind in (("version", Version), ("tags", Tags), ("ps", Processes)):
        fits(kind, ask("GET", f"/api/{path}").json())
    for path, answer in (("show", Shown), ("embed", EmbedAnswer), ("embeddings", EmbeddingsAnswer)):
        fits(answer, ask("POST", f"/api/{path}", json={"model": "base", "input": "a", "prompt": "a"}).json())


# --- nothing makes it stumble -------------------------------------------------------------------------------------

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
