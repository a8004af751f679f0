"""The cheap half of the fidelity benchmark: what the judges say of what lies in the work folder, and who wins.

A method wins against another on one test prompt and one pair of answers when its score is the higher one; a tie counts
half. The likelihood has no answers: there it is one comparison per prompt. Win rates are means per author first;
intervals are of a bootstrap over authors, the same draws for everything, so that differences are paired. Knows scores;
learns and writes nothing.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import random
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import numpy as np
from fidelity_corpora import Author
from numpy.typing import NDArray

from dittod.judge.impostors import shipped_impostors
from dittod.judge.style import StyleProfile
from dittod.judge.verifier import Verifier

JUDGES = ("likelihood", "verifier", "style")
IMPOSTORS = 40  # texts of other people, and
BASE_IMPOSTORS = 10  # answers that the base gave to other people's prompts
FEWEST_OTHERS = 5  # people; with fewer of them, the impostors that ship stand in
RESAMPLES = 2000

Array = NDArray[np.float64]
Scores = Mapping[str, Array]  # by judge: (prompts, answers), higher is better; of the likelihood (prompts, 1)
Interval = tuple[float, float, float]  # mean, low, high


@dataclass(frozen=True, slots=True)
class Answers:
    """What one method wrote for one author."""

    nats: tuple[float, ...]  # of what the author wrote there, per prompt
    tokens: tuple[int, ...]
    texts: tuple[tuple[str, ...], ...]  # per prompt
    ended: tuple[tuple[bool, ...], ...]


@dataclass(frozen=True, slots=True)
class Shelf:
    """All that there is of one author: seed → method → answers."""

    author: Author
    by_seed: Mapping[int, Mapping[str, Answers]]


@dataclass(frozen=True, slots=True)
class Judged:
    """The same with scores; `own` are those of what the author wrote on the test prompts."""

    author: Author
    by_seed: Mapping[int, Mapping[str, Scores]]
    own: Scores
    duels: Mapping[tuple[str, str], float] = field(default_factory=dict[tuple[str, str], float])  # of a model as judge


def shelves(work: Path, people: Sequence[Author]) -> list[Shelf]:
    """Of those whose main run is done."""
    found = [Shelf(each, _answers(work / each.corpus / each.name)) for each in people]
    return [each for each in found if 0 in each.by_seed and "ditto" in each.by_seed[0]]


def _answers(folder: Path) -> dict[int, dict[str, Answers]]:
    found: dict[int, dict[str, Answers]] = {}
    for path in sorted(folder.glob("*/result.json")):
        seed = int(path.parent.name.rpartition("-")[2])
        for method, each in json.loads(path.read_text())["methods"].items():
            texts = tuple(tuple(text for text, _ in outputs) for outputs in each["outputs"])
            ended = tuple(tuple(end for _, end in outputs) for outputs in each["outputs"])
            found.setdefault(seed, {})[method] = Answers(tuple(each["nats"]), tuple(each["tokens"]), texts, ended)
    return found


def judge(found: Sequence[Shelf], people: Sequence[Author], processes: int) -> list[Judged]:
    """Everything of a corpus by every judge. `people`: everybody of the corpus, for impostors."""
    work = [(each, impostors(each, found, people)) for each in found]
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(_judged, work))


def impostors(shelf: Shelf, found: Sequence[Shelf], people: Sequence[Author]) -> tuple[str, ...]:
    """Who the author is not: other people, and the base. An answer is never compared with itself: the base's are those
    to other people's prompts."""
    rng = random.Random(hashlib.sha256(shelf.author.name.encode()).digest())
    others = [each for each in people if each.name != shelf.author.name]
    texts = [text for each in others for text in (*(one.completion for one in each.learnt), *each.others)]
    if len(others) < FEWEST_OTHERS:
        texts += shipped_impostors()
    bases = [each.by_seed[0]["zero_shot"] for each in found if each is not shelf]
    answers = [text for each in bases for texts_of_prompt in each.texts for text in texts_of_prompt]
    own = {each.completion for each in shelf.author.learnt}
    wanted = [(IMPOSTORS, [each for each in texts if each not in own]), (BASE_IMPOSTORS, answers)]
    return tuple(text for count, pool in wanted for text in rng.sample(pool, min(count, len(pool))))


