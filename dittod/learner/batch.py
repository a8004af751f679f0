"""A step's pairs as distinct sequences and an index, and their division into micro-batches. Pure.

A demonstration stands in many pairs of a step and is scored once. Both sides of a pair belong to one demonstration,
so the loss is a sum over demonstrations: micro-batches of whole *trees* (one prompt, its demonstration, its samples)
are exact in one pass each. Only a tree too large for the budget is cut into pieces, which step.py treats in two.
Knows token ids; knows neither model nor loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from dittod.model.tree import Row, pack
from dittod.types import PreferencePair


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """One completion after its prompt: what gets one log-probability."""

    demonstration_id: str
    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.prompt_ids) + len(self.completion_ids)


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step scores, each sequence once. S sequences, P pairs, D demonstrations."""

    sequences: tuple[TokenSequence, ...]  # (S,) distinct
    reference_logps: tuple[float, ...]  # (S,) nats, summed
    chosen: tuple[int, ...]  # (P,) index into sequences
    rejected: tuple[int, ...]  # (P,)
    demonstrations: tuple[int, ...]  # (D,) the sequences that are the user's own and stand in a pair

    def only(self, indices: Sequence[int]) -> Batch:
        """The part over these sequences. Pairs must lie inside it or outside it, never across."""
        place = {old: new for new, old in enumerate(indices)}
        pairs = [(c, r) for c, r in zip(self.chosen, self.rejected, strict=True) if c in place]
        return Batch(
            sequences=tuple(self.sequences[each] for each in indices),
            reference_logps=tuple(self.reference_logps[each] for each in indices),
            chosen=tuple(place[c] for c, _ in pairs),
            rejected=tuple(place[r] for _, r in pairs),
            demonstrations=tuple(place[each] for each in self.demonstrations if each in place),
        )


def collect(
    pairs: Sequence[PreferencePair], own: Mapping[str, TokenSequence], own_reference_logps: Mapping[str, float]
) -> Batch:
    """The batch of some pairs. `own`: the demonstrations, and what else has a prompt, by key; `own_reference_logps`: of
    the demonstrations.

    Sequences are distinct by demonstration and token ids: two demonstrations with equal prompts stay apart, two equal
    samples of one demonstration are one sequence.
    """
    place: dict[tuple[str, tuple[int, ...]], int] = {}
    sequences: list[TokenSequence] = []
    reference_logps: list[float] = []

    def index(demonstration_id: str, completion_ids: tuple[int, ...], reference_logp: float) -> int:
        key = (demonstration_id, completion_ids)
        if key not in place:
            place[key] = len(sequences)
            sequences.append(TokenSequence(demonstration_id, own[demonstration_id].prompt_ids, completion_ids))
            reference_logps.append(reference_logp)
        return place[key]

    chosen, rejected, demonstrations = [], [], set()
    for pair in pairs:
        if pair.chosen is None:
            mine = own[pair.demonstration_id].completion_ids
            chosen.append(index(pair.demonstration_id, mine, own_reference_logps[pair.demonstration_id]))
            demonstrations.add(chosen[-1])
        else:
            chosen.append(index(pair.demonstration_id, pair.chosen.token_ids, pair.chosen.reference_logp))
        rejected.append(index(pair.demonstration_id, pair.rejected.token_ids, pair.rejected.reference_logp))
    return Batch(
        tuple(sequences), tuple(reference_logps), tuple(chosen), tuple(rejected), tuple(sorted(demonstrations))
    )


def micro_batches(
    sequences: Sequence[TokenSequence], micro_batch_tokens: int, *, packed: bool = True
) -> list[list[int]]:
    """Indices of sequences that make up a row together, those with equal prompts side by side, so that their prompt
    stands in few rows. A sequence longer than `micro_batch_tokens` has a row of its own. `packed`: a row holds each
    distinct prompt once; where the model cannot, one for every sequence."""
    by_prompt: dict[tuple[int, ...], list[int]] = {}
    for place, sequence in enumerate(sequences):
        by_prompt.setdefault(sequence.prompt_ids, []).append(place)
    return _fill([[each] for same in by_prompt.values() for each in same], sequences, micro_batch_tokens, packed)


def forests(batch: Batch, micro_batch_tokens: int, *, packed: bool = True) -> list[list[list[int]]]:
    """The batch in parts that are exact by themselves, each as its pieces of at most `micro_batch_tokens`.

    A part of one piece holds whole trees and takes one pass; a part of several pieces is one tree too large for it.
    """
    trees: dict[str, list[int]] = {}
    for place, sequence in enumerate(batch.sequences):
        trees.setdefault(sequence.demonstration_id, []).append(place)
    small: list[list[int]] = []
    large: list[list[int]] = []
    for tree in trees.values():
        tokens = row_tokens([batch.sequences[each] for each in tree], packed=packed)
        (small if tokens <= micro_batch_tokens else large).append(tree)
    parts = [[part] for part in _fill(small, batch.sequences, micro_batch_tokens, packed)]
    return parts + [_fill([[each] for each in tree], batch.sequences, micro_batch_tokens, packed) for tree in large]


def row_tokens(sequences: Iterable[TokenSequence], *, packed: bool = True) -> int:
    """Tokens of a row of these: each distinct prompt once (unpacked: every one), and every completion."""
    prompts: list[tuple[int, ...]] = []
    completions = 0
    for each in sequences:
        prompts.append(each.prompt_ids)
        completions += len(each.completion_ids)
    return sum(map(len, set(prompts) if packed else prompts)) + completions


def row_of(sequences: Iterable[TokenSequence], device: torch.device) -> Row:
    """Packed as the model takes it."""
    return pack([(each.prompt_ids, each.completion_ids) for each in sequences], device)


def _fill(groups: list[list[int]], sequences: Sequence[TokenSequence], budget: int, packed: bool) -> list[list[int]]:
    """Whole groups side by side, in their order, as long as their row stays in the budget."""
    rows: list[list[int]] = []
    for group in groups:
        if rows and row_tokens((sequences[each] for each in rows[-1] + group), packed=packed) <= budget:
            rows[-1] += group
        else:
            rows.append(list(group))
    return rows
