"""The paper's own judge in the fidelity benchmark: a model that is shown a text of the author and two answers.

It counts where the model tells the corpus's authors from each other. Knows who meets whom; the question, and how its
answer is read, are the product's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from fidelity_judging import Judged, Shelf
from fidelity_methods import MAIN
from fidelity_writing import finished

from dittod.judge.pairwise import Ask, by_model, competence, is_competent, shares_won
from dittod.learner.workbench import Workbench
from dittod.model.decode import Decoder
from dittod.model.load import load_base
from dittod.model.lora import LoraAdapters

RIVALS = ("zero_shot", "few_shot", "sft")


def asking(model: str) -> Ask:
    """The base model, loaded."""
    base = load_base(model)
    adapters = LoraAdapters(base)
    return by_model(Workbench(base, adapters, Decoder(base, adapters, max_rows=1)))


def with_duels(ask: Ask, judged: Sequence[Judged], found: Sequence[Shelf]) -> tuple[list[Judged], float]:
    """Everybody with DITTO's duels by this judge, if it is competent; and its share of right answers about the authors
    of the corpus."""
    share = fmean(_competence(ask, each, found) for each in found)
    if not is_competent(share):
        return list(judged), share
    return [replace(each, duels=_duels(ask, shelf, found)) for each, shelf in zip(judged, found, strict=True)], share


def _competence(ask: Ask, shelf: Shelf, found: Sequence[Shelf]) -> float:
    known = [each.completion for each in shelf.author.learnt]
    return finished(competence(ask, known, _strangers(shelf, found), 0))


def _strangers(shelf: Shelf, found: Sequence[Shelf]) -> list[str]:
    return [each.completion for other in found if other is not shelf for each in other.author.learnt]


def _duels(ask: Ask, shelf: Shelf, found: Sequence[Shelf]) -> dict[tuple[str, str], float]:
    methods, strangers = shelf.by_seed[0], _strangers(shelf, found)
    samples = [each.completion for each in shelf.author.tests]
    return {
        (MAIN, rival): fmean(finished(shares_won(ask, samples, strangers, methods[MAIN].texts, methods[rival].texts)))
        for rival in RIVALS
    }
