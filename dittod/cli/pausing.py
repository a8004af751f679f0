"""pause, resume, stop-update: said to the store. A running daemon does it in seconds, a later one when it starts."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from dittod import runs, signals
from dittod.cli.terminal import day, out
from dittod.errors import DittodError
from dittod.machine.lock import holder
from dittod.paths import Home, home
from dittod.store import Store

UNIT_SECONDS = {"m": 60, "h": 3600, "d": 86400}


def pause(duration: str | None) -> None:
    """Again: the later word counts."""
    seconds = None if duration is None else seconds_of(duration)
    with _opened() as (place, store):
        until = signals.pause(store, seconds, time.time())
    end = "until dittod resume" if until is None else f"until {day(until)}, or dittod resume"
    out.print(f"nothing is learnt {end}{_unless_running(place)}")


def resume() -> None:
    """Of no effect where nothing is paused."""
    with _opened() as (place, store):
        was_paused = signals.resume(store, time.time())
    goes_on = f"learning goes on as soon as nothing else holds it up{_unless_running(place)}"
    out.print(goes_on if was_paused else "not paused")


def stop_update(profile: str) -> None:
    """Its checkpoints go: nothing can go on from them."""
    with _opened() as (place, store):
        run = runs.stop(store, profile, time.time())
    if holder(place.lock) is None:
        shutil.rmtree(place.runs / run.id, ignore_errors=True)
    out.print(f"the update of profile {profile} is given up; what was served before still is", markup=False)


def seconds_of(duration: str) -> float:
    """'30m', '1h30m' or '1d' in seconds. Raises DittodError with an example."""
    one = r"\s*([0-9]{1,9})\s*([mhd])"
    whole = re.fullmatch(rf"({one})+\s*", duration)
    if not whole:
        raise DittodError(f"nothing can be paused for {duration!r}", "give 30m, 2h or 1d, or 1h30m")
    return float(sum(int(count) * UNIT_SECONDS[unit] for count, unit in re.findall(one, duration)))


@contextmanager
def _opened() -> Iterator[tuple[Home, Store]]:
    """Whatever the settings are: learning can be held up while they are broken."""
    place = home()
    place.create()
    with closing(Store(place.store)) as store:
        yield place, store


def _unless_running(place: Home) -> str:
    return "" if holder(place.lock) is not None else " (no daemon is running now)"
