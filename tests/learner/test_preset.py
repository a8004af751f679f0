import dataclasses

import pytest

from dittod.errors import SettingsError
from dittod.learner.preset import AS_RELEASED, CLEAN, at_most_rank, at_width, preset


def test_as_released_has_the_numbers_of_the_released_configuration() -> None:
    assert (AS_RELEASED.optimiser, AS_RELEASED.rank, AS_RELEASED.alpha) == ("rmsprop", 32, 64)
    assert AS_RELEASED.targets == ("q_proj", "k_proj", "v_proj", "o_proj")
    assert (AS_RELEASED.supervised_learning_rate, AS_RELEASED.supervised_steps) == (3e-5, 30)
    assert (AS_RELEASED.dpo_learning_rate, AS_RELEASED.dpo_steps, AS_RELEASED.beta) == (1e-6, 40, 0.05)
    assert (AS_RELEASED.supervised_stop_loss, AS_RELEASED.top_k, AS_RELEASED.nll_weight) == (1.0, 50, 0.0)


def test_clean_is_uncut_and_leans_on_the_demonstrations() -> None:
    assert (CLEAN.optimiser, CLEAN.rank, CLEAN.alpha, CLEAN.targets) == ("adamw", 16, 32, "all-linear")
    assert CLEAN.top_k == 0
    assert CLEAN.nll_weight > 0


def test_a_preset_without_overrides_is_itself() -> None:
    assert preset("clean") == CLEAN
    assert preset("as_released", {}) == AS_RELEASED


def test_every_number_can_be_overridden() -> None:
    for each in dataclasses.fields(CLEAN):
        value = getattr(CLEAN, each.name)
        if isinstance(value, int | float):
            other = not value if isinstance(value, bool) else value + 1
            changed = getattr(preset("clean", {each.name: float(other)}), each.name)
            assert changed == other
            assert type(changed) is type(value)


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(SettingsError) as caught:
        preset("as_relesed")
    assert "as_released" in caught.value.hint


def test_an_unknown_number_names_the_nearest() -> None:
    with pytest.raises(SettingsError) as caught:
        preset("clean", {"dpo_step": 3})
    assert "dpo_steps" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "value"),
    [("dpo_steps", 2.5), ("rank", 0), ("beta", -1), ("beta", float("nan")), ("rank", float("inf"))],
)
def test_a_number_that_cannot_be_used_is_refused(name: str, value: float) -> None:
    with pytest.raises(SettingsError):
        preset("clean", {name: value})


def test_a_mix_of_nothing_is_refused() -> None:
    with pytest.raises(SettingsError):
        preset("clean", {"online": 0, "replay": 0, "intermodel": 0})


def test_the_longest_sample_is_half_as_long_again_as_the_longest_demonstration_within_bounds() -> None:
    """1.5 x 61 = 91.5, rounded up; 1.5 x 4 is below 24; 1.5 x 900 is above 1024."""
    assert CLEAN.completion_limit(61) == 92
    assert CLEAN.completion_limit(4) == 24
    assert CLEAN.completion_limit(900) == 1024
    assert AS_RELEASED.completion_limit(4) == 1024


def test_learning_rates_fall_with_the_models_width() -> None:
    """256 to 4096 is a factor of 16, and 16^-0.78 = 0.115: 2e-3 becomes 2.3e-4. The released rates hold for any."""
    assert at_width(CLEAN, 256) == CLEAN
    assert at_width(CLEAN, 4096).supervised_learning_rate == pytest.approx(2.3e-4, rel=0.01)
    assert at_width(CLEAN, 4096).dpo_learning_rate == pytest.approx(0.115 * CLEAN.dpo_learning_rate, rel=0.01)
    assert at_width(AS_RELEASED, 4096) == AS_RELEASED


def test_a_lower_rank_keeps_the_scale_and_a_higher_one_changes_nothing() -> None:
    """alpha / rank is 2 in both presets."""
    assert at_most_rank(CLEAN, 64) == at_most_rank(CLEAN, 16) == CLEAN
    assert (at_most_rank(CLEAN, 8).rank, at_most_rank(CLEAN, 8).alpha) == (8, 16)
    assert (at_most_rank(AS_RELEASED, 8).rank, at_most_rank(AS_RELEASED, 8).alpha) == (8, 16)


def test_the_last_iteration_may_be_shorter() -> None:
    assert preset("clean", {"dpo_steps": 25, "resample_every": 10}).iterations == 3
