"""The preference pairs that demonstrations and samples induce, and the draw of one step's pairs. Pure.

The user's own text is preferred over anything sampled, and a sample over one from an earlier policy:

    D_E ⪰ D_t ⪰ D_{t-1} ⪰ … ⪰ D_0        arXiv:2406.00888, section 3.2

Everything is keyed by the demonstration's id, never by its prompt: two mails may answer the same request. Knows
token ids, but neither model nor text.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from dittod.types import PairKind, PreferencePair, Sample

SamplesByIteration = Mapping[int, Sequence[Sample]]
Demonstrations = Mapping[str, Sequence[int]]  # id → token ids of its completion
KINDS: tuple[PairKind, ...] = ("online", "replay", "intermodel")


def all_pairs(samples: SamplesByIteration, demonstrations: Demonstrations, iteration: int) -> list[PreferencePair]:
    """Every pair of the ranking at `iteration`: later samples are not looked at."""
    return [
        pair
        for kind in KINDS
        for demonstration_id in demonstrations
        for pair in _pairs_of(kind, demonstration_id, _Pool(samples, demonstrations, iteration))
    ]


def draw(
    samples: SamplesByIteration,
    demonstrations: Demonstrations,
    iteration: int,
    rng: random.Random,
    mix: Mapping[PairKind, float],
    size: int,
) -> list[PreferencePair]:
    """`size` pairs in the proportions of `mix`, re-normalised over the kinds that exist: always the full number.

    No pair comes twice before all of its kind have come once. Pairs are spread over the demonstrations as evenly as
    the kinds allow; online pairs come last, since every demonstration has some, and level what the others left.
    Empty only if nothing is left to prefer: no sample differs from its demonstration.
    """
    pool = _Pool(samples, demonstrations, iteration)
    stock = {kind: _Stock(kind, pool, rng) for kind in KINDS}
    counts = split(size, {kind: mix[kind] for kind in KINDS if mix[kind] > 0 and stock[kind].demonstration_ids})
    drawn: list[PreferencePair] = []
    load: Counter[str] = Counter()
    for kind in reversed(KINDS):
        for _ in range(counts.get(kind, 0)):
            pair = stock[kind].take(load)
            load[pair.demonstration_id] += 1
            drawn.append(pair)
    return drawn


def split(size: int, mix: Mapping[PairKind, float]) -> dict[PairKind, int]:
    """`size` in the proportions of `mix`, by largest remainder: 21 of 70/20/10 are 15 + 4 + 2, of 70/20 16 + 5.

    Of equal remainders the first in the order of KINDS is rounded up.
    """
    total = sum(mix.values())
    if total <= 0:
        return {}
    exact = {kind: size * share / total for kind, share in mix.items()}
    counts = {kind: int(value + 1e-9) for kind, value in exact.items()}
    by_remainder = sorted(exact, key=lambda kind: (round(counts[kind] - exact[kind], 9), KINDS.index(kind)))
    for kind in by_remainder[: size - sum(counts.values())]:
        counts[kind] += 1
    return counts


def pair_figures(pairs: Sequence[PreferencePair], demonstrations: Demonstrations) -> dict[str, float]:
    """What a step compares, as means over its pairs: lengths in tokens, and how many rejected ended by themselves."""
    chosen = [demonstrations[pair.demonstration_id] if pair.chosen is None else pair.chosen.token_ids for pair in pairs]
    return {
        "chosen_tokens": fmean(map(len, chosen)),
        "rejected_tokens": fmean(len(pair.rejected.token_ids) for pair in pairs),
        "eos_rate": fmean(not pair.rejected.truncated for pair in pairs),
    }


class _Pool:
    """The samples that take part, by demonstration and iteration."""

    def __init__(self, samples: SamplesByIteration, demonstrations: Demonstrations, iteration: int) -> None:
        self.iteration = iteration
        self.demonstrations = demonstrations
        self._samples: dict[str, dict[int, list[Sample]]] = {each: {} for each in demonstrations}
        for drawn_at in sorted(samples):
            for sample in samples[drawn_at] if drawn_at <= iteration else ():
                own = demonstrations.get(sample.demonstration_id)
                if own is not None and tuple(own) != sample.token_ids:  # an exact copy is no worse than its original
                    self._samples[sample.demonstration_id].setdefault(drawn_at, []).append(sample)

    def newest(self, demonstration_id: str) -> list[Sample]:
        return self._samples[demonstration_id].get(self.iteration, [])

    def older(self, demonstration_id: str) -> list[Sample]:
        by_iteration = self._samples[demonstration_id]
        return [sample for drawn_at, each in by_iteration.items() if drawn_at < self.iteration for sample in each]

    def all(self, demonstration_id: str) -> list[Sample]:
        return [sample for each in self._samples[demonstration_id].values() for sample in each]


def _pairs_of(kind: PairKind, demonstration_id: str, pool: _Pool) -> Iterator[PreferencePair]:
    if kind == "intermodel":
        everything = pool.all(demonstration_id)
        for better in everything:
            for worse in everything:
                if better.iteration > worse.iteration and better.token_ids != worse.token_ids:
                    yield PreferencePair(demonstration_id, better, worse, kind)
        return
    rejected = pool.newest(demonstration_id) if kind == "online" else pool.older(demonstration_id)
    for sample in rejected:
        yield PreferencePair(demonstration_id, None, sample, kind)


class _Stock:
    """The undrawn pairs of one kind, laid out only for the demonstrations that are asked for."""

    def __init__(self, kind: PairKind, pool: _Pool, rng: random.Random) -> None:
        self._kind = kind
        self._pool = pool
        self._rng = rng
        self._left: dict[str, list[PreferencePair]] = {}
        self.demonstration_ids = [each for each in pool.demonstrations if self._has_any(each)]

    def take(self, load: Counter[str]) -> PreferencePair:
        """A random pair of the demonstration that has had the fewest so far, by chance among equals."""
        candidates = [each for each in self.demonstration_ids if self._left.get(each) != []]
        if not candidates:  # all drawn: they may come again
            self._left.clear()
            candidates = self.demonstration_ids
        least = min(load[each] for each in candidates)
        chosen = self._rng.choice([each for each in candidates if load[each] == least])
        return self._undrawn(chosen).pop()

    def _has_any(self, demonstration_id: str) -> bool:
        return next(_pairs_of(self._kind, demonstration_id, self._pool), None) is not None

    def _undrawn(self, demonstration_id: str) -> list[PreferencePair]:
        if demonstration_id not in self._left:
            pairs = list(_pairs_of(self._kind, demonstration_id, self._pool))
            self._rng.shuffle(pairs)
            self._left[demonstration_id] = pairs
        return self._left[demonstration_id]
