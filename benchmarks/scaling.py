"""How the cost of a DITTO step grows: with demonstrations (1 to 32), samples of each (2 to 20), length (128 to 2048).

A small random model (4 layers of 256, 8k vocabulary), the default plan, one thread. Around 8 demonstrations with 10
samples and rows of 256 tokens, one of the three is varied at a time; every point is a process of its own. A step has
three pairs per demonstration however many samples there are; what grows with the samples is scoring them under the
reference, once an iteration, so that has a column of its own. Memory is the peak of both over what the loaded model
takes.

    pip install -e '.[bench]'; python benchmarks/scaling.py [--quick]          the plot goes to benchmarks/scaling.svg
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import linear_regression, median

import torch
from contenders import Job, warm_up, workbench
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from stage import BETA, Shape, Size, Watch, finish, in_child, make_model

from dittod.learner.batch import TokenSequence, collect
from dittod.learner.loss import LossWeights
from dittod.learner.optimiser import make_optimiser, take_step
from dittod.learner.preset import CLEAN
from dittod.learner.step import backward_preferences
from dittod.learner.workbench import score

MODEL = Shape("small", 4, 256, 688, 4, 4, 8000)
BASE = {"demonstrations": 8, "samples": 10, "length": 256}
AXES = {"demonstrations": (1, 2, 4, 8, 16, 32), "samples": (2, 5, 10, 20), "length": (128, 256, 512, 1024, 2048)}
QUICK = {"demonstrations": (1, 4), "samples": (2, 8), "length": (128, 512)}
COLUMNS = ("step_seconds", "scoring_seconds", "added_bytes")


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement."""

    axis: str
    value: int
    step_seconds: float
    scoring_seconds: float  # of all samples of one iteration
    added_bytes: int


def main() -> None:
    """Table on stdout, plot beside this file, one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two points an axis, no plot: does it run?")
    parser.add_argument("--point", type=json.loads, help=argparse.SUPPRESS)  # what a child measures
    given = parser.parse_args()
    if given.point:
        torch.set_num_threads(1)
        print(json.dumps(measure(Job(**given.point))))
        return
    axes = QUICK if given.quick else AXES
    with tempfile.TemporaryDirectory() as folder, Progress(console=Console(stderr=True), transient=True) as bars:
        model = make_model(Path(folder), MODEL)
        task = bars.add_task("", total=sum(map(len, axes.values())))
        points = []
        for axis, values in axes.items():
            for value in values:
                bars.update(task, description=f"{axis}: {value}")
                points.append(Point(axis, value, **point(model, **{**BASE, axis: value})))
                bars.advance(task)
    show(points)
    if not given.quick:
        plot(points, Path(__file__).with_suffix(".svg"))
    print(
        json.dumps({f"{column}_exponent_{axis}": exponent(points, axis, column) for axis in AXES for column in COLUMNS})
    )


def point(model: Path, demonstrations: int, samples: int, length: int) -> dict[str, float]:
    """Measured in a child. Rows have `length` tokens on average, a third of them prompt, a fifth more or less each."""
    prompt, completion = ((round(0.8 * share * length), round(1.2 * share * length)) for share in (1 / 3, 2 / 3))
    size = asdict(Size(demonstrations, samples, prompt, completion))
    job = {"side": "dittod", "model": str(model), "steps": 3, "size": size}
    return json.loads(in_child("scaling.py", f"--point={json.dumps(job)}", model))  # type: ignore[no-any-return]


def measure(job: Job) -> dict[str, float]:
    """In the child: an iteration's samples scored once, then some steps."""
    step, bench = job.step(), workbench(job)
    watch, scoring = Watch(), Watch()
    with bench.adapters.active("policy"):
        warm_up(bench.base.model)
    watch.weigh()
    scoring.start()
    drawn = [
        TokenSequence(s.demonstration_id, step.own[s.demonstration_id].prompt_ids, s.token_ids) for s in step.samples[1]
    ]
    finish(score(bench, drawn, None))
    scoring.stop()
    optimiser = make_optimiser(CLEAN, bench.adapters.parameters("policy"))
    batch = collect(step.pairs, step.own, dict.fromkeys(step.own, 0.0))
    weights = LossWeights(BETA, 0.0, len(batch.chosen), len(batch.demonstrations))
    for _ in range(job.steps):
        watch.start()
        finish(backward_preferences(bench, "policy", batch, weights))
        take_step(optimiser, 1e-6, 1.0)
        watch.stop()
    figures = (median(watch.seconds), scoring.seconds[0], watch.added_bytes())
    return dict(zip(COLUMNS, figures, strict=True))


def exponent(points: list[Point], axis: str, column: str) -> float:
    """k of cost = c · value^k, fitted through an axis' points: 1 is linear, 2 quadratic."""
    mine = [each for each in points if each.axis == axis]
    logs = [math.log(getattr(each, column)) for each in mine]
    return round(linear_regression([math.log(each.value) for each in mine], logs).slope, 2)


def show(points: list[Point]) -> None:
    """One row a point."""
    table = Table("axis", "", "step, CPU s", "scoring an iteration, CPU s", "added MB", box=None)
    for each in points:
        figures = (f"{each.step_seconds:.2f}", f"{each.scoring_seconds:.2f}", f"{each.added_bytes / 1e6:.0f}")
        table.add_row(each.axis, str(each.value), *figures)
    Console(width=100).print(table)


def plot(points: list[Point], file: Path) -> None:
    """Time above, on a logarithmic scale, memory below; one column an axis."""
    import matplotlib
    from matplotlib import pyplot
    from matplotlib.axes import Axes

    matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text
    matplotlib.rcParams["svg.hashsalt"] = "scaling"
    figure, panels = pyplot.subplots(2, len(AXES), figsize=(9, 5), sharey="row", sharex="col", layout="constrained")

    def draw(panel: Axes, mine: list[Point], columns: dict[str, str], unit: float) -> None:
        for column, label in columns.items():
            values = [getattr(each, column) / unit for each in mine]
            panel.plot([each.value for each in mine], values, marker="o", label=label)
        panel.set_xscale("log")
        panel.set_xticks([each.value for each in mine], [str(each.value) for each in mine])
        panel.minorticks_off()
        panel.grid(alpha=0.3)

    for place, axis in enumerate(AXES):
        mine = [each for each in points if each.axis == axis]
        draw(panels[0][place], mine, {"step_seconds": "a step", "scoring_seconds": "scoring an iteration"}, 1)
        panels[0][place].set_yscale("log")
        draw(panels[1][place], mine, {"added_bytes": "peak over the loaded model"}, 1e6)
        panels[1][place].set_xlabel({"length": "tokens a row"}.get(axis, axis))
    panels[0][0].set_ylabel("CPU seconds")
    panels[1][0].set_ylabel("added MB")
    panels[1][0].set_ylim(bottom=0)
    panels[0][0].legend()
    figure.savefig(file, metadata={"Date": None})


if __name__ == "__main__":
    main()
