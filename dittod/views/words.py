"""The gate's verdict for people: recipes in words, what each judge says of each candidate, what the guards saw.

Reads the figures that a verdict holds. Knows nothing of how they were measured, nor of what is served by now.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from dittod.judge.guards import Findings, objections
from dittod.types import Adapter, Recipe, Verdict

JUDGES = {  # by the end of a figure's name, as columns
    "advantage": "panel",
    "nats_per_token": "nats/token",
    "verifier": "authorship",
    "style": "style",
    "pairwise": "pairwise",
}
GUARDS = {  # likewise: how many answers trip each
    "secrets": "hold a secret",
    "leaks": "give something away",
    "empty": "empty",
    "endless": "endless",
    "loops": "in a loop",
    "copies": "copied",
    "refusals": "refuse",
}
LESS_IS_BETTER = ("nats_per_token", "style")
ABILITY = {"bits_per_byte": "bits/byte", "right_share": "right"}
WEIGHTS = {"served": "what was served", "base": "base", "supervised": "supervised", "ditto": "DITTO"}
WITH_EXAMPLES = "_few_shot"
ENDS = (*JUDGES, *GUARDS, *ABILITY, "outputs", "usual_refusals")
WHY_NOT_THE_HIGHEST = (
    "* need not have the highest panel: examples in the prompt must earn half a unit over the same weights without, and"
    " whom a judge or a guard has a veto against is out"
)


@dataclass(frozen=True, slots=True)
class Judged:
    """One candidate, or what it had to beat, with its figures."""

    name: str  # of its recipe, or 'served'
    figures: dict[str, float]  # by the end of their names


@dataclass(frozen=True, slots=True)
class Row:
    """What is said of one of them, in a table's columns."""

    chosen: bool  # the version itself
    name: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Candidate by judge, or by guard."""

    columns: tuple[str, ...]  # of the values
    rows: tuple[Row, ...]  # none: the gate has left no such figures
    note: str = ""  # a line each


def in_words(recipe: Recipe) -> str:
    """'DITTO after round 2, 3 examples'."""
    weights = _weights(recipe.policy, recipe.iteration)
    return f"{weights}, {_examples(recipe.examples)}" if recipe.examples else weights


def name_in_words(name: str) -> str:
    """The same from the name that figures give a recipe, which does not say how many examples."""
    if name == "few_shot":
        return f"{WEIGHTS['base']}, with examples"
    weights, examples = name.removesuffix(WITH_EXAMPLES), name.endswith(WITH_EXAMPLES)
    policy, _, iteration = weights.partition("-")
    words = _weights(policy, int(iteration or 0))
    return f"{words}, with examples" if examples else words


def judged(figures: Mapping[str, float]) -> list[Judged]:
    """Everybody of whom the figures say something, what was served first, then from simple to elaborate."""
    found: dict[str, dict[str, float]] = {}
    for figure, value in figures.items():
        for end in ENDS:
            name = figure.removesuffix(f"_{end}")
            if name != figure and _place(name) is not None:
                found.setdefault(name, {})[end] = value
    return [Judged(name, found[name]) for name in sorted(found, key=lambda each: _place(each) or ())]


def figures_of(figures: Mapping[str, float], name: str) -> dict[str, float]:
    """What is said of one candidate, by the end of the figures' names."""
    return next((dict(each.figures) for each in judged(figures) if each.name == name), {})


def ability_of_weights(figures: Mapping[str, float], name: str) -> dict[str, float]:
    """The general ability of a candidate's weights: it is measured without examples, whatever the recipe."""
    weights = "base" if name == "few_shot" else name.removesuffix(WITH_EXAMPLES)
    return {end: value for end, value in figures_of(figures, weights).items() if end in ABILITY}


def judges(adapter: Adapter) -> Table:
    """Candidate by judge."""
    everybody = [each for each in judged(adapter.verdict.figures) if each.figures.keys() & JUDGES.keys()]
    ends = [end for end in JUDGES if any(end in each.figures for each in everybody)]
    rows = _rows(adapter, everybody, lambda each: [number(each.figures.get(end)) for end in ends])
    less = " and ".join(JUDGES[end] for end in ends if end in LESS_IS_BETTER)
    advantages = {each.name: each.figures.get("advantage", -math.inf) for each in everybody}
    surpassed = bool(everybody) and advantages.get(adapter.recipe.name, math.inf) < max(advantages.values())
    notes = [f"{less}: less is better" if less else "", WHY_NOT_THE_HIGHEST if surpassed else ""]
    return Table(tuple(JUDGES[end] for end in ends), rows, "\n".join(filter(None, notes)))


def guards(adapter: Adapter) -> Table:
    """How many answers of each candidate tripped what, and what it lost of its general ability."""
    name, figures = adapter.recipe.name, adapter.verdict.figures
    known = [
        replace(each, figures=ability_of_weights(figures, name) | each.figures) if each.name == name else each
        for each in judged(figures)
    ]
    everybody = [each for each in known if each.figures.keys() & {"outputs", *ABILITY}]
    measures = [end for end in ABILITY if any(end in each.figures for each in everybody)]

    def values(of: Judged) -> list[str]:
        measured = [number(of.figures.get(end)) for end in measures]
        return [number(of.figures.get("outputs")), _tripped(of), *measured]

    columns = ("answers", "tripped", *(ABILITY[end] for end in measures)) if everybody else ()
    return Table(columns, _rows(adapter, everybody, values))


def panel(verdict: Verdict, *, digits: int = 2) -> str:
    """By how much the panel prefers the candidate to what was served, with its interval, in the panel's units."""
    mean, low, high = (verdict.figures.get(f"panel_{each}") for each in ("mean", "low", "high"))
    if mean is None or low is None or high is None:
        return "-"
    return f"{mean:+.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def tripped_guards(adapter: Adapter) -> list[str]:
    """A sentence for each guard that the version's own answers tripped, the gravest first."""
    figures = figures_of(adapter.verdict.figures, adapter.recipe.name)
    if "outputs" not in figures:
        return []
    counts = {end: int(figures.get(end, 0)) for end in ("outputs", *GUARDS)}
    return objections(Findings(**counts, usual_refusals=figures.get("usual_refusals", 0.0)), "this version")


def number(value: float | None) -> str:
    """With three digits behind the point, where it has any."""
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:.0f}" if value == round(value) else f"{value:.3f}"


def _rows(adapter: Adapter, everybody: Sequence[Judged], values: Callable[[Judged], list[str]]) -> tuple[Row, ...]:
    return tuple(
        Row(each.name == adapter.recipe.name, name_in_words(each.name), tuple(values(each))) for each in everybody
    )


def _tripped(candidate: Judged) -> str:
    if "outputs" not in candidate.figures:
        return "-"
    counted = ((words, candidate.figures.get(end, 0)) for end, words in GUARDS.items())
    return ", ".join(f"{count:.0f} {words}" for words, count in counted if count) or "none"


def _weights(policy: str, iteration: int) -> str:
    words = WEIGHTS[policy]
    return f"{words} after round {iteration}" if iteration else words


def _examples(count: int) -> str:
    return "1 example" if count == 1 else f"{count} examples"


def _place(name: str) -> tuple[int, float, bool] | None:
    """Where a recipe stands among others; None: it is none."""
    weights = "base" if name == "few_shot" else name.removesuffix(WITH_EXAMPLES)
    policy, _, iteration = weights.partition("-")
    if policy not in WEIGHTS or not (iteration.isdecimal() or "-" not in weights):
        return None
    return list(WEIGHTS).index(policy), float(iteration or "inf"), name.endswith("few_shot")