def _judged(work: tuple[Shelf, tuple[str, ...]]) -> Judged:
    shelf, others = work
    known = [each.completion for each in shelf.author.learnt]
    verifier, style = Verifier(known, others), StyleProfile.of(known)
    by_seed = {
        seed: {method: _scores(answers, verifier, style) for method, answers in methods.items()}
        for seed, methods in shelf.by_seed.items()
    }
    return Judged(
        shelf.author, by_seed, _of_texts([(each.completion,) for each in shelf.author.tests], verifier, style)
    )


def _scores(answers: Answers, verifier: Verifier, style: StyleProfile) -> Scores:
    likelihoods = [-nats / tokens for nats, tokens in zip(answers.nats, answers.tokens, strict=True)]
    return {"likelihood": np.array(likelihoods)[:, None], **_of_texts(answers.texts, verifier, style)}


def _of_texts(by_prompt: Sequence[Sequence[str]], verifier: Verifier, style: StyleProfile) -> dict[str, Array]:
    texts = [text for outputs in by_prompt for text in outputs]
    shape = (len(by_prompt), -1)
    return {
        "verifier": np.array(verifier.scores(texts)).reshape(shape),
        "style": -np.array([style.distance(each) for each in texts]).reshape(shape),
    }


def win_rate(ours: Scores, theirs: Scores, name: str) -> float:
    """Over all prompts and pairs of answers."""
    left, right = ours[name][:, :, None], theirs[name][:, None, :]
    return float(np.mean((left > right) + 0.5 * (left == right)))


def rates_against(people: Sequence[Judged], ours: str, theirs: str) -> dict[str, Array]:
    """By judge and for the panel: one win rate per author who has both, seeds together."""
    rates = [rate for each in people if (rate := _rates_of(each, ours, theirs))]
    return {name: np.array([each[name] for each in rates]) for name in (*JUDGES, "panel")}


def _rates_of(person: Judged, ours: str, theirs: str) -> dict[str, float]:
    """The panel is the mean over the judges, a model's duels among them where there are any."""
    both = [each for each in person.by_seed.values() if {ours, theirs} <= each.keys()]
    if not both:
        return {}
    rates = {name: fmean(win_rate(each[ours], each[theirs], name) for each in both) for name in JUDGES}
    duel = [person.duels[ours, theirs]] if (ours, theirs) in person.duels else []
    return {**rates, "panel": fmean([*rates.values(), *duel])}


def rates_against_all(people: Sequence[Judged], ours: str, methods: Sequence[str]) -> dict[str, Array]:
    """As in the paper's first table: against the other methods, which count alike."""
    against = [rates_against(people, ours, each) for each in methods if each != ours]
    return {name: np.mean([each[name] for each in against], axis=0) for name in (*JUDGES, "panel")}


def interval(values: Array, seed: int = 0) -> Interval:
    """The mean with 95 %: a percentile bootstrap over authors. NaN where there are none."""
    if not len(values):
        return (float("nan"),) * 3
    rng = np.random.default_rng(seed)
    means = values[rng.integers(len(values), size=(RESAMPLES, len(values)))].mean(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(values.mean()), float(low), float(high)


def mean_score(people: Sequence[Judged], method: str, judge: str) -> float:
    """Over people, in the judge's own measure."""
    having = [each.by_seed[0][method][judge] for each in people if method in each.by_seed[0]]
    return fmean(float(each.mean()) for each in having) if having else float("nan")


def ended_share(people: Sequence[Shelf], method: str) -> float:
    """Of the answers, by themselves."""
    having = [each.by_seed[0][method] for each in people if method in each.by_seed[0]]
    ended = [end for each in having for outputs in each.ended for end in outputs]
    return fmean(ended) if ended else float("nan")


def nats_per_token(people: Sequence[Shelf], method: str) -> float:
    """Of everything that the authors wrote on the test prompts, the mean over authors."""
    having = [each.by_seed[0][method] for each in people if method in each.by_seed[0]]
    return fmean(sum(each.nats) / sum(each.tokens) for each in having) if having else float("nan")
