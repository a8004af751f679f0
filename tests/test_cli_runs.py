"""`dittod runs`: updates in a terminal, as their page shows them. No daemon runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Command
from versions import versions

from dittod.paths import Home
from dittod.rows import StepRow
from dittod.store import Store
from dittod.types import Run
from dittod.views import learning

PROGRESS = {"phase": "dpo", "iteration": 0, "done": 3, "of": 4, "figures": {"margin": 0.5}}
COURSE = {"supervised_steps": 3, "dpo_steps": 4, "resample_every": 4}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """One update that made default@2, one that failed and one that was given up."""
    monkeypatch.setenv("DITTOD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "120")
    made = Store(versions(tmp_path / "home").store)
    for id, at in (("3f2a00", 9.0), ("3f9100", 10.0), ("77ab00", 11.0)):
        made.request_run(Run(id, "default", "running", 7, "clean", at, notes=("it begins anew, once",)))
        ended = {"77ab00": "stopped", "3f9100": "failed", "3f2a00": "done"}[id]
        for step in (1, 2):
            made.record_step(id, StepRow("dpo", step, 0, {"margin": step / 8}))
        changes = {"failed": {"error": "the disk is full"}, "done": {"adapter_id": "b" * 64}}.get(ended, {})
        made.change_run(id, state=ended, finished_at=at + 60.0, **changes)
    yield made
    made.close()


def test_the_list_says_what_came_of_each_the_newest_first(store: Store, dittod: Command) -> None:
    code, printed, _ = dittod("runs")
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    assert code == 0 and [line.split()[0] for line in lines[:4]] == ["run", "77ab00", "3f9100", "3f2a00"]
    assert lines[1].endswith("given up") and lines[2].endswith("failed: the disk is full")
    assert lines[3].endswith("done, default@2: better than what was served")


def test_for_programs_it_is_what_the_page_has(store: Store, dittod: Command) -> None:
    assert json.loads(dittod("runs", "--json")[1]) == learning.runs(store)
    assert json.loads(dittod("runs", "3f91", "--json")[1]) == learning.run(store, "3f9100", 0, ())


def test_one_is_shown_with_its_stages_and_its_course(store: Store, dittod: Command) -> None:
    code, printed, _ = dittod("runs", "3f91")
    assert code == 0 and "failed: the disk is full" in printed and "it begins anew, once" in printed
    (margin,) = [line.split() for line in printed.splitlines() if "margin" in line]
    assert margin == ["dpo", "2", "margin", "0.125", "0.25"]
    assert "gate" in printed and "to come" in printed


def test_one_that_goes_on_says_how_long_the_rest_takes(store: Store, dittod: Command) -> None:
    seconds = {"dpo": 5.0, "gate": 700.0}
    store.request_run(Run("c0ffee", "default", "running", 7, "clean", 12.0))
    store.change_run("c0ffee", progress={**PROGRESS, "course": COURSE, "seconds": seconds, "elapsed": 0.0})
    listed, shown = dittod("runs")[1], dittod("runs", "c0ff")[1]
    assert "dpo 3/4, about 12 min left" in listed and "dpo 3/4, about 12 min left" in shown
    assert json.loads(dittod("status", "--json")[1])["profiles"][0]["run"]["seconds_left"] == 705.0
    assert "about 12 min left" in dittod("status")[1]


@pytest.mark.parametrize("wanted", ["3f", "nope", ""])
def test_what_means_no_update_or_several_is_refused_with_a_hint(store: Store, dittod: Command, wanted: str) -> None:
    code, printed, said = dittod("runs", wanted)
    assert (code, printed) == (1, "") and "dittod runs" in said


def test_where_nothing_was_learnt_the_list_says_what_asks_for_an_update(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dittod: Command
) -> None:
    monkeypatch.setenv("DITTOD_HOME", str(tmp_path / "new"))
    assert "dittod update" in dittod("runs")[1] and Home(tmp_path / "new").root.is_dir()
