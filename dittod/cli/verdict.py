"""The gate's verdict in the terminal: reasons, judges and guards. What they say is `dittod.views.words`'s."""

from __future__ import annotations

from collections.abc import Sequence

from rich.padding import Padding
from rich.text import Text

from dittod.cli.terminal import out, print_table
from dittod.types import Adapter
from dittod.views.words import Table, guards, judges

CHOSEN = "*"


def print_reasons(reasons: Sequence[str]) -> None:
    """The decisive one first."""
    for place, reason in enumerate(reasons):
        out.print(Padding(Text(reason, "" if place else "bold"), (0, 0, 0, 2), expand=False))


def print_judges(adapter: Adapter, *, title: str = "") -> None:
    """Candidate by judge. The version itself has a star."""
    _print(judges(adapter), title)


def print_guards(adapter: Adapter) -> None:
    """Candidate by guard, likewise."""
    _print(guards(adapter), "\nguards")


def _print(table: Table, title: str) -> None:
    if not table.rows:
        return
    out.print(title, style="bold")
    rows = [(CHOSEN if each.chosen else "", each.name, *each.values) for each in table.rows]
    print_table(("", "candidate", *table.columns), rows, empty="")
    for line in table.note.splitlines():
        out.print(line, style="dim", soft_wrap=True)
