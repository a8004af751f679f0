"""How near do the methods come to a person's own writing? The paper's comparison, on the people of `../shared/data`.

Two halves. *Generating* learns, writes and scores, for hours on two cores; what it makes is kept in --work, and it goes
on where it was killed. *Judging* reads that folder, in minutes: tables of win rates by each judge, the gate's choices
against the best in hindsight and against chance, figures, and one JSON object as the last line. Prints no text of the
data; the folder holds texts, and is private.

    python benchmarks/fidelity.py --work DIR [--only generate|judge] [--corpus NAME]... [--authors N] [--figures DIR]
    python benchmarks/fidelity.py --quick       two people of two corpora, everything tiny: does it run?
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from fidelity_corpora import CORPORA, DATA, Author, Sizes, authors
from fidelity_generating import Item, Settings, claim, generate
from fidelity_methods import ABLATIONS, CURVES, HALVED, MAIN, QUICK

from dittod.model.load import STARTER

ABLATED = "enron"  # the corpus of the shortest texts
ABLATED_PEOPLE = 4
ABLATED_AFTER = 2  # people of every corpus: the first comparison is of methods
QUICK_SIZES = Sizes(words=30, learnt=3, tests=2)
QUICK_CORPORA = ("panza", "cmcc")
QUICK_PEOPLE = 2


def main() -> None:
    """Both halves, or one."""
    given = _arguments()
    if not DATA.is_dir():
        sys.exit(f"{DATA} is not there: this benchmark needs the people's texts")
    with tempfile.TemporaryDirectory(prefix="fidelity-") as folder:
        work = given.work or Path(folder)
        settings = Settings(given.model, Sizes(given.words), HALVED)
        corpora, people = given.corpus or list(CORPORA), given.authors
        if given.quick:
            settings = Settings(given.model, QUICK_SIZES, QUICK)
            corpora, people = QUICK_CORPORA, QUICK_PEOPLE
        claim(work, settings)
        if given.only != "judge":
            few = {name: list(islice(authors(name, settings.sizes), people)) for name in corpora}
            variants = (*ABLATIONS, *CURVES) if not given.quick else ()
            generate(list(items(few, variants)), work, settings, given.processes)
        if given.only != "generate":
            print(json.dumps(_known(_judge(work, corpora, settings, given)), allow_nan=False))


def items(people: Mapping[str, Sequence[Author]], variants: Sequence[str]) -> Iterator[Item]:
    """What matters most first: one person of each corpus by turns, each complete before the next begins. `variants`:
    what is done beside for the first people of one corpus, one of them after each later round."""
    ablated = iter(people.get(ABLATED, ())[:ABLATED_PEOPLE])
    for place in range(max(map(len, people.values()))):
        for each in (rows[place] for rows in people.values() if place < len(rows)):
            yield from (Item(each, MAIN, 0), Item(each, MAIN, 1), Item(each, "spin", 0))
        if place >= ABLATED_AFTER and (one := next(ablated, None)):
            yield from (Item(one, variant, 0) for variant in variants)


def _judge(work: Path, corpora: Sequence[str], settings: Settings, given: argparse.Namespace) -> dict[str, object]:
    from fidelity_judging import judge, shelves  # neither is needed for generating, nor is matplotlib
    from fidelity_pairwise import asking, with_duels
    from fidelity_report import report

    found = {}
    ask = None if settings.model == STARTER else asking(settings.model)  # too small to be asked
    for name in corpora:
        people = list(authors(name, settings.sizes))
        if not (done := shelves(work, people)):
            continue
        judged = judge(done, people, given.processes)
        if ask is not None:
            judged, share = with_duels(ask, judged, done)
            print(f"{name}: as a judge, the base model is right in {100 * share:.0f} % of trials with real texts")
        found[name] = (done, judged)
    if not found:
        sys.exit(f"{work} holds no main run of anybody yet")
    return report(found, ABLATED, settings.sizes.words, given.figures)


def _known(value: Any) -> Any:
    """NaN, of what nothing is known about yet, is null."""
    if isinstance(value, Mapping):
        return {key: _known(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_known(each) for each in value]
    return None if value != value else value


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="where results are kept; made if need be")
    parser.add_argument("--only", choices=("generate", "judge"), help="one half")
    parser.add_argument("--corpus", choices=sorted(CORPORA), action="append", help="may be given again; all, if not")
    parser.add_argument("--authors", type=int, default=14, help="people of each corpus")
    parser.add_argument("--words", type=int, default=Sizes().words, help="at which texts are cut")
    parser.add_argument("--model", default="starter")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--figures", type=Path, help="a folder for PNG files; none are drawn without")
    parser.add_argument("--quick", action="store_true", help="tiny: does it run?")
    given = parser.parse_args()
    if given.work is None and not given.quick:
        parser.error("--work is needed: hours of results belong into a folder that stays")
    return given


if __name__ == "__main__":
    main()
