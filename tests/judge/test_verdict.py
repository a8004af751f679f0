"""Intervals and the choice, by simulation: what chance may do, and what it may not."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
import pytest

from dittod.judge.verdict import CAP, MARGIN, SEED_UNITS, UNITS, Scores, choose, compare, vetoes, without_examples

JUDGES = ("likelihood", "verifier", "style")
TRIALS = 120


def scores(name: str, *by_judge: Sequence[float], judges: Sequence[str] = JUDGES) -> Scores:
    """From advantages in units over a rival of zeros."""
    return Scores(
        name,
        {
            judge: tuple(UNITS[judge] * value for value in values)
            for judge, values in zip(judges, by_judge, strict=True)
        },
    )


def rival(texts: int) -> Scores:
    return scores("served", *([0.0] * texts for _ in JUDGES))


def even(name: str, advantage: float, texts: int = 4) -> Scores:
    """As much better on every text, by every judge."""
    return scores(name, *([advantage] * texts for _ in JUDGES))


def by_chance(rng: np.random.Generator, texts: int, advantage: float = 0.0) -> Scores:
    """One unit of noise per judge and text, and what all of them share of a seed."""
    shift = advantage + rng.normal(0, SEED_UNITS)
    return scores("ditto", *(shift + rng.normal(0, 1, texts) for _ in JUDGES))


def promoted(texts: int, candidates: int, *, advantage: float = 0.0) -> float:
    """The share of trials in which some candidate is."""
    rng = np.random.default_rng(10 * texts + candidates)
    found = [
        choose(rival(texts), [by_chance(rng, texts, advantage) for _ in range(candidates)], 0.95, seed % 7)[0]
        for seed in range(TRIALS)
    ]
    return sum(each is not None for each in found) / TRIALS


@pytest.mark.parametrize("texts", [2, 3, 5, 8, 16])
@pytest.mark.parametrize("candidates", [1, 8])
def test_chance_alone_promotes_in_fewer_than_one_trial_of_twenty(texts: int, candidates: int) -> None:
    assert promoted(texts, candidates) < 0.05


@pytest.mark.parametrize("texts", [2, 3, 5, 8, 16])
def test_a_candidate_that_is_three_units_better_is_promoted_nearly_always(texts: int) -> None:
    assert promoted(texts, 1, advantage=3.0) > 0.9


def test_less_confidence_promotes_more() -> None:
    """At an advantage of a unit and a half."""
    rng = np.random.default_rng(1)
    drawn = [by_chance(rng, 4, 1.5) for _ in range(100)]
    sure, unsure = (sum(choose(rival(4), [each], wanted, 0)[0] == 0 for each in drawn) for wanted in (0.99, 0.8))
    assert sure < unsure


def test_the_true_advantage_is_above_the_lower_end_as_often_as_was_asked_for() -> None:
    """Of 300 trials with three texts, at a confidence of 0.9."""
    rng = np.random.default_rng(2)
    below = sum(compare(by_chance(rng, 3), rival(3), 0.9, seed % 5).low < 0.0 for seed in range(300))
    assert below / 300 >= 0.9


def test_a_judge_counts_in_its_own_unit_and_all_count_alike() -> None:
    found = compare(scores("ditto", [1, 1], [2, 2], [3, 3]), rival(2), 0.95, 0)
    assert found.mean == pytest.approx(2.0)
    assert [found.by_judge[judge][0] for judge in JUDGES] == pytest.approx([1.0, 2.0, 3.0])
    assert found.low < found.mean < found.high


def test_one_odd_text_is_capped() -> None:
    found = compare(scores("ditto", [100, 0], [0, 0], [0, 0]), rival(2), 0.95, 0)
    assert found.by_judge["likelihood"][0] == pytest.approx(CAP / 2)


@pytest.mark.parametrize("broken", [float("nan"), float("-inf"), float("inf")])
def test_what_is_no_number_is_worse_than_any_number(broken: float) -> None:
    broken_one = Scores("ditto", {"likelihood": (broken, broken)})
    sound = Scores("served", {"likelihood": (-4.0, -4.0)})
    assert compare(broken_one, sound, 0.95, 0).mean == -CAP
    assert compare(sound, broken_one, 0.95, 0).mean == CAP
    assert choose(broken_one, [broken_one], 0.95, 0)[0] is None


def test_the_one_with_the_highest_mean_is_chosen_and_the_simpler_of_equals() -> None:
    found, compared = choose(rival(4), [even("supervised", 3), even("ditto-1", 4), even("ditto", 4)], 0.95, 0)
    assert (found, len(compared)) == (1, 3)


def test_without_candidates_nothing_is_chosen() -> None:
    assert choose(rival(3), [], 0.95, 0) == (None, [])


def test_a_judge_that_is_sure_of_a_loss_has_a_veto_whatever_the_others_say() -> None:
    candidate = scores("ditto", [-4] * 8, [5] * 8, [5] * 8)
    found, compared = choose(rival(8), [candidate], 0.95, 0)
    assert compared[0].low > MARGIN
    assert (found, vetoes(compared[0])) == (None, ["likelihood"])


@pytest.mark.parametrize("others", [0.0, -0.5])
def test_one_judge_alone_never_decides_whatever_it_finds(others: float) -> None:
    found, compared = choose(rival(8), [scores("ditto", [5] * 8, [others] * 8, [others] * 8)], 0.95, 0)
    assert compared[0].low > MARGIN and not vetoes(compared[0])
    assert found is None
    assert choose(rival(8), [scores("ditto", [5] * 8, [0.5] * 8, [others] * 8)], 0.95, 0)[0] == 0


def test_where_there_is_one_judge_it_decides() -> None:
    alone = scores("ditto", [5] * 8, judges=["likelihood"])
    assert choose(rival(8), [alone], 0.95, 0)[0] == 0


def test_an_interval_is_as_wide_as_the_unbiased_variance_of_texts_that_differ() -> None:
    """Four texts at -3, -1, 1 and 3: a variance of 20 / 3. A plain bootstrap's 20 / 4 would be an eighth narrower."""
    candidate = scores("ditto", *([-3, -1, 1, 3] for _ in JUDGES))
    widths = [found.high - found.low for seed in range(8) for found in [compare(candidate, rival(4), 0.9, seed)]]
    known = 1 / (len(JUDGES) * 4) + SEED_UNITS**2
    expected = 2 * NormalDist().inv_cdf(0.9) * (20 / 3 / 4 + known) ** 0.5
    assert np.mean(widths) == pytest.approx(expected, rel=0.05)


