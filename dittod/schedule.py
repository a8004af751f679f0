"""When to learn. Pure: signals and limits in, a sentence or None out; the same sentence in CLI, dashboard and log.

A sentence stays the same while the situation does: it names limits and times of the day, no values that were read, and
counts nothing down. Knows neither how a machine is probed nor what a pause does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, time


@dataclass(frozen=True, slots=True)
class EngineMemory:
    """What the engine takes, in bytes: of the machine's memory, or of the graphics card's."""

    held: int = 0  # now
    learning: int = 0  # the most that it was seen to hold while it learnt; 0: it has not been seen

    def now(self, held: int, *, learns: bool) -> EngineMemory:
        """The same with what it holds by now."""
        return EngineMemory(held, max(self.learning, held) if learns else self.learning)


@dataclass(frozen=True, slots=True)
class Conditions:
    """How the machine is, as probes read it. None: it has no such thing, or that cannot be read; then it does not
    count."""

    idle_seconds: float | None = None  # since a hand was on keyboard or mouse
    on_battery: bool | None = None
    battery_percent: float | None = None
    lid_closed: bool | None = None
    temperature_celsius: float | None = None  # the hottest of processor and graphics card
    free_memory_bytes: int | None = None  # that programs could have without swapping
    free_gpu_memory_bytes: int | None = None
    gpu_use_percent: float | None = None  # by other programs
    free_disk_bytes: int | None = None  # where the home lies
    unreadable: tuple[str, ...] = ()  # what should be there and could not be read, in words
    engine_memory: EngineMemory = EngineMemory()
    engine_gpu_memory: EngineMemory = EngineMemory()


@dataclass(frozen=True, slots=True)
class Signals:
    """How things stand for one profile on this machine."""

    demonstrations: int  # of the profile, now
    new_demonstrations: int  # of them, those that its last run has not seen
    ever_learnt: bool  # a run of this profile ended before
    learning: bool  # a run, of whichever profile, is requested or under way
    now: datetime  # local time
    conditions: Conditions = field(default_factory=Conditions)
    waiting_demonstrations: int = 0  # of the new ones, those that came in longer ago than LONG_WAIT_SECONDS
    reading: bool = False  # files in the watched folder are still being read
    seconds_since_failure: float | None = None  # of the profile's latest run; None: it did not fail
    failures: int = 0  # of the profile's latest runs, one after the other, with the same texts
    seconds_since_update: float | None = None  # since the profile's last run ended; None: there was none
    seconds_since_request: float | None = None  # None: there was none since the start
    paused_until: datetime | None = None  # by hand; datetime.max: until dittod resume
    next_look: datetime | None = None  # where looks have set times
    trouble: str | None = None  # why the engine must not learn now: it keeps dying, say


@dataclass(frozen=True, slots=True)
class Limits:
    """What the settings ask for; each is the setting of that name."""

    min_demonstrations: int
    new_demonstrations: int
    quiet_hours: tuple[str, ...] = ()
    idle_seconds: float = 0.0
    quiet_seconds: float = 0.0
    rest_seconds: float = 0.0
    learn_on_battery: bool = False
    min_battery_percent: float = 0.0
    learn_with_lid_closed: bool = False
    max_temperature_celsius: float = 1000.0
    max_gpu_use_percent: float = 100.0
    min_free_memory: int = 0
    min_free_gpu_memory: int = 0
    min_free_disk: int = 0


PAUSE_AFTER_FAILURE_SECONDS = 3600.0  # what failed once will mostly fail again at once; doubled for each further one
LONGEST_PAUSE_AFTER_FAILURE_SECONDS = 24 * 3600.0
BACK_SECONDS = 10.0  # a hand on keyboard or mouse so recently: the person is back, which pauses what runs
COOLER_CELSIUS = 5.0  # below the limit before learning starts: it will make the machine hotter
ALMOST_EMPTY_PERCENT = 10.0  # of a battery: by then even what was asked for by hand is held up
LONG_WAIT_SECONDS = 24 * 3600.0  # of enough texts: after that requests, to which learning gives way, keep it no longer


def reason_to_wait(signals: Signals, limits: Limits) -> str | None:
    """Why no update should start by itself now; None: start one."""
    return (
        _decided(signals, limits)
        or ("an update is under way" if signals.learning else None)
        or ("still reading the watched folder" if signals.reading else None)
        or _too_little_new(signals, limits)
        or _too_soon(signals, limits)
        or _machine(signals, limits, starting=True)
        or _requests(signals, limits)
        or _next_look(signals)
    )


def reason_to_pause(signals: Signals, limits: Limits, *, by_hand: bool = False) -> str | None:
    """Why learning that is under way, of whichever kind, should leave the machine alone now; None: go on. What the user
    asked for `by_hand` is held up only by what would harm: too hot, no memory, no disk, an almost empty battery, a
    pause by hand, an engine that keeps dying."""
    return _reason_to_hold(signals, limits, by_hand, starting=False)


def reason_to_stay_paused(signals: Signals, limits: Limits, *, by_hand: bool = False) -> str | None:
    """Why learning that was paused should not go on yet. Stricter than `reason_to_pause`, as `reason_to_wait` is, so
    that a value near its limit does not stop and start it by turns."""
    return _reason_to_hold(signals, limits, by_hand, starting=True)


def frees_memory(signals: Signals, limits: Limits) -> bool:
    """Whether a pause should also give the engine's memory back: others want it, or the machine goes to sleep."""
    wanted = (_lid, _gpu_use, _memory, _gpu_memory)
    return any(reason(signals.conditions, limits, False) is not None for reason in wanted)


