"""From logits to tokens, against arithmetic done by hand.

The four-token row used throughout has logits ln 8, ln 4, ln 2, ln 2, so that its probabilities are 8, 4, 2, 2 of 16.
"""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dittod.engine.protocol import Sampling
from dittod.model.sampling import History, adjusted, choose, constrained, draw, probabilities

LOGITS = torch.tensor([[8.0, 4.0, 2.0, 2.0]]).log()
NOTHING = History((), ())


def sixteenths(sampling: Sampling, logits: torch.Tensor = LOGITS) -> list[float]:
    return (probabilities(logits, [sampling])[0] * 16).tolist()


def test_without_parameters_the_models_own_distribution_is_drawn_from() -> None:
    assert sixteenths(Sampling()) == pytest.approx([8, 4, 2, 2])


def test_temperature_divides_the_logits() -> None:
    """At T = 1/2 probabilities are squared: 64, 16, 4, 4 of 88. At T = 2 they are rooted: √8, 2, √2, √2."""
    assert sixteenths(Sampling(temperature=0.5)) == pytest.approx([16 * x / 88 for x in (64, 16, 4, 4)])
    roots = [math.sqrt(8), 2, math.sqrt(2), math.sqrt(2)]
    assert sixteenths(Sampling(temperature=2.0)) == pytest.approx([16 * x / sum(roots) for x in roots])


def test_an_almost_zero_temperature_overflows_nowhere() -> None:
    assert sixteenths(Sampling(temperature=1e-30), LOGITS * 1e4) == [16, 0, 0, 0]


def test_top_k_keeps_the_k_likeliest() -> None:
    """k = 2 keeps 8 and 4 of 16, that is 8 and 4 of 12; k = 1 keeps one; a k beyond the vocabulary keeps all."""
    assert sixteenths(Sampling(top_k=2)) == pytest.approx([16 * 8 / 12, 16 * 4 / 12, 0, 0])
    assert sixteenths(Sampling(top_k=1)) == pytest.approx([16, 0, 0, 0])
    assert sixteenths(Sampling(top_k=99)) == pytest.approx([8, 4, 2, 2])


def test_equal_probabilities_stay_or_go_together() -> None:
    """The third and the fourth token are equal: k = 3 keeps both."""
    assert sixteenths(Sampling(top_k=3)) == pytest.approx([8, 4, 2, 2])


def test_top_p_keeps_tokens_until_their_predecessors_hold_p() -> None:
    """8/16 precede the second token: p = 0.5 stops before it, p = 0.51 takes it; 12/16 precede the third."""
    assert sixteenths(Sampling(top_p=0.5)) == pytest.approx([16, 0, 0, 0])
    assert sixteenths(Sampling(top_p=0.51)) == pytest.approx([16 * 8 / 12, 16 * 4 / 12, 0, 0])
    assert sixteenths(Sampling(top_p=0.75)) == pytest.approx([16 * 8 / 12, 16 * 4 / 12, 0, 0])
    assert sixteenths(Sampling(top_p=0.76)) == pytest.approx([8, 4, 2, 2])
    assert sixteenths(Sampling(top_p=0.0)) == pytest.approx([16, 0, 0, 0])


def test_top_p_counts_within_what_top_k_left() -> None:
    """After k = 2 the first token holds 8/12 = 0.67 of the mass, so p = 0.6 keeps it alone; over all it held 0.5."""
    assert sixteenths(Sampling(top_k=2, top_p=0.6)) == pytest.approx([16, 0, 0, 0])
    assert sixteenths(Sampling(top_p=0.6)) == pytest.approx([16 * 8 / 12, 16 * 4 / 12, 0, 0])


