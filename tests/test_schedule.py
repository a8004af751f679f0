"""When to learn: a table of situations, each with the sentence expected."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dittod.schedule import (
    Conditions,
    EngineMemory,
    Limits,
    Signals,
    frees_memory,
    quiet_until,
    reason_to_pause,
    reason_to_stay_paused,
    reason_to_wait,
)

MIB, GIB = 2**20, 2**30
LIMITS = Limits(
    min_demonstrations=4,
    new_demonstrations=3,
    quiet_hours=("22:00-07:30",),
    idle_seconds=300.0,
    quiet_seconds=60.0,
    rest_seconds=6 * 3600.0,
    learn_on_battery=False,
    min_battery_percent=30.0,
    learn_with_lid_closed=False,
    max_temperature_celsius=90.0,
    max_gpu_use_percent=20.0,
    min_free_memory=512 * MIB,
    min_free_gpu_memory=256 * MIB,
    min_free_disk=GIB,
)
NO_LIMITS = Limits(min_demonstrations=1, new_demonstrations=1, learn_on_battery=True, learn_with_lid_closed=True)
NOON = datetime(2026, 3, 10, 12, 0)
FIRST = Signals(demonstrations=5, new_demonstrations=5, ever_learnt=False, learning=False, now=NOON)
LATER = replace(FIRST, ever_learnt=True, demonstrations=9, new_demonstrations=4)
GOOD = Conditions(
    idle_seconds=3000.0,
    on_battery=False,
    battery_percent=100.0,
    lid_closed=False,
    temperature_celsius=50.0,
    free_memory_bytes=8 * GIB,
    free_gpu_memory_bytes=8 * GIB,
    gpu_use_percent=0.0,
    free_disk_bytes=100 * GIB,
)
AT_THE_MACHINE = "you are at the machine; learns after 5 minutes without keyboard and mouse"
GPU_IN_USE = "other programs use more than 20 % of the graphics card"


def machine(**changes: Any) -> Signals:
    return replace(FIRST, conditions=replace(GOOD, **changes))


@pytest.mark.parametrize(
    ("signals", "sentence"),
    [
        (FIRST, None),
        (LATER, None),
        (machine(), None),
        (replace(FIRST, demonstrations=0), "no demonstration, waiting for 4"),
        (replace(FIRST, demonstrations=1), "1 demonstration, waiting for 4"),
        (replace(FIRST, demonstrations=3), "3 demonstrations, waiting for 4"),
        (replace(LATER, new_demonstrations=0), "nothing new since the last update"),
        (replace(LATER, new_demonstrations=2), "2 new of the 3 that make an update worth it"),
        (replace(FIRST, learning=True), "an update is under way"),
        (replace(FIRST, reading=True), "still reading the watched folder"),
        (replace(FIRST, trouble="the engine died 4 times in 5 minutes"), "the engine died 4 times in 5 minutes"),
        (replace(FIRST, paused_until=datetime.max), "paused until dittod resume"),
        (replace(FIRST, paused_until=NOON + timedelta(hours=2.5)), "paused until 14:30"),
        (replace(FIRST, paused_until=NOON + timedelta(days=2)), "paused until 2026-03-12 12:00"),
        (replace(FIRST, paused_until=NOON), None),
        (replace(FIRST, now=NOON.replace(hour=22)), "quiet hours until 07:30"),
        (replace(FIRST, now=NOON.replace(hour=7, minute=29, second=59)), "quiet hours until 07:30"),
        (replace(FIRST, now=NOON.replace(hour=7, minute=30)), None),
        (
            replace(LATER, seconds_since_failure=1200.0),
            "the last update failed; the next one may start at 12:40",
        ),
        (replace(LATER, seconds_since_failure=3600.0), None),
        (replace(LATER, seconds_since_failure=3600.0, failures=1), None),
        (
            replace(LATER, seconds_since_failure=1200.0, failures=3),
            "the last update failed; the next one may start at 15:40",
        ),
        (replace(LATER, seconds_since_failure=4 * 3600.0, failures=3), None),
        (
            replace(LATER, seconds_since_failure=0.0, failures=10**6),
            "the last update failed; the next one may start at 2026-03-11 12:00",
        ),
        (replace(LATER, seconds_since_failure=24 * 3600.0, failures=10**6), None),
        (replace(LATER, seconds_since_update=3600.0), "updated less than 6 hours ago; next at 17:00"),
        (replace(LATER, seconds_since_update=-5000.0), "updated less than 6 hours ago; next at 18:00"),
        (replace(LATER, seconds_since_update=6 * 3600.0), None),
        (replace(FIRST, seconds_since_request=59.0), "requests are coming in; learns 1 minute after the last one"),
        (replace(FIRST, seconds_since_request=60.0), None),
        (replace(FIRST, seconds_since_request=0.0, waiting_demonstrations=4), None),
        (replace(LATER, seconds_since_request=0.0, waiting_demonstrations=3), None),
        (
            replace(LATER, seconds_since_request=0.0, waiting_demonstrations=2),
            "requests are coming in; learns 1 minute after the last one",
        ),
        (replace(FIRST, next_look=NOON + timedelta(minutes=30)), "looks again at 12:30"),
        (machine(idle_seconds=299.0), AT_THE_MACHINE),
        (machine(idle_seconds=300.0), None),
        (machine(on_battery=True), "on battery"),
        (machine(battery_percent=5.0), None),
        (machine(lid_closed=True), "the lid is closed"),
        (machine(temperature_celsius=97.0), "too hot to begin: more than 85 °C"),
        (machine(temperature_celsius=85.1), "too hot to begin: more than 85 °C"),
        (machine(temperature_celsius=85.0), None),
        (machine(gpu_use_percent=60.0), GPU_IN_USE),
        (machine(gpu_use_percent=20.0), None),
        (machine(free_memory_bytes=300 * MIB), "less than 512 MiB of memory is free"),
        (machine(free_memory_bytes=512 * MIB), None),
        (machine(free_gpu_memory_bytes=0), "less than 256 MiB of the graphics card's memory is free"),
        (machine(free_disk_bytes=GIB - 1), "less than 1 GiB of the disk is free"),
        (
            machine(free_memory_bytes=int(3.4 * GIB), engine_memory=EngineMemory(learning=3 * GIB)),
            "less than 3.5 GiB of memory is free: learning takes 3 GiB, and 512 MiB is to stay free",
        ),
        (machine(free_memory_bytes=int(3.5 * GIB), engine_memory=EngineMemory(learning=3 * GIB)), None),
        (machine(free_memory_bytes=int(2.5 * GIB), engine_memory=EngineMemory(GIB, 3 * GIB)), None),
        (machine(free_memory_bytes=GIB, engine_memory=EngineMemory(4 * GIB, 3 * GIB)), None),
        (
            machine(free_gpu_memory_bytes=GIB, engine_gpu_memory=EngineMemory(learning=GIB)),
            "less than 1.25 GiB of the graphics card's memory is free: learning takes 1 GiB, and 256 MiB is to stay"
            " free",
        ),
    ],
)
def test_the_sentence_for_each_situation(signals: Signals, sentence: str | None) -> None:
    assert reason_to_wait(signals, LIMITS) == sentence


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"paused_until": datetime.max}, {"now": NOON.replace(hour=23)}),
        ({"now": NOON.replace(hour=23)}, {"demonstrations": 0}),
        ({"learning": True}, {"demonstrations": 0}),
        ({"demonstrations": 0}, {"conditions": replace(GOOD, on_battery=True)}),
        ({"ever_learnt": True, "new_demonstrations": 0}, {"seconds_since_update": 1.0}),
        ({"seconds_since_update": 1.0}, {"conditions": replace(GOOD, idle_seconds=0.0)}),
        ({"conditions": replace(GOOD, idle_seconds=0.0)}, {"seconds_since_request": 1.0}),
        ({"seconds_since_request": 1.0}, {"next_look": NOON}),
    ],
)
def test_what_the_person_decided_comes_first_then_the_texts_then_the_machine(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    both = replace(FIRST, **second, **first)
    assert reason_to_wait(both, LIMITS) == reason_to_wait(replace(FIRST, **first), LIMITS) is not None


@pytest.mark.parametrize(
    ("limit", "signals"),
    [
        ("min_demonstrations", replace(FIRST, demonstrations=3)),
        ("new_demonstrations", replace(LATER, new_demonstrations=2)),
        ("quiet_hours", replace(FIRST, now=NOON.replace(hour=23))),
        ("idle_seconds", machine(idle_seconds=100.0)),
        ("quiet_seconds", replace(FIRST, seconds_since_request=10.0)),
        ("rest_seconds", replace(LATER, seconds_since_update=100.0)),
        ("learn_on_battery", machine(on_battery=True)),
        ("learn_with_lid_closed", machine(lid_closed=True)),
        ("max_temperature_celsius", machine(temperature_celsius=91.0)),
        ("max_gpu_use_percent", machine(gpu_use_percent=21.0)),
        ("min_free_memory", machine(free_memory_bytes=1)),
        ("min_free_gpu_memory", machine(free_gpu_memory_bytes=1)),
        ("min_free_disk", machine(free_disk_bytes=1)),
    ],
)
def test_each_limit_can_be_lifted_by_itself(limit: str, signals: Signals) -> None:
    assert reason_to_wait(signals, LIMITS) is not None
    assert reason_to_wait(signals, replace(LIMITS, **{limit: getattr(NO_LIMITS, limit)})) is None


def test_where_learning_on_battery_is_allowed_the_charge_counts() -> None:
    allowed = replace(LIMITS, learn_on_battery=True)
    assert reason_to_wait(machine(on_battery=True, battery_percent=30.0), allowed) is None
    assert reason_to_wait(machine(on_battery=True, battery_percent=None), allowed) is None
    sentence = "on battery, with less than 30 % left"
    assert reason_to_wait(machine(on_battery=True, battery_percent=29.0), allowed) == sentence
    assert (
        reason_to_wait(machine(on_battery=True, battery_percent=29.0), replace(allowed, min_battery_percent=0)) is None
    )


def test_a_machine_that_has_nothing_of_all_that_learns() -> None:
    assert reason_to_wait(replace(FIRST, conditions=Conditions()), LIMITS) is None


@pytest.mark.parametrize(
    ("changes", "pauses", "goes_on_again"),
    [
        ({"idle_seconds": 9.0}, True, False),
        ({"idle_seconds": 10.0}, False, False),
        ({"idle_seconds": 300.0}, False, True),
        ({"temperature_celsius": 91.0}, True, False),
        ({"temperature_celsius": 90.0}, False, False),
        ({"temperature_celsius": 85.0}, False, True),
        ({"gpu_use_percent": 31.0}, True, False),
        ({"gpu_use_percent": 30.0}, False, False),
        ({"gpu_use_percent": 20.0}, False, True),
        ({"free_memory_bytes": 256 * MIB - 1}, True, False),
        ({"free_memory_bytes": 256 * MIB}, False, False),
        ({"free_memory_bytes": 512 * MIB}, False, True),
        ({"free_gpu_memory_bytes": 128 * MIB - 1}, True, False),
        ({"free_gpu_memory_bytes": 128 * MIB}, False, False),
        ({"free_disk_bytes": GIB // 2 - 1}, True, False),
        ({"free_disk_bytes": GIB // 2}, False, False),
        ({"on_battery": True}, True, False),
        ({"lid_closed": True}, True, False),
    ],
)
def test_between_pausing_and_going_on_there_is_a_gap(
    changes: dict[str, Any], pauses: bool, goes_on_again: bool
) -> None:
    assert (reason_to_pause(machine(**changes), LIMITS) is not None) == pauses
    assert (reason_to_stay_paused(machine(**changes), LIMITS) is None) == goes_on_again


def test_a_request_a_rest_or_too_little_text_pauses_nothing() -> None:
    signals = replace(LATER, learning=True, new_demonstrations=0, seconds_since_request=0.0, seconds_since_update=1.0)
    assert reason_to_pause(replace(signals, reading=True, next_look=NOON), LIMITS) is None


@pytest.mark.parametrize(
    ("signals", "sentence"),
    [
        (machine(on_battery=True, lid_closed=True, idle_seconds=0.0, gpu_use_percent=99.0), None),
        (replace(FIRST, now=NOON.replace(hour=23)), None),
        (machine(on_battery=True, battery_percent=9.0), "on battery, with less than 10 % left"),
        (machine(on_battery=True, battery_percent=10.0), None),
        (machine(temperature_celsius=91.0), "too hot: more than 90 °C"),
        (machine(free_memory_bytes=0), "less than 512 MiB of memory is free"),
        (machine(free_disk_bytes=0), "less than 1 GiB of the disk is free"),
        (replace(FIRST, paused_until=datetime.max), "paused until dittod resume"),
        (replace(FIRST, trouble="the engine died 4 times"), "the engine died 4 times"),
    ],
)
def test_what_was_asked_for_by_hand_is_held_up_only_by_what_would_harm(signals: Signals, sentence: str | None) -> None:
    assert reason_to_pause(signals, LIMITS, by_hand=True) == sentence


@pytest.mark.parametrize(
    ("changes", "frees"),
    [
        ({"lid_closed": True}, True),
        ({"gpu_use_percent": 60.0}, True),
        ({"free_memory_bytes": 0}, True),
        ({"free_gpu_memory_bytes": 0}, True),
        ({"idle_seconds": 0.0, "on_battery": True, "temperature_celsius": 99.0, "free_disk_bytes": 0}, False),
        ({}, False),
    ],
)
def test_memory_is_given_back_where_others_want_it_or_the_lid_is_closed(changes: dict[str, Any], frees: bool) -> None:
    assert frees_memory(machine(**changes), LIMITS) == frees


@given(st.integers(0, 4 * GIB), st.integers(0, 4 * GIB), st.booleans())
def test_a_sentence_does_not_change_with_the_bytes_that_are_free(one: int, other: int, pauses: bool) -> None:
    judge = reason_to_pause if pauses else reason_to_wait
    taken = EngineMemory(GIB, 2 * GIB)
    said = {judge(machine(free_memory_bytes=each, engine_memory=taken), LIMITS) for each in (one, other)}
    assert len(said - {None}) <= 1


def test_only_what_the_engine_holds_while_it_learns_tells_what_learning_takes() -> None:
    memory = EngineMemory().now(GIB, learns=False)
    assert memory == EngineMemory(GIB, 0)
    for held in (2 * GIB, GIB):
        memory = memory.now(held, learns=True)
    assert memory.now(0, learns=False) == EngineMemory(0, 2 * GIB)


TIMES = st.times().map(lambda each: each.replace(second=0, microsecond=0))
RANGES = st.tuples(TIMES, TIMES).filter(lambda pair: pair[0] != pair[1])


def _minutes(pair: tuple[time, time]) -> set[int]:
    """Those of a day that a range holds, counted one by one."""
    first, last = (60 * each.hour + each.minute for each in pair)
    return {minute % 1440 for minute in range(first, last if first < last else last + 1440)}


@given(st.lists(RANGES, max_size=4), st.times())
def test_quiet_hours_hold_the_minutes_of_their_ranges_and_end_where_none_goes_on(
    ranges: list[tuple[time, time]], now: time
) -> None:
    quiet = set().union(*map(_minutes, ranges))
    until = quiet_until(tuple(f"{first:%H:%M}-{last:%H:%M}" for first, last in ranges), now)
    this_minute = 60 * now.hour + now.minute
    assert (until is not None) == (this_minute in quiet)
    if until is not None and len(quiet) < 1440:
        end = 60 * until.hour + until.minute
        assert end not in quiet
        assert {minute % 1440 for minute in range(this_minute, end if end > this_minute else end + 1440)} <= quiet


@pytest.mark.parametrize("night", [datetime(2026, 3, 28, 22), datetime(2026, 10, 24, 22)])
def test_a_night_in_which_the_clock_changes_is_quiet_to_its_end(night: datetime) -> None:
    """Minute by minute through a night of 9 or 11 hours."""
    berlin = ZoneInfo("Europe/Berlin")
    start = night.replace(tzinfo=berlin).timestamp()
    clock = [datetime.fromtimestamp(start + 60.0 * minute, berlin) for minute in range(12 * 60)]
    quiet = [reason_to_wait(replace(FIRST, now=now), LIMITS) == "quiet hours until 07:30" for now in clock]
    end = next(place for place, now in enumerate(clock) if (now.hour, now.minute) == (7, 30))
    assert all(quiet[:end]) and not any(quiet[end:])


def test_a_time_to_come_is_told_as_the_clock_will_show_it_after_it_changed() -> None:
    before = datetime(2026, 3, 29, 0, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    signals = replace(LATER, now=before, seconds_since_update=0.0)
    sentence = reason_to_wait(signals, replace(LIMITS, quiet_hours=()))
    assert sentence == "updated less than 6 hours ago; next at 07:30"


@given(st.floats(0.0, 6 * 3600.0 - 60.0))
def test_a_sentence_counts_nothing_down(passed: float) -> None:
    signals = replace(LATER, now=NOON + timedelta(seconds=passed), seconds_since_update=passed)
    assert reason_to_wait(signals, LIMITS) == "updated less than 6 hours ago; next at 18:00"


def _optional(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


PERCENT = st.floats(0.0, 100.0)
SIZES = st.integers(0, 4 * GIB)
CONDITIONS = st.builds(
    Conditions,
    idle_seconds=_optional(st.floats(0.0, 1000.0)),
    on_battery=_optional(st.booleans()),
    battery_percent=_optional(PERCENT),
    lid_closed=_optional(st.booleans()),
    temperature_celsius=_optional(PERCENT),
    free_memory_bytes=_optional(SIZES),
    free_gpu_memory_bytes=_optional(SIZES),
    gpu_use_percent=_optional(PERCENT),
    free_disk_bytes=_optional(SIZES),
    engine_memory=st.builds(EngineMemory, SIZES, SIZES),
    engine_gpu_memory=st.builds(EngineMemory, SIZES, SIZES),
)
SIGNALS = st.builds(
    Signals,
    demonstrations=st.just(9),
    new_demonstrations=st.just(9),
    ever_learnt=st.booleans(),
    learning=st.booleans(),
    now=st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)),
    conditions=CONDITIONS,
    paused_until=_optional(st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)) | st.just(datetime.max)),
    trouble=_optional(st.just("the engine keeps dying")),
)
ANY_LIMITS = st.builds(
    Limits,
    min_demonstrations=st.just(4),
    new_demonstrations=st.just(3),
    quiet_hours=st.sampled_from([(), ("22:00-07:30",), ("12:00-13:00", "13:00-14:00")]),
    idle_seconds=st.floats(0.0, 1000.0),
    learn_on_battery=st.booleans(),
    min_battery_percent=PERCENT,
    learn_with_lid_closed=st.booleans(),
    max_temperature_celsius=st.floats(1.0, 100.0),
    max_gpu_use_percent=PERCENT,
    min_free_memory=st.integers(1, 4 * GIB),
    min_free_gpu_memory=st.integers(1, 4 * GIB),
    min_free_disk=st.integers(1, 4 * GIB),
)


@given(SIGNALS, ANY_LIMITS, st.booleans())
def test_what_pauses_keeps_paused_and_what_keeps_paused_keeps_from_starting(
    signals: Signals, limits: Limits, by_hand: bool
) -> None:
    if reason_to_pause(signals, limits, by_hand=by_hand) is not None:
        assert reason_to_stay_paused(signals, limits, by_hand=by_hand) is not None
    if reason_to_stay_paused(signals, limits, by_hand=by_hand) is not None:
        assert reason_to_wait(signals, limits) is not None
    if reason_to_pause(signals, limits, by_hand=True) is not None:
        assert reason_to_pause(signals, limits) is not None
    if frees_memory(signals, limits):
        assert reason_to_pause(signals, limits) is not None


def test_every_limit_is_the_setting_of_its_name() -> None:
    from dittod.config import Settings

    assert {each.name for each in fields(Limits)} <= set(Settings.model_fields)
