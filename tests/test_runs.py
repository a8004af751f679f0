"""Runs: asked for, given to the engine one at a time, healed after deaths, ended with a verdict."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from fakes import FakeEngine, demonstration

from dittod import adapters, runs
from dittod.config import Settings
from dittod.engine.protocol import AdapterRef, Failed, Progress, Ready, Stopped, Updated
from dittod.errors import EngineUnavailable, ModelError, TooFewDemonstrations
from dittod.paths import Home
from dittod.rows import FileRow
from dittod.store import Store
from dittod.types import Verdict

BETTER = Verdict(True, ("better",), {"ditto_nats_per_token": 2.0})
WORSE = Verdict(False, ("worse",), {"ditto_nats_per_token": 3.0})


class Bench:
    def __init__(self, tmp_path: Path, **settings: object) -> None:
        self.home = Home(tmp_path / "home")
        self.home.create()
        self.store = Store(self.home.store)
        self.settings = Settings(**settings)
        self.engine = FakeEngine()
        self.runs = runs.Runs(self.home, self.store, self.settings, self.engine)

    def write(self, count: int, *, profile: str = "default", start: int = 0) -> None:
        for n in range(start, start + count):
            row = FileRow(f"{profile}/{n}", profile, 1, 1, "read", "", (), {}, read_at=1000.0 + n)
            text = demonstration(f"Write {n} of {profile}", f"{n} {' '.join(map(str, range(n, n + 9)))}", written_at=n)
            self.store.record_file(row, [text])

    def request(self, profile: str = "default") -> str:
        return runs.request(self.store, self.settings, profile).id

    def result(self, letter: str, verdict: Verdict) -> Updated:
        folder = self.home.adapters / (letter * 64)
        folder.mkdir()
        return Updated(self.engine.updates[-1].id, AdapterRef(folder.name, str(folder)), verdict)


@pytest.fixture
def bench(tmp_path: Path):
    made = Bench(tmp_path)
    yield made
    made.store.close()


def test_a_run_learns_from_some_and_holds_out_the_latest(bench: Bench) -> None:
    bench.write(9)
    bench.request()
    bench.runs.advance()
    (update,) = bench.engine.updates
    assert [each.written_at for each in update.held_out] == [6, 7, 8]
    assert sorted(each.written_at for each in update.demonstrations) == [0, 1, 2, 3, 4, 5]
    assert update.served is None


def test_without_demonstrations_nothing_can_be_asked_for(bench: Bench) -> None:
    with pytest.raises(TooFewDemonstrations, match="'default'"):
        bench.request()


def test_asking_twice_is_asking_once_until_the_run_has_ended(bench: Bench) -> None:
    bench.write(5)
    assert bench.request() == bench.request()
    bench.runs.advance()
    assert bench.request() == bench.engine.updates[0].id
    bench.engine.say(bench.result("a", WORSE))
    assert bench.request() != bench.engine.updates[0].id


def test_runs_go_one_after_the_other(bench: Bench) -> None:
    bench.write(5)
    bench.write(5, profile="blog")
    first, second = bench.request(), bench.request("blog")
    bench.runs.advance()
    bench.runs.advance()
    assert [each.id for each in bench.engine.updates] == [first]
    bench.engine.say(bench.result("a", WORSE))
    bench.runs.advance()
    assert [each.id for each in bench.engine.updates] == [first, second]


def test_a_promoted_candidate_is_served_and_its_checkpoints_are_gone(bench: Bench) -> None:
    bench.write(5)
    run_id = bench.request()
    bench.runs.advance()
    assert (bench.home.runs / run_id).is_dir()
    bench.engine.say(bench.result("a", BETTER))
    promoted = adapters.promoted(bench.store, "default")
    assert promoted is not None and promoted.id == "a" * 64 and promoted.run_id == run_id
    assert (Path(promoted.path) / adapters.MANIFEST).stat().st_mode & 0o777 == 0o600
    assert bench.store.run(run_id).state == "done" and bench.store.run(run_id).adapter_id == promoted.id
    assert not (bench.home.runs / run_id).exists()


def test_a_kept_candidate_stays_on_disk_with_its_verdict_and_is_not_served(bench: Bench) -> None:
    bench.write(5)
    bench.request()
    bench.runs.advance()
    bench.engine.say(bench.result("a", WORSE))
    (candidate,) = bench.store.adapters()
    assert (candidate.state, candidate.verdict) == ("candidate", WORSE)
    assert Path(candidate.path).is_dir() and adapters.promoted(bench.store, "default") is None


def test_the_next_run_is_measured_against_what_is_served_and_never_on_what_that_has_seen(bench: Bench) -> None:
    bench.write(9)
    bench.request()
    bench.runs.advance()
    bench.engine.say(bench.result("a", BETTER))
    bench.write(1, start=9)
    bench.request()
    bench.runs.advance()
    first, second = bench.engine.updates
    assert second.served is not None and second.served.id == "a" * 64
    assert not {each.id for each in second.held_out} & {each.id for each in first.demonstrations}


def test_after_an_engine_death_the_same_run_is_sent_again_and_after_three_it_has_failed(bench: Bench) -> None:
    bench.write(5)
    run_id = bench.request()
    for _ in range(runs.MOST_DEATHS):
        bench.runs.advance()
        assert bench.store.run(run_id).state == "running"
        bench.engine.say(EngineUnavailable("the engine is not running (killed)"))
    bench.runs.advance()
    assert [each.id for each in bench.engine.updates] == [run_id] * runs.MOST_DEATHS
    ended = bench.store.run(run_id)
    assert ended.state == "failed" and "died 3 times" in str(ended.error)


def test_a_run_that_was_stopped_goes_on_and_one_left_by_a_dead_parent_too(bench: Bench) -> None:
    bench.write(5)
    run_id = bench.request()
    bench.runs.advance()
    bench.engine.say(Stopped(run_id))
    bench.runs.advance()
    reborn = FakeEngine()
    runs.Runs(bench.home, bench.store, bench.settings, reborn).advance()
    assert [each.id for each in (*bench.engine.updates, *reborn.updates)] == [run_id] * 3


def test_a_failed_update_leaves_what_is_served_alone(bench: Bench) -> None:
    bench.write(5)
    bench.request()
    bench.runs.advance()
    bench.engine.say(bench.result("a", BETTER))
    run_id = bench.request()
    bench.runs.advance()
    bench.engine.say(Failed(run_id, "it went wrong", "do that", 500))
    assert bench.store.run(run_id).error == "it went wrong; do that"
    served = adapters.promoted(bench.store, "default")
    assert served is not None and served.id == "a" * 64


def test_a_base_model_that_cannot_be_loaded_fails_the_run_with_the_reason(bench: Bench) -> None:
    bench.write(5)
    run_id = bench.request()
    bench.engine.refusal = ModelError("no such model", "choose another")
    bench.runs.advance()
    assert bench.store.run(run_id).error == "no such model; choose another"


def test_a_text_deleted_after_it_was_chosen_is_not_learnt_from(bench: Bench) -> None:
    bench.write(5)
    run_id = bench.request()
    bench.store.forget_file("default/1")
    bench.runs.advance()
    assert bench.engine.updates == [] and bench.store.run(run_id).state == "failed"


def test_progress_is_kept_as_numbers(bench: Bench) -> None:
    bench.write(5)
    run_id = bench.request()
    bench.runs.advance()
    bench.engine.say(Progress(run_id, "dpo", 40, 40, 3, {"margin": 0.5}))
    assert bench.store.run(run_id).progress == {
        "phase": "dpo", "iteration": 3, "done": 40, "of": 40, "figures": {"margin": 0.5}
    }  # fmt: skip


def test_the_figures_of_completed_steps_are_kept_however_fast_they_come_and_those_of_micro_steps_are_not(
    bench: Bench,
) -> None:
    bench.write(5)
    run_id = bench.request()
    bench.runs.advance()
    for step in (1, 2, 3):
        bench.engine.say(Progress(run_id, "dpo", step - 1, 40, 0, {"margin": 0.1 * (step - 1)}))
        bench.engine.say(Progress(run_id, "dpo", step, 40, 0, {"margin": 0.1 * step}, completed_step=step))
    assert [(each.phase, each.step, each.figures) for each in bench.store.steps(run_id)] == [
        ("dpo", step, {"margin": 0.1 * step}) for step in (1, 2, 3)
    ]
    bench.engine.say(bench.result("a", BETTER))
    assert len(bench.store.steps(run_id)) == 3, "they outlive the run's folder"


def test_what_a_kill_left_behind_is_swept_but_not_what_an_open_run_needs(bench: Bench) -> None:
    bench.write(5)
    run_id = bench.request()
    bench.runs.advance()
    (bench.home.runs / "ended").mkdir()
    half = bench.home.adapters / ".half-written"
    half.mkdir()
    runs.sweep(bench.home, bench.store)
    assert [each.name for each in bench.home.runs.iterdir()] == [run_id] and half.exists()
    bench.engine.say(bench.result("a", BETTER))
    runs.sweep(bench.home, bench.store)
    assert [each.name for each in bench.home.adapters.iterdir()] == ["a" * 64]


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({}, None),
        ({"min_demonstrations": 7}, "6 demonstrations, waiting for 7"),
    ],
)
def test_why_a_profile_waits_follows_the_settings(
    tmp_path: Path, setting: dict[str, int], sentence: str | None
) -> None:
    bench = Bench(tmp_path, **setting)
    bench.write(6)
    assert runs.why_waiting(bench.store, bench.settings, "default", on_battery=False, now=0.0) == sentence
    bench.store.close()


def test_after_a_run_only_what_came_since_counts_as_new(bench: Bench) -> None:
    bench.write(6)
    run_id = bench.request()
    bench.runs.advance()
    bench.engine.say(bench.result("a", WORSE))
    run = bench.store.run(run_id)
    assert (
        runs.why_waiting(bench.store, bench.settings, "default", on_battery=False, now=0.0)
        == "nothing new since the last update"
    )
    later = FileRow("later", "default", 1, 1, "read", "", (), {}, read_at=run.requested_at + 1)
    bench.store.record_file(later, [demonstration("Write later", "Some later words of mine.")])
    waiting = runs.why_waiting(bench.store, bench.settings, "default", on_battery=False, now=0.0)
    assert waiting == "1 new of the 4 that make an update worth it"
    bench.settings = replace_settings(bench.settings, new_demonstrations=1)
    assert runs.why_waiting(bench.store, bench.settings, "default", on_battery=False, now=0.0) is None
    assert runs.why_waiting(bench.store, bench.settings, "default", on_battery=True, now=0.0) == "on battery"


def replace_settings(settings: Settings, **changes: object) -> Settings:
    return settings.model_copy(update=changes)


def test_the_limit_of_demonstrations_is_a_setting(tmp_path: Path) -> None:
    bench = Bench(tmp_path, demonstrations=2)
    bench.write(9)
    bench.request()
    bench.runs.advance()
    assert len(bench.engine.updates[0].demonstrations) == 2
    bench.store.close()


def test_an_engine_that_backs_off_is_no_death_of_the_run(bench: Bench) -> None:
    bench.write(6)
    run_id = bench.request()
    bench.engine.refusal = EngineUnavailable("the engine is not running")
    for _ in range(5):
        bench.runs.advance()
    assert bench.store.run(run_id).state == "requested"
    bench.engine.refusal = None
    bench.runs.advance()
    assert bench.store.run(run_id).state == "running"


def test_a_store_that_fails_once_does_not_hold_the_run_for_ever(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.write(6)
    bench.request()
    bench.runs.advance()
    result = bench.result("a", BETTER)
    with monkeypatch.context() as patch:
        patch.setattr(bench.store, "add_adapter", _full_disk)
        with pytest.raises(sqlite3.OperationalError):
            bench.engine.say(result)
    bench.runs.advance()
    assert len(bench.engine.updates) == 2, "sent again"
    bench.engine.say(result)
    assert adapters.promoted(bench.store, "default") is not None


def _full_disk(*_: object) -> None:
    raise sqlite3.OperationalError("database or disk is full")


def test_what_the_user_did_during_a_run_is_not_undone_by_it(bench: Bench) -> None:
    bench.write(6)
    bench.request()
    bench.runs.advance()
    bench.engine.say(bench.result("a", BETTER))
    bench.request()
    bench.runs.advance()
    adapters.roll_back(bench.store, "default")
    bench.engine.say(bench.result("b", BETTER))
    assert adapters.promoted(bench.store, "default") is None
    assert {each.id[0]: each.state for each in bench.store.adapters()} == {"a": "retired", "b": "candidate"}


def test_an_adapter_of_another_base_model_is_no_rival(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.write(6)
    bench.request()
    bench.runs.advance()
    bench.engine.say(bench.result("a", BETTER))
    bench.engine.ready = Ready("starter", "another revision", "template", 512, 1)
    bench.request()
    bench.runs.advance()
    assert bench.engine.updates[-1].served is None
    bench.store.close()


def test_after_a_failure_there_is_a_pause_and_then_another_try(bench: Bench) -> None:
    bench.write(6)
    run_id = bench.request()
    bench.runs.advance()
    bench.engine.say(Failed(run_id, "it went wrong", "do that", 500))
    failed_at = bench.store.run(run_id).finished_at or 0.0

    def why(seconds_later: float) -> str | None:
        now = failed_at + seconds_later
        return runs.why_waiting(bench.store, bench.settings, "default", on_battery=False, now=now)

    assert why(600) == "the last update failed; the next one may start in 50 minutes"
    assert why(3601) is None


def test_what_has_learnt_a_text_that_was_deleted_meanwhile_is_neither_served_nor_kept(bench: Bench) -> None:
    bench.write(6)
    run_id = bench.request()
    bench.runs.advance()
    result = bench.result("a", BETTER)
    bench.store.forget_file("default/1")
    bench.engine.say(result)
    assert bench.store.adapters() == [] and not Path(result.adapter.path).exists()
    assert "deleted" in str(bench.store.run(run_id).error)