def quiet_until(hours: tuple[str, ...], now: time) -> time | None:
    """The time of the day at which the quiet hours around `now` end; None: it is not quiet. Each is '22:00-07:30', with
    its first minute and without its last; those that meet are one. Clock time only: a change to or from summer time
    makes a night shorter or longer, as it does for people."""
    ranges = [_range(each) for each in hours]
    end = now
    for _ in ranges:
        end = next((last for first, last in ranges if _within(end, first, last)), end)
    return end if any(_within(now, first, last) for first, last in ranges) else None


def _range(hours: str) -> tuple[time, time]:
    first, _, last = hours.partition("-")
    return time.fromisoformat(first), time.fromisoformat(last)


def _within(moment: time, first: time, last: time) -> bool:
    return first <= moment < last if first < last else moment >= first or moment < last


def _reason_to_hold(signals: Signals, limits: Limits, by_hand: bool, *, starting: bool) -> str | None:
    if by_hand:
        return _paused(signals) or signals.trouble or _harm(signals.conditions, limits, starting)
    return _decided(signals, limits) or _machine(signals, limits, starting=starting)


def _decided(signals: Signals, limits: Limits) -> str | None:
    """What the person decided, and what leaves nothing to decide."""
    return _paused(signals) or _quiet(signals, limits) or signals.trouble


def _paused(signals: Signals) -> str | None:
    until = signals.paused_until
    if until == datetime.max:
        return "paused until dittod resume"
    if until is None or until.timestamp() <= signals.now.timestamp():
        return None
    return f"paused until {_moment(until, signals.now)}"


def _quiet(signals: Signals, limits: Limits) -> str | None:
    until = quiet_until(limits.quiet_hours, signals.now.time())
    return None if until is None else f"quiet hours until {until:%H:%M}"


def _too_little_new(signals: Signals, limits: Limits) -> str | None:
    if signals.demonstrations < limits.min_demonstrations:
        return f"{_count(signals.demonstrations)}, waiting for {limits.min_demonstrations}"
    if signals.ever_learnt and signals.new_demonstrations == 0:
        return "nothing new since the last update"
    if signals.ever_learnt and signals.new_demonstrations < limits.new_demonstrations:
        return f"{signals.new_demonstrations} new of the {limits.new_demonstrations} that make an update worth it"
    return None


def _too_soon(signals: Signals, limits: Limits) -> str | None:
    """After a failure first: what failed ended as well."""
    if at := _later(signals.now, signals.seconds_since_failure, pause_after(signals.failures)):
        return f"the last update failed; the next one may start at {at}"
    if at := _later(signals.now, signals.seconds_since_update, limits.rest_seconds):
        return f"updated less than {_duration(limits.rest_seconds)} ago; next at {at}"
    return None


def pause_after(failures: int) -> float:
    """Seconds from the latest of so many failures to the next try."""
    doubled = PAUSE_AFTER_FAILURE_SECONDS * 2.0 ** min(max(0, failures - 1), 16)
    return min(doubled, LONGEST_PAUSE_AFTER_FAILURE_SECONDS)


def _requests(signals: Signals, limits: Limits) -> str | None:
    since = signals.seconds_since_request
    enough = limits.new_demonstrations if signals.ever_learnt else limits.min_demonstrations
    if since is None or since >= limits.quiet_seconds or signals.waiting_demonstrations >= enough:
        return None
    return f"requests are coming in; learns {_duration(limits.quiet_seconds)} after the last one"


def _next_look(signals: Signals) -> str | None:
    look = signals.next_look
    return None if look is None else f"looks again at {_moment(look, signals.now)}"


def _machine(signals: Signals, limits: Limits, *, starting: bool) -> str | None:
    conditions = signals.conditions
    return (
        _battery(conditions, limits)
        or _lid(conditions, limits, starting)
        or _person(conditions, limits, starting)
        or _gpu_use(conditions, limits, starting)
        or _harm(conditions, limits, starting)
    )


def _harm(conditions: Conditions, limits: Limits, starting: bool) -> str | None:
    return (
        _almost_empty(conditions, limits)
        or _temperature(conditions, limits, starting)
        or _memory(conditions, limits, starting)
        or _gpu_memory(conditions, limits, starting)
        or _disk(conditions, limits, starting)
    )


