"""What is held and for how long. `LIMITS` hold nothing but what a test asks for."""

from __future__ import annotations

from datetime import datetime

from dittod.hold import LEAST_SECONDS, LONGEST_LEAST_SECONDS, NOT_LOOKED, Hold
from dittod.schedule import Conditions, Limits, Signals

LIMITS = Limits(6, 4, idle_seconds=300.0, max_temperature_celsius=90.0)
WARM = Conditions(temperature_celsius=88.0)  # too warm to begin, not to go on
HOT = Conditions(temperature_celsius=95.0)
COOL = Conditions(temperature_celsius=60.0)


def signals(conditions: Conditions = COOL, paused_until: datetime | None = None) -> Signals:
    return Signals(9, 9, False, False, datetime(2026, 3, 2, 12, 0), conditions, paused_until=paused_until)


def held(hold: Hold, conditions: Conditions, now: float, *, at_work: bool = False, waiting: bool = True) -> bool:
    return hold.look(signals(conditions), now, at_work=at_work, waiting=waiting) is not None


def test_nothing_begins_before_the_first_look() -> None:
    assert Hold(LIMITS, by_hand=True).reason == NOT_LOOKED
    hold = Hold(LIMITS, by_hand=False)
    assert not held(hold, COOL, 0.0) and hold.reason is None


def test_what_is_at_work_goes_on_where_nothing_would_begin() -> None:
    hold = Hold(LIMITS, by_hand=False)
    assert held(hold, WARM, 0.0)
    assert not held(hold, COOL, 2.0)
    assert not held(hold, WARM, 4.0, at_work=True)
    assert held(hold, HOT, 6.0, at_work=True)


def test_what_was_paused_goes_on_when_the_stricter_limit_is_met_and_a_while_has_passed() -> None:
    hold = Hold(LIMITS, by_hand=False)
    held(hold, COOL, 0.0)
    assert held(hold, HOT, 2.0, at_work=True)
    assert held(hold, WARM, 3.0 + LEAST_SECONDS)
    reason = hold.reason
    assert not held(hold, COOL, 4.0 + LEAST_SECONDS)
    assert reason is not None and "too hot to begin" in reason


def test_each_pause_within_an_hour_lasts_twice_as_long_up_to_a_limit() -> None:
    hold, now, lengths = Hold(LIMITS, by_hand=False), 0.0, []
    held(hold, COOL, now)
    for _ in range(9):
        held(hold, HOT, now, at_work=True)
        began = now
        while held(hold, COOL, now):
            now += 10.0
        lengths.append(now - began)
    assert lengths[:5] == [30.0, 60.0, 120.0, 240.0, 480.0] and max(lengths) <= LONGEST_LEAST_SECONDS
    now += 3600.0
    held(hold, HOT, now, at_work=True)
    assert not held(hold, COOL, now + LEAST_SECONDS), "after a quiet hour it is as at first"


def test_from_the_end_of_its_reason_to_its_end_a_pause_says_when_it_ends_and_what_it_was() -> None:
    hold = Hold(LIMITS, by_hand=False)
    held(hold, COOL, 0.0)
    for _ in range(4):
        held(hold, HOT, 0.0, at_work=True)
        hold.reason = None
    assert held(hold, HOT, 0.0, at_work=True) and hold.reason == "too hot: more than 90 °C"
    for now in (2.0, 40.0):
        assert held(hold, COOL, now) and hold.reason == "goes on at 12:08; it was: too hot: more than 90 °C"
    assert held(hold, WARM, 60.0) and hold.reason == "too hot to begin: more than 85 °C"
    assert held(hold, COOL, 62.0) and str(hold.reason).endswith("; it was: too hot to begin: more than 85 °C")
    assert not held(hold, COOL, 480.0) and hold.reason is None


def test_what_the_user_has_just_asked_for_begins_where_what_was_paused_would_not_go_on() -> None:
    by_hand = Hold(LIMITS, by_hand=True)
    assert not held(by_hand, WARM, 0.0)
    assert held(by_hand, HOT, 2.0, at_work=True)
    assert held(by_hand, WARM, 100.0), "it was paused, and has to cool down"
    assert not held(by_hand, WARM, 102.0, waiting=False)
    assert not held(by_hand, WARM, 104.0), "another one, asked for now"


def test_nobody_who_works_holds_what_they_asked_for() -> None:
    typing = Conditions(idle_seconds=0.0)
    assert held(Hold(LIMITS, by_hand=False), typing, 0.0)
    assert not held(Hold(LIMITS, by_hand=True), typing, 0.0)


def test_a_pause_by_hand_ends_at_once_when_the_hand_says_so() -> None:
    hold = Hold(LIMITS, by_hand=False)
    held(hold, COOL, 0.0)
    assert held(hold, HOT, 1.0, at_work=True)
    assert hold.look(signals(paused_until=datetime.max), 2.0, at_work=False, waiting=True) is not None
    assert not held(hold, COOL, 3.0)
