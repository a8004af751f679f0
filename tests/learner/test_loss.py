import math

import pytest
import torch

from dittod.learner.loss import LossWeights, PairIndex, ditto_loss, exploded, metrics


def index(chosen: list[int], rejected: list[int], own: list[int], tokens: list[int]) -> PairIndex:
    return PairIndex(*(torch.tensor(each, dtype=torch.int64) for each in (chosen, rejected, own, tokens)))


def test_one_pair_by_hand() -> None:
    """Log-ratios -10 - -12 = 2 and -20 - -19 = -1, margin 0.5 · 3 = 1.5, loss log(1 + e^-1.5) = 0.2014."""
    policy, reference = torch.tensor([-10.0, -20.0]), torch.tensor([-12.0, -19.0])
    loss = ditto_loss(policy, reference, index([0], [1], [0], [5]), LossWeights(0.5, 0.0, 1, 1))
    assert float(loss) == pytest.approx(math.log(1 + math.exp(-1.5)))


def test_the_nll_term_is_per_token_of_each_demonstration() -> None:
    """At the reference a pair costs log 2. Demonstrations: 10 / 5 = 2 and 9 / 3 = 3 nats per token, mean 2.5."""
    policy = torch.tensor([-10.0, -20.0, -9.0, -30.0])
    weights = LossWeights(0.1, 0.2, 2, 2)
    loss = ditto_loss(policy, policy.clone(), index([0, 2], [1, 3], [0, 2], [5, 3]), weights)
    assert float(loss) == pytest.approx(math.log(2) + 0.2 * 2.5)


def test_parts_of_a_batch_add_up_to_it() -> None:
    generator = torch.Generator().manual_seed(0)
    policy, reference = torch.randn(6, generator=generator), torch.randn(6, generator=generator)
    weights = LossWeights(0.3, 0.1, 3, 2)
    whole = ditto_loss(policy, reference, index([0, 0, 3], [1, 2, 4], [0, 3], [7, 2]), weights)
    first = ditto_loss(policy[:3], reference[:3], index([0, 0], [1, 2], [0], [7]), weights)
    second = ditto_loss(policy[3:], reference[3:], index([0], [1], [0], [2]), weights)
    assert float(first + second) == pytest.approx(float(whole))


def test_a_batch_without_demonstrations_has_no_nll() -> None:
    policy = torch.tensor([-1.0, -2.0])
    loss = ditto_loss(policy, policy, index([0], [1], [], []), LossWeights(0.1, 0.5, 1, 0))
    assert float(loss) == pytest.approx(math.log(2))


def test_metrics_are_relative_to_the_reference() -> None:
    """Pairs (0, 1) and (2, 1): chosen drifts 1 and -2, rejected -1; only 0 is the user's own text, of 4 tokens."""
    policy, reference = torch.tensor([-9.0, -11.0, -12.0]), torch.tensor([-10.0, -10.0, -10.0])
    found = metrics(policy, reference, index([0, 2], [1, 1], [0], [4]), LossWeights(0.5, 0.0, 2, 1))
    assert found["chosen_logps"] == pytest.approx(-10.5)
    assert found["rejected_logps"] == pytest.approx(-11.0)
    assert found["chosen_drift"] == pytest.approx(-0.5)
    assert found["rejected_drift"] == pytest.approx(-1.0)
    assert found["margin"] == pytest.approx((0.5 * 2 + 0.5 * -1) / 2)
    assert found["accuracy"] == pytest.approx(0.5)
    assert found["demonstration_drift_per_token"] == pytest.approx(1 / 4)


def test_without_demonstrations_their_drift_is_zero() -> None:
    policy = torch.tensor([-9.0, -11.0])
    found = metrics(policy, policy - 1, index([0], [1], [], []), LossWeights(0.5, 0.1, 1, 0))
    assert found["demonstration_drift_per_token"] == 0.0


@pytest.mark.parametrize(
    ("changes", "lost"),
    [
        ({}, False),
        ({"margin": 300.0}, False),
        ({"loss": 10.5}, True),
        ({"loss": math.inf}, True),
        ({"margin": math.nan}, True),
        ({"demonstration_drift_per_token": -1.9}, False),
        ({"demonstration_drift_per_token": -2.1}, True),
    ],
)
def test_a_policy_is_lost_when_loss_or_own_texts_are_gone(changes: dict[str, float], lost: bool) -> None:
    assert exploded({"loss": 0.7, "margin": 0.1, "demonstration_drift_per_token": 0.2, **changes}) is lost


def test_both_sides_sinking_together_explodes_though_the_loss_sees_nothing() -> None:
    """Both 30 nats below the reference: margin 0, loss log 2; but the own text of 10 tokens has lost 3 a token."""
    reference = torch.tensor([-10.0, -12.0])
    found = metrics(reference - 30, reference, index([0], [1], [0], [10]), LossWeights(0.05, 0.0, 1, 1))
    assert found["loss"] == pytest.approx(math.log(2))
    assert exploded(found)


def test_a_hopeless_pair_has_a_finite_loss_and_gradient() -> None:
    policy = torch.tensor([-5000.0, -1.0], requires_grad=True)
    loss = ditto_loss(policy, torch.tensor([-1.0, -5000.0]), index([0], [1], [0], [1]), LossWeights(1.0, 0.0, 1, 1))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(9998)
    assert policy.grad is not None
    assert policy.grad.tolist() == pytest.approx([-1.0, 1.0])
