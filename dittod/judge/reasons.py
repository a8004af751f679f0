"""The gate's decision in sentences and figures, the decisive sentence first.

No sentence holds a word of anybody's text. Knows evidence and comparisons; decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean

from dittod.judge.candidates import Candidate
from dittod.judge.hearing import Evidence
from dittod.judge.pairwise import is_competent
from dittod.judge.verdict import MARGIN, Comparison, Interval, is_shared, vetoes

_JUDGES = {  # what a judge finds, of a candidate and its rival
    "likelihood": "the latest held-out texts cost {ours:.3f} nats per token under it, and {theirs:.3f} under {rival}",
    "verifier": "the authorship verifier gives its answers {ours:.2f} of 1, and those of {rival} {theirs:.2f}",
    "style": "its answers are {ours:.2f} away from your manner, and those of {rival} {theirs:.2f}",
    "pairwise": "the base model takes {ours:.0%} of its answers for yours rather than those of {rival}",
}


def too_few(held_out: int, needed: int) -> str:
    """Why nothing was measured."""
    return (
        f"{held_out} texts are held out and at least {needed} are needed: whether a candidate is better cannot be"
        " measured, so nothing changes."
    )


def praise(
    candidate: Candidate, rival: Candidate, comparison: Comparison, evidence: Evidence, sure: float
) -> list[str]:
    """Why it is served from now on."""
    decisive = (
        f"All judges together find {candidate.words} better than {rival.words}: by {comparison.mean:.1f} units, and"
        f" with {sure:.0%} confidence by more than {comparison.low:.1f}; more than {MARGIN:g} is needed."
    )
    return [decisive, *_by_judge(candidate, rival, comparison.by_judge, evidence)]


def blame(best: Candidate, rival: Candidate, comparison: Comparison, evidence: Evidence, sure: float) -> list[str]:
    """Why not even the best candidate is served."""
    findings = _by_judge(best, rival, comparison.by_judge, evidence)
    if vetoing := vetoes(comparison):
        decisive = findings.pop(list(comparison.by_judge).index(vetoing[0]))
        return [
            f"{_capital(best.words)} is clearly worse than {rival.words}: {decisive[:1].lower()}{decisive[1:]}",
            *findings,
        ]
    if comparison.low > MARGIN and not is_shared(comparison):
        decisive = (
            f"Only one judge finds {best.words} better than {rival.words}, by however much, and none decides alone."
        )
        return [decisive, *findings]
    decisive = (
        f"No candidate is better than {rival.words} with {sure:.0%} confidence. The best, {best.words}, comes to"
        f" {comparison.mean:+.1f} units, and surely to {comparison.low:+.1f} only; more than {MARGIN:g} is needed."
    )
    return [decisive, *findings]


def about_pairs(evidence: Evidence) -> str:
    """Whether the base model was a judge."""
    if is_competent(evidence.competence):
        return (
            f"The base model was a judge: it tells your texts from others' in {evidence.competence:.0%} of its trials."
        )
    return (
        "The base model was no judge of pairs: it does not tell your texts from others' well enough"
        f" (right in {evidence.competence:.0%} of its trials)."
    )


def figures(evidence: Evidence, means: Mapping[str, float]) -> dict[str, float]:
    """Every number by candidate and judge; of style, the distance. `means`: each one's advantage, in units."""
    found = {"held_out_texts": float(len(evidence.tokens)), "held_out_tokens": float(sum(evidence.tokens))}
    found |= {f"{name}_nats_per_token": evidence.mean_nats(name) for name in evidence.nats}
    for name, scores in evidence.scores.items():
        shown = {judge: fmean(values) for judge, values in scores.by_judge.items() if judge != "likelihood"}
        found |= {f"{name}_{judge}": abs(value) for judge, value in shown.items()}
    found |= {f"{name}_advantage": value for name, value in means.items()}
    for name, each in evidence.abilities.items():
        found |= {f"{name}_bits_per_byte": each.bits_per_byte, f"{name}_right_share": each.right_share}
    if evidence.scores:
        found["pairwise_competence"] = evidence.competence
    return found


def panel_figures(comparison: Comparison) -> dict[str, float]:
    """Of the decision."""
    return {"panel_mean": comparison.mean, "panel_low": comparison.low, "panel_high": comparison.high}


def _by_judge(
    candidate: Candidate, rival: Candidate, by_judge: Mapping[str, Interval], evidence: Evidence
) -> list[str]:
    """One sentence for each, in the panel's order, with the means that the decision is about."""
    found: list[str] = []
    for judge in by_judge:
        ours, theirs = (abs(fmean(evidence.scores[each.name].by_judge[judge])) for each in (candidate, rival))
        found.append(_capital(_JUDGES[judge].format(ours=ours, theirs=theirs, rival=rival.words)) + ".")
    return found


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
