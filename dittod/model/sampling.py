"""From logits to tokens: penalties and bias, temperature, the three cuts, and the draw itself.

Pure functions over a batch of rows, each row with its own `Sampling`; they return new tensors and change nothing.
Knows nothing of models, caches, seeds or stop tokens: the uniform number that decides a draw is given.

    adjusted(logits) → constrained → probabilities → draw          temperature 0: argmax instead of the last two
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from dittod.engine.protocol import Sampling

_NUCLEUS_GUESS = 1024  # top_p looks at so many of the likeliest tokens first; sorting 150,000 is 50 times slower
_COLDEST = 1e-6  # below, only the likeliest token is left, and numbers that small are no longer told from 0
_BLOCK = 128  # entries whose mass is summed before the cumulative sum is taken, when drawing


class History(NamedTuple):
    """What a row has said so far: what penalties look at."""

    prompt_ids: Sequence[int]
    token_ids: Sequence[int]


def choose(
    logits: Tensor,
    samplings: Sequence[Sampling],
    histories: Sequence[History],
    uniforms: Tensor,
    masks: Sequence[Tensor | None] = (),
) -> Tensor:
    """The next token of every row. `logits` (rows, vocabulary), `uniforms` (rows,) in [0, 1); returns (rows,).

    `masks` allow tokens, (vocabulary,) of bool each, at least one; None, or no masks at all, allows all."""
    scores = adjusted(logits, samplings, histories)  # (rows, vocabulary)
    if any(mask is not None for mask in masks):
        scores = constrained(scores, logits, masks)
    greedy = [sampling.temperature < _COLDEST for sampling in samplings]
    if all(greedy):
        return scores.argmax(-1)
    drawn = draw(probabilities(scores, samplings), uniforms)
    if any(greedy):
        return torch.where(torch.tensor(greedy, device=logits.device), scores.argmax(-1), drawn)
    return drawn


def adjusted(logits: Tensor, samplings: Sequence[Sampling], histories: Sequence[History]) -> Tensor:
    """Logits after penalties and bias; `logits` itself where no row asks for any. Loops over tokens seen, not over
    the vocabulary."""
    touched = [row for row, sampling in enumerate(samplings) if _adjusts(sampling)]
    if not touched:
        return logits
    out = logits.clone()
    for row in touched:
        _penalise(out[row], samplings[row], histories[row])
    return out


def _adjusts(sampling: Sampling) -> bool:
    return bool(
        sampling.presence_penalty
        or sampling.frequency_penalty
        or sampling.repetition_penalty != 1
        or sampling.logit_bias
    )


def _penalise(scores: Tensor, sampling: Sampling, history: History) -> None:
    """Change one row's logits (vocabulary,) in place.

    repetition (Keskar 2019, every token of prompt and answer): s > 0: s / r, else s · r
    frequency, presence (OpenAI, the c uses in the answer):       s − c · frequency − [c > 0] · presence
    """
    device = scores.device
    if sampling.repetition_penalty != 1:
        seen = torch.tensor(sorted({*history.prompt_ids, *history.token_ids}), device=device)
        value = scores[seen]
        rate = sampling.repetition_penalty
        scores[seen] = torch.where(value > 0, value / rate, value * rate)
    if (sampling.presence_penalty or sampling.frequency_penalty) and history.token_ids:
        counts = Counter(history.token_ids)
        used = torch.tensor(list(counts), device=device)
        times = torch.tensor(list(counts.values()), dtype=scores.dtype, device=device)
        scores[used] -= sampling.frequency_penalty * times + sampling.presence_penalty
    if sampling.logit_bias:
        ids = torch.tensor(list(sampling.logit_bias), device=device)
        scores[ids] += torch.tensor(list(sampling.logit_bias.values()), dtype=scores.dtype, device=device)


def constrained(scores: Tensor, logits: Tensor, masks: Sequence[Tensor | None]) -> Tensor:
    """`scores` (rows, vocabulary) with −inf wherever a mask forbids. Where penalties and bias have left nothing of what
    it allows, the model's own `logits` count."""
    allowed = torch.ones(scores.shape, dtype=torch.bool)
    for row, mask in enumerate(masks):
        if mask is not None:
            allowed[row] = False
            allowed[row, : len(mask)] = mask[: scores.shape[-1]]  # models have more logits than there are tokens
    allowed = allowed.to(scores.device)
    kept = scores.where(allowed, -torch.inf)
    alive = kept.amax(-1, keepdim=True) > -torch.inf  # (rows, 1); not of NaN either
    return kept.where(alive, logits.where(allowed, -torch.inf))