def test_a_nucleus_wider_than_the_first_guess_is_found_too() -> None:
    """5,000 equal tokens: p = 0.9 reaches past the 1,024 that are looked at first; being equal, all stay."""
    flat = probabilities(torch.zeros(1, 5000), [Sampling(top_p=0.9)])
    assert int((flat > 0).sum()) == 5000
    slope = torch.linspace(0, -1, 5000)[None]
    kept = probabilities(slope, [Sampling(top_p=0.9)])[0] > 0
    mass = torch.softmax(slope[0].double(), -1).cumsum(-1)
    assert int(kept.sum()) == pytest.approx(int((mass < 0.9).sum()) + 1, abs=2)


def test_min_p_keeps_what_reaches_a_fraction_of_the_likeliest() -> None:
    """4 is half of 8, 2 is a quarter of it."""
    assert sixteenths(Sampling(min_p=0.26)) == pytest.approx([16 * 8 / 12, 16 * 4 / 12, 0, 0])
    assert sixteenths(Sampling(min_p=0.24)) == pytest.approx([8, 4, 2, 2])


def test_min_p_does_not_change_what_top_p_counts() -> None:
    """p = 0.6 keeps 8 and 4 of 16, since 8/16 < 0.6; had min-p dropped the 2s before, 8/12 would stand alone."""
    logits = torch.tensor([[8.0, 4.0, 2.0, 2.0, 1e-9]]).log()
    for top_k in (0, 4):
        kept = sixteenths(Sampling(top_k=top_k, top_p=0.6, min_p=0.4), logits)
        assert kept == pytest.approx([16 * 8 / 12, 16 * 4 / 12, 0, 0, 0])


def test_rows_with_different_parameters_do_not_touch_each_other() -> None:
    settings_ = [
        Sampling(),
        Sampling(top_k=1),
        Sampling(top_k=2, top_p=0.6),
        Sampling(top_p=0.51),
        Sampling(min_p=0.26, temperature=0.5),
        Sampling(temperature=2.0),
    ]
    together = probabilities(LOGITS.expand(len(settings_), -1), settings_)
    alone = torch.cat([probabilities(LOGITS, [each]) for each in settings_])
    torch.testing.assert_close(together, alone)


def test_frequency_and_presence_penalise_what_the_answer_used() -> None:
    """Token 0 was used twice, token 2 once: ln 8 − 2 · 0.5 − 0.25 and ln 2 − 0.5 − 0.25. The prompt does not count."""
    sampling = Sampling(frequency_penalty=0.5, presence_penalty=0.25)
    out = adjusted(LOGITS, [sampling], [History((1, 1, 1), (0, 2, 0))])[0].tolist()
    assert out == pytest.approx([math.log(8) - 1.25, math.log(4), math.log(2) - 0.75, math.log(2)])


def test_repetition_penalty_divides_positive_and_multiplies_negative_logits_of_prompt_and_answer() -> None:
    """With r = 2: 3 → 1.5 (in the prompt), −1 → −2 (in the answer), 0 stays 0, and 5 was never used."""
    logits = torch.tensor([[3.0, -1.0, 0.0, 5.0]])
    out = adjusted(logits, [Sampling(repetition_penalty=2.0)], [History((0, 2), (1, 1))])
    assert out[0].tolist() == [1.5, -2.0, 0.0, 5.0]


def test_logit_bias_is_added_and_can_forbid_or_force() -> None:
    out = adjusted(LOGITS, [Sampling(logit_bias={3: 100.0, 0: -100.0})], [NOTHING])
    assert out[0].tolist() == pytest.approx([math.log(8) - 100, math.log(4), math.log(2), math.log(2) + 100])
    assert choose(LOGITS, [Sampling(temperature=0, logit_bias={3: 100.0})], [NOTHING], torch.zeros(1)).item() == 3


def test_adjusting_leaves_the_models_logits_as_they_were() -> None:
    before = LOGITS.clone()
    adjusted(LOGITS, [Sampling(logit_bias={0: 1.0}, repetition_penalty=1.5)], [History((0,), (1,))])
    assert torch.equal(LOGITS, before)


