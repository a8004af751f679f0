"""Does an update make the model likelier to write what a person wrote next? Real sent mail, one update per person.

For each person of `../shared/data/enron`: the earlier mails are learnt from (the product's own selection), the latest
tenth is held out, and the product's own update and gate run on them in this process. Printed per person: held-out nats
per token of base, supervised policy and DITTO's, whether the gate promoted, and the wall time. Nothing of a mail's
text is printed or kept.

    python benchmarks/fidelity.py --people 5          [--quick] [--model FOLDER_OR_ID] [--seed N]
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from rich.console import Console
from rich.progress import Progress as Bars
from rich.table import Table

from dittod.engine.protocol import Update
from dittod.engine.room import Room
from dittod.engine.update import update
from dittod.ingest.demonstrations import Owner, demonstrations_of
from dittod.ingest.readers import read
from dittod.ingest.select import Selection, select
from dittod.learner.preset import CLEAN
from dittod.learner.workbench import Workbench
from dittod.model.load import BaseModel, load_base
from dittod.model.lora import LoraAdapters
from dittod.types import Verdict

DATA = Path(__file__).parents[2] / "shared" / "data" / "enron"
QUICK = {"supervised_steps": 8, "dpo_steps": 4, "resample_every": 2, "samples_per_demonstration": 2}
METHODS = ("base", "supervised", "ditto")


@dataclass(frozen=True, slots=True)
class Result:
    """One person's update."""

    person: str
    learnt: int
    held_out: int
    verdict: Verdict
    seconds: float

    def nats(self, method: str) -> float:
        """Per held-out token."""
        return self.verdict.figures[f"{method}_nats_per_token"]


@dataclass(frozen=True, slots=True)
class Engine:
    """What serves all people: one base with one set of adapters."""

    base: BaseModel
    adapters: LoraAdapters
    room: Room

    def workbench(self, command: Update) -> Workbench:
        """As the engine's process makes it."""
        return self.room.workbench(self.base, self.adapters, command)


def main() -> None:
    """Table on stdout, one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=5, help="how many, evenly spaced over the alphabet")
    parser.add_argument("--model", default="starter")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="two people, a short update: does it run?")
    parser.add_argument("--learner", type=json.loads, default={}, help="overrides of the preset's numbers, as JSON")
    given = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"{DATA} is not there: this benchmark needs the Enron mails")
    overrides = {**(QUICK if given.quick else {}), **given.learner}
    people = _people(2 if given.quick else given.people)
    room = Room.of(given.model, None)
    base = load_base(given.model, quantisation=room.quantisation("auto", CLEAN))
    engine = Engine(base, LoraAdapters(base), room)
    results = [_measure(engine, person, addresses, given.seed, overrides) for person, addresses in people]
    _show(results)
    print(json.dumps(_summary(results)))


def _people(count: int) -> list[tuple[str, tuple[str, ...]]]:
    """Names with their addresses."""
    with (DATA / "people.csv").open(newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["person"])
    step = len(rows) / count
    chosen = [rows[int(number * step)] for number in range(count)]
    return [(row["person"], tuple(part for part in row["addresses"].split() if part)) for row in chosen]


def _selection(person: str, addresses: tuple[str, ...]) -> Selection:
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(DATA / f"{person}.tar.gz") as archive:
            archive.extractall(folder, filter="data")
        found = [
            each
            for path in sorted(Path(folder).rglob("*.eml"))
            for document in read(path)
            if document
            for each in demonstrations_of(document, Owner(identities=addresses)).demonstrations
        ]
    return select(found)


def _measure(engine: Engine, person: str, addresses: tuple[str, ...], seed: int, overrides: dict[str, float]) -> Result:
    selection = _selection(person, addresses)
    folder = Path(tempfile.mkdtemp(prefix="fidelity-"))
    command = Update(
        id=person,
        directory=str(folder / "run"),
        adapters_directory=str(folder / "adapters"),
        preset="clean",
        seed=seed,
        demonstrations=selection.learn,
        held_out=selection.held_out,
        served=None,
        overrides=overrides,
    )
    (folder / "run").mkdir(mode=0o700)
    begun = time.monotonic()
    try:
        verdict = _follow(engine.workbench(command), command)
    finally:
        shutil.rmtree(folder)
    return Result(person, len(selection.learn), len(selection.held_out), verdict, time.monotonic() - begun)


def _follow(bench: Workbench, command: Update) -> Verdict:
    """Run the update to its end, with bars on stderr."""
    steps = update(bench, command)
    with Bars(console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(command.id, total=None)
        while True:
            try:
                progress = next(steps)
            except StopIteration as end:
                verdict: Verdict = end.value.verdict
                return verdict
            description = f"{command.id}: {progress.phase} {progress.iteration + 1}"
            bars.update(task, description=description, completed=progress.done, total=progress.of)


def _show(results: list[Result]) -> None:
    table = Table("person", "learnt", "held out", *METHODS, "verdict", "seconds", box=None)
    for each in results:
        nats = [f"{each.nats(method):.3f}" for method in METHODS]
        verdict = "promoted" if each.verdict.promoted else "kept"
        table.add_row(each.person, str(each.learnt), str(each.held_out), *nats, verdict, f"{each.seconds:.0f}")
    Console(width=110).print(table)
    for each in results:
        print(f"{each.person}: {each.verdict.reasons[0]}")


def _summary(results: list[Result]) -> dict[str, float | int]:
    nats = {f"{method}_nats_per_token": round(fmean(each.nats(method) for each in results), 4) for method in METHODS}
    return {
        "people": len(results),
        **nats,
        "supervised_over_base": round(fmean(each.nats("supervised") / each.nats("base") for each in results), 4),
        "ditto_over_base": round(fmean(each.nats("ditto") / each.nats("base") for each in results), 4),
        "promoted_fraction": round(fmean(each.verdict.promoted for each in results), 4),
        "mean_seconds": round(fmean(each.seconds for each in results), 1),
    }


if __name__ == "__main__":
    main()
