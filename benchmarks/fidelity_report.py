"""What the fidelity benchmark says in the end: from judged answers to tables, figures and one JSON object.

Knows which comparisons are asked for; how a rate, a regret or a picture is made is next door.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import fidelity_drawing as drawing
import numpy as np
from fidelity_gating import all_offered, chosen, hindsight, same_recipe, spread
from fidelity_judging import (
    JUDGES,
    Array,
    Interval,
    Judged,
    Shelf,
    ended_share,
    interval,
    mean_score,
    nats_per_token,
    rates_against,
    rates_against_all,
)
from fidelity_methods import ABLATIONS, CURVE_ITERATIONS, ITERATIONS, MAIN

METHODS = ("zero_shot", "few_shot", "self_prompt", "sft", "spin", "ditto", "sft_few_shot", "ditto_few_shot")
RIVALS = {"base": "zero_shot", "sft": "sft", "few_shot": "few_shot"}  # of the headline
SPREAD_METHODS = ("zero_shot", "few_shot", "sft", "ditto", "ditto_few_shot")
SPREAD_SEEN = (("likelihood", 0), ("verifier", 3), ("verifier", 2), ("style", 3), ("style", 2))  # the gate's are 2
OTHER_WAYS = ("sft", "warm_start", "preferences_20", "preferences_80", "preferences_80_from_base")
CURVE_POINTS: dict[str, dict[int, str]] = {  # what is varied → its value → the method
    "demonstrations": {**{each: f"demonstrations_{each}" for each in (1, 2, 3, 5)}, 7: MAIN},
    "iterations": {
        **{each: f"iterations_6_{each}" for each in range(1, CURVE_ITERATIONS)},
        CURVE_ITERATIONS: "iterations_6",
    },
    "negatives": {2: "negatives_2", 5: MAIN, 10: "negatives_10"},
}

Corpora = Mapping[str, tuple[Sequence[Shelf], Sequence[Judged]]]


def report(corpora: Corpora, ablated: str, words: int, figures: Path | None) -> dict[str, Any]:
    """Print every table, draw every figure, return the JSON object."""
    if figures is not None:
        figures.mkdir(parents=True, exist_ok=True)
    rows = {name: _method_rows(judged) for name, (_, judged) in corpora.items()}
    for name, (shelves, judged) in corpora.items():
        _show_methods(f"{name}: {len(judged)} people, texts of at most {words} words", shelves, judged, rows[name])
    everybody = [each for _, judged in corpora.values() for each in judged]
    result = _headline(everybody) | {"people": {name: len(judged) for name, (_, judged) in corpora.items()}}
    result["by_corpus"] = {name: _headline(judged) for name, (_, judged) in corpora.items()}
    if ablated in corpora:
        result |= _ablations_and_curves(ablated, corpora[ablated][1], figures)
    result |= _gate(everybody)
    if figures is not None:
        drawing.draw_methods(figures / "methods.png", rows)
    return result


def _method_rows(judged: Sequence[Judged]) -> list[drawing.Row]:
    having = [each for each in judged if all(method in each.by_seed[0] for method in METHODS)]
    return [(each, _intervals(rates_against_all(having, each, METHODS))) for each in METHODS]


def _show_methods(title: str, shelves: Sequence[Shelf], judged: Sequence[Judged], rows: Sequence[drawing.Row]) -> None:
    columns = {
        "nats/token": [f"{nats_per_token(shelves, name):.3f}" for name, _ in rows],
        "verifier": [f"{mean_score(judged, name, 'verifier'):.3f}" for name, _ in rows],
        "style": [f"{mean_score(judged, name, 'style'):.2f}" for name, _ in rows],
        "ended": [f"{ended_share(shelves, name):.2f}" for name, _ in rows],
    }
    drawing.show(f"\n{title}: won against the other methods", rows, columns)
    own = {judge: fmean(float(each.own[judge].mean()) for each in judged) for judge in ("verifier", "style")}
    print(f"their own later texts: verifier {own['verifier']:.3f}, style {own['style']:.2f}")
    duels = [
        (f"ditto against {each}", _intervals(rates_against(judged, "ditto", each)))
        for each in METHODS
        if each != "ditto"
    ]
    drawing.show(f"\n{title.split(':')[0]}: DITTO's answers against each", duels)


def _intervals(rates: Mapping[str, Array]) -> dict[str, Interval]:
    return {name: interval(values) for name, values in rates.items()}


def _headline(people: Sequence[Judged]) -> dict[str, Any]:
    """The mean over the judges of win rates, over all people given."""
    found: dict[str, Any] = {}
    for name, rival in RIVALS.items():
        rates = _intervals(rates_against(people, MAIN, rival))
        mean, low, high = rates["panel"]
        found[f"ditto_win_rate_vs_{name}"] = round(mean, 4)
        found[f"ditto_win_rate_vs_{name}_interval"] = [round(low, 4), round(high, 4)]
        by_judge = {judge: [round(each, 4) for each in rates[judge]] for judge in JUDGES}
        duels = np.array([each.duels[MAIN, rival] for each in people if each.duels])
        if len(duels):
            by_judge["pairwise"] = [round(each, 4) for each in interval(duels)]
        found[f"ditto_win_rate_vs_{name}_by_judge"] = by_judge
    return found


def _ablations_and_curves(corpus: str, judged: Sequence[Judged], figures: Path | None) -> dict[str, Any]:
    """All against the main run, of those people with whom something was varied."""
    judged = [each for each in judged if _has([each], ["no_replay"])]
    ablations = [(each, _intervals(rates_against(judged, each, MAIN))) for each in ABLATIONS if _has(judged, [each])]
    curves = {name: _curve(judged, points) for name, points in CURVE_POINTS.items() if _has(judged, points.values())}
    points = [(f"{name}: {value}", by_judge) for name, each in curves.items() for value, by_judge in each]
    others = [each for each in OTHER_WAYS if _has(judged, [each])]
    points += [(each, _intervals(rates_against(judged, each, MAIN))) for each in others]
    if not ablations:
        return {}
    drawing.show(
        f"\n{corpus}, {len(judged)} people: against DITTO in full ({ITERATIONS} iterations)", [*ablations, *points]
    )
    if figures is not None and curves:
        drawing.draw_ablations(figures / "ablations.png", ablations)
        drawing.draw_curves(figures / "curves.png", curves, "DITTO in full")
    return {
        "ablated_people": len(judged),
        "ablations": {name: by_judge["panel"] for name, by_judge in ablations},
        "curves": {name: by_judge["panel"] for name, by_judge in points},
    }


def _has(judged: Sequence[Judged], names: Iterable[str]) -> bool:
    """Whether somebody has all of these."""
    return any(set(names) <= each.by_seed[0].keys() for each in judged)


def _curve(judged: Sequence[Judged], names: Mapping[int, str]) -> list[tuple[int, dict[str, Interval]]]:
    """Of the people who have all of its points."""
    having = [each for each in judged if all(name in each.by_seed[0] for name in names.values())]
    return [(value, _intervals(rates_against(having, name, MAIN))) for value, name in names.items()]


def _gate(people: Sequence[Judged]) -> dict[str, Any]:
    regrets = hindsight(people)
    names = (*JUDGES, "panel", "promoted")
    table = [[chooser, *(f"{each[name]:.2f}" for name in names)] for chooser, each in regrets.items()]
    drawing.show_plain(
        "\nChosen on half of the prompts, judged on the other: regret in units", ("who chooses", *names), table
    )
    drawing.show_plain(
        "\nOne seed against another: standard deviations of the difference",
        ("method", "judge", "answers a prompt", "prompts", "people", "shared", "differences"),
        [_spread_row(people, method, *seen) for method in SPREAD_METHODS for seen in SPREAD_SEEN],
    )
    trials = {each: same_recipe(people, each) for each in ("ditto", "sft", "few_shot", "ditto_few_shot")}
    trials |= {"all offered": all_offered(people)}
    rows = [
        [name, f"{each.promoted} of {each.trials}", *(f"{end:.3f}" for end in each.wilson())]
        for name, each in trials.items()
    ]
    drawing.show_plain(
        "\nPromoted though only the seed differs", ("served and offered", "promoted", "low", "high"), rows
    )
    chance = trials["ditto"] + trials["sft"]
    return {
        "gate_false_promotions": round(chance.share, 4),
        "gate_false_promotions_interval": [round(end, 4) for end in chance.wilson()],
        "gate_false_promotions_trials": chance.trials,
        "gate_false_promotions_all_offered": [trials["all offered"].promoted, trials["all offered"].trials],
        "gate_choices": chosen(people),
        "gate_regret": {chooser: round(each["panel"], 4) for chooser, each in regrets.items()},
    }


def _spread_row(people: Sequence[Judged], method: str, judge: str, answers: int) -> list[str]:
    found = spread(people, method, judge, answers or None)
    deviations = (found.of_prompts, found.of_authors, found.shared)
    return [method, judge, str(answers or "-"), *(f"{each:.3f}" for each in deviations), str(found.differences)]
