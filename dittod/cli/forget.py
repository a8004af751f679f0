"""forget and receipts: what goes is shown first, and the user asked. What goes is for `dittod.views.forgetting`."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from dittod.cli.opened import opened
from dittod.cli.terminal import day, out, print_json, print_table
from dittod.config import watched_folder
from dittod.errors import DittodError
from dittod.views import forgetting

COLUMNS = ("receipt", "when", "profile", "texts", "reason")
LEFT = (
    "not all of it is gone yet: the running daemon clears it away when its engine has ended its step, or the next one"
)
STAYS = "files stay where they are; one that was named gives nothing any more until its text changes"


def forget(targets: list[str], profile: str | None, *, yes: bool, as_json: bool) -> None:
    """Exit code 1 where there is nothing to forget, or the user does not want it after all."""
    with opened() as (place, settings, store):
        meant = list(_meant(watched_folder(settings), store.files(), targets))
        planned = forgetting.rehearse(place, settings, store, meant, profile)
        shown = None if yes else _ask(planned["receipts"], as_json=as_json)
        done = forgetting.forget(place, settings, store, meant, profile, shown)
    if as_json:
        print_json(done)
        return
    print_table(COLUMNS, map(_row, done["receipts"]), empty="")
    out.print(STAYS if targets or profile else "what comes back into the folder is learnt from again", soft_wrap=True)
    if not done["finished"]:
        out.print(LEFT, soft_wrap=True)


def list_receipts(*, as_json: bool) -> None:
    """Oldest first."""
    with opened() as (_, _, store):
        told = forgetting.receipts(store)
    if as_json:
        print_json(told)
        return
    print_table(COLUMNS, map(_row, told["receipts"]), empty="nothing was forgotten so far")


def _meant(root: Path, known: Collection[str], targets: Sequence[str]) -> Iterator[str]:
    """What is at a path, as this shell means it, by its keys; other targets as they are."""
    for target in targets:
        at_path = forgetting.files_at(root, known, Path(target).absolute()) if target.strip() else []
        yield from at_path or [target]


def _row(receipt: Mapping[str, Any]) -> tuple[object, ...]:
    """Its last column gives way where the terminal is narrow."""
    told = [receipt["cause"]]
    if receipt["adapters"]:
        told += [f"{', '.join(receipt['adapters'])} withdrawn", f"{receipt['replaced_by']} served since"]
    if receipt["run_id"]:
        told.append(f"update {receipt['run_id']} asked for")
    if not receipt["finished"]:
        told.append("not all of it is gone yet")
    return receipt["id"], day(receipt["at"]), receipt["profile"], receipt["demonstrations"], "; ".join(told)


def _ask(planned: Sequence[Mapping[str, Any]], *, as_json: bool) -> int:
    """Returns how many texts go. Raises typer.Abort where they are not to."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise DittodError("dittod forget asks first, and there is no terminal", "add --yes")
    rows = [
        (
            each["profile"],
            each["demonstrations"],
            ", ".join(each["adapters"]) or "-",
            each["replaced_by"] or "unchanged",
        )
        for each in planned
    ]
    if not as_json:  # stdout is one document then
        out.print("for good:")
        print_table(("profile", "texts", "versions", "serves"), rows, empty="")
    texts: int = sum(each["demonstrations"] for each in planned)
    typer.confirm(f"forget all this ({texts} {'text' if texts == 1 else 'texts'})?", abort=True, err=True)
    return texts