def probabilities(scores: Tensor, samplings: Sequence[Sampling]) -> Tensor:
    """What each row draws from, (rows, vocabulary), every row summing to 1: softmax(scores / temperature), then
    top-k, top-p and min-p in this order, each on what the one before it left. Equal probabilities stay or go together.
    """
    if any(sampling.temperature not in (0, 1) for sampling in samplings):
        temperature = _column([max(sampling.temperature, _COLDEST) for sampling in samplings], scores)
        scores = (scores - scores.amax(-1, keepdim=True)) / temperature  # ≤ 0: nothing overflows, however cold
    likely = torch.softmax(scores, -1)  # (rows, vocabulary)
    if not any(_cuts(sampling) for sampling in samplings):
        return likely
    kept = likely.where(likely >= _threshold(likely, samplings), 0.0)
    return kept / kept.sum(-1, keepdim=True)


def _cuts(sampling: Sampling) -> bool:
    return sampling.top_k > 0 or sampling.top_p < 1 or sampling.min_p > 0


def _threshold(likely: Tensor, samplings: Sequence[Sampling]) -> Tensor:
    """The smallest probability that each row keeps, (rows, 1)."""
    threshold = torch.zeros_like(likely[:, :1])
    vocabulary = likely.shape[-1]
    top_k = [min(sampling.top_k, vocabulary) if sampling.top_k > 0 else vocabulary for sampling in samplings]
    largest_k = max((k for k in top_k if k < vocabulary), default=0)
    if largest_k:
        ranked = likely.topk(largest_k).values  # (rows, largest k), descending
        kth = torch.tensor([min(k, largest_k) - 1 for k in top_k], device=likely.device)[:, None]  # (rows, 1)
        limited = torch.tensor([k < vocabulary for k in top_k], device=likely.device)[:, None]
        threshold = ranked.gather(-1, kth).where(limited, 0.0)
    if any(sampling.top_p < 1 for sampling in samplings):
        top_p = _column([sampling.top_p for sampling in samplings], likely)
        eligible = likely.where(likely >= threshold, 0.0) if largest_k else likely
        threshold = threshold.maximum(_nucleus(eligible, top_p))
    min_p = _column([sampling.min_p for sampling in samplings], likely)
    return threshold.maximum(min_p * likely.amax(-1, keepdim=True))


def _nucleus(likely: Tensor, top_p: Tensor) -> Tensor:
    """The smallest probability in each row's nucleus (rows, 1): the likeliest tokens whose predecessors hold less
    than top_p of the mass (Holtzman 2019). The likeliest is always in it, and top_p of 1 keeps everything."""
    needed = likely.sum(-1, keepdim=True) * top_p  # (rows, 1)
    ranked = likely.topk(min(_NUCLEUS_GUESS, likely.shape[-1])).values  # (rows, guess)
    if bool((ranked.sum(-1, keepdim=True) < needed)[top_p < 1].any()):
        ranked = likely.sort(-1, descending=True).values
    before = ranked.cumsum(-1) - ranked
    inside = before < needed
    inside[:, 0] = True
    smallest = ranked.where(inside, torch.inf).amin(-1, keepdim=True)
    return smallest.where(top_p < 1, 0.0)


def draw(likely: Tensor, uniforms: Tensor) -> Tensor:
    """One token per row by inverse cumulative distribution: the first whose cumulative mass exceeds u · total.

    `likely` (rows, vocabulary) need not sum to 1; `uniforms` (rows,) in [0, 1). The sum runs over blocks, then inside
    the one block that was hit, in float64: one pass over the vocabulary, and no error that grows with its size.
    """
    short = -likely.shape[-1] % _BLOCK
    if short:
        likely = torch.nn.functional.pad(likely, (0, short))
    blocks = likely.view(len(likely), -1, _BLOCK)  # (rows, blocks, BLOCK)
    mass = blocks.sum(-1).double().cumsum(-1)  # (rows, blocks)
    target = uniforms.to(mass)[:, None] * mass[:, -1:]  # (rows, 1)
    block = _first_above(mass, target)  # (rows,)
    hit = blocks[torch.arange(len(block), device=block.device), block].double()  # (rows, BLOCK)
    before = mass.gather(-1, (block - 1).clamp(min=0)[:, None]).where(block[:, None] > 0, 0.0)  # (rows, 1)
    return block * _BLOCK + _first_above(hit.cumsum(-1), target - before)


def _first_above(cumulative: Tensor, target: Tensor) -> Tensor:
    """Index of the first entry above the target (rows,); where rounding left none, of the last that adds mass."""
    first = (cumulative <= target).sum(-1)
    last = (cumulative < cumulative[:, -1:]).sum(-1)
    return first.minimum(last)


def _column(values: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None]  # (rows, 1)
