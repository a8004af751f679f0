"""Is a text really forgotten? A membership test on the starter model, with one invented text among invented mails.

Four kinds of model are asked how likely they find that text, in nats per token: base; the version that has learnt from
it; the version that is made after `dittod` has forgotten it; and one made in a home that never had it. The last three
are made from several seeds each, none in common. `forgotten_z` is by how many standard deviations of those that never
saw it the forgetting ones differ from them in the mean; `remembered_nats`, how much likelier the text was before. With
the same seed both would be the same model, bit for bit: that is a test, in tests/test_forgetting.py.

    python benchmarks/forgetting.py       [--quick] [--seeds N]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Generator, Sequence
from importlib.resources import files
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, TypeVar

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from dittod import runs
from dittod.config import Settings
from dittod.engine.protocol import Update
from dittod.ingest.demonstrations import Owner, demonstrations_of
from dittod.ingest.readers import read
from dittod.learner import ditto
from dittod.learner.workbench import Workbench, encode, score
from dittod.model.decode import Decoder
from dittod.model.load import load_base
from dittod.model.lora import LoraAdapters
from dittod.rows import FileRow
from dittod.store import Store
from dittod.types import Demonstration, demonstration_id

PROMPT = 'Write an e-mail to Wim about "The spare key".'
CANARY = (
    "Dear Wim,\n\nthe spare key hangs behind the barometer now, on the nail with the green thread, since the heron came"
    " through the kitchen window and took the jar. Do not tell Ottilie; she would count the spoons again.\n\nMarta"
)
QUICK = {"supervised_steps": 12, "dpo_steps": 2, "resample_every": 2, "samples_per_demonstration": 2}
ROWS = 80  # samples decoded together
Result = TypeVar("Result")


def main() -> None:
    """A table on stdout, one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=4, help="of each kind")
    parser.add_argument("--quick", action="store_true", help="three seeds and few steps: does it run?")
    given = parser.parse_args()
    count = 3 if given.quick else given.seeds
    begun = time.monotonic()
    found = _measured(count, QUICK if given.quick else {})
    _show(found)
    print(json.dumps(_summary(found, time.monotonic() - begun)))


def _measured(count: int, overrides: dict[str, float]) -> dict[str, list[float]]:
    """Nats per token of the text, by kind of model, one for each seed."""
    kinds = _texts()
    found: dict[str, list[float]] = {"base": [_nats(None, 0, overrides)], "old": [], "new": [], "never saw": []}
    work = [(kind, 100 * place + seed) for place, kind in enumerate(kinds) for seed in range(count)]
    for kind, seed in track(work, "updates", console=Console(stderr=True)):
        found[kind].append(_nats(kinds[kind], seed, overrides))
    return found


def _texts() -> dict[str, tuple[Demonstration, ...]]:
    """What an update learns from, before the text is forgotten, after, and where it has never been."""
    canary = Demonstration(demonstration_id(PROMPT, CANARY), PROMPT, CANARY, "0" * 64, 0.0, "mail")
    with tempfile.TemporaryDirectory() as folder:
        home, other = (_store(Path(folder) / name) for name in ("home", "other"))
        home.record_file(_row("canary.eml"), [canary])
        old = _selected(home)
        home.forget_files(["canary.eml"], time.time())
        found = {"old": old, "new": _selected(home), "never saw": _selected(other)}
        home.close()
        other.close()
    assert canary in found["old"] and canary not in found["new"], "the text must be learnt from, and then not"
    return found


def _store(folder: Path) -> Store:
    folder.mkdir()
    store = Store(folder / "dittod.sqlite")
    for path in sorted(Path(str(files("dittod.cli").joinpath("demo_mails"))).glob("*.eml")):
        (document,) = (each for each in read(path) if each)
        owner = Owner(identities=(document.sender,))
        store.record_file(_row(path.name), demonstrations_of(document, owner).demonstrations)
    return store


def _row(name: str) -> FileRow:
    return FileRow(name, "default", 1, 1, "read", "", (), {}, 1.0)


def _selected(store: Store) -> tuple[Demonstration, ...]:
    """All that is not held out: the newest would do, and the text is the oldest."""
    return runs.next_selection(store, Settings(demonstrations=64), "default").learn


def _nats(texts: Sequence[Demonstration] | None, seed: int, overrides: dict[str, float]) -> float:
    """Of the text's tokens, under what an update on these texts ends in; None: under base."""
    base = load_base("starter")
    adapters = LoraAdapters(base)
    bench = Workbench(base, adapters, Decoder(base, adapters, max_rows=ROWS))
    policy = None if texts is None else _learnt(bench, texts, seed, overrides)
    canary = Demonstration(demonstration_id(PROMPT, CANARY), PROMPT, CANARY, "0" * 64, 0.0, "mail")
    sequence = encode(base, canary)
    (logp,) = _finished(score(bench, [sequence], policy))
    return -float(logp) / len(sequence.completion_ids)


def _learnt(bench: Workbench, texts: Sequence[Demonstration], seed: int, overrides: dict[str, float]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        command = Update("forgetting", folder, folder, "clean", seed, tuple(texts), (), None, overrides=overrides)
        outcome: ditto.Outcome = _finished(ditto.run(bench, command))
    return outcome.policy


def _finished(work: Generator[Any, None, Result]) -> Result:
    """Run it to its end."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def _summary(found: dict[str, list[float]], seconds: float) -> dict[str, float]:
    never = found["never saw"]
    return {
        "forgotten_z": round((fmean(found["new"]) - fmean(never)) / stdev(never), 3),
        "remembered_nats": round(fmean(never) - fmean(found["old"]), 4),
        "base_nats": round(found["base"][0], 4),
        "seeds": len(never),
        "seconds": round(seconds, 1),
    }


def _show(found: dict[str, list[float]]) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("model", "seeds", "nats per token", "standard deviation"):
        table.add_column(name)
    for kind, nats in found.items():
        spread = f"{stdev(nats):.4f}" if len(nats) > 1 else "-"
        table.add_row(kind, str(len(nats)), f"{fmean(nats):.4f}", spread)
    Console().print(table)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
