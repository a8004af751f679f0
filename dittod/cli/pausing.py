"""pause, resume, stop-update: said to the store. A running daemon does it in seconds, a later one when it starts."""

from __future__ import annotations

import re
import shutil
import time

from dittod.cli.terminal import day, out
from dittod.errors import DittodError, NotFound
from dittod.machine.lock import holder
from dittod.paths import Home, home
from dittod.signals import PAUSE, paused_until
from dittod.store import Store

UNIT_SECONDS = {"m": 60, "h": 3600, "d": 86400}
LONGEST_DAYS = 365


def pause(duration: str | None) -> None:
    """Again: the later word counts."""
    now = time.time()
    until = None if duration is None else now + seconds_of(duration)
    place, store = _open()
    store.note(PAUSE, {"until": until, "said_at": now})
    store.close()
    end = "until dittod resume" if until is None else f"until {day(until)}, or dittod resume"
    out.print(f"nothing is learnt {end}{_unless_running(place)}")


def resume() -> None:
    """Of no effect where nothing is paused."""
    place, store = _open()
    paused = paused_until(store, time.time()) is not None
    store.note(PAUSE, {})
    store.close()
    out.print(
        f"learning goes on as soon as nothing else holds it up{_unless_running(place)}" if paused else "not paused"
    )


def stop_update(profile: str) -> None:
    """Its checkpoints go: nothing can go on from them."""
    place, store = _open()
    run = store.stop_run(profile, time.time())
    store.close()
    if run is None:
        raise NotFound(f"profile {profile!r} has no open update", "see what there is with: dittod status")
    if holder(place.lock) is None:
        shutil.rmtree(place.runs / run.id, ignore_errors=True)
    out.print(f"the update of profile {profile} is given up; what was served before still is", markup=False)


def seconds_of(duration: str) -> float:
    """'30m', '1h30m' or '1d' in seconds. Raises DittodError with an example."""
    one = r"\s*([0-9]{1,9})\s*([mhd])"
    whole = re.fullmatch(rf"({one})+\s*", duration)
    seconds = sum(int(count) * UNIT_SECONDS[unit] for count, unit in re.findall(one, duration)) if whole else 0
    if not 0 < seconds <= LONGEST_DAYS * UNIT_SECONDS["d"]:
        raise DittodError(
            f"nothing can be paused for {duration!r}", f"give 30m, 2h or 1d, or 1h30m; {LONGEST_DAYS}d at most"
        )
    return float(seconds)


def _open() -> tuple[Home, Store]:
    place = home()
    place.create()
    return place, Store(place.store)


def _unless_running(place: Home) -> str:
    return "" if holder(place.lock) is not None else " (no daemon is running now)"
