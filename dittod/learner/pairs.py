"""The preference pairs that demonstrations and samples induce, and the draw of one step's pairs. Pure.

The user's own text is preferred over anything sampled, and a sample over one from an earlier policy:

    D_E ⪰ D_t ⪰ D_{t-1} ⪰ … ⪰ D_0        arXiv:2406.00888, section 3.2

Two rules of ours continue it for what the user has said of answers, which count as samples of an iteration before all
others (REJECTED). Of an answer that they edited, their own text is preferred over what was given: one more online pair
of that demonstration, at every iteration. Of one that they rated down, every fresh sample to its prompt is preferred
over it, as an inter-model pair: there is no text of theirs to prefer. The shares of the kinds stay what they are.

Everything is keyed by the demonstration's id, never by its prompt: two mails may answer the same request. An answer
that was rated down has a key of its own. Knows token ids, but neither model nor text.
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
REJECTED = -1  # the iteration of answers that the user did not want: older than any policy's sample


def all_pairs(samples: SamplesByIteration, demonstrations: Demonstrations, iteration: int) -> list[PreferencePair]:
    """Every pair of the ranking at `iteration`: later samples are not looked at."""
    pool = _Pool(samples, demonstrations, iteration)
    return [pair for kind in KINDS for key in pool.keys for pair in _pairs_of(kind, key, pool)]


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
    counts = split(size, {kind: mix[kind] for kind in KINDS if mix[kind] > 0 and stock[kind].keys})
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
    """The samples that take part, by key and iteration. Keys: the demonstrations, then the answers rated down."""

    def __init__(self, samples: SamplesByIteration, demonstrations: Demonstrations, iteration: int) -> None:
        self.iteration = iteration
        self._own = demonstrations
        self.keys = list(dict.fromkeys([*demonstrations, *(s.demonstration_id for s in samples.get(REJECTED, ()))]))
        self._samples: dict[str, dict[int, list[Sample]]] = {each: {} for each in self.keys}
        for drawn_at in sorted(samples):
            for sample in samples[drawn_at] if drawn_at <= iteration else ():
                own = demonstrations.get(sample.demonstration_id)
                is_copy = own is not None and tuple(own) == sample.token_ids  # no worse than its original
                if sample.demonstration_id in self._samples and not is_copy:
                    self._samples[sample.demonstration_id].setdefault(drawn_at, []).append(sample)

    def newest(self, key: str) -> list[Sample]:
        """What an online pair rejects."""
        by_iteration = self._samples[key] if key in self._own else {}
        return [*by_iteration.get(self.iteration, []), *by_iteration.get(REJECTED, [])]

    def older(self, key: str) -> list[Sample]:
        """What a replayed pair rejects."""
        return [each for each in self.drawn(key) if each.iteration < self.iteration] if key in self._own else []

    def drawn(self, key: str) -> list[Sample]:
        """What policies of this update wrote."""
        by_iteration = self._samples[key]
        return [sample for drawn_at, each in by_iteration.items() if drawn_at != REJECTED for sample in each]

    def outranked(self, key: str) -> list[Sample]:
        """What an inter-model pair rejects, in favour of what is newer."""
        return self.drawn(key) if key in self._own else self._samples[key].get(REJECTED, [])


def _pairs_of(kind: PairKind, key: str, pool: _Pool) -> Iterator[PreferencePair]:
    if kind == "intermodel":
        worse_ones = pool.outranked(key)
        for better in pool.drawn(key):
            for worse in worse_ones:
                if better.iteration > worse.iteration and better.token_ids != worse.token_ids:
                    yield PreferencePair(key, better, worse, kind)
        return
    for sample in pool.newest(key) if kind == "online" else pool.older(key):
        yield PreferencePair(key, None, sample, kind)


class _Stock:
    """The undrawn pairs of one kind, laid out only for the keys that are asked for."""

    def __init__(self, kind: PairKind, pool: _Pool, rng: random.Random) -> None:
        self._kind = kind
        self._pool = pool
        self._rng = rng
        self._left: dict[str, list[PreferencePair]] = {}
        self.keys = [each for each in pool.keys if self._has_any(each)]

    def take(self, load: Counter[str]) -> PreferencePair:
        """A random pair of the key that has had the fewest so far, by chance among equals."""
        candidates = [each for each in self.keys if self._left.get(each) != []]
        if not candidates:  # all drawn: they may come again
            self._left.clear()
            candidates = self.keys
        least = min(load[each] for each in candidates)
        chosen = self._rng.choice([each for each in candidates if load[each] == least])
        return self._undrawn(chosen).pop()

    def _has_any(self, key: str) -> bool:
        return next(_pairs_of(self._kind, key, self._pool), None) is not None

    def _undrawn(self, key: str) -> list[PreferencePair]:
        if key not in self._left:
            pairs = list(_pairs_of(self._kind, key, self._pool))
            self._rng.shuffle(pairs)
            self._left[key] = pairs
        return self._left[key]
