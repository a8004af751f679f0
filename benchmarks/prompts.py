"""Does the base model improve the prompts of real mails, and would it be fooled? Sent mail of two people.

The mails of `../shared/data/panza` get their templates and go through the engine's own work. Printed: how many prompts
were improved, by how much, and why the others were not; then the same with every sentence drawn about *another* mail of
the person: what is kept of those is kept by chance. No word of a mail is printed unless --show asks for it.

    python benchmarks/prompts.py          [--quick] [--mails N] [--model FOLDER_OR_ID] [--show]
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from rich.console import Console
from rich.progress import track
from rich.table import Table

from dittod.engine import improve as engine
from dittod.engine.protocol import Improve, Improved
from dittod.engine.room import Room
from dittod.ingest.prompts import new_mail
from dittod.learner.preset import CLEAN
from dittod.learner.workbench import Workbench
from dittod.model.load import load_base
from dittod.model.lora import LoraAdapters
from dittod.types import Demonstration, demonstration_id

DATA = Path(__file__).parents[2] / "shared" / "data" / "panza"
AT_ONCE = 12  # demonstrations of a command, as many as a run learns from


def main() -> None:
    """Tables on stdout, one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mails", type=int, default=72, help="of each person, the latest")
    parser.add_argument("--model", default="starter")
    parser.add_argument("--quick", action="store_true", help="12 mails of each person: does it run?")
    parser.add_argument("--show", action="store_true", help="print the prompts that were improved")
    given = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"{DATA} is not there: this benchmark needs the Panza mails")
    room = Room.of(given.model, None)
    base = load_base(given.model, quantisation=room.quantisation("auto", CLEAN))
    commands = list(_commands(12 if given.quick else given.mails))
    bench = room.workbench_for_prompts(base, LoraAdapters(base), _longest(commands))
    begun = time.monotonic()
    own = [each for command in track(commands, "own", console=Console(stderr=True)) for each in _run(bench, command)]
    seconds = time.monotonic() - begun
    with _questions_about_others():
        foreign = [
            each
            for command in track(commands, "foreign", console=Console(stderr=True))
            for each in _run(bench, command)
        ]
    _show(own, foreign)
    if given.show:
        for each in own:
            print(f"\n{each.prompt}" if each.prompt else "", end="")
    print(json.dumps(_summary(own, foreign, seconds)))


def _commands(count: int) -> Iterator[Improve]:
    for path in sorted(DATA.glob("*.jsonl")):
        mails = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()][-count:]
        texts = {each.id: each for each in map(_demonstration, mails)}
        found = list(texts.values())
        for start in range(0, len(found), AT_ONCE):
            yield Improve(f"{path.stem} {start}", tuple(found[start : start + AT_ONCE]))


def _demonstration(mail: dict[str, str]) -> Demonstration:
    prompt, completion = new_mail((), mail["subject"]), mail["email"].replace("\r\n", "\n").strip()
    return Demonstration(demonstration_id(prompt, completion), prompt, completion, "0" * 64, 0.0, kind="mail")


def _longest(commands: Sequence[Improve]) -> Improve:
    """One plan for all of them."""
    return Improve("all", tuple(each for command in commands for each in command.demonstrations))


def _run(bench: Workbench, command: Improve) -> list[Improved]:
    return [each for each in engine.improve(bench, command) if each is not None]


@contextmanager
def _questions_about_others() -> Iterator[None]:
    """Every text's sentences are drawn about the text before it, and so are about nothing in its own group of texts."""
    before, found = engine.text_of, engine.text_of
    last: list[engine.Text] = []

    def swapped(workbench: Workbench, demonstration: Demonstration) -> engine.Text | str:
        text = found(workbench, demonstration)
        if not isinstance(text, engine.Text):
            return text
        last.append(text)
        other = last[-1 - engine.GROUP] if len(last) > engine.GROUP else text
        return replace(text, question_ids=other.question_ids)

    engine.text_of = swapped
    try:
        yield
    finally:
        engine.text_of = before


def _reason(result: Improved) -> str:
    return re.sub(r"by [-\d.]+ nats", "by … nats", result.reason)


def _show(own: Sequence[Improved], foreign: Sequence[Improved]) -> None:
    table = Table("what became of a prompt", "own sentences", "sentences about others", box=None)
    counts, chance = Counter(map(_reason, own)), Counter(map(_reason, foreign))
    for reason in counts | chance:
        table.add_row(reason, str(counts[reason]), str(chance[reason]))
    Console(width=110).print(table)


def _summary(own: Sequence[Improved], foreign: Sequence[Improved], seconds: float) -> dict[str, object]:
    kept = [each for each in own if each.prompt]
    ratios = [1 - each.figures["gain"] / each.figures["template"] for each in kept]
    return {
        "demonstrations": len(own),
        "improved": len(kept),
        "mean_gain_nats_per_token": round(fmean([each.figures["gain"] for each in kept] or [0.0]), 4),
        "improved_over_template": round(fmean(ratios or [1.0]), 4),
        "improved_by_chance": sum(each.prompt is not None for each in foreign),
        "refused": dict(Counter(each.reason for each in own if not each.prompt)),
        "seconds_each": round(seconds / max(1, len(own)), 2),
    }


if __name__ == "__main__":
    main()
