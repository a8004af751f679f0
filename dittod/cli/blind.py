"""compare --blind: which is yours? Two answers in a random order, without names; then who wrote which, and the tally.

What is kept are names of versions; see `dittod.views.judgements`.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import typer

from dittod.cli.compare import Answer, both_asked, title
from dittod.cli.opened import opened
from dittod.cli.side_by_side import print_side_by_side
from dittod.cli.terminal import err, out, print_json, print_table
from dittod.errors import DittodError
from dittod.views import judgements

QUESTION = "which is yours? 1, 2, or Enter for neither"
shuffled = random.SystemRandom().sample


def compare_blind(prompt: str, one: str, other: str | None, *, seed: int | None) -> None:
    """Raises DittodError where nobody can be asked, or both answers are by the same version."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise DittodError("dittod compare --blind asks which is yours, and there is no terminal", "leave --blind out")
    _, answers = both_asked(prompt, one, other, seed)
    if answers[0].adapter == answers[1].adapter:
        raise DittodError("both answers are by the same version", "name two: dittod adapters list")
    answers = shuffled(answers, 2)
    print_side_by_side([(str(number), each.text) for number, each in enumerate(answers, start=1)])
    out.print()
    choice = _choice()
    for number, each in enumerate(answers, start=1):
        out.print(f"{number} is by {title(each)}", markup=False, soft_wrap=True)
    if choice is not None:
        _keep(answers[choice], answers[1 - choice])


def show_tally(*, as_json: bool) -> None:
    """Of all that was ever chosen."""
    with opened() as (_, _, store):
        told = judgements.tally(store)
    if as_json:
        print_json(told)
        return
    _print(told["tallies"])


def _choice() -> int | None:
    """Place of the answer; None: neither."""
    while True:
        said = str(typer.prompt(QUESTION, default="", show_default=False, err=True)).strip()
        if said in ("1", "2", ""):
            return int(said) - 1 if said else None
        err.print("say 1 or 2, or press Enter only")


def _keep(chosen: Answer, other: Answer) -> None:
    with opened() as (_, _, store):
        told = judgements.add(store, chosen.adapter, other.adapter, time.time())
        profile = store.judgements()[-1].profile
    out.print()
    _print([each for each in told["tallies"] if each["profile"] == profile])


def _print(tallies: Sequence[Mapping[str, Any]]) -> None:
    rows = [row for each in tallies for row in _rows(each)]
    empty = 'nothing was chosen so far: dittod compare "…" --blind'
    print_table(("profile", "taken for yours", "beside", "times"), rows, empty=empty)


def _rows(each: Mapping[str, Any]) -> Iterator[tuple[object, ...]]:
    """One for each of the two."""
    yield each["profile"], each["one"], each["other"], each["one_chosen"]
    yield each["profile"], each["other"], each["one"], each["other_chosen"]