def test_a_small_loss_by_one_judge_is_no_veto() -> None:
    assert choose(rival(8), [scores("ditto", [-1] * 8, [5] * 8, [5] * 8)], 0.95, 0)[0] == 0


def test_examples_must_be_worth_their_room() -> None:
    plain = even("ditto", 3.0)
    assert choose(rival(4), [plain, even("ditto_few_shot", 3.4)], 0.95, 0)[0] == 0
    assert choose(rival(4), [plain, even("ditto_few_shot", 3.6)], 0.95, 0)[0] == 1
    assert choose(rival(4), [even("ditto_few_shot", 3.4)], 0.95, 0)[0] == 0


def test_examples_need_not_beat_weights_that_would_not_do_without() -> None:
    vetoed = scores("ditto", [-4] * 8, [5] * 8, [5] * 8)
    shown = scores("ditto_few_shot", [0] * 8, [3] * 8, [3] * 8)
    assert choose(rival(8), [vetoed, shown], 0.95, 0)[0] == 1


def test_the_recipe_without_examples_is_the_one_with_the_same_weights() -> None:
    names = ["few_shot", "ditto-2_few_shot", "supervised_few_shot", "ditto"]
    assert [without_examples(each) for each in names] == ["base", "ditto-2", "supervised", "ditto"]


def test_candidates_that_were_left_out_before_count_as_tried() -> None:
    """The interval of one of eight is wider than that of the only one."""
    alone, one_of_eight = (choose(rival(4), [even("ditto", 2)], 0.95, 0, tried=tried)[1][0] for tried in (0, 8))
    assert one_of_eight.low < alone.low


def test_the_same_seed_gives_the_same_interval() -> None:
    candidate = by_chance(np.random.default_rng(3), 5)
    assert compare(candidate, rival(5), 0.95, 4) == compare(candidate, rival(5), 0.95, 4)
    assert compare(candidate, rival(5), 0.95, 4) != compare(candidate, rival(5), 0.95, 5)
