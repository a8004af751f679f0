"""Ollama's API: its models, and texts as their vectors."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest

from dittod.engine.protocol import Ready, Tokenize, Tokenized
from dittod.errors import EngineUnavailable
from dittod_service.ollama.embed import EmbedAnswer, EmbeddingsAnswer, EmbedRequest, embed
from dittod_service.ollama.models import Processes, Shown, Tags, Version

from .conftest import Ask
from .fakes import EMAIL, READY, FakeBackend, served
from .ollama import CHAT, fits, refused


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


class Slow(FakeBackend):
    """It fails at one text, and never comes to an end with the others."""

    tokenizing = 0

    async def tokenize(self, command: Tokenize) -> Tokenized:
        if command.prompt and command.prompt.startswith("bad"):
            raise EngineUnavailable("It is gone", "ask again")
        self.tokenizing += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.tokenizing -= 1
        raise AssertionError("nobody sets the event")


def test_no_text_is_worked_on_any_more_when_one_has_failed() -> None:
    backend, texts = Slow(), ["a" * 600, "bad" * 200, "a" * 600]

    async def still_worked_on() -> int:
        with pytest.raises(EngineUnavailable):
            await embed(backend, EmbedRequest(model="base", input=texts), served("base", None))
        return backend.tokenizing

    assert asyncio.run(still_worked_on()) == 0


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
