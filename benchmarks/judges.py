"""Are the judges of manner right? Real texts of people whom the impostors do not come from.

Each corpus is halved by people; one half is tested with impostors from the other, then the other way round. The judges
get a person's known texts, and score later texts of the same person and as many of other tested people. Printed for the
verifier, the style distance and both together in the gate's units: the area under the ROC curve over all people (AUC),
with its 95 % interval by a bootstrap over people; the same within one person, which is what the gate needs; accuracy at
the threshold that is best on the other half; and how far the two judges agree (Spearman within one person). Beside them
stands the plain General Impostors method: Ruzicka similarity on 4-grams, share of draws won. Groups of three are judged
by their mean, as the gate judges several answers. With --model, the pairwise judge on the same texts.

    python benchmarks/judges.py          [--quick] [--model FOLDER_OR_ID]
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import fmean

import numpy as np
from fidelity_corpora import DATA, Author, Sizes, authors
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from dittod.judge.style import StyleProfile
from dittod.judge.verdict import UNITS
from dittod.judge.verifier import Verifier

WHOLE = 10**6  # words
IMPOSTORS = 60
GROUP = 3
RESAMPLES = 1000
FEWEST_PEOPLE = 5  # for an interval
JUDGES = ("verifier", "style", "both", "plain")
PLAIN_FEATURES, PLAIN_DRAWS = 2000, 100

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Row:
    """What is measured in one line of the table."""

    name: str
    corpus: str
    sizes: Sizes
    impostors: str = ""  # another row's people; '': the other half of this one's


ROWS = (
    Row("ccat50", "ccat50", Sizes(words=WHOLE, learnt=7, tests=10)),
    Row("ccat50_120_words", "ccat50", Sizes(words=120, learnt=7, tests=10)),
    Row("enron", "enron", Sizes(words=WHOLE, learnt=12, tests=12)),
    Row("cmcc", "cmcc", Sizes(words=WHOLE, learnt=7, tests=6)),
    Row("panza", "panza", Sizes(words=WHOLE, learnt=12, tests=24), impostors="enron"),
)


@dataclass(frozen=True, slots=True)
class Trial:
    """One person: later texts of the same hand, and as many of other people's; threes in a row are by one person."""

    half: int
    known: Sequence[str]
    impostors: Sequence[str]
    same: Sequence[str]
    others: Sequence[str]


@dataclass(frozen=True, slots=True)
class Scored:
    """What one judge says of a trial."""

    half: int
    same: Array
    others: Array

    @property
    def all(self) -> Array:
        """One list."""
        return np.concatenate([self.same, self.others])

    def by_threes(self) -> Scored:
        """Means of three in a row."""
        whole = len(self.same) // GROUP * GROUP
        return Scored(self.half, *(each[:whole].reshape(-1, GROUP).mean(axis=1) for each in (self.same, self.others)))


