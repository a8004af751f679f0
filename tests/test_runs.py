"""Runs: asked for, given to the engine one at a time, healed after deaths, ended with a verdict."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from deleting import forget_file
from fakes import FakeEngine, demonstration

from dittod import adapters, runs
from dittod.config import Settings
from dittod.engine.protocol import (
    DISK_FULL,
    OUT_OF_MEMORY,
    AdapterRef,
    Drawn,
    Failed,
    Noted,
    Progress,
    Ready,
    Stopped,
    StopUpdate,
    Updated,
)
from dittod.errors import EngineUnavailable, ModelError, TooFewDemonstrations
from dittod.paths import Home
from dittod.rows import FileRow
from dittod.store import MOST_NOTES, Store
from dittod.store.interactions import FeedbackRow
from dittod.sweeping import sweep
from dittod.types import Recipe, Rejected, Verdict, Written

BETTER = Verdict(True, ("better",), {"ditto_nats_per_token": 2.0})
FEW_SHOT = Recipe("base", examples=3)
WORSE = Verdict(False, ("worse",), {"ditto_nats_per_token": 3.0})


class Bench:
    def __init__(self, tmp_path: Path, **settings: object) -> None:
        self.home = Home(tmp_path / "home")
        self.home.create()
        self.store = Store(self.home.store)
        self.settings = Settings(**settings)
        self.engine = FakeEngine()
        self.held: dict[bool, str | None] = {False: None, True: None}  # by whether it was asked for by hand
        self.now: float | None = None  # POSIX seconds, where a test sets them
        self.runs = runs.Runs(
            self.home,
            self.store,
            self.settings,
            self.engine,
            lambda run: self.held[run.by_hand],
            now=lambda: time.time() if self.now is None else self.now,
        )

    def write(self, count: int, *, profile: str = "default", start: int = 0) -> None:
        for n in range(start, start + count):
            row = FileRow(f"{profile}/{n}", profile, 1, 1, "read", "", (), {}, read_at=1000.0 + n)
            text = demonstration(f"Write {n} of {profile}", f"{n} {' '.join(map(str, range(n, n + 9)))}", written_at=n)
            self.store.record_file(row, [text])

    def request(self, profile: str = "default", *, by_hand: bool = False) -> str:
        return runs.request(self.store, self.settings, profile, by_hand=by_hand).id

    def result(self, letter: str, verdict: Verdict) -> Updated:
        folder = self.home.adapters / (letter * 64)
        folder.mkdir()
        return Updated(self.engine.updates[-1].id, AdapterRef(folder.name, str(folder)), verdict)

    def few_shot(self, letter: str, verdict: Verdict) -> Updated:
        reference = AdapterRef(letter * 64, str(self.home.adapters / (letter * 64)), weights=False, examples=3)
        return Updated(self.engine.updates[-1].id, reference, verdict, FEW_SHOT)


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
    forget_file(bench.store, "default/1")
    bench.runs.advance()
    bench.runs.advance()
    (update,) = bench.engine.updates
    assert update.id == run_id
    assert {each.written_at for each in (*update.demonstrations, *update.held_out)} == {0, 2, 3, 4}
    assert "begins anew" in bench.store.run(run_id).notes[0]


def test_what_a_run_that_begins_anew_learns_from_is_not_new_after_it(bench: Bench) -> None:
    bench.write(5)
    run_id = runs.request(bench.store, bench.settings, "default", now=2000.0).id
    bench.write(2, start=2000)  # came in at 3000 and 3001
    forget_file(bench.store, "default/1")
    bench.now = 4000.0
    bench.runs.advance()
    bench.runs.advance()
    (update,) = bench.engine.updates
    assert update.id == run_id
    assert {2000, 2001} < {each.written_at for each in (*update.demonstrations, *update.held_out)}
    since = bench.store.run(run_id).requested_at
    assert since == 4000.0 and bench.store.count_demonstrations("default", since=since) == 0


def test_a_run_whose_texts_are_all_deleted_fails_with_the_reason(bench: Bench) -> None:
    bench.write(2)
    run_id = bench.request()
    forget_file(bench.store, "default/0")
    forget_file(bench.store, "default/1")
    bench.runs.advance()
    assert bench.engine.updates == [] and bench.store.run(run_id).state == "failed"
    assert "deleted" in str(bench.store.run(run_id).error)


def test_progress_is_kept_as_numbers(bench: Bench) -> None:
    bench.write(5)
    run_id = bench.request()
    bench.runs.advance()
    bench.engine.say(Progress(run_id, "dpo", 40, 40, 3, {"margin": 0.5}))
    assert bench.store.run(run_id).progress == {
        "phase": "dpo", "iteration": 3, "done": 40, "of": 40, "figures": {"margin": 0.5},
        "course": {"supervised_steps": 30, "dpo_steps": 40, "resample_every": 10}, "seconds": {}, "elapsed": 0.0,
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
    sweep(bench.home, bench.store)
    assert [each.name for each in bench.home.runs.iterdir()] == [run_id] and half.exists()
    bench.engine.say(bench.result("a", BETTER))
    sweep(bench.home, bench.store)
    assert [each.name for each in bench.home.adapters.iterdir()] == ["a" * 64]


def test_a_version_that_the_store_does_not_know_is_never_swept_away(bench: Bench) -> None:
    for name, manifest in (("b" * 64, ""), ("c" * 64, '{"id": "another"}')):
        (bench.home.adapters / name).mkdir()
        (bench.home.adapters / name / adapters.MANIFEST).write_text(manifest)
    (bench.home.adapters / ("d" * 64)).mkdir()  # killed before it was entered
    sweep(bench.home, bench.store)
    assert {each.name for each in bench.home.adapters.iterdir()} == {"b" * 64, "c" * 64}


def test_a_prompt_that_is_being_edited_is_not_swept_away_but_one_that_a_kill_left_is(bench: Bench) -> None:
    path = bench.home.root / "editing" / f"prompt-{os.getpid()}.md"
    path.parent.mkdir()
    path.write_text("a prompt")
    sweep(bench.home, bench.store)
    bench.runs.tidy()
    assert path.exists()
    os.utime(path, (1.0, 1.0))  # this process began later: its number was another's
    sweep(bench.home, bench.store)
    assert not path.parent.exists()


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


def test_what_has_learnt_a_text_that_was_deleted_meanwhile_is_neither_served_nor_kept(bench: Bench) -> None:
    bench.write(6)
    run_id = bench.request()
    bench.runs.advance()
    result = bench.result("a", BETTER)
    forget_file(bench.store, "default/1")
    bench.engine.say(result)
    assert bench.store.adapters() == [] and not Path(result.adapter.path).exists()
    bench.runs.advance()
    first, anew = bench.engine.updates
    assert first.id == anew.id == run_id
    assert len((*anew.demonstrations, *anew.held_out)) == 5


# --- recipes, and what only stood in prompts ---


def test_a_recipe_without_weights_is_promoted_and_is_the_rival_of_the_next_run(bench: Bench) -> None:
    bench.write(9)
    bench.request()
    bench.runs.advance()
    bench.engine.say(bench.few_shot("f", BETTER))
    served = adapters.promoted(bench.store, "default")
    assert served is not None and served.recipe == FEW_SHOT
    bench.request()
    bench.runs.advance()
    first, second = bench.engine.updates
    assert second.served == AdapterRef(served.id, served.path, weights=False, examples=3)
    assert second.held_out == first.held_out, "it has learnt nothing: the latest texts may judge it still"


def test_the_same_recipe_may_pass_where_it_did_not_before(bench: Bench) -> None:
    bench.write(9)
    for verdict in (WORSE, BETTER):
        bench.request()
        bench.runs.advance()
        bench.engine.say(bench.few_shot("f", verdict))
    (version,) = bench.store.adapters()
    assert (version.state, version.verdict, version.number) == ("promoted", BETTER, 1)
    assert version.run_id == bench.engine.updates[-1].id


def test_what_would_be_rolled_back_to_may_be_promoted_again_but_not_over_the_users_head(bench: Bench) -> None:
    bench.write(9)
    for result in (bench.few_shot, bench.result, bench.few_shot):
        bench.request()
        bench.runs.advance()
        bench.engine.say(result("f", BETTER))
    served = adapters.promoted(bench.store, "default")
    assert served is not None and served.recipe == FEW_SHOT
    bench.request()
    bench.runs.advance()
    adapters.roll_back(bench.store, "default")
    bench.engine.say(bench.few_shot("f", BETTER))
    assert adapters.promoted(bench.store, "default") != bench.store.adapter(served.id)


def test_a_text_that_only_stood_in_prompts_goes_without_the_run_and_takes_what_may_quote_it(bench: Bench) -> None:
    bench.write(30)
    run_id = bench.request()
    bench.runs.advance()
    (update,) = bench.engine.updates
    learnt = {each.id for each in update.demonstrations}
    shown = next(each for each in update.pool if each.id not in learnt)
    written = (Written("supervised", "h", "own words"), Written("ditto_few_shot", "h", "what it was shown"))
    result = bench.result("a", replace(BETTER, outputs=written))
    forget_file(bench.store, f"default/{shown.written_at:.0f}")
    bench.engine.say(result)
    assert bench.store.run(run_id).state == "done"
    promoted = adapters.promoted(bench.store, "default")
    assert promoted is not None and promoted.verdict.outputs == written[:1]


def test_what_the_gate_read_stays_where_all_that_stood_in_prompts_does(bench: Bench) -> None:
    bench.write(30)
    bench.request()
    bench.runs.advance()
    written = (Written("ditto_few_shot", "h", "what it was shown"),)
    bench.engine.say(bench.result("a", replace(BETTER, outputs=written)))
    assert bench.store.adapters()[0].verdict.outputs == written


def test_a_run_begins_anew_where_a_word_on_an_answer_that_it_learnt_from_was_taken_back(bench: Bench) -> None:
    bench.write(6)
    row = FeedbackRow("fb-1", "default", 1.0, "down", "Write", "No.", "")
    bench.store.put_feedback(row)
    run_id = bench.request()
    bench.runs.advance()
    assert bench.engine.updates[0].rejected == (Rejected("Write", "No."),)
    bench.store.put_feedback(replace(row, id="fb-2", given="Never."))
    bench.engine.say(Stopped(run_id))
    bench.runs.advance()
    assert bench.engine.updates[1].rejected == (Rejected("Write", "No."),), "what is said meanwhile is for the next"
    result = bench.result("a", BETTER)
    bench.store.drop_feedback(["fb-1"])
    bench.engine.say(result)
    assert bench.store.adapters() == [] and not Path(result.adapter.path).exists()
    bench.runs.advance()
    assert bench.engine.updates[2].id == run_id
    assert bench.engine.updates[2].rejected == (Rejected("Write", "Never."),)


def test_what_an_earlier_run_came_to_is_not_dropped_with_a_later_one(bench: Bench) -> None:
    bench.write(6)
    bench.request()
    bench.runs.advance()
    result = bench.result("a", BETTER)
    bench.engine.say(result)
    run_id = bench.request()
    bench.runs.advance()
    bench.store.exclude("default", bench.engine.updates[-1].demonstrations[0].id, excluded=True)
    bench.engine.say(replace(result, id=run_id))
    assert (Path(result.adapter.path) / adapters.MANIFEST).exists()
    assert bench.store.run(run_id).notes, "it begins anew"


NOON = datetime(2026, 1, 1, 12, 1)


def test_a_held_run_waits_and_so_does_every_other_that_is_held(bench: Bench) -> None:
    bench.write(6)
    bench.write(6, profile="blog")
    bench.held[False] = "on battery"
    first, _ = bench.request(), bench.request("blog")
    bench.runs.advance()
    assert bench.engine.updates == [] and bench.store.run(first).state == "requested"
    bench.held[False] = None
    bench.runs.advance()
    assert [each.id for each in bench.engine.updates] == [first]


def test_what_was_asked_for_by_hand_does_not_wait_behind_what_is_held(bench: Bench) -> None:
    bench.write(6)
    bench.write(6, profile="blog")
    bench.held[False] = "you are at the machine"
    automatic, by_hand = bench.request(), bench.request("blog", by_hand=True)
    bench.runs.advance()
    assert [each.id for each in bench.engine.updates] == [by_hand]
    bench.engine.say(bench.result("a", WORSE))
    bench.held[False] = None
    bench.runs.advance()
    assert [each.id for each in bench.engine.updates] == [by_hand, automatic]


def test_asking_by_hand_for_an_update_that_is_open_makes_it_one_by_hand_for_good(bench: Bench) -> None:
    bench.write(6)
    run_id = bench.request()
    assert not bench.store.run(run_id).by_hand
    assert bench.request(by_hand=True) == run_id and bench.store.run(run_id).by_hand
    assert bench.request() == run_id and bench.store.run(run_id).by_hand


def test_a_paused_run_stays_open_says_so_once_and_goes_on_when_nothing_holds_it(bench: Bench) -> None:
    bench.write(6)
    run_id = bench.request()
    bench.runs.advance()
    for _ in range(3):
        bench.runs.pause("on battery", NOON)
    assert bench.engine.told == [StopUpdate()] and bench.runs.pausing
    bench.held[False] = "on battery"
    bench.engine.say(Stopped(run_id))
    bench.runs.advance()
    run = bench.store.run(run_id)
    assert (run.state, run.notes) == ("running", ("paused at 12:01: on battery",)) and not bench.runs.pausing
    assert len(bench.engine.updates) == 1
    bench.held[False] = None
    bench.runs.advance()
    assert [each.id for each in bench.engine.updates] == [run_id] * 2


def test_an_engine_that_is_ended_to_make_room_is_no_death_of_the_run(bench: Bench) -> None:
    bench.write(6)
    run_id = bench.request()
    for _ in range(runs.MOST_DEATHS + 1):
        bench.runs.advance()
        bench.runs.pause("another program uses the graphics card", NOON)
        bench.engine.say(EngineUnavailable("the engine is not running"))
    bench.runs.advance()
    assert bench.store.run(run_id).state == "running" and len(bench.engine.updates) == runs.MOST_DEATHS + 2


def test_what_comes_up_while_the_model_is_loaded_holds_the_run_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.write(6)
    run_id = bench.request()
    start = bench.engine.start

    def slowly() -> Ready:
        bench.held[False] = "you are at the machine"
        return start()

    monkeypatch.setattr(bench.engine, "start", slowly)
    bench.runs.advance()
    assert bench.engine.updates == [] and bench.store.run(run_id).state == "requested"


def test_what_befell_an_update_is_kept_and_the_latest_of_much(bench: Bench) -> None:
    bench.write(6)
    run_id = bench.request()
    bench.runs.advance()
    for n in range(MOST_NOTES + 5):
        bench.engine.say(Noted(run_id, f"memory ran out for the {n}th time"))
    notes = bench.store.run(run_id).notes
    assert len(notes) == MOST_NOTES and notes[-1] == f"memory ran out for the {MOST_NOTES + 4}th time"


# --- what the policy writes while it learns ---


WRITTEN = "a heron on the third stair"


def drawing(bench: Bench, *texts: str) -> str:
    """A run that is under way, of which these samples were heard."""
    bench.write(6)
    run_id = bench.request()
    bench.runs.advance()
    for number, text in enumerate(texts):
        bench.engine.say(Drawn(run_id, 0, bench.engine.updates[-1].demonstrations[0].id, text, float(number)))
    return run_id


def test_the_latest_samples_of_the_run_under_way_are_at_hand_the_latest_last(bench: Bench) -> None:
    drawing(bench, *(f"sample {n}" for n in range(runs.KEPT_SAMPLES + 2)))
    assert [each.text for each in bench.runs.samples] == [f"sample {n}" for n in range(2, runs.KEPT_SAMPLES + 2)]


def test_a_sample_is_neither_written_to_the_disk_nor_logged(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    run_id = drawing(bench, WRITTEN)
    bench.engine.say(Progress(run_id, "sampling", 1, 1, 0, {"eos_rate": 1.0}, 1))
    assert [each.text for each in bench.runs.samples] == [WRITTEN] and WRITTEN not in caplog.text
    files = [path for path in bench.home.root.rglob("*") if path.is_file()]
    assert files and not any(WRITTEN.encode() in path.read_bytes() for path in files)


@pytest.mark.parametrize("end", ["done", "failed", "left", "died"])
def test_samples_go_when_the_run_has_ended_or_is_left(bench: Bench, end: str) -> None:
    run_id = drawing(bench, WRITTEN)
    match end:
        case "done":
            bench.engine.say(bench.result("a", WORSE))
        case "failed":
            bench.engine.say(Failed(run_id, "it went wrong", "do that", 500))
        case "left":
            bench.engine.say(Stopped(run_id))
        case "died":
            bench.engine.say(EngineUnavailable("the engine is not running"))
    assert bench.runs.samples == ()


def test_a_run_that_is_told_to_leave_shows_none_and_what_still_comes_is_not_kept(bench: Bench) -> None:
    run_id = drawing(bench, WRITTEN)
    bench.runs.pause("the battery is low", datetime.now())
    assert bench.runs.samples == ()
    bench.engine.say(Drawn(run_id, 0, "a" * 64, WRITTEN, 1.0))
    assert bench.runs.samples == ()


def test_samples_are_gone_from_the_moment_on_that_a_text_of_the_profile_is_forgotten(bench: Bench) -> None:
    """By another process say, before anybody here has noticed; of another profile it does not matter."""
    drawing(bench, WRITTEN)
    bench.write(3, profile="blog")
    forget_file(bench.store, "blog/1")
    assert [each.text for each in bench.runs.samples] == [WRITTEN]
    forget_file(bench.store, "default/1")
    assert bench.runs.samples == ()


def test_a_run_that_begins_anew_has_none_of_its_former_samples(bench: Bench) -> None:
    run_id = drawing(bench, WRITTEN)
    bench.engine.say(Stopped(run_id))
    forget_file(bench.store, "default/1")
    bench.store.finish_receipt(bench.store.receipts()[0].id, None)
    bench.runs.advance()
    bench.runs.advance()
    assert len(bench.engine.updates) == 2 and bench.runs.samples == ()


# --- how long it takes ---


def test_stages_are_timed_and_a_run_that_goes_on_keeps_what_was_known(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(runs, "clock", lambda: now[0])
    bench.write(6)
    run_id = bench.request()
    bench.runs.advance()
    for at, done in ((100.0, 0), (104.0, 1), (106.0, 2)):
        now[0] = at
        bench.engine.say(Progress(run_id, "supervised", done, 2))
    progress = bench.store.run(run_id).progress
    assert (progress["seconds"], progress["elapsed"]) == ({"supervised": 3.0}, 0.0)
    bench.engine.say(Stopped(run_id))
    now[0] = 9000.0
    bench.runs.advance()
    bench.engine.say(Progress(run_id, "dpo", 4, 4))
    progress = bench.store.run(run_id).progress
    assert (progress["seconds"], progress["elapsed"]) == ({"supervised": 3.0}, 0.0)


def test_the_course_is_that_of_the_settings(tmp_path: Path) -> None:
    bench = Bench(tmp_path, learner={"dpo_steps": 8.0, "resample_every": 4.0})
    bench.write(6)
    run_id = bench.request()
    bench.runs.advance()
    bench.engine.say(Progress(run_id, "supervised", 30, 30))
    assert bench.store.run(run_id).progress["course"] == {
        "supervised_steps": 30, "dpo_steps": 8, "resample_every": 4
    }  # fmt: skip
    bench.store.close()


def test_a_run_that_the_user_stops_is_left_alone_its_checkpoints_go_and_the_next_one_starts(bench: Bench) -> None:
    bench.write(6)
    bench.write(6, profile="blog")
    run_id, other = bench.request(), bench.request("blog")
    bench.runs.advance()
    stopped = bench.store.stop_run("default", 5000.0)
    assert stopped is not None and (stopped.id, stopped.state, stopped.finished_at) == (run_id, "stopped", 5000.0)
    bench.runs.advance()
    bench.runs.advance()
    bench.runs.tidy()
    assert bench.engine.told == [StopUpdate()] and (bench.home.runs / run_id).exists(), "the engine writes into it"
    bench.engine.say(Stopped(run_id))
    bench.runs.tidy()
    assert not (bench.home.runs / run_id).exists()
    bench.runs.advance()
    assert bench.engine.updates[-1].id == other
    assert bench.store.run(run_id).state == "stopped"


@pytest.mark.parametrize("late", ["result", "failure", "death"])
def test_what_the_engine_still_says_of_a_stopped_run_changes_nothing(bench: Bench, late: str) -> None:
    bench.write(6)
    run_id = bench.request()
    bench.runs.advance()
    bench.store.stop_run("default", 5000.0)
    result = bench.result("a", BETTER)
    bench.engine.say(
        {
            "result": result,
            "failure": Failed(run_id, "it went wrong", "do that", 500),
            "death": EngineUnavailable("the engine is not running"),
        }[late]
    )
    bench.runs.advance()
    assert bench.store.run(run_id).state == "stopped" and len(bench.engine.updates) == 1
    assert adapters.promoted(bench.store, "default") is None and bench.store.adapters() == []
    assert late != "result" or not Path(result.adapter.path).exists()


def test_nothing_is_stopped_where_nothing_is_open(bench: Bench) -> None:
    bench.write(6)
    assert bench.store.stop_run("default", 5000.0) is None


@pytest.mark.parametrize(("code", "title"), [(DISK_FULL, "the disk is full"), (OUT_OF_MEMORY, "memory ran out")])
def test_a_run_that_finds_no_room_on_the_disk_or_in_memory_goes_on_later_and_fails_only_in_the_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, code: str, title: str
) -> None:
    now = 1000.0
    monkeypatch.setattr(runs, "clock", lambda: now)
    bench.write(5)
    run_id = bench.request()
    for met in range(1, runs.MOST_FULL + 1):
        bench.runs.advance()
        assert len(bench.engine.updates) == met
        bench.engine.say(Failed(run_id, title, "make room", 500, code=code))
        run = bench.store.run(run_id)
        assert run.state == "running" and title in run.notes[-1]
        assert (bench.home.runs / run_id).is_dir()
        bench.runs.advance()
        assert len(bench.engine.updates) == met, "not at once"
        now += 3600.0
    bench.runs.advance()
    bench.engine.say(Failed(run_id, title, "make room", 500, code=code))
    assert bench.store.run(run_id).state == "failed"


def test_deaths_with_progress_between_them_do_not_add_up_and_steps_done_again_are_none(bench: Bench) -> None:
    bench.write(5)
    run_id = bench.request()
    for furthest in (2, 4, 4, 4):
        assert bench.store.run(run_id).state != "failed"
        bench.runs.advance()
        for step in range(1, furthest + 1):
            bench.engine.say(Progress(run_id, "dpo", step, 40, 0, {}, completed_step=step))
        bench.engine.say(EngineUnavailable("the engine is not running (killed)"))
    assert bench.store.run(run_id).state == "failed"


def test_the_log_says_when_a_run_begins_goes_on_and_how_it_ended(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bench.write(5)
    for ending in (BETTER, WORSE, None):
        run_id = bench.request(by_hand=True)
        bench.runs.advance()
        result = bench.result("b" if ending is WORSE else "a", ending) if ending else None
        bench.engine.say(result or Failed(run_id, "it went wrong", "do that", 500))
    bench.request()
    for _ in range(2):
        bench.runs.advance()
        bench.runs.tidy()
        bench.engine.say(Stopped(run_id))
    bench.store.stop_run("default", 1.0)
    bench.runs.tidy()
    bench.runs.tidy()
    said = [(each.levelname, each.getMessage().partition(": ")[2]) for each in caplog.records]
    begins = ("INFO", "begins, asked for by hand")
    assert said == [
        *(begins, ("INFO", "done, promoted")),
        *(begins, ("INFO", "done, kept back")),
        *(begins, ("WARNING", "failed, it went wrong; do that")),
        *(("INFO", "begins"), ("INFO", "goes on"), ("INFO", "given up by hand")),
    ]
