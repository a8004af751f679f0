"""All probes together: nothing that hangs or fails holds a look up."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from dittod.machine import probes
from dittod.machine.probes import Probes, together
from dittod.machine.reading import ABSENT_SECONDS, MOST_FAILURES, RETRY_SECONDS, Absent, Found, Reading, Unreadable
from dittod.schedule import Conditions


@pytest.fixture(autouse=True)
def _no_desktop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path / 'none'}")
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", f"unix:path={tmp_path / 'none'}")


def read(reading: Reading, now: float) -> tuple[Found, str | None]:
    reading.start(now)
    reading.wait(10)
    return reading.outcome(now)


class Thing:
    """Counts how often it is read; fails with what it is given."""

    def __init__(self) -> None:
        self.times = 0
        self.fails: Exception | None = None

    def __call__(self) -> Found:
        self.times += 1
        if self.fails is not None:
            raise self.fails
        return {"free_disk_bytes": self.times}


def test_a_reading_is_kept_for_as_long_as_it_says() -> None:
    thing = Thing()
    reading = Reading("disk", thing, every_seconds=10.0)
    found = [read(reading, now)[0]["free_disk_bytes"] for now in (100.0, 109.0, 110.0)]
    assert found == [1, 1, 2]


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (Unreadable("the desktop does not tell"), "disk: the desktop does not tell"),
        (TimeoutError(), "disk: no answer"),
        (PermissionError(13, "Permission denied"), "disk: Permission denied"),
        (ValueError("what a library says"), "disk: ValueError"),
    ],
)
def test_what_keeps_failing_says_so_and_is_tried_again_after_a_while(error: Exception, sentence: str) -> None:
    thing = Thing()
    reading = Reading("disk", thing)
    thing.fails = error
    for now in range(MOST_FAILURES):
        assert read(reading, 100.0 + now) == ({}, sentence), "nothing was read before that could count"
    thing.fails = None
    last = 100.0 + MOST_FAILURES - 1
    assert read(reading, last + RETRY_SECONDS - 1.0) == ({}, sentence)
    assert read(reading, last + RETRY_SECONDS) == ({"free_disk_bytes": MOST_FAILURES + 1}, None)


def test_what_fails_once_still_counts_as_it_was_read_and_the_next_look_tries_again() -> None:
    """A desktop that was too slow once must not hide who types."""
    thing = Thing()
    reading = Reading("disk", thing, every_seconds=10.0)
    for now in (100.0, 200.0):
        read(reading, now)
        thing.fails = TimeoutError()
        for later in range(1, MOST_FAILURES):
            assert read(reading, now + 10.0 + 2.0 * later) == ({"free_disk_bytes": thing.times - later}, None)
        thing.fails = None
    read(reading, 300.0)
    thing.fails = TimeoutError()
    found = [read(reading, 310.0 + 2.0 * n) for n in range(MOST_FAILURES)]
    assert found[-1] == ({}, "disk: no answer") and found[-2][1] is None


def test_what_is_not_there_is_looked_for_again_soon() -> None:
    """Somebody logs in just after the first look."""
    thing = Thing()
    reading = Reading("disk", thing)
    thing.fails = Absent()
    assert read(reading, 100.0) == ({}, None)
    thing.fails = None
    assert read(reading, 100.0 + ABSENT_SECONDS - 1.0) == ({}, None) and thing.times == 1
    assert read(reading, 100.0 + ABSENT_SECONDS) == ({"free_disk_bytes": 2}, None)


def test_what_hangs_is_not_started_twice_and_counts_no_more_after_a_moment() -> None:
    go = threading.Event()
    reading = Reading("disk", lambda: {"free_disk_bytes": int(go.wait(20))})
    assert reading.start(100.0)
    assert not reading.start(102.0)
    assert reading.outcome(104.9) == ({}, None)
    assert reading.outcome(105.0) == ({}, "disk: no answer")
    go.set()
    reading.wait(10)
    assert reading.outcome(106.0) == ({"free_disk_bytes": 1}, None)


def test_a_look_waits_for_nothing_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    monkeypatch.setattr(probes, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(probes, "battery", lambda: {"lid_closed": go.wait(20)})
    monkeypatch.setattr(probes, "processor_temperature", lambda: {"lid_closed": go.wait(20)})
    panel = Probes(tmp_path, lambda: None)
    began = time.monotonic()
    panel.look()
    assert time.monotonic() - began < 10.0
    go.set()


def test_a_machine_without_desktop_battery_and_lid_is_readable(tmp_path: Path) -> None:
    """As a container is; other machines have what they have."""
    found = Probes(tmp_path, os.getpid).look()
    assert found.unreadable == ()
    assert found.free_memory_bytes and found.free_disk_bytes
    assert found.idle_seconds is None


def test_of_processor_and_graphics_card_the_hotter_counts() -> None:
    assert together([({"temperature_celsius": 50.0}, None), ({"temperature_celsius": 70}, None)]) == Conditions(
        temperature_celsius=70
    )
    assert together([({"temperature_celsius": 50.0}, None), ({}, "graphics card: no answer")]) == Conditions(
        temperature_celsius=50.0, unreadable=("graphics card: no answer",)
    )
