"""How things stand, for `schedule` to judge: read from store and settings, and from what the caller has seen of machine
and engine. Reads neither clock nor probes, and knows nothing of what is under way.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from dittod.config import Settings
from dittod.schedule import Conditions, Limits, Signals, reason_to_wait
from dittod.store import Store

# Notes in the store:
PAUSE = "pause"  # by hand: {"until": POSIX seconds or None}, else {}
LEARNING = "learning"  # what a running daemon says of why nothing is learnt; else {}


def limits(settings: Settings) -> Limits:
    """What the settings ask for."""
    return Limits(
        min_demonstrations=settings.min_demonstrations,
        new_demonstrations=settings.new_demonstrations,
        quiet_hours=settings.quiet_hours,
        idle_seconds=settings.idle_seconds,
        quiet_seconds=settings.quiet_seconds,
        rest_seconds=settings.rest_seconds,
        learn_on_battery=settings.learn_on_battery,
        min_battery_percent=settings.min_battery_percent,
        learn_with_lid_closed=settings.learn_with_lid_closed,
        max_temperature_celsius=settings.max_temperature_celsius,
        max_gpu_use_percent=settings.max_gpu_use_percent,
        min_free_memory=settings.min_free_memory,
        min_free_gpu_memory=settings.min_free_gpu_memory,
        min_free_disk=settings.min_free_disk,
    )


def of_machine(store: Store, conditions: Conditions, now: float) -> Signals:
    """What holds for all profiles, at this time (POSIX seconds). What is a profile's own counts as enough."""
    return Signals(
        demonstrations=2**31,
        new_demonstrations=2**31,
        ever_learnt=False,
        learning=bool(store.runs("requested", "running")),
        now=datetime.fromtimestamp(now),
        conditions=conditions,
        reading=bool(store.noted("reading").get("busy")),
        paused_until=paused_until(store, now),
    )


def of_profile(store: Store, profile: str, machine: Signals, limits: Limits) -> Signals:
    """The same with what is the profile's own; nobody counts further than the limits ask. A run that was stopped counts
    as one that has seen its demonstrations: giving it up must not start it again."""
    now = machine.now.timestamp()
    seen = store.latest_run(profile, "done", "stopped")
    ended = store.latest_run(profile, "done", "stopped", "failed")
    enough = max(limits.min_demonstrations, limits.new_demonstrations)
    since = seen.requested_at if seen else 0.0
    return replace(
        machine,
        demonstrations=store.count_demonstrations(profile, most=enough),
        new_demonstrations=store.count_demonstrations(profile, since=since, most=enough),
        ever_learnt=seen is not None,
        seconds_since_failure=_seconds_since(ended.finished_at, now) if ended and ended.state == "failed" else None,
        seconds_since_update=_seconds_since(seen.finished_at, now) if seen else None,
    )


def why_waiting(store: Store, settings: Settings, profile: str, machine: Signals) -> str | None:
    """The sentence why no update of the profile starts by itself now; None: one should."""
    asked = limits(settings)
    return reason_to_wait(of_profile(store, profile, machine, asked), asked)


def paused_until(store: Store, now: float) -> datetime | None:
    """Until when it is paused by hand; `datetime.max`: until dittod resume; None: it is not."""
    note = store.noted(PAUSE)
    if "until" not in note:
        return None
    if note["until"] is None:
        return datetime.max
    return datetime.fromtimestamp(note["until"]) if note["until"] > now else None


def bring_pause_forward(store: Store, seconds: float) -> None:
    """The clock was set back by so much: a pause ends when it would have ended."""
    until = store.noted(PAUSE).get("until")
    if until is not None:
        store.note(PAUSE, {"until": until - seconds})


def _seconds_since(then: float | None, now: float) -> float:
    """Never negative: what a clock that was wrong says to be in the future is now."""
    return max(0.0, now - (then or 0.0))