def main() -> None:
    """Table on stdout, one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="eight people of each corpus: does it run?")
    parser.add_argument("--model", help="whose pairwise judgement is measured, too")
    given = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"{DATA} is not there: this benchmark needs its texts")
    begun, figures, people = time.process_time(), dict[str, object](), dict[str, list[Author]]()
    pairwise = pairwise_by(given.model) if given.model else None
    table = Table("corpus, people", "judge", "AUC (95 %)", "within one person", "in threes", "accuracy", box=None)
    for row in track(ROWS, "corpora", console=Console(stderr=True)):
        people[row.name] = list(islice(authors(row.corpus, row.sizes), 8 if given.quick else None))
        found = list(trials(people[row.name], people.get(row.impostors, [])))
        scored = {judge: [each[judge] for each in map(judged, found)] for judge in JUDGES}
        measured = {judge: measures(each) for judge, each in scored.items()}
        measured["verifier"]["agreement"] = agreement(scored)
        if pairwise is not None:
            measured["pairwise"] = {"accuracy": round(fmean(map(pairwise, found)), 3)}
        for judge, each in measured.items():
            table.add_row(f"{row.name}, {len(found)}" if judge == "verifier" else "", judge, *cells(each))
            figures |= {f"{judge}_{name}_{row.name}": value for name, value in each.items()}
    Console(width=110).print(table)
    for row in ROWS:
        print(f"rank correlation of verifier and style, {row.name}: {figures[f'verifier_agreement_{row.name}']}")
    print(json.dumps({**figures, "cpu_seconds": round(time.process_time() - begun, 1)}))


def trials(people: Sequence[Author], foreign: Sequence[Author]) -> Iterator[Trial]:
    """Everybody once; impostors are of the other half, or foreign."""
    for place, person in enumerate(people):
        chance = random.Random(place)
        tested = people if foreign else people[place % 2 :: 2]
        strangers = texts_of(foreign or people[1 - place % 2 :: 2])
        same = [each.completion for each in person.tests]
        others = [
            text for _ in same[::GROUP] for text in three_of(chance, [each for each in tested if each is not person])
        ]
        yield Trial(
            place % 2,
            [each.completion for each in person.learnt],
            chance.sample(strangers, min(IMPOSTORS, len(strangers))),
            same,
            others[: len(same)],
        )


def texts_of(people: Sequence[Author]) -> list[str]:
    """What may stand for an impostor."""
    return [text for each in people for text in (*each.others, *(known.completion for known in each.learnt))]


def three_of(chance: random.Random, people: Sequence[Author]) -> list[str]:
    """Texts of one of them."""
    texts = [each.completion for each in chance.choice(people).tests]
    return chance.choices(texts, k=GROUP) if len(texts) < GROUP else chance.sample(texts, GROUP)


def judged(trial: Trial) -> dict[str, Scored]:
    """By every judge; higher is better."""
    texts = [*trial.same, *trial.others]
    style = StyleProfile.of(trial.known)
    verified = np.array(Verifier(trial.known, trial.impostors).scores(texts))
    near = -np.array([style.distance(each) for each in texts])
    found = {
        "verifier": verified,
        "style": near,
        "both": verified / UNITS["verifier"] + near / UNITS["style"],
        "plain": plain_impostors(trial, texts),
    }
    count = len(trial.same)
    return {judge: Scored(trial.half, each[:count], each[count:]) for judge, each in found.items()}


def plain_impostors(trial: Trial, texts: Sequence[str]) -> Array:
    """The General Impostors method: how often a known text is the nearest of those drawn, by half of the 4-grams."""
    references = [grams(each) for each in (*trial.known, *trial.impostors)]
    total = Counter[str]()
    for each in references:
        total.update(each)
    kept = [gram for gram, _ in total.most_common(PLAIN_FEATURES)]
    texts_with = np.array([sum(gram in each for each in references) for gram in kept])
    weights = 1.0 + np.log((1 + len(references)) / (1 + texts_with))
    rows, asked = (shares(each, kept) * weights for each in (references, [grams(text) for text in texts]))
    chance = np.random.default_rng(0)
    drawn = (chance.random((len(kept), PLAIN_DRAWS)) < 0.5).astype(float)
    sums = rows @ drawn
    in_play = chance.random((len(trial.impostors), PLAIN_DRAWS)) < 0.5
    wins = []
    for each in asked:
        shared = np.minimum(rows, each) @ drawn
        nearer = shared / np.maximum(sums + each @ drawn - shared, 1e-12)
        own, others = nearer[: len(trial.known)].max(axis=0), nearer[len(trial.known) :]
        wins.append((own > np.where(in_play, others, 0.0).max(axis=0)).mean())
    return np.array(wins)


def grams(text: str) -> Counter[str]:
    """Character 4-grams."""
    whole = " ".join(text.split())
    return Counter(whole[at : at + 4] for at in range(len(whole) - 3))


def shares(counts: Sequence[Counter[str]], kept: Sequence[str]) -> Array:
    """Of each n-gram in each text."""
    rows = np.array([[each[gram] for gram in kept] for each in counts], dtype=float)
    return rows / np.maximum(rows.sum(axis=1, keepdims=True), 1.0)


def measures(scored: Sequence[Scored]) -> dict[str, object]:
    """All figures of one judge on one corpus."""
    threes = [each.by_threes() for each in scored if len(each.same) >= GROUP]
    found: dict[str, object] = {
        "auc": round(area(wins_of(scored)), 3),
        "auc_within": round(fmean(area(wins_of([each])) for each in scored), 3),
        "auc_threes": round(area(wins_of(threes)), 3),
        "accuracy": round(accuracy(scored), 3),
    }
    if len(scored) >= FEWEST_PEOPLE:
        found["auc_interval"] = interval(wins_of(scored))
    return found


def wins_of(scored: Sequence[Scored]) -> Array:
    """Of every person's own texts (rows) over everybody's strangers (columns), the mean share won. Everybody has about
    as many texts, and counts the same."""
    return np.array([[(np.sign(a.same[:, None] - b.others[None]) / 2 + 0.5).mean() for b in scored] for a in scored])


def area(wins: Array) -> float:
    """Under the ROC curve."""
    return float(wins.mean())


def interval(wins: Array) -> list[float]:
    """95 %, by a bootstrap over people."""
    chance = np.random.default_rng(0)
    drawn = (chance.integers(0, len(wins), len(wins)) for _ in range(RESAMPLES))
    low, high = np.quantile([wins[np.ix_(each, each)].mean() for each in drawn], [0.025, 0.975])
    return [round(float(low), 3), round(float(high), 3)]


def accuracy(scored: Sequence[Scored]) -> float:
    """At the threshold that is best on the other half."""
    halves = [[each for each in scored if each.half == half] for half in (0, 1)]
    thresholds = [threshold_of(halves[1 - half]) for half in (0, 1)]
    return fmean(right_at(thresholds[each.half], each) for each in scored)


def threshold_of(scored: Sequence[Scored]) -> float:
    """Where most texts are on the right side."""
    values = np.unique(np.concatenate([each.all for each in scored]))
    return float(max(values, key=lambda value: fmean(right_at(value, each) for each in scored)))


def right_at(threshold: float, scored: Scored) -> float:
    """The share of a person's texts on the right side."""
    return float((np.mean(scored.same >= threshold) + np.mean(scored.others < threshold)) / 2)


