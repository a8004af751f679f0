"""The parent's handle on an engine that dies, hangs, refuses or has to give its memory back. The engine is a stub."""

from __future__ import annotations

import errno
import itertools
import os
import queue
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from stubs import stub_engine

from dittod.engine import client, deaths, process, pulse
from dittod.engine.client import Engine
from dittod.engine.process import EngineProcess
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
    monkeypatch.setattr(client, "LOOK_SECONDS", 0.001)  # each counts as much as ever
    with pytest.raises(EngineUnavailable, match="did nothing for 5 minutes while it loaded its model"):
        engine.start()
    assert str(engine.last_death).startswith("killed: it did nothing")


def test_a_start_that_works_goes_on_however_long_it_takes(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make("takes its time")
    used = itertools.count()
    monkeypatch.setattr(client, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(EngineProcess, "processor_seconds", lambda process: float(next(used)))
    engine.start()
    assert next(used) > pulse.SILENT_SECONDS / pulse.LOOK_SECONDS, "it was not looked at for long enough"


@pytest.mark.parametrize("given_up", [False, True])
def test_an_engine_that_hangs_is_ended_though_nobody_may_wait_any_more(
    make: Make, monkeypatch: pytest.MonkeyPatch, given_up: bool
) -> None:
    engine = make("fine")
    engine.start()
    _ask(engine)
    monkeypatch.setattr(EngineProcess, "processor_seconds", lambda process: 0.0)
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGSTOP)
    heard: Heard = queue.Queue()
    engine.submit(Generate("r", None, Sampling(), prompt="Hi"), heard.put)
    _look(engine)
    if given_up:
        engine.cancel("r")
    for _ in range(round(pulse.STILL_SECONDS / pulse.LOOK_SECONDS) - 2):
        _look(engine)
    assert engine.state == "ready" and engine.last_death is None
    _look(engine)
    _until(lambda: engine.pid is None)
    assert engine.last_death == "killed: it did nothing for 5 minutes though it was asked"
    assert given_up or isinstance(heard.get(timeout=20), EngineUnavailable)


def test_one_that_works_in_silence_is_asked_whether_it_lives_and_one_that_is_idle_is_not(make: Make) -> None:
    engine = make("fine")
    engine.start()
    _look(engine)
    _ask(engine)
    assert engine.memory == Memory(123, 45), "nobody asked"
    engine.submit(Generate("never", None, Sampling(), prompt="Hi"), lambda event: None)
    _look(engine)
    _until(lambda: engine.memory == Memory(124, 45))
    _until(lambda: not engine._pinged)


def test_a_system_that_has_no_process_left_is_a_death_with_its_cause(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    engine = make("fine")
    with monkeypatch.context() as patched:
        patched.setattr(process.subprocess, "Popen", none)
        for _ in range(deaths.MANY):
            engine._not_before = 0.0
            with pytest.raises(EngineUnavailable, match="could not be started: Resource temporarily unavailable"):
                engine.start()
    assert engine.state == "failed" and engine.trouble and engine.pid is None
    _start_again(engine)
    assert isinstance(_ask(engine), Done) and engine.trouble is None


@pytest.mark.parametrize("name", ["engine's commands", "engine's pulse", "engine"])
def test_a_system_that_has_no_thread_left_leaves_no_process_behind(
    make: Make, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    start, started = threading.Thread.start, list[int]()
    wait = EngineProcess.wait

    def refused(thread: threading.Thread) -> None:
        if thread.name == name:
            raise RuntimeError("can't start new thread")
        start(thread)

    engine = make("fine")
    monkeypatch.setattr(EngineProcess, "wait", lambda self, *given: (started.append(self.pid), wait(self, *given))[1])
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refused)
        with pytest.raises(EngineUnavailable, match="could not be started: no thread or memory is left"):
            engine.start()
    assert engine.state == "stopped" and len(started) == 1 and not psutil.pid_exists(started[0])
    _start_again(engine)
    assert isinstance(_ask(engine), Done)


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


def _look(engine: Engine) -> None:
    """As its own thread does every few seconds."""
    process = engine._process
    assert process is not None
    with engine._changed:
        engine._look(process)


def _until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)
