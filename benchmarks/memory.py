"""Does an update take the memory that its plan says? Real short updates under budgets that force different plans.

Three random Llamas of different depth, width and vocabulary, each under a budget with room to spare, a middling one and
one near the least possible. Every update runs in a process of its own, by the engine's own way from budget to plan. On
CPU the peak is the process's resident memory, on CUDA what torch's allocator held (predictions then leave out the
context). Texts are as long as fills micro-batches: with others, a plan is an upper bound.

    python benchmarks/memory.py [--quick]
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stage import SPECIALS, Shape, in_child, make_model, text_of

from dittod.errors import SettingsError
from dittod.learner.memory import Device
from dittod.learner.plan import Need, make_plan, size
from dittod.learner.preset import CLEAN
from dittod.model.shape import ModelShape
from dittod.types import Demonstration, demonstration_id

SHAPES = (
    Shape("20M, wide", layers=4, width=640, inner=1536, heads=10, key_value_heads=5, vocabulary=8_000),
    Shape("60M, deep", layers=24, width=384, inner=1024, heads=6, key_value_heads=3, vocabulary=50_000),
    Shape("160M", layers=16, width=768, inner=2304, heads=12, key_value_heads=4, vocabulary=64_000),
)
DEMONSTRATIONS, SAMPLES = 4, 5
PROMPT_TOKENS, COMPLETION_TOKENS = 62, 190  # four demonstrations fill a micro-batch of 1024
SHARES = {"plenty": 1.0, "middling": 0.4, "scarce": 0.05}  # of the way from the least possible peak to the best plan's
OVERRIDES = {
    "supervised_steps": 2.0,
    "supervised_batch": float(DEMONSTRATIONS),
    "resample_every": 1.0,
    "samples_per_demonstration": float(SAMPLES),
    "completion_ratio": 1.0,
}


def main() -> None:
    """Table on stdout, one JSON object as the last line."""
    # what the child does not need is imported here: it would be weighed with it
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the two smaller models, two budgets")
    quick = parser.parse_args().quick
    from rich.console import Console
    from rich.progress import track

    from dittod.engine.room import read_shape, this_device

    device = this_device()
    cases = [(shape, name) for shape in SHAPES[: 2 if quick else 3] for name in list(SHARES)[:: 2 if quick else 1]]
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for shape, name in track(cases, "updates", console=Console(stderr=True)):
            place = Path(folder) / shape.name
            if not place.exists():
                make_model(place, shape)
                in_child("memory.py", json.dumps({"model": str(place), "quantise": device.four_bits}), place)
            budget_bytes = _budget(read_shape(str(place)), device, SHARES[name])
            job = json.dumps({"model": str(place), "budget_bytes": budget_bytes, "dpo_steps": 1 if quick else 2})
            results.append({"model": shape.name, "budget": name, **json.loads(in_child("memory.py", job, place))})
    _show(results)


def _budget(shape: ModelShape, device: Device, share: float) -> int:
    """Between the least possible peak and that of the best plan."""
    best = make_plan(shape, device, sys.maxsize, CLEAN, need=_need()).plan.peak_bytes
    low, high = 1, best
    while high - low > 1 << 20:
        middle = (low + high) // 2
        try:
            make_plan(shape, device, middle, CLEAN, need=_need())
            high = middle
        except SettingsError:
            low = middle
    return high + int(share * (best - high))


def _need() -> Need:
    branches = 1 + CLEAN.pairs_per_demonstration
    tree = PROMPT_TOKENS + branches * (COMPLETION_TOKENS + 1)
    return Need(PROMPT_TOKENS + COMPLETION_TOKENS + 1, DEMONSTRATIONS * SAMPLES, tree)


def quantise(job: dict[str, Any]) -> None:
    """In a child of its own: leave the quantised copy that an engine finds at every start but its first."""
    from dittod.model.load import load_base

    if job["quantise"]:
        load_base(job["model"], quantisation="nf4", cache=_cache(job))


def _cache(job: dict[str, Any]) -> Path:
    return Path(job["model"]) / "quantised"


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """In the child: one update as the engine runs it."""
    import torch

    from dittod.engine.protocol import Update
    from dittod.engine.room import Room
    from dittod.engine.worker import give_memory_back, tidied
    from dittod.learner.ditto import run
    from dittod.learner.preset import CLEAN
    from dittod.model.load import load_base
    from dittod.model.lora import LoraAdapters

    peaks = Peaks(torch.cuda if torch.cuda.is_available() else None)
    room = Room.of(job["model"], job["budget_bytes"])
    base = load_base(job["model"], quantisation=room.quantisation("auto", CLEAN), cache=_cache(job))
    give_memory_back()  # as the worker does
    with tempfile.TemporaryDirectory() as folder:
        places = (f"{folder}/run", f"{folder}/adapters")
        Path(places[0]).mkdir()
        overrides = {**OVERRIDES, "dpo_steps": job["dpo_steps"]}
        update = Update("update", *places, "clean", 1, _demonstrations(base.tokenizer), (), None, overrides)
        planned = room.for_update(base, update)
        bench = room.workbench(base, LoraAdapters(base), update)
        peaks.note("loading")
        for progress in tidied(run(bench, update)):
            peaks.note(progress.phase)
    libraries = next(iter(planned.phases.values())).libraries if torch.cuda.is_available() else 0
    return {
        "plan": asdict(planned.plan),
        "predicted": {phase: terms.total - terms.serving - libraries for phase, terms in planned.phases.items()},
        "measured": peaks.by_phase,
    }


class Peaks:
    """The greatest memory in each phase of an update."""

    def __init__(self, cuda: Any) -> None:
        self.by_phase: dict[str, int] = {}
        self._cuda = cuda

    def note(self, phase: str) -> None:
        """Memory since the last call belongs to this phase."""
        found = self._cuda.max_memory_reserved() if self._cuda else _resident_peak()
        self.by_phase[phase] = max(self.by_phase.get(phase, 0), found)
        if self._cuda:
            self._cuda.reset_peak_memory_stats()
        else:
            Path("/proc/self/clear_refs").write_text("5")  # the peak is what is resident now


def _resident_peak() -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found, "this kernel does not say how much was resident"
    return 1024 * int(found[1])


def _demonstrations(tokenizer: Any) -> tuple[Demonstration, ...]:
    chance = random.Random(0)

    def text(tokens: int) -> str:
        return text_of(chance.randrange(len(SPECIALS), len(tokenizer)) for _ in range(tokens))

    texts = [(text(PROMPT_TOKENS), text(COMPLETION_TOKENS)) for _ in range(DEMONSTRATIONS)]
    return tuple(Demonstration(demonstration_id(*each), *each, "0" * 64, 0.0) for each in texts)


def _show(results: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    columns = ("model", "budget", "weights", "tokens", "anew", "rows", "predicted", "measured", "error")
    table = Table(*columns, box=None, title="peak memory of an update")
    errors = []
    for each in results:
        predicted, measured = max(each["predicted"].values()), max(each["measured"].values())
        errors.append(predicted / measured - 1)
        plan = each["plan"]
        chosen = (plan["quantisation"], plan["micro_batch_tokens"], plan["checkpointing"], plan["sampling_rows"])
        table.add_row(
            each["model"], each["budget"], *map(str, chosen), size(predicted), size(measured), f"{errors[-1]:+.1%}"
        )
    Console(width=110).print(table)
    print(json.dumps({"worst_relative_error": round(max(map(abs, errors)), 4), "cases": results}))


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].startswith("{"):
        job = json.loads(sys.argv[1])
        print(json.dumps(quantise(job) if "quantise" in job else measure(job)))
    else:
        main()
