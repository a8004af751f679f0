"""A step's pairs as distinct sequences and an index, and their division into micro-batches. Pure.

A demonstration stands in many pairs of a step and is scored once. Both sides of a pair belong to one demonstration,
so the loss is a sum over demonstrations: micro-batches of whole *trees* (one prompt, its demonstration, its samples)
are exact in one pass each. Only a tree too large for the budget is cut into pieces, which step.py treats in two.
Knows token ids; knows neither model nor loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from dittod.model.logprobs import Rows
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
    """The batch of some pairs. `own` and `own_reference_logps`: the demonstrations, by id.

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


def micro_batches(lengths: Sequence[int], micro_batch_tokens: int) -> list[list[int]]:
    """Indices of rows that fit together, padding included, the short ones first; a row too long stands alone."""
    return _pack([[each] for each in range(len(lengths))], lengths, micro_batch_tokens)


def forests(batch: Batch, micro_batch_tokens: int) -> list[list[list[int]]]:
    """The batch in parts that are exact by themselves, each as its pieces of at most `micro_batch_tokens`.

    A part of one piece holds whole trees and takes one pass; a part of several pieces is one tree too large for it.
    """
    lengths = [len(sequence) for sequence in batch.sequences]
    trees: dict[str, list[int]] = {}
    for place, sequence in enumerate(batch.sequences):
        trees.setdefault(sequence.demonstration_id, []).append(place)
    small: list[list[int]] = []
    large: list[list[int]] = []
    for tree in trees.values():
        (small if _padded(tree, lengths) <= micro_batch_tokens else large).append(tree)
    parts = [[part] for part in _pack(small, lengths, micro_batch_tokens)]
    return parts + [_pack([[each] for each in tree], lengths, micro_batch_tokens) for tree in large]


def pad(sequences: Sequence[TokenSequence], device: torch.device) -> Rows:
    """Right-padded rows. The token at T is predicted at T - 1; padding is token 0, which nobody looks at."""
    width = max(len(each) for each in sequences)
    token_ids = torch.zeros(len(sequences), width, dtype=torch.int64)  # (B, T)
    positions: list[int] = []
    targets: list[int] = []
    owners: list[int] = []
    for row, sequence in enumerate(sequences):
        assert sequence.prompt_ids, "the first token of a completion needs one before it"
        token_ids[row, : len(sequence)] = torch.tensor(sequence.prompt_ids + sequence.completion_ids)
        first = row * width + len(sequence.prompt_ids) - 1
        positions += range(first, first + len(sequence.completion_ids))
        targets += sequence.completion_ids
        owners += [row] * len(sequence.completion_ids)
    index = torch.tensor([positions, targets, owners], dtype=torch.int64).to(device)  # (3, C)
    return Rows(token_ids.to(device), *index)


def _padded(rows: Sequence[int], lengths: Sequence[int]) -> int:
    return len(rows) * max(lengths[each] for each in rows)


def _pack(groups: list[list[int]], lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Whole groups side by side, those with short rows first, as long as the padded rectangle stays in the budget."""
    packed: list[list[int]] = []
    for group in sorted(groups, key=lambda rows: max(lengths[each] for each in rows)):
        if packed and _padded(packed[-1] + group, lengths) <= budget:
            packed[-1] += group
        else:
            packed.append(list(group))
    return packed
