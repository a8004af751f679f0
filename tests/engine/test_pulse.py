"""Whether an engine still lives, by what it says and how its processor time grows."""

from __future__ import annotations

import pytest

from dittod.engine.pulse import LOOK_SECONDS, SILENT_SECONDS, STILL_SECONDS, WORK_SECONDS, Pulse


def looks(pulse: Pulse, seconds: float, *, busy: bool = False) -> None:
    """In silence. `busy`: it works all the time."""
    used = pulse.worked_seconds
    for number in range(round(seconds / LOOK_SECONDS)):
        pulse.look(used + (number + 1) * WORK_SECONDS if busy else used + WORK_SECONDS / 2)


@pytest.mark.parametrize("loading", [False, True])
def test_one_that_neither_says_nor_does_anything_for_minutes_is_hung(loading: bool) -> None:
    pulse = Pulse()
    looks(pulse, STILL_SECONDS - LOOK_SECONDS)
    assert pulse.hung(loading=loading) is None
    looks(pulse, LOOK_SECONDS)
    assert str(pulse.hung(loading=loading)).startswith("it did nothing for 5 minutes")


def test_a_long_step_is_no_hang_and_an_endless_one_is() -> None:
    pulse = Pulse()
    looks(pulse, SILENT_SECONDS - LOOK_SECONDS, busy=True)
    assert pulse.hung(loading=False) is None
    looks(pulse, LOOK_SECONDS, busy=True)
    assert pulse.hung(loading=False) == "it said nothing for 15 minutes though it was asked"


def test_a_start_that_works_may_take_as_long_as_it_takes() -> None:
    pulse = Pulse()
    looks(pulse, 10 * SILENT_SECONDS, busy=True)
    assert pulse.hung(loading=True) is None


def test_a_word_begins_everything_anew() -> None:
    pulse = Pulse()
    looks(pulse, STILL_SECONDS)
    pulse.hear()
    looks(pulse, STILL_SECONDS - LOOK_SECONDS)
    assert pulse.hung(loading=False) is None
