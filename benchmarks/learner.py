"""What does one DITTO step cost: TRL's DPOTrainer, a loop like the released code's, and ours, side by side.

The step: 7 demonstrations with 15 online, 4 replay and 2 inter-model pairs, rows padded to about 460 tokens (60 to 160
of prompt, 120 to 305 of completion). Same random model, adapter, pairs and loss for all; first their fp32 gradients
must agree. On CPU: one thread, CPU seconds, resident memory. On CUDA: wall seconds, allocated memory. Every contender
is a process of its own. TRL and ours are measured in several settings; `speedup_vs_trl_best` is against the fastest of
TRL's. All figures of ours are of one setting: the fastest of those that add at most an eighth of the memory that TRL's
defaults add, and if there is none, the fastest. The second model runs what told most on the first. Half an hour on an
idle core. On CPU one step is taken, since TRL's are about a minute each; on CUDA the median of three.

    pip install -e '.[bench]'; python benchmarks/learner.py [--quick] [--model NAME] [--whole-update]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from stage import Shape, Size, ditto_step, in_child, make_model
from whole_update import whole_update

TOLERANCE = 1e-4
MEMORY_SHARE = 1 / 8  # the aim: ours over TRL's defaults
QUICK = Size(demonstrations=2, prompt=(25, 55), completion=(55, 95))
AGREEING = Size(
    demonstrations=3, prompt=(25, 55), completion=(55, 95)
)  # all three kinds of pairs, small enough for fp32
AGREE: dict[str, tuple[str, dict[str, Any]]] = {
    "trl": ("trl", {}),
    "naive": ("naive", {"pairs_at_once": 3}),
    "dittod": ("dittod", {}),
    "dittod in pieces": (
        "dittod",
        {"checkpointing": True, "micro_batch_tokens": 150},
    ),  # less than a demonstration's tree
}
BODY = {"layers": 8, "width": 512, "inner": 1376, "heads": 8, "key_value_heads": 8}
ON_CPU = [Shape("32k", **BODY, vocabulary=32_000), Shape("152k", **BODY, vocabulary=151_936)]
ON_CUDA = [
    Shape("0.6B", 28, 1024, 3072, 16, 8, 151_936, head_width=128),
    Shape("8B", 36, 4096, 12_288, 32, 8, 151_936, head_width=128, tied=False),
]
FAST = {"precompute_ref_log_probs": True, "gradient_checkpointing": False}
TRL: dict[str, dict[str, Any]] = {
    "defaults": {},
    "reference known, no checkpointing": FAST,
    "reference known, no checkpointing, 3 pairs at a time": {**FAST, "per_device_train_batch_size": 3},
    "reference known, no checkpointing, one pair at a time": {**FAST, "per_device_train_batch_size": 1},
    "reference known, one pair at a time": {"precompute_ref_log_probs": True, "per_device_train_batch_size": 1},
}
OURS = [
    {"checkpointing": checkpointing, "micro_batch_tokens": tokens}
    for checkpointing in (False, True)
    for tokens in (1024, 1536, 2048, 4096)
]
Contest = tuple[str, str, dict[str, Any]]  # side, setting, job


@dataclass(frozen=True, slots=True)
class Result:
    """A contender in one setting."""

    side: str
    setting: str
    seconds: float  # of a step, median
    added_bytes: int
    reference_seconds: float  # of scoring the step's sequences under the reference, once

    @property
    def name(self) -> str:
        return f"{self.side}, {self.setting}"

    def line(self) -> str:
        return f"{self.name}: {self.seconds:.2f} s, {self.added_bytes / 1e6:.0f} MB, {self.reference_seconds:.2f} s"


def main() -> None:
    """Table per model on stdout, one JSON object as the last line; fails where gradients differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="first model, short step, few settings: does it run?")
    parser.add_argument("--model", choices=[shape.name for shape in ON_CPU + ON_CUDA], help="this one only")
    parser.add_argument("--whole-update", action="store_true", help="a whole update on the starter instead of one step")
    given = parser.parse_args()
    if given.whole_update:
        whole_update(given.quick)
        return
    shapes = (ON_CUDA if torch.cuda.is_available() else ON_CPU)[: 1 if given.quick else 2]
    summary: dict[str, float | str] = {}
    wanted: set[str] | None = None
    for shape in [each for each in ON_CPU + ON_CUDA if each.name == given.model] or shapes:
        size = QUICK if given.quick else Size()
        with tempfile.TemporaryDirectory() as folder:
            error, results = measure(shape, size, Path(folder), list(contests(shape, size, given.quick, wanted)))
        wanted = {each.name for each in telling(results)}
        show(shape, size, results)
        figures = {"gradient_relative_error": error, **summarise(results), **share_of_peak(shape, size, results)}
        suffix = f"_{shape.name}" if summary else ""
        summary |= {name + suffix: value for name, value in figures.items()}
    print(json.dumps(summary))


