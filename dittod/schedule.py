"""When to learn. Pure: signals and limits in, a sentence or None out; the same sentence in CLI, dashboard and log."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Signals:
    """How things stand for one profile on this machine."""

    demonstrations: int  # of the profile, now
    new_demonstrations: int  # of them, those that its last run has not seen
    ever_learnt: bool  # a run of this profile ended before
    on_battery: bool
    learning: bool  # a run, of whichever profile, is requested or under way
    reading: bool = False  # files in the watched folder are still being read
    seconds_since_failure: float | None = None  # of the profile's latest run; None: it did not fail


PAUSE_AFTER_FAILURE_SECONDS = 3600.0  # what failed once will mostly fail again at once


@dataclass(frozen=True, slots=True)
class Limits:
    """What the settings ask for."""

    min_demonstrations: int
    new_demonstrations: int
    learn_on_battery: bool


def reason_to_wait(signals: Signals, limits: Limits) -> str | None:
    """Why no update should start now; None: start one."""
    if signals.learning:
        return "an update is under way"
    if signals.reading:
        return "still reading the watched folder"
    if reason := _too_little_new(signals, limits):
        return reason
    since = signals.seconds_since_failure
    if since is not None and since < PAUSE_AFTER_FAILURE_SECONDS:
        minutes = (PAUSE_AFTER_FAILURE_SECONDS - since) / 60
        return f"the last update failed; the next one may start in {minutes:.0f} minutes"
    if signals.on_battery and not limits.learn_on_battery:
        return "on battery"
    return None


def _too_little_new(signals: Signals, limits: Limits) -> str | None:
    if signals.demonstrations < limits.min_demonstrations:
        return f"{_count(signals.demonstrations)}, waiting for {limits.min_demonstrations}"
    if signals.ever_learnt and signals.new_demonstrations == 0:
        return "nothing new since the last update"
    if signals.ever_learnt and signals.new_demonstrations < limits.new_demonstrations:
        return f"{signals.new_demonstrations} new of the {limits.new_demonstrations} that make an update worth it"
    return None


def _count(number: int) -> str:
    return "no demonstration" if number == 0 else "1 demonstration" if number == 1 else f"{number} demonstrations"
