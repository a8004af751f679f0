"""The parent's handle on an engine that dies, hangs, refuses or has to give its memory back. The engine is a stub."""

from __future__ import annotations

import os
import queue
import signal
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from stubs import stub_engine

from dittod.engine import client, deaths
from dittod.engine.client import Engine
from dittod.engine.protocol import AdapterRef, Done, Event, Generate, Memory, Progress, Sampling, Stopped, Update
from dittod.errors import EngineUnavailable, ModelError

Heard = queue.Queue[Event | EngineUnavailable]
Make = Callable[[str], Engine]
BAD = AdapterRef("bad", "nowhere")


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    made: list[Engine] = []

    def engine(model: str) -> Engine:
        made.append(stub_engine(tmp_path, monkeypatch, model=model))
        return made[-1]

    yield engine
    for each in made:
        each.stop()


def _ask(engine: Engine, name: str = "r", adapter: AdapterRef | None = None) -> Event | EngineUnavailable:
    heard: Heard = queue.Queue()
    engine.submit(Generate(name, adapter, Sampling(), prompt="Hi"), heard.put)
    return heard.get(timeout=20)


def _learn(engine: Engine, folder: Path) -> Heard:
    heard: Heard = queue.Queue()
    engine.submit(Update("u", str(folder), str(folder), "clean", 1, (), (), None), heard.put)
    assert isinstance(heard.get(timeout=20), Progress)
    return heard


def _start_again(engine: Engine) -> None:
    """As if the backoff were over."""
    engine._not_before = 0.0
    engine.start()


def test_memory_is_what_the_running_engine_said_last(make: Make) -> None:
    engine = make("fine")
    assert engine.memory is None
    engine.start()
    _ask(engine)
    assert engine.memory == Memory(123, 45)
    engine.stop()
    assert engine.memory is None and engine.last_death is None


def test_a_model_that_cannot_be_loaded_is_tried_again_only_now_and_then(make: Make, tmp_path: Path) -> None:
    engine = make("dies")
    for _ in range(deaths.MANY):
        with pytest.raises(EngineUnavailable, match="SIGSEGV"):
            _start_again(engine)
    assert engine.state == "failed"
    assert str(engine.trouble).startswith("the engine died 3 times in a minute, the last time: signal SIGSEGV")
    with pytest.raises(EngineUnavailable, match="SIGSEGV") as caught:
        engine.begin()
    assert 500 < caught.value.retry_after_seconds <= deaths.TROUBLE_SECONDS
    (tmp_path / "fine").touch()
    _start_again(engine)
    assert engine.state == "ready" and engine.trouble is None
    assert str(engine.last_death).startswith("signal SIGSEGV"), "what it died of is not forgotten"
    assert engine.last_died_at is not None and abs(engine.last_died_at - time.time()) < 60


def test_a_model_that_is_refused_is_a_death_with_its_title(make: Make) -> None:
    engine = make("refuses")
    for _ in range(deaths.MANY):
        with pytest.raises(ModelError, match="no such model"):
            _start_again(engine)
    assert engine.state == "failed"
    assert engine.last_death == "its model cannot be loaded: there is no such model"
    assert "no such model" not in str(engine.trouble), "a title may name a folder; this sentence needs no token"


def test_a_start_that_hangs_is_ended_and_the_cause_says_so(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make("hangs")
    monkeypatch.setattr(client, "START_SECONDS", 0.0)
    with pytest.raises(EngineUnavailable):
        engine.start()
    _until(lambda: engine.last_death)
    assert str(engine.last_death).startswith("killed: it did not load its model")


def test_an_adapter_that_kills_it_thrice_is_set_aside_and_base_goes_on(make: Make) -> None:
    engine = make("fine")
    for _ in range(deaths.MANY):
        assert engine.set_aside == frozenset()
        _start_again(engine)
        assert isinstance(_ask(engine), Done)
        assert isinstance(_ask(engine, "k", BAD), EngineUnavailable)
    assert engine.set_aside == {"bad"}
    assert "set aside until the next start" in str(engine.trouble)
    _start_again(engine)
    assert isinstance(_ask(engine), Done) and engine.trouble


def test_an_engine_that_dies_between_good_answers_is_no_trouble(make: Make) -> None:
    engine = make("fine")
    for number in range(5):
        _start_again(engine)
        assert isinstance(_ask(engine, f"g{number}", AdapterRef("good", "x")), Done)
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
        _until(lambda: engine.pid is None)
    assert engine.trouble is None and engine.set_aside == frozenset()


def test_memory_is_given_back_at_once_even_from_an_update_but_not_from_clients(make: Make, tmp_path: Path) -> None:
    engine = make("fine")
    engine.start()
    assert engine.last_asked is None and not engine.asked
    learning = _learn(engine, tmp_path)
    assert engine.last_asked is None, "an update is no client"
    assert not engine.stop_if_idle(1.0), "what is at work is in use"
    waiting: Heard = queue.Queue()
    engine.submit(Generate("never", None, Sampling(), prompt="Hi"), waiting.put)
    assert engine.asked and engine.last_asked is not None
    assert not engine.stop_if_idle(0.0)
    engine.cancel("never")
    with engine.expected():  # one that is still to be submitted
        assert engine.asked and not engine.stop_if_idle(0.0)
    assert not engine.asked and engine.stop_if_idle(0.0)
    assert isinstance(learning.get(timeout=20), Stopped)
    assert engine.state == "stopped" and engine.last_death is None


def test_one_that_is_closed_finishes_answers_but_learns_and_starts_nothing_any_more(make: Make, tmp_path: Path) -> None:
    engine = make("fine")
    engine.start()
    learning = _learn(engine, tmp_path)
    engine.close()
    assert isinstance(learning.get(timeout=20), Stopped)
    with pytest.raises(EngineUnavailable):
        _learn(engine, tmp_path)
    assert isinstance(_ask(engine), Done)
    engine.stop()
    with pytest.raises(EngineUnavailable, match="ending"):
        engine.start()


def test_what_an_engine_writes_to_stderr_is_private_and_bounded(make: Make, tmp_path: Path) -> None:
    engine = make("talks")
    engine.start()
    _ask(engine)
    logs = sorted(tmp_path.glob("engine.log*"))
    assert [path.name for path in logs] == ["engine.log", "engine.log.1"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in logs} == {0o600}
    assert logs[0].stat().st_size == 0


def _until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)