def test_a_draw_is_the_first_token_whose_cumulative_mass_exceeds_the_uniform_number() -> None:
    """Cumulative masses are 0.5, 0.75, 0.875, 1."""
    numbers = [0.0, 0.4999, 0.5, 0.7499, 0.75, 0.8749, 0.875, 0.9999]
    drawn = draw(torch.softmax(LOGITS, -1).expand(len(numbers), -1), torch.tensor(numbers, dtype=torch.float64))
    assert drawn.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_a_greedy_row_beside_a_drawn_one_takes_the_likeliest() -> None:
    rows = [Sampling(temperature=0), Sampling()]
    assert choose(LOGITS.expand(2, -1), rows, [NOTHING] * 2, torch.tensor([0.99, 0.99])).tolist() == [0, 3]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 700), st.integers(0, 2**32), st.floats(0, 1, exclude_max=True))
def test_a_token_without_probability_is_never_drawn(vocabulary: int, seed: int, number: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(3, vocabulary, generator=generator)
    weights *= torch.rand(3, vocabulary, generator=generator) < 0.05
    weights[:, int(seed) % vocabulary] = 0.5  # at least one can be drawn
    uniforms = torch.tensor([0.0, number, 1 - 2**-53], dtype=torch.float64)
    drawn = draw(weights, uniforms)
    assert bool((weights.gather(-1, drawn[:, None]) > 0).all())


def test_frequencies_of_many_draws_are_the_probabilities() -> None:
    """40,000 draws over 1,000 tokens whose masses fall as 1 / rank; chi-square has 999 degrees of freedom, mean 999,
    standard deviation 45: within five of them."""
    masses = 1 / torch.arange(1, 1001)
    masses = masses / masses.sum()
    uniforms = torch.rand(40_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    counts = torch.zeros(1000)
    for part in uniforms.split(4000):
        counts += torch.bincount(draw(masses.expand(len(part), -1), part), minlength=1000)
    expected = masses * 40_000
    assert float(((counts - expected) ** 2 / expected).sum()) == pytest.approx(999, abs=225)


def test_what_a_mask_forbids_has_no_chance_whatever_bias_it_has() -> None:
    only_last = torch.tensor([False, False, False, True])
    biased = Sampling(logit_bias={0: 100.0, 3: -100.0})
    for sampling in (biased, Sampling(temperature=0), Sampling(top_k=1), Sampling(top_p=0.0)):
        assert choose(LOGITS, [sampling], [NOTHING], torch.tensor([0.5]), [only_last]).item() == 3


def test_a_row_without_a_mask_is_left_as_it_is_beside_one_with() -> None:
    scores = LOGITS.repeat(2, 1)
    out = constrained(scores, scores, [None, torch.tensor([False, True, True, False])])
    assert torch.equal(out[0], LOGITS[0])
    assert torch.equal(out[1], torch.tensor([-math.inf, math.log(4), math.log(2), -math.inf]))


def test_a_mask_shorter_than_the_logits_allows_nothing_behind_its_end_and_a_longer_one_is_cut() -> None:
    for mask, finite in [([True], 1), ([True] * 6, 4)]:
        assert int(constrained(LOGITS, LOGITS, [torch.tensor(mask)]).isfinite().sum()) == finite


def test_where_a_bias_leaves_nothing_of_what_is_allowed_the_models_own_logits_decide() -> None:
    """8 and 4 are allowed but biased to nothing, so that they hold 8/12 and 4/12."""
    allowed = torch.tensor([True, True, False, False])
    scores = LOGITS + torch.tensor([-math.inf, -math.inf, 0, 0])
    out = constrained(scores, LOGITS, [allowed])
    assert sixteenths(Sampling(), out) == pytest.approx([16 * 8 / 12, 16 * 4 / 12, 0, 0])


@pytest.mark.parametrize("temperature", [1e-6, 1e-30, 5e-324])
def test_a_temperature_next_to_nothing_takes_the_likeliest_token(temperature: float) -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0]])
    drawn = choose(logits, [Sampling(temperature=temperature)], [History((), ())], torch.tensor([0.999]))
    assert drawn.tolist() == [1]