def _battery(conditions: Conditions, limits: Limits) -> str | None:
    if not conditions.on_battery:
        return None
    if not limits.learn_on_battery:
        return "on battery"
    return _charge_below(conditions, limits.min_battery_percent)


def _almost_empty(conditions: Conditions, limits: Limits) -> str | None:
    return _charge_below(conditions, min(ALMOST_EMPTY_PERCENT, limits.min_battery_percent))


def _charge_below(conditions: Conditions, percent: float) -> str | None:
    charge = conditions.battery_percent
    low = conditions.on_battery and charge is not None and charge < percent
    return f"on battery, with less than {percent:g} % left" if low else None


def _lid(conditions: Conditions, limits: Limits, starting: bool) -> str | None:
    return "the lid is closed" if conditions.lid_closed and not limits.learn_with_lid_closed else None


def _person(conditions: Conditions, limits: Limits, starting: bool) -> str | None:
    away = limits.idle_seconds if starting else min(BACK_SECONDS, limits.idle_seconds)
    if conditions.idle_seconds is None or conditions.idle_seconds >= away:
        return None
    return f"you are at the machine; learns after {_duration(limits.idle_seconds)} without keyboard and mouse"


def _gpu_use(conditions: Conditions, limits: Limits, starting: bool) -> str | None:
    """What runs is paused half as far again above the limit, or half-way to all there is where that is nearer."""
    limit, use = limits.max_gpu_use_percent, conditions.gpu_use_percent
    most = limit if starting else min(1.5 * limit, (limit + 100.0) / 2)
    if use is None or use <= most:
        return None
    return f"other programs use more than {limit:g} % of the graphics card"


def _temperature(conditions: Conditions, limits: Limits, starting: bool) -> str | None:
    celsius = conditions.temperature_celsius
    most = limits.max_temperature_celsius - (COOLER_CELSIUS if starting else 0.0)
    if celsius is None or celsius <= most:
        return None
    return f"too hot to begin: more than {most:g} °C" if starting else f"too hot: more than {most:g} °C"


def _memory(conditions: Conditions, limits: Limits, starting: bool) -> str | None:
    free, wanted = conditions.free_memory_bytes, limits.min_free_memory
    return _short_of("of memory", free, wanted, starting, conditions.engine_memory)


def _gpu_memory(conditions: Conditions, limits: Limits, starting: bool) -> str | None:
    free, wanted = conditions.free_gpu_memory_bytes, limits.min_free_gpu_memory
    return _short_of("of the graphics card's memory", free, wanted, starting, conditions.engine_gpu_memory)


def _disk(conditions: Conditions, limits: Limits, starting: bool) -> str | None:
    return _short_of("of the disk", conditions.free_disk_bytes, limits.min_free_disk, starting, EngineMemory())


def _short_of(what: str, free: int | None, wanted: int, starting: bool, engine: EngineMemory) -> str | None:
    """What runs is paused when half of it is gone too, whoever took it. What starts must find what it will take as
    well: else it would be the one that takes it, be paused for that, give it back and start again."""
    least = wanted + max(0, engine.learning - engine.held) if starting else wanted / 2
    if free is None or free >= least:
        return None
    if not (starting and engine.learning):
        return f"less than {_size(wanted)} {what} is free"
    took = f"learning takes {_size(engine.learning)}, and {_size(wanted)} is to stay free"
    return f"less than {_size(wanted + engine.learning)} {what} is free: {took}"


def _later(now: datetime, since: float | None, seconds: float) -> str | None:
    """When so many seconds have passed; None: they have. A clock that was set back makes nobody wait for longer."""
    if since is None or since >= seconds:
        return None
    at = now.timestamp() + seconds - max(0.0, since)
    return _moment(datetime.fromtimestamp(at + 30.0, now.tzinfo), now)


def goes_on_later(now: datetime, seconds: float, reason: str) -> str:
    """What is said in so many seconds before the end of a pause whose reason is past."""
    return f"goes on at {_later(now, 0.0, seconds)}; it was: {reason}"


def _moment(when: datetime, now: datetime) -> str:
    """A time of the day, with its date where that leaves a doubt."""
    far = when.timestamp() - now.timestamp() >= 24 * 3600.0
    return f"{when:%Y-%m-%d %H:%M}" if far else f"{when:%H:%M}"


def _duration(seconds: float) -> str:
    for length, unit in ((3600.0, "hour"), (60.0, "minute")):
        if seconds >= length and (seconds % length == 0 or seconds >= 2 * length):
            return _number(round(seconds / length, 1), unit)
    return _number(seconds, "second")


def _number(count: float, unit: str) -> str:
    return f"{count:g} {unit}" if count == 1 else f"{count:g} {unit}s"


def _size(count: float) -> str:
    return f"{count / 2**30:.3g} GiB" if count >= 2**30 else f"{count / 2**20:.3g} MiB"


def _count(number: int) -> str:
    return "no demonstration" if number == 0 else "1 demonstration" if number == 1 else f"{number} demonstrations"
