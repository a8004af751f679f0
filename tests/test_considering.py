"""Looks: what they say, what they pause, when they make room. The days of test_day.py are made of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeEngine, demonstration

from dittod import runs
from dittod.config import Settings
from dittod.considering import LOADED_SECONDS, UNASKED_SECONDS, Clock, Considering
from dittod.engine.protocol import Improve, Stopped, StopUpdate
from dittod.errors import DittodError
from dittod.paths import Home
from dittod.rows import FileRow
from dittod.schedule import Conditions
from dittod.signals import PAUSE
from dittod.store import Store

CALM = Conditions()
GAME = Conditions(gpu_use_percent=90.0, unreadable=())


class Bench:
    def __init__(self, folder: Path, **settings: Any) -> None:
        self.home = Home(folder / "home")
        self.home.create()
        self.store = Store(self.home.store)
        self.settings = Settings(**{"improve_prompts": False, **settings})
        self.engine = FakeEngine()
        self.conditions = CALM
        self.now = 1_800_000_000.0
        self.wall = 0.0  # seconds by which the clock on the wall is ahead
        self.considering = Considering(
            self.home,
            self.store,
            self.settings,
            self.engine,
            lambda: self.conditions,
            clock=Clock(lambda: self.now + self.wall, lambda: self.now),
        )

    def write(self, count: int, profile: str = "default") -> None:
        for n in range(count):
            row = FileRow(f"{profile}/{n}", profile, 1, 1, "read", "", (), {}, read_at=1000.0 + n)
            text = demonstration(f"Write {n} of {profile}", f"{n} {' '.join(map(str, range(n, n + 9)))}", written_at=n)
            self.store.record_file(row, [text])

    def turn(self, conditions: Conditions | None = None, *, seconds: float = 2.0) -> dict[str, Any]:
        """What is noted after another look."""
        self.conditions = conditions or self.conditions
        self.now += seconds
        self.considering.look()
        self.considering.advance()
        return self.store.noted("learning")

    def begin(self, profile: str = "default", *, by_hand: bool = False) -> str:
        run = runs.request(self.store, self.settings, profile, by_hand=by_hand, now=self.now)
        self.turn()
        assert self.engine.updates[-1].id == run.id
        return run.id


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.store.close()


def test_the_first_profile_that_nothing_speaks_against_gets_an_update_and_only_one_at_a_time(bench: Bench) -> None:
    bench.write(3, "blog")
    bench.write(6, "mail")
    bench.write(6, "notes")
    for _ in range(3):
        bench.considering.consider()
    assert [(run.profile, run.by_hand) for run in bench.store.runs()] == [("mail", False)]
    note = bench.store.noted("learning")
    assert (note["state"], note["reason"]) == ("learning", None)
    assert note["profiles"] == {
        "blog": "an update is under way",
        "mail": None,
        "notes": "an update is under way",
    }


def test_what_is_said_is_of_the_profile_that_is_nearest_to_learning(bench: Bench) -> None:
    bench.write(3, "blog")
    assert bench.turn(GAME)["reason"] == "3 demonstrations, waiting for 6"
    bench.write(6, "mail")
    assert bench.turn(GAME)["reason"] == "other programs use more than 20 % of the graphics card"
    bench.write(9, "notes")
    note = bench.turn(CALM)
    assert (note["state"], note["reason"]) == ("waiting", None)
    assert note["profiles"] == {"blog": "3 demonstrations, waiting for 6", "mail": None, "notes": None}


def test_a_home_without_texts_says_what_it_waits_for(bench: Bench) -> None:
    assert bench.turn() == {
        "state": "waiting",
        "reason": "no demonstration, waiting for 6",
        "profiles": {"default": "no demonstration, waiting for 6"},
        "unreadable": [],
    }


def test_a_sentence_is_noted_and_logged_when_it_changes_and_not_at_every_look(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    notes: list[str] = []
    note = bench.store.note
    monkeypatch.setattr(bench.store, "note", lambda key, value: (notes.append(key), note(key, value)))
    bench.write(6)
    for conditions in (GAME, GAME, CALM, CALM, GAME, Conditions(unreadable=("the lid",)), Conditions(on_battery=True)):
        bench.turn(conditions)
    assert notes == ["learning"] * 5
    assert [each.getMessage() for each in caplog.records] == [
        "not learning: other programs use more than 20 % of the graphics card",
        "not learning: other programs use more than 20 % of the graphics card",
        "not known, and so not heeded: the lid",
        "not learning: on battery",
    ]


def test_learning_makes_room_for_a_game_and_does_not_begin_again_beside_it(bench: Bench) -> None:
    bench.write(6)
    run_id = bench.begin()
    note = bench.turn(GAME)
    assert (note["state"], bench.engine.told, bench.engine.ended) == ("paused", [StopUpdate()], 1)
    bench.engine.say(Stopped(run_id))
    for _ in range(5):
        bench.turn(GAME)
    assert len(bench.engine.updates) == 1 and bench.engine.ready is None
    bench.turn(CALM, seconds=60.0)
    bench.turn()
    assert [each.id for each in bench.engine.updates] == [run_id] * 2


def test_an_engine_that_answers_clients_makes_room_when_they_have_their_answers(bench: Bench) -> None:
    bench.write(6)
    run_id = bench.begin()
    bench.engine.asked = True
    bench.turn(GAME)
    bench.engine.say(Stopped(run_id))
    bench.turn(GAME)
    assert bench.engine.ended == 0 and bench.engine.told == [StopUpdate()]
    bench.engine.asked, bench.engine.last_asked = False, bench.now
    bench.turn(GAME)
    assert bench.engine.ended == 1


def test_who_talks_with_it_beside_a_game_does_not_wait_for_its_model_at_every_turn(bench: Bench) -> None:
    bench.engine.last_asked = bench.now
    bench.turn(GAME, seconds=UNASKED_SECONDS - 5.0)
    assert bench.engine.ended == 0
    bench.turn(GAME, seconds=5.0)
    assert bench.engine.ended == 1


def test_a_pause_that_nobody_else_needs_the_memory_for_keeps_the_model_loaded(bench: Bench) -> None:
    bench.write(6)
    run_id = bench.begin()
    bench.turn(Conditions(on_battery=True))
    bench.engine.say(Stopped(run_id))
    bench.turn()
    assert bench.engine.told == [StopUpdate()] and bench.engine.ended == 0


def test_what_was_asked_for_by_hand_is_not_ended_under_a_closed_lid(bench: Bench) -> None:
    bench.write(6)
    bench.begin(by_hand=True)
    for _ in range(3):
        assert bench.turn(Conditions(lid_closed=True))["state"] == "learning"
    assert bench.engine.told == [] and bench.engine.ended == 0


def test_a_jump_that_was_met_while_considering_is_told_at_the_next_look(bench: Bench) -> None:
    assert not bench.considering.look()
    bench.now += 8 * 3600.0
    bench.considering.consider()
    assert bench.considering.look() and not bench.considering.look()


def test_an_engine_that_keeps_dying_learns_nothing(bench: Bench) -> None:
    bench.write(6)
    bench.engine.trouble = "the engine died 4 times in 5 minutes"
    bench.considering.consider()
    assert bench.store.runs() == []
    assert bench.store.noted("learning")["reason"] == "the engine died 4 times in 5 minutes"


def test_prompts_are_tried_only_while_nothing_holds_learning_and_left_alone_when_something_does(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path, improve_prompts=True)
    bench.write(5)
    bench.engine.last_used = -1e9
    bench.turn(GAME)
    assert bench.engine.updates == []
    bench.turn(CALM, seconds=20.0)
    bench.considering.prompting._next_look = 0.0
    bench.turn(CALM)
    assert isinstance(bench.engine.updates[0], Improve)
    ended = bench.engine.ended
    bench.turn(GAME)
    assert bench.engine.cancelled == [bench.engine.updates[0].id] and bench.engine.ended == ended + 1
    bench.store.close()


def test_an_engine_that_was_loaded_a_moment_ago_is_left_to_whoever_had_it_loaded(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside a game, before the request that it was loaded for has come."""
    loaded_at, stop = bench.now, bench.engine.stop_if_idle
    monkeypatch.setattr(
        bench.engine, "stop_if_idle", lambda seconds: bench.now - loaded_at >= seconds and stop(seconds)
    )
    bench.turn(GAME, seconds=LOADED_SECONDS / 2)
    assert bench.engine.ended == 0
    bench.turn(GAME, seconds=LOADED_SECONDS / 2)
    assert bench.engine.ended == 1


