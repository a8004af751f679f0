"""Texts side by side, in columns as wide as the terminal; one under the other where it is too narrow for that.

Knows nothing of where the texts come from. They may be anything that a model says: what would steer the terminal is not
sent.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from dittod.cli.terminal import out

NARROWEST = 36  # columns of characters in which a mail can still be read
GAP = 3  # between two texts
EMPTY = "(nothing)"


def print_side_by_side(columns: Sequence[tuple[str, str]]) -> None:
    """Each with its title. They begin on the same line, so that they can be compared line by line."""
    if out.width + GAP < len(columns) * (NARROWEST + GAP):
        for title, text in columns:
            out.print(Rule(Text(title, "bold"), align="left", style="dim", characters="-"))
            out.print(_shown(text))
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, GAP, 0, 0), expand=True)
    for title, _ in columns:
        table.add_column(Text(title), ratio=1, overflow="fold")
    table.add_row(*(_shown(text) for _, text in columns))
    out.print(table)


def printable(text: str) -> str:
    """Without characters that a terminal would obey: each is shown as U+FFFD."""
    lines = text.expandtabs(4).replace("\r\n", "\n")
    return "".join("\ufffd" if _steers(each) else each for each in lines)


def _steers(character: str) -> bool:
    return character != "\n" and unicodedata.category(character) == "Cc"


def _shown(text: str) -> Text:
    shown = printable(text).strip("\n")
    return Text(shown) if shown.strip() else Text(EMPTY, "dim")
