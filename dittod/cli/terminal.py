"""How the command line shows things: tables for people, JSON for programs, progress on stderr."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any

from rich.console import Console, OverflowMethod
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

SHRINKING = (
    "prompt",
    "reason",
    "learning",
    "file",
    "figure",
    "cut lines",
    "masked",
    "serves",
    "recipe",
    "state",
    "candidate",
    "tripped",
)  # columns that give way where a table is too wide

out = Console(highlight=False)  # data
err = Console(stderr=True, highlight=False)  # everything else


def print_json(value: Any) -> None:
    """One document on stdout."""
    out.file.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def print_table(columns: Iterable[str], rows: Iterable[Iterable[object]], *, empty: str) -> None:
    """A table that fits the terminal; `empty` is said instead when there are no rows."""
    lines = [[Text(str(cell)) for cell in row] for row in rows]  # Text: what looks like markup is shown as it is
    if not lines:
        out.print(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, column in enumerate(columns):
        widest = max(len(column), *(line[place].cell_len for line in lines))
        overflow: OverflowMethod = "ellipsis" if column == "prompt" else "fold"
        shrinks = column in SHRINKING
        keeps = overflow == "ellipsis" or not shrinks  # else rich takes from wide ones first, and cuts the last one off
        table.add_column(column, no_wrap=keeps, overflow=overflow, min_width=None if shrinks else widest)
    for line in lines:
        table.add_row(*line)
    out.print(table)


def progress_bars() -> Progress:
    """Bars for long work, on stderr, so that stdout stays data."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=14),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
        console=err,
    )


def day(posix_seconds: float | None) -> str:
    """A local date and time, or a dash."""
    return "-" if posix_seconds is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(posix_seconds))


def one_line(text: str, width: int = 60) -> str:
    """A text's beginning on one line."""
    flat = " ".join(text.split())
    return flat if len(flat) <= width else flat[: width - 1] + "…"
