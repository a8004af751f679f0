"""Sentences and figures of a decision."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dittod.judge import reasons
from dittod.judge.candidates import SERVED, Candidate, named
from dittod.judge.hearing import Evidence
from dittod.judge.verdict import Comparison, Scores
from dittod.types import Recipe

DITTO, RIVAL = named(Recipe("ditto")), Candidate(SERVED, Recipe("ditto", examples=2))


def evidence(**changes: object) -> Evidence:
    found = Evidence([10, 30], {"ditto": [2.0, 3.0], SERVED: [4.0, 4.0]})
    found.scores = {
        "ditto": Scores("ditto", {"likelihood": (-2.0, -3.0), "verifier": (0.5, 0.7), "style": (-1.0, -2.0)}),
        SERVED: Scores(SERVED, {"likelihood": (-4.0, -4.0), "verifier": (0.2, 0.2), "style": (-2.0, -2.5)}),
    }
    return replace(found, **changes)  # type: ignore[arg-type]


def comparison(likelihood: float) -> Comparison:
    others = {"verifier": (2.0, 1.0, 3.0), "style": (2.0, 1.0, 3.0)}
    return Comparison(1.94, 0.83, 3.0, {"likelihood": (likelihood, likelihood - 1, likelihood + 1), **others})


def test_praise_says_by_how_much_and_then_what_each_judge_found() -> None:
    said = reasons.praise(DITTO, RIVAL, comparison(3.0), evidence(), 0.95)
    assert said[0].startswith("All judges together find DITTO's policy better than what is served now: by 1.9 units")
    assert "with 95% confidence by more than 0.8" in said[0]
    assert "2.500 nats per token under it, and 4.000" in said[1]
    assert "0.60 of 1" in said[2] and "0.20" in said[2]
    assert "1.50 away" in said[3] and "2.25" in said[3]


def test_blame_names_a_judge_with_a_veto_before_all_else() -> None:
    said = reasons.blame(DITTO, RIVAL, comparison(-3.0), evidence(), 0.95)
    assert said[0].startswith(
        "DITTO's policy is clearly worse than what is served now: the latest held-out texts cost 2.500"
    )
    assert len(said) == 3
    assert "No candidate is better" in reasons.blame(DITTO, RIVAL, comparison(0.0), evidence(), 0.95)[0]


def test_likelihood_is_quoted_of_the_texts_that_were_judged_and_not_of_all_that_is_held_out() -> None:
    """An old text that tells the other way is held out, too."""
    found = evidence(tokens=[900, 10, 30], nats={"ditto": [9.0, 2.0, 3.0], SERVED: [1.0, 4.0, 4.0]})
    assert "2.500 nats per token under it, and 4.000" in reasons.praise(DITTO, RIVAL, comparison(3.0), found, 0.95)[1]


def test_blame_says_that_one_judge_alone_would_have_decided() -> None:
    alone = Comparison(1.6, 0.9, 2.4, {"likelihood": (5.0, 4.0, 6.0), "verifier": (0.0, -0.5, 0.5)})
    said = reasons.blame(DITTO, RIVAL, alone, evidence(), 0.95)
    assert said[0].startswith("Only one judge finds DITTO's policy better") and len(said) == 3
    assert "No candidate is better" in reasons.blame(DITTO, RIVAL, replace(alone, low=0.4), evidence(), 0.95)[0]


def test_figures_have_every_number_and_of_style_the_distance() -> None:
    found = reasons.figures(evidence(competence=0.25), {"ditto": 1.5})
    assert found["ditto_style"] == 1.5 and found["served_verifier"] == pytest.approx(0.2)
    assert (found["ditto_nats_per_token"], found["held_out_tokens"], found["ditto_advantage"]) == (2.75, 40, 1.5)
    assert found["pairwise_competence"] == 0.25 and "ditto_likelihood" not in found


@pytest.mark.parametrize(("share", "word"), [(0.8, "was a judge"), (0.3, "was no judge")])
def test_whether_the_base_model_was_a_judge_is_said(share: float, word: str) -> None:
    assert word in reasons.about_pairs(evidence(competence=share))
