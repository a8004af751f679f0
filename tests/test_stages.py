"""Which stages an update has, where it is, and how long the rest takes at the pace so far."""

from __future__ import annotations

import pytest

from dittod.engine.protocol import Progress
from dittod.learner.preset import preset
from dittod.stages import Course, Pace, Place, Stage, expected, stage_of

COURSE = Course(supervised_steps=3, dpo_steps=5, resample_every=2)


def at(phase: str, done: int, of: int, iteration: int = 0) -> Progress:
    return Progress("u", phase, done, of, iteration)


def heard(*events: tuple[float, Progress], known: dict[str, float] | None = None) -> Pace:
    """Of an update with two demonstrations."""
    pace = Pace(2, known or {})
    for now, progress in events:
        pace.hear(progress, now)
    return pace


def test_the_last_round_has_the_steps_that_are_left() -> None:
    rounds = [each for each in COURSE.stages() if each.phase == "dpo"]
    assert [COURSE.steps(each) for each in rounds] == [2, 2, 1]


def test_stages_come_in_the_order_of_the_algorithm_and_count_from_one_for_people() -> None:
    assert [each.title for each in COURSE.stages()] == [
        "supervised steps",
        "reference",
        "samples, iteration 1",
        "preference steps, iteration 1",
        "samples, iteration 2",
        "preference steps, iteration 2",
        "samples, iteration 3",
        "preference steps, iteration 3",
        "gate",
        "saving",
    ]


def test_a_preset_comes_to_as_many_rounds_as_the_learner_takes() -> None:
    method = preset("clean", {"dpo_steps": 25, "resample_every": 10})
    assert Course.of(method).rounds == method.iterations == 3


def test_a_method_without_supervised_steps_has_no_such_stage() -> None:
    assert Course(0, 5, 2).stages()[0] == Stage("reference")


@pytest.mark.parametrize(
    ("progress", "stage"),
    [
        (at("reference", 1, 2), Stage("reference")),
        (at("reference", 1, 20), Stage("sampling", 0)),
        (at("reference", 1, 20, 1), Stage("sampling", 1)),
        (at("dpo", 3, 5, 1), Stage("dpo", 1)),
        (at("gate", 3, 5), Stage("gate")),
    ],
)
def test_scoring_fresh_samples_belongs_to_their_drawing(progress: Progress, stage: Stage) -> None:
    assert stage_of(progress.phase, progress.iteration, progress.of, demonstrations=2) == stage


def test_a_step_takes_what_the_steps_of_this_stage_took_on_average() -> None:
    pace = heard((10.0, at("supervised", 0, 3)), (14.0, at("supervised", 1, 3)), (16.0, at("supervised", 2, 3)))
    assert pace.seconds == {"supervised": 3.0} and pace.elapsed == 0.0


def test_a_step_under_way_changes_no_pace_and_its_seconds_are_taken_off_the_rest() -> None:
    pace = heard((0.0, at("dpo", 0, 5)), (4.0, at("dpo", 1, 5)), (7.0, at("dpo", 1, 5)))
    assert pace.seconds == {"dpo": 4.0} and pace.elapsed == 3.0
    here = Place(Stage("dpo", 0), done=1, elapsed=pace.elapsed)
    assert expected(COURSE, Stage("dpo", 0), here, pace.seconds) == 1.0
    late = Place(Stage("dpo", 0), done=0, elapsed=99.0)
    assert expected(COURSE, Stage("dpo", 0), late, pace.seconds) == 4.0, "the step after it is still to come"


def test_a_stage_begins_where_the_one_before_ended() -> None:
    pace = heard(
        (0.0, at("reference", 1, 2)),
        (1.0, at("reference", 2, 2)),
        (5.0, at("sampling", 0, 20)),
        (8.0, at("reference", 20, 20)),
        (9.0, at("dpo", 0, 5)),
        (10.0, at("dpo", 1, 5)),
    )
    assert pace.seconds == {"reference": 1.0, "sampling": 7.0, "dpo": 2.0}


def test_what_was_taken_before_an_update_was_left_counts_for_no_pace() -> None:
    pace = heard((100.0, at("dpo", 3, 5, 1)), (104.0, at("dpo", 4, 5, 1)), known={"dpo": 50.0, "sampling": 7.0})
    assert pace.seconds == {"dpo": 4.0, "sampling": 7.0}


def test_of_a_stage_in_steps_those_that_are_left_count() -> None:
    here = Place(Stage("dpo", 1), done=3)
    assert expected(COURSE, Stage("dpo", 1), here, {"dpo": 4.0}) == 4.0
    assert expected(COURSE, Stage("dpo", 2), here, {"dpo": 4.0}) == 4.0, "the last round has one"
    assert expected(COURSE, Stage("supervised"), None, {"supervised": 2.0}) == 6.0


def test_of_any_other_stage_what_it_took_the_last_time_less_what_has_passed() -> None:
    here = Place(Stage("gate"), done=1, elapsed=12.0)
    assert expected(COURSE, Stage("gate"), here, {"gate": 20.0}) == 8.0
    assert expected(COURSE, Stage("gate"), here, {"gate": 10.0}) == 0.0
    assert expected(COURSE, Stage("sampling", 2), here, {"sampling": 7.0}) == 7.0


def test_what_was_never_timed_is_not_guessed() -> None:
    assert expected(COURSE, Stage("gate"), None, {"dpo": 4.0}) is None
    assert expected(COURSE, Stage("saving"), None, {}) == 0.0
