"""How the command line shows things: tables for people, JSON for programs, progress on stderr."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.table import Table
from rich.text import Text

SHRINKING = (
    "prompt",
    "profile",
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

LEAST_WIDTH = 16  # of a column that gives way
GAP = 2  # between columns
PACE_SECONDS = 600.0  # the stretch of work from which the rest is estimated: a step may take a minute

_styles: Literal["auto"] | None = None if os.environ.get("NO_COLOR") else "auto"  # None: nothing bold or dim either
out = Console(highlight=False, color_system=_styles)  # data
err = Console(stderr=True, highlight=False, color_system=_styles)  # everything else


def print_json(value: Any) -> None:
    """One document on stdout."""
    out.file.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def print_table(columns: Iterable[str], rows: Iterable[Iterable[object]], *, empty: str) -> None:
    """A table that fits the terminal, or where it is too narrow for one, a block of lines for each row. As wide as it
    needs to be where a program reads it. `empty` is said instead when there are no rows."""
    names = list(columns)
    lines = [[_cell(name, value) for name, value in zip(names, row, strict=True)] for row in rows]
    if not lines:
        out.print(empty)
        return
    widths = [max(len(name), *(line[place].cell_len for line in lines)) for place, name in enumerate(names)]
    if not out.is_terminal and "COLUMNS" not in os.environ:
        Console(file=out.file, width=sum(widths) + GAP * len(widths), highlight=False).print(
            _table(names, lines, widths)
        )
    elif sum(_least_widths(names, widths)) + GAP * (len(names) - 1) <= out.width:
        out.print(_table(names, lines, widths))
    else:
        _print_blocks(names, lines)


def _cell(column: str, value: object) -> Text:
    """As it is, also what looks like markup. The beginning of a prompt says enough."""
    return Text(str(value), no_wrap=True, overflow="ellipsis") if column == "prompt" else Text(str(value))


def _least_widths(columns: Sequence[str], widths: Sequence[int]) -> list[int]:
    return [
        min(width, max(LEAST_WIDTH, len(name))) if name in SHRINKING else width
        for name, width in zip(columns, widths, strict=True)
    ]


def _table(columns: Sequence[str], lines: Sequence[Sequence[Text]], widths: Sequence[int]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for name, least in zip(columns, _least_widths(columns, widths), strict=True):
        keeps = name not in SHRINKING  # else rich takes from wide ones first, and cuts the last one off
        table.add_column(name, no_wrap=keeps, overflow="fold", min_width=least)
    for line in lines:
        table.add_row(*line)
    return table


def _print_blocks(columns: Sequence[str], lines: Sequence[Sequence[Text]]) -> None:
    for number, line in enumerate(lines):
        block = Table.grid(padding=(0, GAP, 0, 0))
        block.add_column(style="bold", no_wrap=True)
        block.add_column(overflow="fold")
        for name, cell in zip(columns, line, strict=True):
            if cell.plain:
                block.add_row(name, cell)
        if number:
            out.print()
        out.print(block)


def progress_bars() -> Progress:
    """Bars for long work, on stderr, so that stdout stays data."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=14),
        MofNCompleteColumn(),
        _Time(),
        TextColumn("{task.fields[note]}"),
        console=err,
        speed_estimate_period=PACE_SECONDS,
    )


class _Time(ProgressColumn):
    """How long it has taken, and how long the rest will take at this pace; or what the task's field `left` has of that,
    from somebody who knows better."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        """Of one bar."""
        taken = clock(task.finished_time if task.finished else task.elapsed)
        at_this_pace = f"{clock(task.time_remaining)} left" if task.time_remaining is not None else ""
        left = "" if task.finished else task.fields.get("left", at_this_pace)
        return Text(", ".join(filter(None, (taken, left))), "progress.elapsed")


def clock(seconds: float | None) -> str:
    """A length of time as a clock shows it: 4:05, 1:02:33. Empty where it is not known."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def day(posix_seconds: float | None) -> str:
    """A local date and time, or a dash."""
    return "-" if posix_seconds is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(posix_seconds))


def date(posix_seconds: float | None) -> str:
    """The local date alone, or a dash."""
    return day(posix_seconds).partition(" ")[0]


def about(seconds: float) -> str:
    """A length of time that is only reckoned, as in 'about 12 min left'."""
    minutes = max(1, round(seconds / 60))
    hours, rest = divmod(minutes, 60)
    words = [f"{hours} h"] * bool(hours) + [f"{rest} min"] * (bool(rest) or not hours)
    return f"about {' '.join(words)}"


def one_line(text: str, width: int = 60) -> str:
    """A text's beginning on one line."""
    flat = " ".join(text.split())
    return flat if len(flat) <= width else flat[: width - 1] + "…"
