"""What the worker does around an update: memory goes back to the system between phases."""

from __future__ import annotations

import io
import weakref
from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace

import pytest
from fakes import demonstration, finish, tiny_base

from dittod.engine import worker
from dittod.engine.protocol import AdapterRef, Progress, Update, Updated
from dittod.engine.room import Room
from dittod.engine.worker import tidied
from dittod.learner.memory import Device
from dittod.types import Plan, Verdict

RESULT = Updated("u", AdapterRef("a", "/a"), Verdict(True, (), {}))


def phases(*names: str, ended: list[str] | None = None) -> Generator[Progress, None, Updated]:
    """An update that does nothing but name its phases; says in `ended` when it is left."""
    try:
        for done, name in enumerate(names):
            yield Progress("u", name, done + 1, len(names))
        return RESULT
    finally:
        if ended is not None:
            ended.append("left")


@pytest.fixture
def given_back(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each time."""
    calls: list[str] = []
    monkeypatch.setattr(worker, "give_memory_back", lambda: calls.append("back"))
    return calls


def test_memory_goes_back_where_a_phase_begins_or_ends_and_not_between_its_steps(given_back: list[str]) -> None:
    """Four phases begin; the last step says that it was the last."""
    names = ["supervised", "supervised", "reference", "sampling", "sampling", "sampling", "dpo", "dpo", "dpo"]
    seen, result = finish(tidied(phases(*names)))
    assert [each.phase for each in seen] == names
    assert result is RESULT
    assert len(given_back) == 5


def test_an_update_that_is_left_is_left_to_its_core(given_back: list[str]) -> None:
    ended: list[str] = []
    work = tidied(phases("supervised", "dpo", ended=ended))
    next(work)
    work.close()
    assert ended == ["left"]


def test_what_a_failed_step_held_is_gone_when_memory_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exception's traceback holds on to the step's variables, and with them to all that was computed."""

    class Large:
        pass

    still_held: list[bool] = []
    held: list[weakref.ref[Large]] = []

    def failing(*_: object) -> Generator[Progress, None, Updated]:
        large = Large()
        held.append(weakref.ref(large))
        yield Progress("u", "dpo", 0, 1)
        raise MemoryError

    base = tiny_base(tmp_path)
    output = io.BytesIO()
    engine = worker.Worker(base, Room(str(tmp_path), Device("cpu", 4, 10**10, False), 10**10), output)
    monkeypatch.setattr(worker, "update", failing)
    monkeypatch.setattr(worker, "give_memory_back", lambda: still_held.append(held[0]() is not None))
    learnt = (demonstration("Ask Bo", "Bo, lunch?"),)
    engine._start_update(Update("u", str(tmp_path), str(tmp_path), "clean", 0, learnt, (), None))
    for _ in range(2):
        assert engine._work is not None
        engine._go_on(engine._work)
    assert engine._work is None
    assert still_held == [True, False]  # where the phase began, and at the end
    assert b"MemoryError" in output.getvalue()


def test_beside_an_update_conversations_keep_no_more_than_its_plan_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, room = tiny_base(tmp_path / "model"), Room("m", Device("cpu", 4, 10**10, False), 1600)
    engine = worker.Worker(base, room, io.BytesIO())
    kept: list[int] = []
    monkeypatch.setattr(Room, "workbench", lambda *_: SimpleNamespace(plan=Plan(peak_bytes=1550)))
    monkeypatch.setattr(worker, "update", lambda *_: phases("dpo"))
    kept.append(engine._decoder.prefixes.limit_bytes)
    engine._start_update(Update("u", str(tmp_path), str(tmp_path), "clean", 1, (), (), None))
    kept.append(engine._decoder.prefixes.limit_bytes)
    engine._stop_work()
    kept.append(engine._decoder.prefixes.limit_bytes)
    assert kept == [100, 50, 100]
