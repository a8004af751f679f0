"""Signals and limits, as they are read from store and settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from fakes import demonstration

from dittod import runs
from dittod.config import Settings
from dittod.rows import FileRow
from dittod.schedule import LONG_WAIT_SECONDS, Conditions, Limits
from dittod.signals import PAUSE, bring_pause_forward, limits, of_machine, of_profile, paused_until, why_waiting
from dittod.store import Store

NOW = datetime(2026, 3, 2, 12, 0).timestamp()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "dittod.sqlite")
    yield made
    made.close()


def write(store: Store, count: int, *, start: int = 0, at: float = 1000.0) -> None:
    for n in range(start, start + count):
        row = FileRow(f"{n}", "default", 1, 1, "read", "", (), {}, read_at=at)
        store.record_file(row, [demonstration(f"Write {n}", f"{n} {' '.join(map(str, range(n, n + 9)))}")])


def end(store: Store, state: str, *, requested_at: float, finished_at: float) -> None:
    run = runs.request(store, Settings(), "default", now=requested_at)
    store.change_run(run.id, state=state, finished_at=finished_at)


def why(store: Store, now: float = NOW, conditions: Conditions | None = None, **changes: Any) -> str | None:
    settings = Settings(**{"rest_seconds": 0.0, **changes})
    return why_waiting(store, settings, "default", of_machine(store, conditions or Conditions(), now))


def test_every_limit_is_the_setting_of_its_name() -> None:
    changed = Settings(
        min_demonstrations=7,
        new_demonstrations=3,
        quiet_hours=("22:00-07:00",),
        idle_seconds=1.0,
        quiet_seconds=2.0,
        rest_seconds=3.0,
        learn_on_battery=True,
        min_battery_percent=4.0,
        learn_with_lid_closed=True,
        max_temperature_celsius=5.0,
        max_gpu_use_percent=6.0,
        min_free_memory=7,
        min_free_gpu_memory=8,
        min_free_disk=9,
    )
    found = limits(changed)
    for field in fields(Limits):
        assert getattr(found, field.name) == getattr(changed, field.name), field.name
        assert getattr(limits(Settings()), field.name) != getattr(found, field.name), field.name


def test_why_a_profile_waits_follows_the_settings(store: Store) -> None:
    write(store, 6)
    assert why(store) is None
    assert why(store, min_demonstrations=7) == "6 demonstrations, waiting for 7"


def test_after_a_run_only_what_came_since_counts_as_new(store: Store) -> None:
    write(store, 6)
    end(store, "done", requested_at=2000.0, finished_at=2060.0)
    assert why(store) == "nothing new since the last update"
    write(store, 1, start=6, at=3000.0)
    assert why(store) == "1 new of the 4 that make an update worth it"
    assert why(store, new_demonstrations=1) is None
    assert why(store, conditions=Conditions(on_battery=True), new_demonstrations=1) == "on battery"


def test_what_was_given_up_is_not_begun_again_until_there_is_more(store: Store) -> None:
    write(store, 6)
    runs.request(store, Settings(), "default", now=2000.0)
    store.stop_run("default", 2030.0)
    assert why(store) == "nothing new since the last update"
    write(store, 4, start=6, at=3000.0)
    assert why(store) is None
    assert why(store, now=2030.0 + 3599.0, rest_seconds=3600.0) is not None
    assert why(store, now=2030.0 + 3601.0, rest_seconds=3600.0) is None


def test_after_a_failure_there_is_a_pause_and_then_another_try(store: Store) -> None:
    write(store, 6)
    end(store, "failed", requested_at=NOW - 60.0, finished_at=NOW)
    assert why(store, now=NOW + 600.0) == "the last update failed; the next one may start at 13:00"
    assert why(store, now=NOW + 3601.0) is None
    end(store, "done", requested_at=NOW + 3700.0, finished_at=NOW + 3800.0)
    assert why(store, now=NOW + 3801.0) == "nothing new since the last update", "the failure is past"


def failures(store: Store, now: float) -> int:
    return of_profile(store, "default", of_machine(store, Conditions(), now), limits(Settings())).failures


def test_each_further_failure_doubles_the_pause_until_a_text_is_new_or_an_update_succeeds(store: Store) -> None:
    write(store, 6)
    assert failures(store, NOW) == 0
    for n in range(3):
        end(store, "failed", requested_at=NOW + n, finished_at=NOW + n)
        assert failures(store, NOW + n) == n + 1
    assert why(store, now=NOW + 3 * 3600.0) == "the last update failed; the next one may start at 16:00"
    write(store, 1, start=6, at=NOW + 60.0)
    assert failures(store, NOW + 61.0) == 0 and why(store, now=NOW + 3700.0) is None
    end(store, "failed", requested_at=NOW + 3700.0, finished_at=NOW + 3700.0)
    assert failures(store, NOW + 3700.0) == 1, "with the new text"
    end(store, "done", requested_at=NOW + 7400.0, finished_at=NOW + 7400.0)
    assert failures(store, NOW + 7400.0) == 0
    end(store, "failed", requested_at=NOW + 8000.0, finished_at=NOW + 8000.0)
    assert failures(store, NOW + 8000.0) == 1


def test_while_files_are_read_or_a_run_is_open_it_waits(store: Store) -> None:
    write(store, 6)
    store.note("reading", {"busy": True})
    assert why(store) == "still reading the watched folder"
    store.note("reading", {"busy": False})
    runs.request(store, Settings(), "default", now=NOW)
    assert why(store) == "an update is under way"


def test_what_is_said_to_be_in_the_future_is_now(store: Store) -> None:
    write(store, 6)
    end(store, "done", requested_at=NOW + 80000.0, finished_at=NOW + 86400.0)
    asked = limits(Settings())
    found = of_profile(store, "default", of_machine(store, Conditions(), NOW), asked)
    assert found.seconds_since_update == 0.0


def test_a_pause_by_hand_lasts_until_its_time_or_until_resume(store: Store) -> None:
    assert paused_until(store, NOW) is None
    store.note(PAUSE, {"until": None})
    assert paused_until(store, NOW) == datetime.max
    store.note(PAUSE, {"until": NOW + 60.0})
    assert paused_until(store, NOW) == datetime.fromtimestamp(NOW + 60.0)
    assert paused_until(store, NOW + 60.0) is None


@pytest.mark.parametrize(
    ("said_at", "back", "ends"),
    [
        (NOW - 600.0, 7200.0, 3600.0 - 7200.0),  # said long before the clock was set back by two hours
        (NOW + 6000.0, 7200.0, 3600.0 - 7200.0),
        (NOW - 1.0, 7200.0, 3600.0),  # said after that, before anybody looked
        (NOW - 600.0, 0.0, 3600.0),  # a daemon starts
        (NOW + 7200.0, 0.0, 3600.0 - 7200.0),  # the same after a clock was set back
    ],
)
def test_a_pause_keeps_its_length_when_the_clock_is_set_back(
    store: Store, said_at: float, back: float, ends: float
) -> None:
    store.note(PAUSE, {"until": NOW + 3600.0, "said_at": said_at})
    since = NOW - 2.0 if back else 0.0
    for _ in range(2 if not back else 1):
        bring_pause_forward(store, back, since=since, now=NOW)
    assert store.noted(PAUSE)["until"] == pytest.approx(NOW + ends)
    assert store.noted(PAUSE)["said_at"] <= NOW


@pytest.mark.parametrize("note", [{}, {"until": None, "said_at": NOW + 60.0}])
def test_a_pause_without_an_end_has_none_to_bring_forward(store: Store, note: dict[str, Any]) -> None:
    store.note(PAUSE, note)
    bring_pause_forward(store, 30.0, since=NOW, now=NOW)
    assert store.noted(PAUSE) == note


def test_texts_that_have_been_enough_for_a_day_are_counted_while_requests_come_in(store: Store) -> None:
    write(store, 5, at=NOW - LONG_WAIT_SECONDS - 60.0)
    write(store, 3, start=5, at=NOW - 60.0)
    asked = limits(Settings())
    for since_request, count in ((10.0, 5), (None, 0), (60.0, 0)):
        machine = replace(of_machine(store, Conditions(), NOW), seconds_since_request=since_request)
        assert of_profile(store, "default", machine, asked).waiting_demonstrations == count
    end(store, "done", requested_at=NOW - 7200.0, finished_at=NOW - 3600.0)
    machine = replace(of_machine(store, Conditions(), NOW), seconds_since_request=10.0)
    assert of_profile(store, "default", machine, asked).waiting_demonstrations == 0


def test_times_that_were_noted_by_a_wrong_clock_are_put_before_now_in_their_order(store: Store) -> None:
    write(store, 6, at=NOW + 1e8)
    end(store, "done", requested_at=NOW + 1e8 + 10.0, finished_at=NOW + 1e8 + 20.0)
    write(store, 4, start=6, at=NOW + 1e8 + 30.0)
    store.set_clock_back(NOW)
    (run,) = store.runs()
    assert NOW - 200.0 < run.requested_at < (run.finished_at or 0.0) <= NOW
    assert store.count_demonstrations("default", since=run.requested_at) == 4, "new ones are still new"
    store.set_clock_back(NOW)
    assert store.runs() == [run]


def test_counting_ends_where_nobody_asks_for_more(store: Store) -> None:
    write(store, 9)
    assert store.count_demonstrations("default", most=4) == 4 and store.count_demonstrations("default") == 9
