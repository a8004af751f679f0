"""What is shown of updates: how far one is, how long the rest takes, what became of those that have ended."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from keyrings import InMemory, Locked
from versions import HELD_OUT, TEXTS, versions

from dittod.engine.protocol import Drawn
from dittod.errors import NotFound
from dittod.rows import StepRow
from dittod.signals import LEARNING
from dittod.store import Store
from dittod.types import Run
from dittod.views import learning

COURSE = {"supervised_steps": 3, "dpo_steps": 4, "resample_every": 2}
SECONDS = {"supervised": 1.0, "reference": 2.0, "sampling": 10.0, "dpo": 3.0, "gate": 40.0}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(versions(tmp_path / "home").store)
    yield made
    made.close()


def under_way(store: Store, phase: str = "dpo", iteration: int = 1, done: int = 3, of: int = 4, **told: Any) -> Run:
    """A run of two demonstrations."""
    ids = tuple(each.id for each in TEXTS[:2])
    run = store.request_run(Run("run-x", "default", "running", 7, "clean", 9.0, demonstration_ids=ids))
    place = {"phase": phase, "iteration": iteration, "done": done, "of": of, "figures": {"margin": 0.5}}
    store.change_run(run.id, progress={**place, "course": COURSE, "seconds": {}, "elapsed": 0.0, **told})
    return store.run(run.id)


def shown(store: Store, run: Run, after: int = 0) -> dict[str, Any]:
    return learning.run(store, run.id, after, ())


def ended_with(store: Store, seconds: dict[str, float]) -> None:
    """An earlier update of the profile, which was timed."""
    run = store.request_run(Run("run-e", "default", "running", 7, "clean", 8.0))
    store.change_run(run.id, progress={"seconds": seconds}, state="done", finished_at=8.5)


def test_runs_come_the_newest_first_with_the_version_that_they_made(store: Store) -> None:
    under_way(store)
    found = learning.runs(store)["runs"]
    assert [each["id"] for each in found] == ["run-x", "run-c", "run-b", "run-a"]
    assert [each["version"] for each in found] == [None] * 4, "none of these rows names one"


def test_a_run_that_has_ended_names_its_version_and_the_gates_word(store: Store) -> None:
    run = under_way(store)
    store.change_run(run.id, state="done", finished_at=10.0, adapter_id="c" * 64)
    told = shown(store, run)
    assert (told["version"], told["promoted"], told["finished_at"]) == ("default@3", False, 10.0)


def test_without_the_key_the_gates_word_is_not_known_and_with_it_it_is_again(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = under_way(store)
    store.change_run(run.id, state="done", finished_at=10.0, adapter_id="b" * 64)
    monkeypatch.setattr("keyring.core._keyring_backend", InMemory())
    store.seal(True)
    with closing(Store(tmp_path / "home" / "dittod.sqlite")) as sealed, monkeypatch.context() as locked:
        locked.setattr("keyring.core._keyring_backend", Locked())
        told = shown(sealed, run)
        assert (told["version"], told["promoted"]) == ("default@2", None)
        locked.undo()
        assert shown(sealed, run)["promoted"] is True


def test_the_stages_behind_are_done_and_those_ahead_are_to_come(store: Store) -> None:
    stages = shown(store, under_way(store))["stages"]
    assert [(each["title"], each["state"]) for each in stages] == [
        ("supervised steps", "done"),
        ("reference", "done"),
        ("samples, iteration 1", "done"),
        ("preference steps, iteration 1", "done"),
        ("samples, iteration 2", "done"),
        ("preference steps, iteration 2", "now"),
        ("gate", "to come"),
        ("saving", "to come"),
    ]


def test_the_rest_is_estimated_from_this_run_and_from_the_one_before(store: Store) -> None:
    """In the second round: one step of 5 s is left, then a gate that took 40 s the last time."""
    ended_with(store, SECONDS)
    assert shown(store, under_way(store, seconds={"dpo": 5.0}))["seconds_left"] == 45.0


def test_a_stage_that_was_never_timed_leaves_the_whole_unknown_and_not_the_others(store: Store) -> None:
    told = shown(store, under_way(store, seconds={"dpo": 5.0}))
    assert told["seconds_left"] is None
    assert [each["seconds_left"] for each in told["stages"][5:]] == [5.0, None, 0.0]


def test_an_earlier_run_of_another_voice_or_preset_tells_nothing(store: Store) -> None:
    ended_with(store, SECONDS)
    run = under_way(store, seconds={"dpo": 5.0})
    assert shown(store, run)["seconds_left"] == 45.0
    other = store.request_run(replace(run, id="run-y", profile="blog", state="running"))
    assert shown(store, other)["seconds_left"] is None


def test_a_paused_run_says_why_and_knows_of_no_end(store: Store) -> None:
    ended_with(store, SECONDS)
    run = under_way(store, seconds={"dpo": 5.0})
    store.note(LEARNING, {"profiles": {"default": "the battery is low"}})
    told = shown(store, run)
    assert (told["paused"], told["seconds_left"]) == ("the battery is low", None)
    assert learning.runs(store)["waiting"] == {"default": "the battery is low"}


def test_a_run_that_waits_shows_what_its_preset_has_and_nothing_done(store: Store) -> None:
    run = store.request_run(Run("run-x", "default", "requested", 7, "clean", 9.0))
    told = shown(store, run)
    assert {each["state"] for each in told["stages"]} == {"to come"} and len(told["stages"]) == 12
    assert (told["phase"], told["done"], told["seconds_left"]) == (None, 0, None)


def test_rounds_that_an_update_never_came_to_are_left_out_once_it_is_judged(store: Store) -> None:
    """Learning ended early, in the first of two rounds."""
    run = under_way(store, "gate", 0, 2, 9)
    store.record_step(run.id, StepRow("sampling", 1, 0, {"eos_rate": 1.0}))
    assert [each["title"] for each in shown(store, run)["stages"]] == [
        "supervised steps",
        "reference",
        "samples, iteration 1",
        "preference steps, iteration 1",
        "gate",
        "saving",
    ]
    store.change_run(run.id, state="done")
    assert {each["state"] for each in shown(store, run)["stages"]} == {"done"}


def test_what_a_failed_run_did_not_come_to_the_end_of_is_not_done(store: Store) -> None:
    run = under_way(store)
    store.change_run(run.id, state="failed", error="it went wrong; do that")
    told = shown(store, run)
    assert [each["state"] for each in told["stages"]] == ["done"] * 5 + ["to come"] * 3
    assert told["error"] == "it went wrong; do that" and told["seconds_left"] is None


@pytest.mark.parametrize(
    ("waiting", "by_hand", "current"),
    [({}, False, "run-x"), ({"default": "no"}, False, "run-y"), ({"default": "no", "blog": "no"}, True, "run-x")],
)
def test_the_current_run_is_the_one_that_goes_on_or_would_first(
    store: Store, waiting: dict[str, str], by_hand: bool, current: str
) -> None:
    under_way(store)
    store.request_run(Run("run-y", "blog", "requested", 7, "clean", 10.0, by_hand=by_hand))
    store.note(LEARNING, {"profiles": waiting})
    assert learning.runs(store)["current"] == current


def test_where_nothing_is_open_there_is_no_current_run(store: Store) -> None:
    assert learning.runs(store)["current"] is None


def test_steps_come_from_a_place_on(store: Store) -> None:
    run = under_way(store)
    for step in (1, 2, 3):
        store.record_step(run.id, StepRow("supervised", step, 0, {"loss": 3.0 - step}))
    everything = shown(store, run)
    assert [each["step"] for each in everything["steps"]] == [1, 2, 3] and everything["after"] == 0
    later = shown(store, run, everything["steps"][1]["place"])
    assert [(each["step"], each["figures"]) for each in later["steps"]] == [(3, {"loss": 0.0})]
    assert later["after"] == everything["steps"][1]["place"]


def test_after_a_kill_that_led_back_all_steps_are_told_anew(store: Store) -> None:
    run = under_way(store)
    for step in (1, 2, 3):
        store.record_step(run.id, StepRow("dpo", step, 0, {"margin": 1.0 * step}))
    last = shown(store, run)["steps"][-1]["place"]
    store.record_step(run.id, StepRow("dpo", 2, 0, {"margin": 2.0}))
    told = shown(store, run, last)
    assert told["after"] == 0 and [each["step"] for each in told["steps"]] == [1, 2]


def test_a_figure_that_is_no_number_is_none_so_that_json_can_hold_it(store: Store) -> None:
    run = under_way(store, figures={"margin": math.nan})
    store.record_step(run.id, StepRow("dpo", 1, 0, {"loss": math.inf, "margin": 1.0}))
    told = shown(store, run)
    assert told["figures"] == {"margin": None} and told["steps"][0]["figures"] == {"loss": None, "margin": 1.0}
    assert json.dumps(told, allow_nan=False) and json.dumps(learning.runs(store), allow_nan=False)


def test_a_sample_stands_beside_its_prompt_as_far_as_that_is_there(store: Store) -> None:
    run = under_way(store)
    drawn = [Drawn(run.id, 1, HELD_OUT[0].id, "Dear", 5.0), Drawn(run.id, 1, "f" * 64, "Hm", 6.0)]
    found = learning.run(store, run.id, 0, drawn)["samples"]
    assert found[0] == {
        "iteration": 1,
        "demonstration_id": HELD_OUT[0].id,
        "prompt": HELD_OUT[0].prompt,
        "text": "Dear",
        "at": 5.0,
    }
    assert found[1]["prompt"] is None


def test_samples_of_another_run_are_not_shown(store: Store) -> None:
    run = under_way(store)
    assert learning.run(store, run.id, 0, [Drawn("run-a", 0, HELD_OUT[0].id, "Dear", 5.0)])["samples"] == []


def test_a_run_that_there_is_not_is_refused(store: Store) -> None:
    with pytest.raises(NotFound, match="there is no run nope"):
        learning.run(store, "nope", 0, ())


def test_a_run_of_a_preset_that_is_no_more_is_listed(store: Store) -> None:
    store.request_run(Run("run-x", "default", "done", 7, "of another dittod", 9.0))
    told = learning.runs(store)["runs"][0]
    assert (told["preset"], told["stages"]) == ("of another dittod", [])
