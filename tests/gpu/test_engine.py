"""The engine's process on the card, as the parent sees it."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import make_tiny_model

from dittod.engine.client import Engine
from dittod.engine.protocol import Done, Event, Failed, Generate, Progress, Sampling, Stopped, StopUpdate, Updated
from dittod.errors import EngineUnavailable
from dittod.types import Message

from .benches import an_update, config

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(180)]
Heard = queue.Queue[Event | EngineUnavailable]


@pytest.fixture(params=["none", "nf4"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    folder = make_tiny_model(tmp_path / "model", config=config())
    started = Engine(str(folder), request.param, tmp_path / "engine.log")
    started.start()
    yield started
    started.stop()


def until(heard: Heard, *kinds: type) -> Event:
    while True:
        event = heard.get(timeout=60)
        if isinstance(event, EngineUnavailable):
            raise event
        if isinstance(event, kinds):
            return event


def answer(engine: Engine, name: str) -> Event:
    heard: Heard = queue.Queue()
    engine.submit(
        Generate(name, None, Sampling(max_tokens=12, seed=1), messages=(Message("user", "hello"),)), heard.put
    )
    return until(heard, Done, Failed)


def test_a_request_is_answered_while_an_update_runs(engine: Engine, tmp_path: Path) -> None:
    """The update is far from its end when the answer is there, goes on after it, and stops where it is told to."""
    assert isinstance(answer(engine, "idle"), Done)
    learning: Heard = queue.Queue()
    (tmp_path / "run").mkdir()
    engine.submit(an_update(tmp_path, supervised_steps=2000, supervised_stop_loss=0), learning.put)
    assert isinstance(until(learning, Progress, Failed), Progress)
    answered = answer(engine, "while learning")
    assert isinstance(answered, Done) and answered.completion_tokens == 12
    while not learning.empty():
        learning.get()
    assert isinstance(until(learning, Progress, Failed, Updated), Progress)
    engine.send(StopUpdate())
    assert isinstance(until(learning, Stopped, Failed, Updated), Stopped)
