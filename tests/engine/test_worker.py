"""What the worker does around an update: memory goes back to the system between phases."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from fakes import finish

from dittod.engine import worker
from dittod.engine.protocol import AdapterRef, Progress, Updated
from dittod.engine.worker import tidied
from dittod.types import Verdict

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
