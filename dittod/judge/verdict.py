"""Which candidate is served, if any: judges' scores in, a choice with its intervals out. Pure.

Every judge gives one number per held-out text, higher is better. What a candidate is better by on a text is counted in
units, so that judges of nats and of shares can be added up:

    a_i = mean over judges of clip((s_candidate,i − s_rival,i) / unit, ±CAP)

Whether the mean of a is above 0 by more than chance is asked of a paired bootstrap over the texts (Efron 1979; as for
systems that answer the same questions in Koehn 2004). With two to eight texts the plain one is far too sure of itself,
and no resampling of texts sees what all of them share: another seed. So every resample is widened to what an unbiased
variance would be (√(n/(n−1))), and gets noise added of the two kinds that are known beforehand: one unit per judge and
text, and SEED_UNITS for all texts together. Where m candidates are tried, each is held to the confidence c^(1/m)
(Šidák 1967), which is right for independent ones and more than enough for those of one run. With normal noise of just
that size, 0.1 to 1 % of runs promote by chance; tests/judge/test_verdict.py simulates it.

Knows neither models nor texts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

UNITS = {  # how far another seed moves a judge on one held-out text, standard deviation
    "likelihood": 0.1,  # nats per token; these three measured by benchmarks/fidelity.py
    "verifier": 0.09,  # the mean of two answers
    "style": 0.45,
    "pairwise": 0.25,  # not measured: no model at hand passed its check
}
CAP = 5.0  # units: one odd text must not decide
MARGIN = 0.5  # units that the advantage must be above: what is served changes only for something
WORSE = 1.0  # units: a judge that is sure of a loss above it has a veto
SEED_UNITS = 0.25  # how far another seed moves all texts together, standard deviation
RESAMPLES = 2000

Interval = tuple[float, float, float]  # mean, low, high


@dataclass(frozen=True, slots=True)
class Scores:
    """What the judges say of one candidate."""

    name: str  # of its recipe
    by_judge: Mapping[str, tuple[float, ...]]  # one number per held-out text, higher is better; texts in one order


@dataclass(frozen=True, slots=True)
class Comparison:
    """A candidate against its rival, in units. Its true advantage lies above `low` with the confidence asked for, and
    below `high` with the same."""

    mean: float
    low: float
    high: float
    by_judge: Mapping[str, Interval]


def compare(candidate: Scores, rival: Scores, confidence: float, seed: int) -> Comparison:
    """By how much the candidate is better, over all judges and by each. Both were judged by the same ones."""
    alone = {judge: _in_units(judge, candidate, rival) for judge in candidate.by_judge}
    together = np.mean(list(alone.values()), axis=0)
    return Comparison(
        *_interval(together, len(alone), confidence, seed),
        {judge: _interval(each, 1, confidence, seed) for judge, each in alone.items()},
    )


def choose(
    rival: Scores, candidates: Sequence[Scores], confidence: float, seed: int, *, tried: int = 0
) -> tuple[int | None, list[Comparison]]:
    """The place of the one to be served, None: what is served stays; and how each compares with it.

    `candidates` in order of simplicity, which decides between equals. `tried`: how many there were before those with
    no chance were left out.
    """
    corrected = of_each(confidence, max(tried, len(candidates)))
    compared = [compare(each, rival, corrected, seed) for each in candidates]
    passing = [place for place, each in enumerate(compared) if passes(each)]
    means = {candidates[place].name: compared[place].mean for place in passing}
    earning = [place for place in passing if _earns_its_examples(candidates[place].name, means)]
    best = max(earning, key=lambda place: compared[place].mean, default=None)
    return best, compared


def of_each(confidence: float, tried: int) -> float:
    """What each of so many candidates is held to."""
    return math.pow(confidence, 1 / max(1, tried))


def passes(comparison: Comparison) -> bool:
    """Whether it is better by enough, more surely than by chance, not by one judge alone, and no judge objects."""
    return comparison.low > MARGIN and is_shared(comparison) and not vetoes(comparison)


def is_shared(comparison: Comparison) -> bool:
    """Whether more than one judge finds it better, where there is more than one."""
    better = sum(mean > 0 for mean, _, _ in comparison.by_judge.values())
    return better >= min(2, len(comparison.by_judge))


def vetoes(comparison: Comparison) -> list[str]:
    """The judges that call the candidate clearly worse."""
    return [judge for judge, (_, _, high) in comparison.by_judge.items() if high < -WORSE]


def without_examples(name: str) -> str:
    """The name of the recipe with the same weights and nothing in its prompt."""
    return "base" if name == "few_shot" else name.removesuffix("_few_shot")


def _earns_its_examples(name: str, means: Mapping[str, float]) -> bool:
    """Longer prompts cost time with every request: without them, the same weights must be worse by enough, if they
    would do at all. `means`: of those that would."""
    plain = without_examples(name)
    return plain == name or plain not in means or means[name] >= means[plain] + MARGIN


def _in_units(judge: str, candidate: Scores, rival: Scores) -> Array:
    """What is no number, from a broken model, is worse than any number: (texts,)."""
    ours, theirs = np.array(candidate.by_judge[judge]), np.array(rival.by_judge[judge])
    known = np.isfinite(ours) & np.isfinite(theirs)
    broken = np.where(np.isfinite(ours), CAP, -CAP)
    gains = (np.where(known, ours, 0.0) - np.where(known, theirs, 0.0)) / UNITS[judge]
    return np.where(known, np.clip(gains, -CAP, CAP), broken)


def _interval(advantages: Array, judges: int, confidence: float, seed: int) -> Interval:
    """Of the mean over texts, `advantages` (texts,) being themselves a mean over so many judges."""
    count = len(advantages)
    mean = float(advantages.mean())
    counts, noise = _resampling(count, seed)
    widening = (count / (count - 1)) ** 0.5 if count > 1 else 1.0
    known = (1 / (judges * count) + SEED_UNITS**2) ** 0.5
    resampled = mean + widening * (counts @ (advantages - mean)) / count + known * noise
    low, high = np.quantile(resampled, (1 - confidence, confidence))
    return mean, float(low), float(high)


@lru_cache(maxsize=16)
def _resampling(count: int, seed: int) -> tuple[Array, Array]:
    """How often each resample holds each text (resamples, texts), and normal noise for each: the same for all."""
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES).astype(np.float64)
    return counts, rng.standard_normal(RESAMPLES)
