"""The loss of a DITTO step, from summed log-probabilities. Pure tensors in, tensors out; knows neither model nor token.

    L = 1/P Σ_pairs  -log σ( β [ (log π(y_w|x) - log π_ref(y_w|x)) - (log π(y_l|x) - log π_ref(y_l|x)) ] )
        + λ 1/D Σ_demonstrations  -log π(y_E|x) / |y_E|

The first line is DPO with the sigmoid (arXiv:2305.18290, equation 7) on the pairs of arXiv:2406.00888, section 3.2.
The second is an NLL term on the demonstrations that stand in the batch, per token of each (arXiv:2404.19733, equation
2): it keeps the chosen likelihood from sinking along with the rejected one (arXiv:2410.08847). λ = 0 leaves the paper.

Letters: S sequences, P pairs, D demonstrations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F

LARGEST_LOSS = 10.0  # nats; a step starts at log 2 = 0.69. Our judgement, as the next line
LARGEST_FALL = 2.0  # nats per token of the demonstrations: each token an e^2 less likely than under the reference


@dataclass(frozen=True, slots=True)
class PairIndex:
    """Which sequences form the pairs, and which are demonstrations."""

    chosen: torch.Tensor  # (P,) int64 into the S sequences
    rejected: torch.Tensor  # (P,) int64
    demonstrations: torch.Tensor  # (D,) int64
    demonstration_tokens: torch.Tensor  # (D,) |y_E|, the end-of-turn token counted


@dataclass(frozen=True, slots=True)
class LossWeights:
    """The constants of a step. The counts are the whole step's, so that parts of a batch add up to its loss."""

    beta: float
    nll_weight: float  # λ
    pairs: int  # P
    demonstrations: int  # D


def log_ratio_margins(
    policy_logps: torch.Tensor, reference_logps: torch.Tensor, index: PairIndex, beta: float
) -> torch.Tensor:
    """β times the difference of the log-ratios: (S,) → (P,). DPO's implicit reward margin."""
    log_ratios = policy_logps - reference_logps  # (S,)
    return beta * (log_ratios[index.chosen] - log_ratios[index.rejected])


def ditto_loss(
    policy_logps: torch.Tensor, reference_logps: torch.Tensor, index: PairIndex, weights: LossWeights
) -> torch.Tensor:
    """The loss above, a scalar. Over part of a batch: that part's share of it."""
    margins = log_ratio_margins(policy_logps, reference_logps, index, weights.beta)  # (P,)
    loss = -F.logsigmoid(margins).sum() / weights.pairs
    if weights.nll_weight and weights.demonstrations:
        per_token = policy_logps[index.demonstrations] / index.demonstration_tokens  # (D,)
        loss = loss - weights.nll_weight * per_token.sum() / weights.demonstrations
    return loss


def metrics(
    policy_logps: torch.Tensor, reference_logps: torch.Tensor, index: PairIndex, weights: LossWeights
) -> dict[str, float]:
    """Figures of a whole step. Log-probs and their drift from the reference are means over pairs, in nats per sequence.

    `demonstration_drift_per_token` is over the user's own texts alone: below 0, the policy has come to find them less
    likely than the reference does.
    """
    margins = log_ratio_margins(policy_logps, reference_logps, index, weights.beta)
    log_ratios = policy_logps - reference_logps
    own, own_tokens = log_ratios[index.demonstrations].sum(), index.demonstration_tokens.sum()
    return {
        "loss": float(ditto_loss(policy_logps, reference_logps, index, weights)),
        "chosen_logps": float(policy_logps[index.chosen].mean()),
        "rejected_logps": float(policy_logps[index.rejected].mean()),
        "chosen_drift": float(log_ratios[index.chosen].mean()),
        "rejected_drift": float(log_ratios[index.rejected].mean()),
        "margin": float(margins.mean()),
        "accuracy": float((margins > 0).double().mean()),
        "demonstration_drift_per_token": float(own / own_tokens.clamp(min=1)),
    }


def exploded(figures: Mapping[str, float]) -> bool:
    """Whether the policy with these metrics is lost, so that no step should start from it.

    The loss alone does not tell: it is blind to both sides of a pair sinking together, which is what a learning rate
    that is far too high does. The user's own texts tell, long before a gradient is no number.
    """
    return (
        not all(map(math.isfinite, figures.values()))
        or figures["loss"] > LARGEST_LOSS
        or figures["demonstration_drift_per_token"] < -LARGEST_FALL
    )