def _full(*_: object, **__: object) -> None:
    raise DittodError("the disk is full", "make room")


def test_a_full_disk_keeps_nothing_from_being_paused_and_no_memory_from_being_given_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bench.write(6)
    run_id = bench.begin()
    for name in ("note", "add_note"):
        monkeypatch.setattr(bench.store, name, _full)
    bench.turn(GAME)
    bench.engine.say(Stopped(run_id))
    bench.turn(GAME)
    assert bench.engine.told == [StopUpdate()] and bench.engine.ended == 1
    assert [each.getMessage() for each in caplog.records if each.levelname == "ERROR"] == [
        "the disk is full; make room"
    ], "once"
    monkeypatch.undo()
    assert bench.turn(GAME)["state"] == "paused", "as soon as there is room"


def test_a_jump_on_a_full_disk_is_told_at_once_and_what_is_noted_put_right_when_there_is_room(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.turn()
    bench.store.note(PAUSE, {"until": bench.now + 3600.0, "said_at": bench.now})
    monkeypatch.setattr(bench.store, "set_clock_back", _full)
    bench.wall = -7200.0
    bench.now += 2.0
    assert bench.considering.look() and not bench.considering.look()
    monkeypatch.undo()
    bench.turn()
    assert bench.store.noted(PAUSE)["until"] == pytest.approx(bench.now - 7200.0 + 3600.0, abs=10.0)


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the system has one zone for a process's life")
def test_a_machine_that_travels_has_its_hours_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noon in the one place, night in the other."""
    with monkeypatch.context() as zone:
        bench = Bench(tmp_path, quiet_hours=("22:00-07:30",), consider_at="30 12 * * *")
        zone.setenv("TZ", "HERE0")
        bench.now += 12 * 3600.0 - bench.now % 86400.0
        bench.write(6)
        assert bench.turn()["reason"] == "looks again at 12:30" and not bench.considering.look()
        zone.setenv("TZ", "THERE-11")
        bench.now += 2.0
        assert bench.considering.look(), "what was planned by the other zone is void"
        assert not bench.considering.look()
        assert bench.store.noted("learning")["reason"] == "quiet hours until 07:30"
        bench.store.close()
    time.tzset()


def test_the_end_of_a_pause_by_hand_is_logged(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    bench.write(6)
    bench.store.note(PAUSE, {"until": None})
    bench.turn()
    bench.store.note(PAUSE, {})
    bench.turn()
    bench.turn()
    assert [each.getMessage() for each in caplog.records] == [
        "not learning: paused until dittod resume",
        "the pause has ended",
    ]


def test_an_update_that_is_given_up_just_before_the_end_is_logged_too(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.write(6)
    bench.begin()
    caplog.set_level(logging.INFO)
    bench.store.stop_run("default", bench.now)
    bench.considering.end()
    assert [each.getMessage().partition(": ")[2] for each in caplog.records] == ["given up by hand"]
