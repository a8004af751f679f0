"""runs: updates that are under way or have ended, and the course of one. What there is to say comes from
`dittod.views.learning`; what the policy writes while it learns is known to the daemon alone, and shown on its page.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dittod.cli.opened import opened
from dittod.cli.status import stage
from dittod.cli.terminal import clock, day, out, print_json, print_table
from dittod.errors import NotFound
from dittod.store import Store
from dittod.views import learning
from dittod.views.versions import course

Document = Mapping[str, Any]


def list_runs(*, as_json: bool) -> None:
    """The latest, the newest first."""
    with opened() as (_, _, store):
        told = learning.runs(store)
    if as_json:
        print_json(told)
        return
    rows = [(each["id"], each["profile"], day(each["requested_at"]), _outcome(each)) for each in told["runs"]]
    print_table(("run", "profile", "asked for", "state"), rows, empty="no updates yet: dittod update asks for one")


def show_run(wanted: str, *, as_json: bool) -> None:
    """One, with its stages and with each figure in the first step of a stage and in the last."""
    with opened() as (_, _, store):
        id = _id(store, wanted)
        told, steps = learning.run(store, id, 0, ()), store.steps(id)
    if as_json:
        print_json(told)
        return
    for name, value in _head(told):
        out.print(f"{name:<9}{value}", markup=False, soft_wrap=True)
    out.print("\nstages", style="bold")
    print_table(("stage", "state", "left"), map(_stage_row, told["stages"]), empty="its preset is no more")
    if steps:
        out.print("\nlearning", style="bold")
        print_course(course(steps))


def print_course(found: Iterable[Document]) -> None:
    """Each figure of each stage, where it began and where it ended."""
    rows = [
        (each["phase"], each["steps"], each["figure"], _short(each["first"]), _short(each["last"])) for each in found
    ]
    print_table(("stage", "steps", "figure", "first", "last"), rows, empty="")


def _id(store: Store, wanted: str) -> str:
    """Raises NotFound where none or several begin so."""
    fitting = [each.id for each in store.runs() if wanted and each.id.startswith(wanted)]
    if len(fitting) != 1:
        how_many = "several updates answer" if fitting else "no update answers"
        raise NotFound(f"{how_many} to {wanted!r}", "list them with: dittod runs")
    return fitting[0]


def _outcome(run: Document) -> str:
    match run["state"]:
        case "done":
            word = {True: ": better than what was served", False: ": kept back", None: ""}[run["promoted"]]
            return f"done, {run['version']}{word}" if run["version"] else "done"
        case "failed":
            return f"failed: {run['error'] or 'no reason given'}"
        case "stopped":
            return "given up"
        case _:
            return stage(run)


def _head(run: Document) -> Iterator[tuple[str, str]]:
    yield "run", f"{run['id']} of {run['profile']}, {'by hand' if run['by_hand'] else 'by itself'}"
    ended = f", ended {day(run['finished_at'])}" if run["finished_at"] else ""
    yield "asked", f"{day(run['requested_at'])}{ended}"
    yield "texts", f"{run['demonstrations']} to learn from, {run['held_out']} held out"
    yield "preset", f"{run['preset']}, seed {run['seed']}"
    yield "state", _outcome(run)
    for sentence in run["notes"]:
        yield "note", sentence


def _stage_row(each: Document) -> tuple[str, str, str]:
    left = clock(each["seconds_left"]) if each["state"] == "now" else ""
    return each["title"], each["state"], left


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