def measure(shape: Shape, size: Size, folder: Path, jobs: list[Contest]) -> tuple[float, list[Result]]:
    """The gradients' largest difference, and all contenders on one model."""
    with Progress(console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(f"{shape.name}: gradients", total=1 + len(jobs))
        model = make_model(folder / "model", shape)
        error = gradient_error(agreeing_model(model, shape, folder), folder)
        results = []
        for side, setting, job in jobs:
            bars.update(task, advance=1, description=f"{shape.name}: {side}, {setting}")
            found = json.loads(in_child("contenders.py", json.dumps({"model": str(model), **job}), folder / setting))
            results.append(Result(side, setting, median(found.pop("seconds")), **found))
            bars.console.print(results[-1].line())
    return error, results


def contests(shape: Shape, size: Size, quick: bool, wanted: set[str] | None) -> Iterator[Contest]:
    """What each child is to do, `wanted` by name (None: all). A step is made of whole micro-batches."""
    steps = 3 if torch.cuda.is_available() else 1
    common = {"size": asdict(size), "quantisation": quantisation(shape), "steps": steps}
    every: list[Contest] = [
        ("trl", setting, {**common, "side": "trl", "settings": accumulating(TRL[setting], size)})
        for setting in list(TRL)[:: 3 if quick else 1]
    ]
    every.append(("naive", "3 pairs at a time", {**common, "side": "naive", "settings": {"pairs_at_once": 3}}))
    for settings in OURS[:: 5 if quick else 1]:
        name = f"{settings['micro_batch_tokens']} tokens" + ", checkpointing" * settings["checkpointing"]
        plan = {**settings, "quantisation": quantisation(shape)}
        every.append(("dittod", name, {**common, "side": "dittod", "settings": plan}))
    return (each for each in every if wanted is None or f"{each[0]}, {each[1]}" in wanted)


def telling(results: list[Result]) -> list[Result]:
    """What is measured on a further model too: TRL's defaults, its fastest and leanest, the naive loop, ours chosen."""
    trl = by_side(results, "trl")
    ends = [min(trl, key=lambda each: each.seconds), min(trl, key=lambda each: each.added_bytes)]
    return [trl[0], *ends, *by_side(results, "naive"), chosen(results)]


def accumulating(settings: dict[str, Any], size: Size) -> dict[str, Any]:
    """TRL's settings with as many micro-batches as make one step. Its default are 8 pairs at a time; here the largest
    number up to that which divides the step."""
    pairs = 3 * size.demonstrations
    default = max(each for each in range(1, 9) if pairs % each == 0)
    at_a_time = settings.get("per_device_train_batch_size", default)
    return {
        **settings,
        "per_device_train_batch_size": at_a_time,
        "gradient_accumulation_steps": pairs // at_a_time,
    }


def quantisation(shape: Shape) -> str:
    """The models meant for a GPU are quantised."""
    return "nf4" if shape in ON_CUDA else "none"


def agreeing_model(model: Path, shape: Shape, folder: Path) -> Path:
    """What gradients are compared on: the model, or one of eight such layers where it has more. fp32 is large."""
    return model if shape.layers <= 8 else make_model(folder / "shallow", replace(shape, layers=8))


def gradient_error(model: Path, folder: Path) -> float:
    """The largest relative difference of two contenders' fp32 gradients, ‖a − b‖ / ‖b‖. Exits above the tolerance."""
    gradients = {}
    for name, (side, settings) in AGREE.items():
        file = folder / f"{name}.pt"
        job = {"side": side, "model": str(model), "size": asdict(AGREEING), "settings": settings}
        in_child("contenders.py", json.dumps({**job, "gradients": str(file)}), folder / "gradients")
        gradients[name] = torch.load(file)
    errors = {f"{a} and {b}": _relative(gradients[a], gradients[b]) for a in gradients for b in gradients if a != b}
    worst = max(errors, key=lambda name: errors[name])
    if not errors[worst] < TOLERANCE:
        sys.exit(f"the gradients of {worst} differ by {errors[worst]:.1e} of their norm: nothing was timed")
    return errors[worst]


def _relative(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    assert a.keys() == b.keys(), "the contenders trained different adapters"
    off = sum(float(((a[name] - b[name]) ** 2).sum()) for name in a)
    return float((off / sum(float((value**2).sum()) for value in b.values())) ** 0.5)


def chosen(results: list[Result]) -> Result:
    """Our setting that the figures are of: see the module's docstring."""
    limit = MEMORY_SHARE * by_side(results, "trl")[0].added_bytes
    ours = by_side(results, "dittod")
    return min([each for each in ours if each.added_bytes <= limit] or ours, key=lambda each: each.seconds)


def by_side(results: list[Result], side: str) -> list[Result]:
    """In the order in which they were measured: TRL's defaults come first."""
    return [each for each in results if each.side == side]


def summarise(results: list[Result]) -> dict[str, float | str]:
    """Ratios: theirs over ours for time, ours over theirs for memory."""
    ours, trl = chosen(results), by_side(results, "trl")
    default, best = trl[0], min(trl, key=lambda each: each.seconds)
    leanest = min(trl, key=lambda each: each.added_bytes)
    whole = min(each.seconds + each.reference_seconds for each in trl)
    naive = by_side(results, "naive")[0]
    return {
        "speedup_vs_trl_default": round(default.seconds / ours.seconds, 2),
        "speedup_vs_trl_best": round(best.seconds / ours.seconds, 2),
        "added_memory_vs_trl_default": round(ours.added_bytes / default.added_bytes, 4),
        "added_memory_vs_trl_leanest": round(ours.added_bytes / leanest.added_bytes, 4),
        "speedup_vs_naive": round(naive.seconds / ours.seconds, 2),
        "speedup_with_scoring_the_reference": round(whole / (ours.seconds + ours.reference_seconds), 2),
        "setting": ours.setting,
        "trl_best": best.setting,
    }


def show(shape: Shape, size: Size, results: list[Result]) -> None:
    """The table of one model."""
    tokens = ditto_step(shape.vocabulary, size).tokens()
    kind = "s" if torch.cuda.is_available() else "CPU s"
    title = f"{shape.name}: {tokens['padded']} tokens padded, {tokens['rows']} without, {tokens['tree']} distinct"
    table = Table("contender", f"{kind} a step", "added MB", f"reference, {kind}", "TRL / this", title=title, box=None)
    ours = chosen(results)
    for each in results:
        ratio = results[0].seconds / each.seconds
        figures = (
            f"{each.seconds:.2f}",
            f"{each.added_bytes / 1e6:.0f}",
            f"{each.reference_seconds:.2f}",
            f"{ratio:.1f}",
        )
        table.add_row(each.name, *figures, style="bold" if each == ours else "")
    Console(width=110).print(table)


def share_of_peak(shape: Shape, size: Size, results: list[Result]) -> dict[str, float | str]:
    """On CUDA: the useful arithmetic of our step over what a large product reaches on this card.

    Useful is 4 operations per distinct token and linear parameter (forward, and the gradient to the layer's input; the
    weights are frozen), and as many per completion token and entry of the head. Attention and what is computed anew do
    not count.
    """
    if not torch.cuda.is_available():
        return {}
    step = ditto_step(shape.vocabulary, size)
    head_tokens = sum(len(each.completion_ids) for each in step.sequences())
    operations = (
        4 * shape.linear_parameters() * step.tokens()["tree"] + 4 * shape.width * shape.vocabulary * head_tokens
    )
    ours = chosen(results)
    peak = attainable_operations_per_second()
    return {"share_of_bf16_peak": round(operations / ours.seconds / peak, 3), "added_bytes": ours.added_bytes}


def attainable_operations_per_second() -> float:
    """Of a bf16 product of two 8192 x 8192 matrices, the best of ten."""
    side = 8192
    a, b = (torch.randn(side, side, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    times = []
    for _ in range(10):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        a @ b
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / 1000)
    return 2 * side**3 / min(times)


if __name__ == "__main__":
    main()
