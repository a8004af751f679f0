"""The gate's choices on what the fidelity benchmark has made: against the best choice in hindsight, and against chance.

In hindsight: each author's test prompts are cut in two; the gate sees one half, and the other tells what it should have
served. Chance: two runs that differ by their seed only, one served and the other offered. Knows the verdict of the
product and the judges' scores; judges nothing itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from math import sqrt
from statistics import fmean

import numpy as np
from fidelity_judging import JUDGES, Judged, Scores
from numpy.typing import NDArray

from dittod.judge import verdict

CONFIDENCE = 0.95  # the product's default
BASE = "zero_shot"
PLAIN = ("sft", "ditto_1", "ditto_2", "ditto_3", "ditto")  # the simplest first
CANDIDATES = ("few_shot", *PLAIN, "sft_few_shot", "ditto_few_shot")
_IN_THE_PRODUCT = {BASE: "base", "sft": "supervised", "sft_few_shot": "supervised_few_shot"}
NOTHING_TO_LEARN_FROM = 2  # prompts of a half; with fewer, one decides

Places = NDArray[np.intp]
Gains = Mapping[str, float]  # over the base, in units: by judge and for the panel


@dataclass(frozen=True, slots=True)
class Trials:
    """How often something was promoted."""

    promoted: int
    trials: int

    def __add__(self, other: Trials) -> Trials:
        """Together. Of the same people they are not independent: their interval is somewhat too narrow."""
        return Trials(self.promoted + other.promoted, self.trials + other.trials)

    @property
    def share(self) -> float:
        """NaN where nothing was tried."""
        return self.promoted / self.trials if self.trials else float("nan")

    def wilson(self, z: float = 1.96) -> tuple[float, float]:
        """The interval of 95 % of the share (Wilson 1927)."""
        if not self.trials:
            return float("nan"), float("nan")
        n, p = self.trials, self.share
        centre, spread = p + z * z / (2 * n), z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, centre - spread) / (1 + z * z / n), (centre + spread) / (1 + z * z / n)


@dataclass(frozen=True, slots=True)
class Spread:
    """How far another seed moves one judge: standard deviations of the difference between two seeds."""

    of_prompts: float
    of_authors: float  # of the mean over an author's prompts
    shared: float  # what all prompts of an author have in common, beyond what their own noise explains
    differences: int


def hindsight(people: Sequence[Judged]) -> dict[str, dict[str, float]]:
    """Whoever chooses → mean regret, in units, by judge and for the panel; and how often it was not the base."""
    choosers: dict[str, list[Gains]] = {}
    promoted: dict[str, list[bool]] = {}
    for methods, seen, unseen in _halves(people):
        having = [each for each in CANDIDATES if each in methods]
        gains = {each: _gains(methods, each, unseen) for each in (BASE, *having)}
        best = {name: max(each[name] for each in gains.values()) for name in (*JUDGES, "panel")}
        for chooser, chosen in {"gate": gate_choice(methods, seen), **{each: each for each in (BASE, *having)}}.items():
            regret = {name: best[name] - gains[chosen][name] for name in best}
            choosers.setdefault(chooser, []).append(regret)
            promoted.setdefault(chooser, []).append(chosen != BASE)
    return {
        chooser: {name: fmean(each[name] for each in regrets) for name in regrets[0]}
        | {"promoted": fmean(promoted[chooser])}
        for chooser, regrets in choosers.items()
    }


def gate_choice(
    methods: Mapping[str, Scores], prompts: Places | None = None, rival: verdict.Scores | None = None
) -> str:
    """What the product's gate serves of these methods, where the base or `rival` is served now."""
    having = [each for each in CANDIDATES if each in methods]
    offered = [_panel(methods, each, prompts) for each in having]
    place, _ = verdict.choose(rival or _panel(methods, BASE, prompts), offered, CONFIDENCE, 0)
    return BASE if place is None else having[place]


def chosen(people: Sequence[Judged]) -> dict[str, int]:
    """What the gate serves after a first update, judged on all test prompts: how often each."""
    choices = [gate_choice(each.by_seed[0]) for each in people]
    return {each: choices.count(each) for each in (BASE, *CANDIDATES) if each in choices}


def same_recipe(people: Sequence[Judged], method: str) -> Trials:
    """One seed's policy is served, the other's is offered, both ways: only chance differs."""
    results = []
    for each in people:
        for served, offered in permutations(sorted(each.by_seed), 2):
            if method in each.by_seed[served] and method in each.by_seed[offered]:
                rival = _panel(each.by_seed[served], method, None)
                place, _ = verdict.choose(rival, [_panel(each.by_seed[offered], method, None)], CONFIDENCE, 0)
                results.append(place is not None)
    return Trials(sum(results), len(results))


def all_offered(people: Sequence[Judged]) -> Trials:
    """What the gate chose from one seed is served; everything of the other seed is offered. Where it chose the base,
    nothing was served that chance could replace."""
    results = []
    for each in people:
        for served, offered in permutations(sorted(each.by_seed), 2):
            choice = gate_choice(each.by_seed[served])
            if choice != BASE and BASE in each.by_seed[offered]:
                rival = _panel(each.by_seed[served], choice, None)
                results.append(gate_choice(each.by_seed[offered], None, rival) != BASE)
    return Trials(sum(results), len(results))


def spread(people: Sequence[Judged], method: str, judge: str, answers: int | None = None) -> Spread:
    """Between seeds 0 and 1. `answers`: of so many per prompt; None: of all that were judged."""
    pairs = [(each.by_seed[0], each.by_seed[1]) for each in people if 1 in each.by_seed]
    both = [(a[method][judge], b[method][judge]) for a, b in pairs if method in a and method in b]
    differences = [b[:, :answers].mean(1) - a[:, :answers].mean(1) for a, b in both]
    if len(differences) < 2:
        return Spread(float("nan"), float("nan"), float("nan"), len(differences))
    everything = np.concatenate(differences)
    means = np.array([each.mean() for each in differences])
    within = fmean(float(each.var(ddof=1)) / len(each) for each in differences)
    shared = max(0.0, float(np.mean(means**2)) - within)
    return Spread(
        float(np.sqrt(np.mean(everything**2))), float(np.sqrt(np.mean(means**2))), sqrt(shared), len(everything)
    )


def _halves(people: Sequence[Judged]) -> list[tuple[Mapping[str, Scores], Places, Places]]:
    found = []
    for each in people:
        for methods in each.by_seed.values():
            if BASE not in methods:
                continue
            prompts = np.arange(len(methods[BASE]["likelihood"]))
            for seen, unseen in permutations((prompts[::2], prompts[1::2]), 2):
                if min(len(seen), len(unseen)) >= NOTHING_TO_LEARN_FROM:
                    found.append((methods, seen, unseen))
    return found


def _gains(methods: Mapping[str, Scores], method: str, prompts: Places) -> Gains:
    compared = verdict.compare(_panel(methods, method, prompts), _panel(methods, BASE, prompts), CONFIDENCE, 0)
    return {**{judge: mean for judge, (mean, _, _) in compared.by_judge.items()}, "panel": compared.mean}


def _panel(methods: Mapping[str, Scores], method: str, prompts: Places | None) -> verdict.Scores:
    """As the gate sees them: per prompt, the mean over the answers."""
    rows = slice(None) if prompts is None else prompts
    by_judge = {judge: tuple(values.mean(1)[rows].tolist()) for judge, values in methods[method].items()}
    return verdict.Scores(_IN_THE_PRODUCT.get(method, method), by_judge)
