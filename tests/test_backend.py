"""The daemon as the endpoint sees it, while its engine dies or cannot be started. The engine is a stub."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from stubs import stub_engine

from dittod.backend import DaemonBackend
from dittod.config import Settings
from dittod.engine import deaths
from dittod.engine.client import Engine
from dittod.engine.protocol import AnswerEvent, Done, Generate, Sampling
from dittod.errors import DittodError, EngineUnavailable
from dittod.store import Store
from dittod.types import Adapter, Verdict
from dittod_service.openai.errors import from_exception

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


def _promote(store: Store, name: str) -> None:
    verdict = Verdict(True, (), {}, ())
    store.add_adapter(
        Adapter(name, "default", 0, "candidate", f"/{name}", "run", "starter", "r", "t", (), 1, 1.0, None, verdict)
    )
    store.promote("default", name, 2.0)


def _ask(backend: DaemonBackend, model: str, prompt: str = "Hi") -> list[AnswerEvent]:
    async def whole() -> list[AnswerEvent]:
        request = Generate("r", backend.resolve(model).adapter, Sampling(), prompt=prompt)
        return [event async for event in backend.answer(request)]

    return asyncio.run(whole())


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
