"""The parent's handle on a real engine process with the tiny model."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from fakes import demonstration

from dittod.engine.client import Engine
from dittod.engine.protocol import Delta, Done, Event, Failed, Finished, Generate, Sampling, Stopped, StopUpdate, Update
from dittod.errors import EngineUnavailable, ModelError
from dittod.types import Message

Heard = queue.Queue[Event | EngineUnavailable]


@pytest.fixture
def engine(tiny_model: Path, tmp_path: Path) -> Iterator[Engine]:
    started = Engine(str(tiny_model), "none", tmp_path / "engine.log")
    yield started
    started.stop()


def _request(name: str, *, seed: int = 1, max_tokens: int = 12) -> Generate:
    return Generate(name, None, Sampling(max_tokens=max_tokens, seed=seed), messages=(Message("user", "hello"),))


def _answer(engine: Engine, request: Generate) -> list[Event]:
    heard: Heard = queue.Queue()
    engine.submit(request, heard.put)
    return _until(heard, Done, Failed)


def _until(heard: Heard, *kinds: type) -> list[Event]:
    events: list[Event] = []
    while True:
        event = heard.get(timeout=30)
        if isinstance(event, EngineUnavailable):
            raise event
        events.append(event)
        if isinstance(event, kinds):
            return events


def _text(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


def _update(tmp_path: Path) -> Update:
    (tmp_path / "run").mkdir(exist_ok=True)
    texts = tuple(demonstration(f"Write {n}", f"Dear number {n}, good bye.") for n in range(4))
    return Update("u", str(tmp_path / "run"), str(tmp_path / "adapters"), "clean", 1, texts[:3], texts[3:], None)


@pytest.mark.timeout(120)
def test_an_engine_answers_dies_and_answers_again(engine: Engine, tmp_path: Path) -> None:
    """One process for the whole life, since a start takes seconds: the steps are numbered."""
    # 1. started on demand; the same seed gives the same text
    assert engine.state == "stopped" and engine.pid is None
    engine.start()
    assert engine.state == "ready" and engine.ready is not None and engine.ready.context_tokens == 512
    first = _answer(engine, _request("a"))
    assert _text(first) == _text(_answer(engine, _request("b"))) != _text(_answer(engine, _request("c", seed=2)))
    assert isinstance(first[-2], Finished) and first[-2].finish_reason == "length"
    assert isinstance(first[-1], Done) and first[-1].completion_tokens == 12

    # 2. a request that does not fit is refused with its parameter, and the next one is answered
    (refused,) = _answer(engine, Generate("d", None, Sampling(), prompt="x" * 2000))
    assert isinstance(refused, Failed)
    assert (refused.status, refused.code) == (400, "context_length_exceeded")
    assert _text(_answer(engine, _request("e"))) == _text(first)

    # 3. while an update runs, a request is answered; the update stops where it is told to
    learning: Heard = queue.Queue()
    engine.submit(_update(tmp_path), learning.put)
    learning.get(timeout=30)
    assert _text(_answer(engine, _request("f"))) == _text(first)
    engine.send(StopUpdate())
    assert isinstance(_until(learning, Stopped)[-1], Stopped)

    # 4. killed: who waits is told, and the next start works at once
    waiting: Heard = queue.Queue()
    engine.submit(_request("g", max_tokens=400), waiting.put)
    waiting.get(timeout=30)
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGKILL)
    with pytest.raises(EngineUnavailable, match="killed"):
        _until(waiting, Done)
    assert engine.state == "stopped"
    with pytest.raises(EngineUnavailable):
        engine.submit(_request("h"), waiting.put)
    engine.start()
    assert _text(_answer(engine, _request("i"))) == _text(first)

    # 5. cancelled: the engine is free for the next one long before 400 tokens are drawn
    engine.submit(_request("j", max_tokens=400), lambda event: None)
    engine.cancel("j")
    assert not engine.busy
    assert _text(_answer(engine, _request("k"))) == _text(first)

    # 6. stopped by the system for a while: whoever sends it something, however long, is not held up
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGSTOP)
    heard: Heard = queue.Queue()
    engine.submit(Generate("l", None, Sampling(), prompt="x" * 500_000), heard.put)
    assert engine.state == "ready"
    os.kill(engine.pid, signal.SIGCONT)
    assert isinstance(_until(heard, Failed)[-1], Failed)

    # 7. two deaths without any work between them: the third start has to wait
    for _ in range(2):
        engine.start()
        assert engine.pid is not None
        os.kill(engine.pid, signal.SIGKILL)
        _wait_for(lambda: engine.pid is None)
    assert engine.state == "backing off"
    with pytest.raises(EngineUnavailable) as caught:
        engine.start()
    assert caught.value.retry_after_seconds >= 1.0


@pytest.mark.timeout(60)
def test_a_model_that_is_not_there_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    engine = Engine(str(tmp_path / "nothing"), "none", tmp_path / "engine.log")
    with pytest.raises(ModelError) as caught:
        engine.start()
    assert "nothing" in caught.value.title and "base_model" in caught.value.hint


@pytest.mark.timeout(120)
def test_nothing_is_begun_while_the_last_process_still_ends(tiny_model: Path, tmp_path: Path) -> None:
    engine = Engine(str(tiny_model), "none", tmp_path / "engine.log")
    engine.start()
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGSTOP)
    stopping = threading.Thread(target=engine.stop, args=(2.0,))
    stopping.start()
    _wait_for(lambda: engine.ready is None)
    assert not engine.begin()
    stopping.join()
    assert engine.state == "stopped"

    assert engine.begin() and engine.state == "starting"
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGKILL)
    _wait_for(lambda: engine.pid is None)
    with pytest.raises(EngineUnavailable, match="killed"):
        raise engine.why_not()


PARENT = """
import sys, time
from pathlib import Path
from dittod.engine.client import Engine
from dittod.engine.protocol import Generate, Sampling
model, log, moment = sys.argv[1:]
engine = Engine(model, "none", Path(log))
engine.begin()
if moment == "answering":
    engine.start()
    engine.submit(Generate("r", None, Sampling(max_tokens=500), prompt="Hi"), lambda event: None)
print(engine.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.slow
@pytest.mark.timeout(150)
@pytest.mark.parametrize("moment", ["loading", "answering"])
def test_an_engine_whose_parent_was_killed_does_not_stay(tiny_model: Path, tmp_path: Path, moment: str) -> None:
    arguments = [sys.executable, "-c", PARENT, str(tiny_model), str(tmp_path / "engine.log"), moment]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        orphan = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    _wait_for(lambda: not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE, 60)


def _wait_for(condition: object, seconds: float = 10.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)
