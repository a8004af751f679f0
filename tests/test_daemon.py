"""The daemon's own part: looks that are due, missed or in trouble. No engine is started."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from apscheduler.events import EVENT_JOB_MISSED
from apscheduler.triggers.cron import CronTrigger
from daemons import wait_for

from dittod.config import load_settings
from dittod.daemon import Daemon
from dittod.errors import DittodError
from dittod.paths import Home
from dittod.store import Store


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    monkeypatch.setenv("DITTOD_CONSIDER_SECONDS", "86400")
    made = start(tmp_path)
    yield made
    made.stop()
    made.store.close()


def start(folder: Path) -> Daemon:
    home = Home(folder / "home")
    home.create()
    daemon = Daemon(home, load_settings(home), Store(home.store))
    daemon.start()
    return daemon


def test_a_look_that_the_machine_slept_through_is_missed_and_not_made_up_for(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    considered: list[object] = []
    monkeypatch.setattr(daemon.considering, "consider", lambda: considered.append(None))
    missed = threading.Event()
    daemon.scheduler.add_listener(lambda event: missed.set(), EVENT_JOB_MISSED)
    job = daemon.scheduler.get_job("consider")
    job.modify(next_run_time=datetime.now().astimezone() - timedelta(hours=8))
    assert missed.wait(10.0) and considered == []
    planned = daemon.scheduler.get_job("consider").next_run_time
    assert planned > datetime.now().astimezone(), "the next one comes at its time"


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the system has one zone for a process's life")
def test_looks_at_set_times_are_at_the_times_of_where_the_machine_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as zone:
        zone.setenv("DITTOD_CONSIDER_AT", "30 12 * * *")
        daemon = start(tmp_path)
        for there, hour in (("THERE0", 12), ("YONDER-5", 7)):
            zone.setenv("TZ", there)
            wait_for(lambda: daemon.scheduler.get_job("consider").next_run_time.astimezone(UTC).hour == hour, 20)  # noqa: B023
        daemon.stop()
        daemon.store.close()
    time.tzset()


def test_a_clock_that_was_set_has_the_folder_looked_through_and_the_looks_planned_anew(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Set back by a day: what was planned by the old time would come a day late."""
    daemon.scheduler.get_job("consider").modify(next_run_time=datetime.now().astimezone() + timedelta(days=3))
    monkeypatch.setattr(daemon.considering, "look", lambda: True)
    tomorrow = datetime.now().astimezone() + timedelta(days=2)
    wait_for(lambda: daemon.scheduler.get_job("consider").next_run_time < tomorrow, 10)
    rescanned = threading.Event()
    monkeypatch.setattr(daemon.folder, "rescan", lambda now: rescanned.set())
    assert rescanned.wait(10.0)


def test_set_times_for_looks_replace_the_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DITTOD_CONSIDER_AT", "30 12 * * 1-5")
    daemon = start(tmp_path)
    job = daemon.scheduler.get_job("consider")
    assert isinstance(job.trigger, CronTrigger)
    assert (job.next_run_time.hour, job.next_run_time.minute) == (12, 30) and job.next_run_time.weekday() < 5
    assert (job.coalesce, job.max_instances) == (True, 1)
    daemon.stop()
    daemon.store.close()


@pytest.mark.parametrize(
    "error", [lambda: DittodError("the disk is full", "make room"), lambda: ValueError("marzipan")]
)
def test_trouble_that_lasts_is_said_once_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Callable[[], Exception]
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("DITTOD_CONSIDER_SECONDS", "0.05")
    tries = threading.Semaphore(0)

    def fails(self: object) -> None:
        tries.release()
        raise error()

    monkeypatch.setattr("dittod.considering.Considering.consider", fails)
    daemon = start(tmp_path)
    assert all(tries.acquire(timeout=10.0) for _ in range(3))
    daemon.stop()
    daemon.store.close()
    said = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert len(said) == 1 and "marzipan" not in caplog.text


def test_what_the_daemon_says_of_learning_is_gone_when_it_is(daemon: Daemon) -> None:
    wait_for(lambda: daemon.store.noted("learning"), 10)
    assert daemon.store.noted("learning")["profiles"].keys() == {"default"}
    daemon.considering.end()
    assert daemon.store.noted("learning") == {}


def test_the_room_that_the_home_takes_is_looked_after_at_the_start_and_after_each_run(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_for(lambda: daemon.store.noted("disk"), 10)
    tended = threading.Event()
    monkeypatch.setattr(daemon._pruning, "tend", tended.set)
    daemon.considering.runs.ended += 1
    assert tended.wait(10.0)
