"""Tables and figures of the fidelity benchmark. Knows numbers only; no text of anybody comes here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
from fidelity_judging import JUDGES, Interval
from rich.console import Console
from rich.table import Table

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = {"likelihood": "#9aa5b1", "verifier": "#3d7ea6", "style": "#e0a458", "panel": "#22313f"}
CHANCE = 50.0

Row = tuple[str, Mapping[str, Interval]]  # a method, and its win rate by judge and for the panel


def show(title: str, rows: Sequence[Row], extra: Mapping[str, Sequence[str]] | None = None) -> None:
    """Win rates in per cent with their intervals; `extra`: further columns, by heading."""
    more = dict(extra or {})
    table = Table(
        "method", *(f"{each} %" for each in (*JUDGES, "panel")), *more, title=title, box=None, title_justify="left"
    )
    for place, (name, by_judge) in enumerate(rows):
        rates = [_with_interval(by_judge[each]) for each in (*JUDGES, "panel")]
        table.add_row(name, *rates, *(column[place] for column in more.values()))
    Console(width=130).print(table)


def show_plain(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Any other table."""
    table = Table(*headings, title=title, box=None, title_justify="left")
    for each in rows:
        table.add_row(*each)
    Console(width=130).print(table)


def draw_methods(path: Path, by_corpus: Mapping[str, Sequence[Row]]) -> None:
    """Bars of every method by every judge, a corpus beside the other."""
    figure, axes = pyplot.subplots(1, len(by_corpus), figsize=(4.2 * len(by_corpus), 3.6), sharey=True, squeeze=False)
    for axis, (corpus, rows) in zip(axes[0], by_corpus.items(), strict=True):
        for shift, judge in enumerate((*JUDGES, "panel")):
            places = [place + 0.2 * (shift - 1.5) for place in range(len(rows))]
            _bars(axis, places, [by_judge[judge] for _, by_judge in rows], judge)
        axis.set_xticks(range(len(rows)), [name.replace("_", "\n") for name, _ in rows], fontsize=7)
        axis.axhline(CHANCE, color="#888888", linewidth=0.7)
        axis.set_title(corpus)
    axes[0][0].set_ylabel("won against the other methods, %")
    axes[0][0].set_ylim(0, 112)  # room for the legend
    axes[0][0].legend(fontsize=7, frameon=False, ncols=4, loc="upper left", columnspacing=0.8, handlelength=1.0)
    _save(figure, path)


def draw_curves(path: Path, curves: Mapping[str, Sequence[tuple[int, Mapping[str, Interval]]]], against: str) -> None:
    """One panel for each quantity: its value, and the win rates there."""
    figure, axes = pyplot.subplots(1, len(curves), figsize=(3.6 * len(curves), 3.2), sharey=True, squeeze=False)
    for axis, (quantity, points) in zip(axes[0], curves.items(), strict=True):
        values = [value for value, _ in points]
        for judge in (*JUDGES, "panel"):
            means, lows, highs = zip(*(by_judge[judge] for _, by_judge in points), strict=True)
            thick = 2.0 if judge == "panel" else 1.0
            axis.plot(
                values, _percent(means), color=COLOURS[judge], label=judge, linewidth=thick, marker="o", markersize=3
            )
            if judge == "panel":
                axis.fill_between(
                    values, _percent(lows), _percent(highs), color=COLOURS[judge], alpha=0.12, linewidth=0
                )
        axis.set_xticks(values)
        axis.set_xlabel(quantity)
        axis.axhline(CHANCE, color="#888888", linewidth=0.7)
    axes[0][0].set_ylabel(f"won against {against}, %")
    axes[0][-1].legend(fontsize=7, frameon=False)
    _save(figure, path)


def draw_ablations(path: Path, rows: Sequence[Row]) -> None:
    """Points with intervals, one line for each ablation."""
    figure, axis = pyplot.subplots(figsize=(5.2, 0.5 * len(rows) + 1.2))
    for shift, judge in enumerate((*JUDGES, "panel")):
        for place, (_, by_judge) in enumerate(rows):
            mean, low, high = _percent(by_judge[judge])
            height = place + 0.16 * (shift - 1.5)
            axis.plot([low, high], [height, height], color=COLOURS[judge], linewidth=1)
            axis.plot(mean, height, "o", color=COLOURS[judge], markersize=4, label=judge if place == 0 else None)
    axis.set_yticks(range(len(rows)), [name.replace("_", " ") for name, _ in rows])
    axis.axvline(CHANCE, color="#888888", linewidth=0.7)
    axis.set_xlabel("won against DITTO in full, %")
    axis.invert_yaxis()
    axis.legend(fontsize=7, frameon=False)
    _save(figure, path)


def _bars(axis: Axes, places: Sequence[float], intervals: Sequence[Interval], judge: str) -> None:
    means, lows, highs = (_percent(each) for each in zip(*intervals, strict=True))
    below = [mean - low for mean, low in zip(means, lows, strict=True)]
    above = [high - mean for mean, high in zip(means, highs, strict=True)]
    axis.bar(places, means, 0.19, color=COLOURS[judge], label=judge)
    axis.errorbar(places, means, (below, above), fmt="none", ecolor="#444444", elinewidth=0.6)


def _percent(shares: Sequence[float]) -> list[float]:
    return [100 * each for each in shares]


def _with_interval(interval: Interval) -> str:
    mean, low, high = _percent(interval)
    return f"{mean:.0f} [{low:.0f}, {high:.0f}]"


def _save(figure: Figure, path: Path) -> None:
    for axis in figure.axes:
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
