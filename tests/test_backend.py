"""The daemon as the endpoint sees it, while its engine dies or cannot be started. The engine is a stub."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from deleting import forget_file
from fakes import demonstration
from keyrings import InMemory, Locked
from stubs import stub_engine

from dittod import backend as backend_module
from dittod.backend import DaemonBackend
from dittod.config import Settings
from dittod.engine import deaths
from dittod.engine.client import Engine
from dittod.engine.protocol import AdapterRef, AnswerEvent, Done, Generate, Ready, Sampling
from dittod.errors import DittodError, EngineUnavailable, NotFound
from dittod.rows import FileRow
from dittod.serving import ServedModel
from dittod.store import BY_HAND, Store
from dittod.types import Adapter, Demonstration, Message, Recipe, Verdict
from dittod_service.openai.errors import from_exception

DITTO = Recipe("ditto")
Make = Callable[[str], tuple[DaemonBackend, Engine]]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "dittod.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def make(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    monkeypatch.setenv("DITTOD_HOME", str(tmp_path))
    engines: list[Engine] = []

    def backend(model: str) -> tuple[DaemonBackend, Engine]:
        engines.append(stub_engine(tmp_path, monkeypatch, model=model))
        return DaemonBackend(store, Settings(), engines[-1]), engines[-1]

    yield backend
    for each in engines:
        each.stop()


def _promote(
    store: Store, name: str, recipe: Recipe = DITTO, profile: str = "default", learnt: tuple[str, ...] = ()
) -> None:
    made = Adapter(
        name, profile, 0, "candidate", "", "run", "starter", "r", "t", learnt, 1, 1.0, None, Verdict(True, (), {}, ())
    )
    store.add_adapter(replace(made, recipe=recipe))
    store.promote(profile, name, 2.0)


def _ask(backend: DaemonBackend, model: str, prompt: str = "Hi") -> list[AnswerEvent]:
    async def whole() -> list[AnswerEvent]:
        request = Generate("r", backend.resolve(model).adapter, Sampling(), prompt=prompt)
        return [event async for event in backend.answer(request)]

    return asyncio.run(whole())


def _converse(backend: DaemonBackend, served: ServedModel) -> list[AnswerEvent]:
    said = (Message("user", "the boat"),)

    async def whole() -> list[AnswerEvent]:
        request = Generate("r", served.adapter, Sampling(), messages=said, profile=served.profile)
        return [event async for event in backend.answer(request)]

    return asyncio.run(whole())


def test_an_unknown_name_is_refused_with_all_names_that_there_are(make: Make, store: Store) -> None:
    _promote(store, "one")
    backend, _ = make("fine")
    with pytest.raises(NotFound) as refused:
        backend.resolve("ditto/poems")
    assert refused.value.hint == "choose one of: base, ditto, ditto/default@1"


def test_an_alias_whose_adapter_kills_the_engine_is_answered_by_base(make: Make, store: Store) -> None:
    backend, engine = make("fine")
    _promote(store, "bad")
    for _ in range(deaths.MANY):
        with pytest.raises(EngineUnavailable, match="SIGABRT"):
            _ask(backend, "ditto")
        engine._not_before = 0.0
    assert backend.resolve("ditto").adapter is None
    assert [type(event) for event in _ask(backend, "ditto")] == [Done]
    with pytest.raises(EngineUnavailable, match="set aside") as caught:
        _ask(backend, "ditto/default@1")
    assert caught.value.retry_after_seconds > 60
    health = backend.health()
    assert health["status"] == "degraded" and "3 times" in str(health["trouble"])
    assert "default" not in str(health)

    _promote(store, "good")
    assert backend.resolve("ditto").adapter is not None, "another version is not to blame"


@pytest.mark.parametrize(("model", "why"), [("refuses", "no such model"), ("dies", "SIGSEGV")])
def test_a_model_that_cannot_be_loaded_is_unavailable_with_its_cause_and_a_time(
    make: Make, model: str, why: str
) -> None:
    backend, engine = make(model)
    for _ in range(deaths.MANY):
        engine._not_before = 0.0
        with pytest.raises(EngineUnavailable, match=why):
            _ask(backend, "base")
    with pytest.raises(EngineUnavailable, match=why) as caught:
        _ask(backend, "base")
    assert caught.value.retry_after_seconds > 500
    assert backend.health()["engine"] == "failed"


def test_a_request_for_which_memory_runs_out_may_be_tried_again(make: Make) -> None:
    backend, engine = make("fine")
    with pytest.raises(EngineUnavailable, match="memory ran out") as caught:
        _ask(backend, "base", "too much")
    failure = from_exception(caught.value)
    assert failure.status == 503 and int(failure.headers["retry-after"]) > 0
    assert engine.state == "ready" and [type(event) for event in _ask(backend, "base")] == [Done]


def test_health_says_what_learning_waits_for_and_nothing_of_profiles(make: Make, store: Store) -> None:
    backend, _ = make("fine")
    assert backend.health()["learning"] == {"state": None, "reason": None}
    store.note("learning", {"state": "waiting", "reason": "on battery", "profiles": {"love letters": "on battery"}})
    assert backend.health() | {"version": ""} == {
        "status": "ok",
        "version": "",
        "engine": "stopped",
        "trouble": None,
        "learning": {"state": "waiting", "reason": "on battery"},
    }


def test_health_answers_where_the_store_cannot_be_read(
    make: Make, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, _ = make("fine")

    def broken(key: str) -> dict[str, object]:
        raise DittodError(f"/home/bob/{key} cannot be used: the disk is broken", "replace it")

    monkeypatch.setattr(store, "noted", broken)
    health = backend.health()
    assert health["status"] == "degraded" and health["trouble"] == "the store cannot be read"


# --- recipes ---

BOAT, RENT, CAKE = (
    demonstration(f"Write to Ann about the {each}.", f"Ann, the {each}: yes.", written_at=place)
    for place, each in enumerate(("boat", "rent", "cake"))
)


def _write(store: Store, profile: str = "default") -> None:
    store.record_file(FileRow(f"{profile}/f", profile, 1, 1, "read", "", (), {}, 1000.0), [BOAT, RENT, CAKE])


def _sent(
    made: tuple[DaemonBackend, Engine],
    model: str,
    *said: Message,
    monkeypatch: pytest.MonkeyPatch,
    prompt: str | None = None,
) -> Generate:
    """What the engine gets of a conversation, or of a prompt to complete."""
    backend, engine = made
    commands: list[Generate] = []
    submit = engine.submit
    monkeypatch.setattr(engine, "submit", lambda command, listen: (commands.append(command), submit(command, listen)))
    served = backend.resolve(model)
    messages = said or None
    request = Generate("r", served.adapter, Sampling(), messages=messages, prompt=prompt, profile=served.profile)

    async def whole() -> Sequence[AnswerEvent]:
        return [event async for event in backend.answer(request)]

    assert [type(event) for event in asyncio.run(whole())] == [Done]
    (command,) = commands
    return command


def test_a_conversation_is_answered_with_the_texts_of_its_profile_that_are_nearest_to_what_was_said_last(
    make: Make, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(store)
    _promote(store, "taught", Recipe("ditto", examples=2))
    turns = (Message("user", "about the cake"), Message("assistant", "?"), Message("user", "no, the rent!"))
    sent = _sent(make("fine"), "ditto", *turns, Message("assistant", "Ann,"), monkeypatch=monkeypatch)
    assert sent.examples == (RENT, CAKE), "the nearest, then the newest"
    assert sent.adapter is not None and (sent.adapter.id, sent.adapter.examples) == ("taught", 2)


def test_a_version_without_weights_is_the_base_model_with_its_examples(
    make: Make, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(store)
    _promote(store, "few", Recipe("base", examples=1))
    made = make("fine")
    assert made[0].resolve("ditto").adapter == AdapterRef("few", store.adapter("few").path, False, 1)
    sent = _sent(made, "ditto", Message("user", "the boat"), monkeypatch=monkeypatch)
    assert (sent.adapter, sent.examples) == (None, (BOAT,))
    assert _sent(made, "ditto/default@1", Message("user", "rent"), monkeypatch=monkeypatch).examples == (RENT,)


@pytest.mark.parametrize("recipe", [Recipe("base", examples=2), Recipe("ditto", examples=2)])
def test_a_prompt_to_complete_has_no_place_for_examples(
    make: Make, store: Store, monkeypatch: pytest.MonkeyPatch, recipe: Recipe
) -> None:
    _write(store)
    _promote(store, "few", recipe)
    sent = _sent(make("fine"), "ditto", monkeypatch=monkeypatch, prompt="the boat")
    assert sent.examples == () and (sent.adapter is None) == (recipe.policy == "base")


def test_what_was_excluded_or_deleted_is_never_shown_again_and_what_is_new_is_at_once(
    make: Make, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(store)
    _promote(store, "few", Recipe("base", examples=8))
    made, asked = make("fine"), Message("user", "the boat")

    def shown() -> set[str]:
        return {each.prompt for each in _sent(made, "ditto", asked, monkeypatch=monkeypatch).examples}

    assert shown() == {each.prompt for each in (BOAT, RENT, CAKE)}
    store.exclude("default", BOAT.id, excluded=True)
    assert shown() == {RENT.prompt, CAKE.prompt}
    store.exclude("default", BOAT.id, excluded=False)
    store.set_prompt("default", CAKE.id, "Thank Ann for the cake.", "user")
    assert shown() == {BOAT.prompt, RENT.prompt, "Thank Ann for the cake."}
    forget_file(store, "default/f")
    assert shown() == set()


def test_a_text_that_is_forgotten_while_a_request_waits_for_the_model_is_not_shown(
    make: Make, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(store)
    _promote(store, "few", Recipe("base", examples=8))
    made = make("fine")
    loaded = made[0].ready

    async def forgotten_meanwhile() -> Ready:
        store.forget_texts("default", [BOAT.id], BY_HAND, 3.0)
        return await loaded()

    monkeypatch.setattr(made[0], "ready", forgotten_meanwhile)
    sent = _sent(made, "ditto", Message("user", "the boat"), monkeypatch=monkeypatch)
    assert {each.prompt for each in sent.examples} == {RENT.prompt, CAKE.prompt}


def test_a_text_that_is_forgotten_while_examples_are_looked_for_is_not_shown(
    make: Make, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(store)
    _promote(store, "few", Recipe("base", examples=2))
    made = make("fine")
    look = made[0]._nearest

    def forgotten_meanwhile(*asked: Any) -> Sequence[Demonstration]:
        found = look(*asked)
        store.forget_texts("default", [BOAT.id], BY_HAND, 3.0)
        return found

    monkeypatch.setattr(made[0], "_nearest", forgotten_meanwhile)
    sent = _sent(made, "ditto", Message("user", "the boat"), monkeypatch=monkeypatch)
    assert {each.prompt for each in sent.examples} == {RENT.prompt, CAKE.prompt}


def test_a_version_that_is_forgotten_while_a_request_waits_for_the_model_does_not_answer(
    make: Make, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(store)
    _promote(store, "taught", Recipe("ditto", examples=1), learnt=(BOAT.id,))
    backend, engine = make("fine")
    loaded = backend.ready
    served = backend.resolve("ditto")
    assert not served.is_withdrawn()

    async def forgotten_meanwhile() -> Ready:
        store.forget_texts("default", [BOAT.id], BY_HAND, 3.0)
        return await loaded()

    monkeypatch.setattr(backend, "ready", forgotten_meanwhile)
    monkeypatch.setattr(engine, "submit", lambda *_: pytest.fail("it is asked"))
    with pytest.raises(EngineUnavailable, match="forgotten meanwhile"):
        _converse(backend, served)
    assert served.is_withdrawn()
    assert backend.resolve("ditto").adapter is None and not backend.resolve("base").is_withdrawn()


def test_answers_with_examples_are_withdrawn_with_any_text_of_the_profile_and_later_ones_are_not(
    make: Make, store: Store
) -> None:
    _write(store)
    store.record_file(
        FileRow("blog/f", "blog", 1, 1, "read", "", (), {}, 1000.0), [demonstration("Blog.", "So be it.")]
    )
    _promote(store, "few", Recipe("base", examples=1))
    _promote(store, "learnt", Recipe("ditto"), profile="blog")
    backend, _ = make("fine")
    before, other = backend.resolve("ditto"), backend.resolve("ditto/blog")
    assert not before.is_withdrawn()
    store.forget_texts("default", [RENT.id], BY_HAND, time.time())
    assert before.is_withdrawn() and not other.is_withdrawn() and not backend.resolve("ditto").is_withdrawn()


def test_beside_a_locked_keyring_a_version_with_examples_is_unavailable_with_the_remedy_and_others_answer(
    make: Make, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its examples it would not be the version that was judged; and the fault is not the version's."""
    monkeypatch.setattr("keyring.core._keyring_backend", InMemory())
    _write(store)
    _promote(store, "plain")
    _promote(store, "few", Recipe("ditto", examples=1))
    store.seal(True)
    monkeypatch.setattr("keyring.core._keyring_backend", Locked())
    again = Store(tmp_path / "dittod.sqlite")
    backend = DaemonBackend(again, Settings(), make("fine")[1])
    monkeypatch.setattr(backend._in_use, "_weigh", lambda *_, **__: pytest.fail("the version is blamed"))
    with pytest.raises(EngineUnavailable, match="examples cannot be read") as caught:
        _converse(backend, backend.resolve("ditto"))
    failure = from_exception(caught.value)
    assert failure.status == 503 and "unlock it" in failure.message
    for name in ("base", "ditto/default@1"):
        assert [type(event) for event in _converse(backend, backend.resolve(name))] == [Done]
    again.close()