def agreement(scored: Mapping[str, Sequence[Scored]]) -> float:
    """Spearman's rank correlation of verifier and style on one person's trial, the mean over people."""
    pairs = zip(scored["verifier"], scored["style"], strict=True)
    return round(fmean(float(np.corrcoef(ranks(a.all), ranks(b.all))[0, 1]) for a, b in pairs), 3)


def ranks(values: Array) -> Array:
    """Equal values share theirs."""
    return np.array([np.sum(values < each) + np.sum(values == each) / 2 for each in values])


def cells(measured: Mapping[str, object]) -> list[str]:
    """Of the table."""
    around = measured.get("auc_interval")
    auc = f"{measured.get('auc', '')} {around or ''}"
    return [auc, *(str(measured.get(name, "")) for name in ("auc_within", "auc_threes", "accuracy"))]


def pairwise_by(model: str) -> Callable[[Trial], float]:
    """How often that model takes a person's later text for theirs rather than a stranger's, both orders together."""
    from fidelity_pairwise import asking, finished, shares_won  # torch is slow to import, and needed for this only

    ask = asking(model)

    def right(trial: Trial) -> float:
        samples = [trial.known[place % len(trial.known)] for place in range(len(trial.same))]
        same, others = ([[text] for text in each] for each in (trial.same, trial.others))
        return fmean(finished(shares_won(ask, samples, trial.impostors, same, others)))

    return right


if __name__ == "__main__":
    main()
