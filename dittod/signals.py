"""How things stand, for `schedule` to judge: read from store and settings, and from what the caller has seen of machine
and engine; and the one signal that a person gives, a pause. Reads neither clock nor probes, and knows nothing of what
is under way.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from dittod.config import Settings
from dittod.errors import RequestError
from dittod.schedule import LONG_WAIT_SECONDS, Conditions, Limits, Signals, reason_to_wait
from dittod.store import Store

# Notes in the store:
PAUSE = "pause"  # by hand: {"until": POSIX seconds or None, "said_at": POSIX seconds}, else {}
LEARNING = "learning"  # what a running daemon says of why nothing is learnt; else {}
ROLLED_BACK = "rolled_back"  # by profile, what `dittod.in_use` did by itself

LONGEST_PAUSE_SECONDS = 365 * 86400.0
MOST_FAILURES = 8  # that are counted: long before, the pause is at its longest


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
    has_failed = ended is not None and ended.state == "failed"
    return replace(
        machine,
        demonstrations=store.count_demonstrations(profile, most=enough),
        new_demonstrations=store.count_demonstrations(profile, since=since, most=enough),
        waiting_demonstrations=_waiting(store, profile, since, machine, limits),
        ever_learnt=seen is not None,
        seconds_since_failure=_seconds_since(ended.finished_at, now) if ended and has_failed else None,
        failures=_failures(store, profile, since) if has_failed else 0,
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


def pause(store: Store, seconds: float | None, now: float) -> float | None:
    """Learn nothing for so long from `now` on (POSIX seconds); None: until `resume`. The later word counts. Returns
    when it ends. Raises RequestError."""
    if seconds is not None and not 0.0 < seconds <= LONGEST_PAUSE_SECONDS:
        most = f"{LONGEST_PAUSE_SECONDS / 86400.0:.0f} days at most"
        raise RequestError("learning cannot be paused for so long", f"give a time above zero, {most}", param="seconds")
    until = None if seconds is None else now + seconds
    store.note(PAUSE, {"until": until, "said_at": now})
    return until


def resume(store: Store, now: float) -> bool:
    """End a pause by hand. Returns whether there was one."""
    was_paused = paused_until(store, now) is not None
    store.note(PAUSE, {})
    return was_paused


def bring_pause_forward(store: Store, seconds: float, *, since: float, now: float) -> None:
    """The clock, which shows `now` (POSIX seconds), was set back by so much, at some time from `since` on, by itself: a
    pause keeps its length. One that was said after that, or ends at no time, stays as it is."""
    pause = store.noted(PAUSE)
    said_at = pause.get("said_at")
    if pause.get("until") is None or (said_at is not None and since <= said_at <= now):
        return
    ahead = max(seconds, (said_at or now) - now)  # set back while nobody compared clocks: by that at least
    if ahead > 0.0:
        store.note(PAUSE, {"until": pause["until"] - ahead, "said_at": min(now, (said_at or now) - ahead)})


def _waiting(store: Store, profile: str, since: float, machine: Signals, limits: Limits) -> int:
    """Demonstrations from after `since` that have waited for long. Only counted while requests hold learning up."""
    asked = machine.seconds_since_request
    if asked is None or asked >= limits.quiet_seconds:
        return 0
    recently = machine.now.timestamp() - LONG_WAIT_SECONDS
    if recently <= since:
        return 0
    return store.count_demonstrations(profile, since=since) - store.count_demonstrations(profile, since=recently)


def _failures(store: Store, profile: str, since: float) -> int:
    """How many of the profile's runs that were requested since then have failed with all the texts that it has now."""
    failed = [run.requested_at for run in store.runs("failed", profile=profile) if run.requested_at > since]
    return sum(not store.count_demonstrations(profile, since=at, most=1) for at in failed[-MOST_FAILURES:])


def _seconds_since(then: float | None, now: float) -> float:
    """Never negative: what a clock that was wrong says to be in the future is now."""
    return max(0.0, now - (then or 0.0))
