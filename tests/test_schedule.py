"""When to learn: a table of situations, each with the sentence expected."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dittod.schedule import Limits, Signals, reason_to_wait

LIMITS = Limits(min_demonstrations=4, new_demonstrations=3, learn_on_battery=False)
FIRST = Signals(demonstrations=5, new_demonstrations=5, ever_learnt=False, on_battery=False, learning=False)
LATER = replace(FIRST, ever_learnt=True, demonstrations=9, new_demonstrations=4)


@pytest.mark.parametrize(
    ("signals", "sentence"),
    [
        (FIRST, None),
        (LATER, None),
        (replace(FIRST, demonstrations=0), "no demonstration, waiting for 4"),
        (replace(FIRST, demonstrations=1), "1 demonstration, waiting for 4"),
        (replace(FIRST, demonstrations=3), "3 demonstrations, waiting for 4"),
        (replace(LATER, new_demonstrations=0), "nothing new since the last update"),
        (replace(LATER, new_demonstrations=2), "2 new of the 3 that make an update worth it"),
        (replace(FIRST, on_battery=True), "on battery"),
        (replace(FIRST, learning=True), "an update is under way"),
        (replace(FIRST, reading=True), "still reading the watched folder"),
    ],
)
def test_the_sentence_for_each_situation(signals: Signals, sentence: str | None) -> None:
    assert reason_to_wait(signals, LIMITS) == sentence


def test_learning_on_battery_can_be_allowed() -> None:
    assert reason_to_wait(replace(FIRST, on_battery=True), replace(LIMITS, learn_on_battery=True)) is None
