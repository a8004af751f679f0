"""The gradient of one step, exact in bounded memory, one micro-batch at a time.

Whole trees take one pass: forward, their share of the loss, backward. A tree cut into pieces takes two, because the
loss depends on a sequence only through its summed log-probability s:

    1. s of every piece, without gradients        2. w = ∂L/∂s, a number per sequence
    3. piece by piece: backward of Σ w · s(θ), since ∂L/∂θ = Σ ∂L/∂s · ∂s/∂θ

Gradients add up in the adapter's parameters across micro-batches, and stay there while other adapters serve requests.
Where memory runs out, the step's gradient is begun anew with smaller micro-batches: half of a backward pass is none.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

import torch

from dittod.learner.batch import Batch, TokenSequence, forests, micro_batches, row_of
from dittod.learner.loss import LossWeights, PairIndex, ditto_loss
from dittod.learner.shortage import retried
from dittod.learner.workbench import Workbench


def backward_preferences(
    workbench: Workbench, adapter: str, batch: Batch, weights: LossWeights
) -> Generator[None, None, torch.Tensor]:
    """Leave the gradient of the whole step's loss in the adapter. Yields after each micro-batch.

    Returns the policy's log-probabilities (S,), detached, in the order of the batch.
    """

    def anew() -> Generator[None, None, torch.Tensor]:
        _forget_gradient(workbench, adapter)
        return _preferences(workbench, adapter, batch, weights)

    return (yield from retried(anew, workbench.use_smaller_micro_batches))


def _preferences(
    workbench: Workbench, adapter: str, batch: Batch, weights: LossWeights
) -> Generator[None, None, torch.Tensor]:
    logps = torch.zeros(len(batch.sequences), dtype=torch.float64)
    for pieces in forests(batch, workbench.micro_batch_tokens, packed=workbench.packed):
        if len(pieces) == 1:
            logps[pieces[0]] = _one_pass(workbench, adapter, batch.only(pieces[0]), weights)
            yield
        else:
            yield from _two_passes(workbench, adapter, batch, pieces, weights, logps)
    return logps


def _one_pass(workbench: Workbench, adapter: str, part: Batch, weights: LossWeights) -> torch.Tensor:
    with workbench.scoring(adapter, gradients=True):
        logps = workbench.scorer.logps(row_of(part.sequences, workbench.base.device))
        reference_logps = torch.tensor(part.reference_logps, dtype=logps.dtype, device=logps.device)
        ditto_loss(logps, reference_logps, pair_index(part, logps.device), weights).backward()  # type: ignore[no-untyped-call]
    return logps.detach().cpu().double()


def _two_passes(
    workbench: Workbench,
    adapter: str,
    batch: Batch,
    pieces: list[list[int]],
    weights: LossWeights,
    logps: torch.Tensor,
) -> Generator[None, None, None]:
    """Fills the tree's places in `logps` (S,)."""
    for piece in pieces:
        row = row_of((batch.sequences[each] for each in piece), workbench.base.device)
        with workbench.scoring(adapter, gradients=False):
            logps[piece] = workbench.scorer.logps(row).cpu().double()
        yield
    tree = [each for piece in pieces for each in piece]
    part = batch.only(tree)
    sums = logps[tree].requires_grad_()
    reference_logps = torch.tensor(part.reference_logps, dtype=torch.float64)
    with torch.enable_grad():
        loss = ditto_loss(sums, reference_logps, pair_index(part, sums.device), weights)
    (slopes,) = torch.autograd.grad(loss, sums)
    by_place = dict(zip(tree, slopes.tolist(), strict=True))
    for piece in pieces:
        row = row_of((batch.sequences[each] for each in piece), workbench.base.device)
        with workbench.scoring(adapter, gradients=True):
            scored = workbench.scorer.logps(row)
            slope = torch.tensor([by_place[each] for each in piece], dtype=scored.dtype, device=scored.device)
            (scored * slope).sum().backward()  # type: ignore[no-untyped-call]
        yield


def backward_likelihood(
    workbench: Workbench, adapter: str, sequences: Sequence[TokenSequence]
) -> Generator[None, None, float]:
    """Leave the gradient of the mean NLL per completion token. Yields after each micro-batch; returns that mean."""

    def anew() -> Generator[None, None, float]:
        _forget_gradient(workbench, adapter)
        return _likelihood(workbench, adapter, sequences)

    return (yield from retried(anew, workbench.use_smaller_micro_batches))


def _likelihood(workbench: Workbench, adapter: str, sequences: Sequence[TokenSequence]) -> Generator[None, None, float]:
    tokens = sum(len(each.completion_ids) for each in sequences)
    total = 0.0
    for part in micro_batches(sequences, workbench.micro_batch_tokens, packed=workbench.packed):
        row = row_of((sequences[each] for each in part), workbench.base.device)
        with workbench.scoring(adapter, gradients=True):
            loss = -workbench.scorer.logps(row).sum() / tokens
            loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
        yield
    return total


def _forget_gradient(workbench: Workbench, adapter: str) -> None:
    for value in workbench.adapters.parameters(adapter):
        value.grad = None


def pair_index(batch: Batch, device: torch.device) -> PairIndex:
    """The batch's index as tensors."""

    def on_device(values: Sequence[int]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.int64, device=device)

    lengths = [len(batch.sequences[each].completion_ids) for each in batch.demonstrations]
    return PairIndex(
        on_device(batch.chosen), on_device(batch.rejected), on_device(batch.demonstrations), on_device(lengths)
    )