def test_examples_are_of_the_voice_that_was_asked_for(
    make: Make, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(store)
    store.record_file(FileRow("blog/f", "blog", 1, 1, "read", "", (), {}, 1000.0), [CAKE])
    _promote(store, "few", Recipe("base", examples=8), profile="blog")
    made, asked = make("fine"), Message("user", "the boat")
    assert {each.name: each.profile for each in made[0].models()} == {
        "base": "",
        "ditto": "default",
        "ditto/blog": "blog",
        "ditto/blog@1": "blog",
    }
    assert _sent(made, "ditto/blog", asked, monkeypatch=monkeypatch).examples == (CAKE,)
    assert _sent(made, "ditto", asked, monkeypatch=monkeypatch).examples == (), "base answers for it"
    assert _sent(made, "base", asked, monkeypatch=monkeypatch).examples == ()


def test_the_words_of_texts_are_counted_once_for_many_requests(
    make: Make, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(store)
    _promote(store, "few", Recipe("base", examples=1))
    made = make("fine")
    for each in ("boat", "rent"):
        _sent(made, "ditto", Message("user", each), monkeypatch=monkeypatch)
        monkeypatch.setattr(backend_module, "Index", lambda texts: pytest.fail("counted again"))


# --- who listens ---


def test_listeners_hear_of_the_request_as_it_was_asked_and_their_faults_break_no_answer(
    make: Make, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _write(store)
    _promote(store, "few", Recipe("base", examples=2))
    made = make("fine")
    heard: list[tuple[Generate, type]] = []

    def fail(request: Generate, event: AnswerEvent) -> None:
        raise ValueError(request.messages)

    monkeypatch.setattr(made[0]._in_use, "heard", fail)
    monkeypatch.setattr(made[0]._interactions, "heard", lambda request, event: heard.append((request, type(event))))
    with caplog.at_level(logging.ERROR, "dittod"):
        sent = _sent(made, "ditto", Message("user", "the boat"), monkeypatch=monkeypatch)
    ((request, kind),) = heard
    assert kind is Done and sent.examples and request.examples == ()
    assert request.adapter is not None and (request.adapter.id, request.profile) == ("few", "default")
    assert "went unheard: ValueError" in caplog.text and "boat" not in caplog.text


def test_an_answer_that_failed_or_was_left_is_told_of(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    backend, _ = make("fine")
    told: list[str] = []
    monkeypatch.setattr(backend._in_use, "failed", lambda request, error, set_aside: told.append(error.title))
    monkeypatch.setattr(backend._in_use, "left", lambda request: told.append("left"))
    with pytest.raises(EngineUnavailable):
        _ask(backend, "base", "too much")
    assert told == ["memory ran out", "left"]
