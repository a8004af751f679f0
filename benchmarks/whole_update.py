"""A whole update on the starter model, ours against a naive loop: `learner.py --whole-update`.

8 demonstrations (the demo's mails), 10 samples each, 4 iterations, 40 preference steps; the preset `clean` without its
NLL term and its early stops, so that both sides do all of it. The naive side is plain transformers and PEFT: padded
batches, `generate(num_return_sequences=10)` a prompt, all logits, and the reference computed anew each step. Both start
from the same texts with the same numbers; what they sample differs by chance, so the table says how many tokens it was.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from contenders import lora_config
from naive import full_logits_logps, naive_loss
from rich.console import Console
from rich.table import Table
from stage import in_child

from dittod.engine.protocol import Update
from dittod.ingest.demonstrations import Owner, demonstrations_of
from dittod.ingest.readers import read
from dittod.ingest.select import select
from dittod.learner import ditto, pairs
from dittod.learner.batch import TokenSequence
from dittod.learner.optimiser import constant_rate, cosine_rate, take_step
from dittod.learner.preset import Preset, at_width, preset
from dittod.learner.supervised import batch_of_demonstrations
from dittod.learner.workbench import Workbench, encode
from dittod.model.decode import Decoder
from dittod.model.load import load_base
from dittod.model.lora import LoraAdapters
from dittod.types import Demonstration, Sample

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
PHASES = ("supervised", "sampling", "dpo")
WHOLE: dict[str, float] = {"guard_patience": 0, "supervised_stop_loss": 0, "nll_weight": 0}
QUICK = {**WHOLE, "supervised_steps": 6, "dpo_steps": 6, "resample_every": 3, "samples_per_demonstration": 3}
SAMPLING_ROWS = 80


def whole_update(quick: bool) -> None:
    """Both sides, each in a process of its own; table on stdout, one JSON object as the last line."""
    found = {}
    for side in ("naive", "dittod"):
        with Console(stderr=True).status(f"{side}: a whole update"):
            found[side] = json.loads(in_child("whole_update.py", json.dumps({"side": side, "quick": quick}), Path()))
    table = Table("seconds", "naive", "dittod", "naive / dittod", box=None)
    ratios = {}
    for clock in CLOCKS:
        for phase in (*PHASES, "update"):
            naive_seconds, ours = (found[side][clock][phase] for side in found)
            ratios[f"{phase}_{clock}_ratio"] = round(naive_seconds / ours, 2)
            table.add_row(f"{phase}, {clock}", f"{naive_seconds:.1f}", f"{ours:.1f}", f"{naive_seconds / ours:.2f}")
    table.add_row("sampled tokens", *(str(found[side]["sampled_tokens"]) for side in found))
    Console(width=80).print(table)
    print(json.dumps({"whole_update_ratio": ratios["update_wall_ratio"], **ratios}))


class Phases:
    """Seconds by phase: on the wall, and of the CPU, which other programs disturb less."""

    def __init__(self) -> None:
        self.sampled_tokens = 0
        self._seconds: dict[str, Counter[str]] = {clock: Counter() for clock in CLOCKS}
        self._since = {clock: now() for clock, now in CLOCKS.items()}

    def ended(self, phase: str) -> None:
        """What has passed since the last call belongs to this phase."""
        for clock, now in CLOCKS.items():
            self._seconds[clock][phase] += now() - self._since[clock]
            self._since[clock] = now()

    def figures(self) -> dict[str, Any]:
        """What the parent reads."""
        whole = {clock: {**each, "update": sum(each.values())} for clock, each in self._seconds.items()}
        return {**whole, "sampled_tokens": self.sampled_tokens}


def dittod(learnt: tuple[Demonstration, ...], overrides: dict[str, float]) -> Phases:
    """The product's own update without the gate. Scoring samples under the reference counts as sampling."""
    base = load_base()
    adapters = LoraAdapters(base)
    bench = Workbench(base, adapters, Decoder(base, adapters, max_rows=SAMPLING_ROWS))
    with tempfile.TemporaryDirectory() as folder:
        command = Update("whole", folder, folder, "clean", 1, learnt, (), None, overrides)
        phases = Phases()
        for progress in ditto.run(bench, command):
            phases.ended({"reference": "sampling"}.get(progress.phase, progress.phase))
            if "mean_tokens" in progress.figures and progress.phase == "sampling":
                phases.sampled_tokens += round(progress.figures["mean_tokens"] * progress.of)
    return phases


def naive(learnt: tuple[Demonstration, ...], overrides: dict[str, float]) -> Phases:
    """The same method by plain transformers and PEFT."""
    from peft import get_peft_model

    base = load_base()
    numbers = at_width(preset("clean", overrides), base.model.config.hidden_size)
    own = {each.id: encode(base, each) for each in learnt}
    phases = Phases()
    model = get_peft_model(base.model, lora_config())
    _supervise(model, numbers, list(own.values()))
    _copy_adapter(model, "reference")
    phases.ended("supervised")
    samples: dict[int, list[Sample]] = {}
    optimiser = _optimiser(model)
    for step in range(numbers.dpo_steps):
        iteration, begins = divmod(step, numbers.resample_every)
        if begins == 0:
            samples[iteration] = _generate(model, numbers, own, iteration, base.stop_token_ids)
            phases.sampled_tokens += sum(len(each.token_ids) for each in samples[iteration])
            phases.ended("sampling")
        _prefer(model, numbers, own, samples, step)
        rate = constant_rate(step, numbers.dpo_steps, numbers.dpo_warmup, numbers.dpo_learning_rate)
        take_step(optimiser, rate, numbers.gradient_clip)
        phases.ended("dpo")
    return phases


def _supervise(model: Any, numbers: Preset, examples: list[TokenSequence]) -> None:
    optimiser = _optimiser(model)
    for step in range(numbers.supervised_steps):
        batch = batch_of_demonstrations(examples, step, numbers.supervised_batch, seed=1)
        rows = [(each.prompt_ids, each.completion_ids) for each in batch]
        tokens = sum(len(completion) for _, completion in rows)
        (-full_logits_logps(model, rows).sum() / tokens).backward()
        rate = cosine_rate(step, numbers.supervised_steps, numbers.supervised_warmup, numbers.supervised_learning_rate)
        take_step(optimiser, rate, numbers.gradient_clip)


@torch.no_grad()
def _generate(
    model: Any, numbers: Preset, own: dict[str, TokenSequence], iteration: int, stops: frozenset[int]
) -> list[Sample]:
    """Prompt by prompt, its samples together."""
    limit = numbers.completion_limit(max(len(each.completion_ids) for each in own.values()))
    samples = []
    for key, each in own.items():
        prompt = torch.tensor([each.prompt_ids], device=model.device)
        found = model.generate(
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=True,
            temperature=numbers.temperature,
            top_k=numbers.top_k,
            max_new_tokens=limit,
            num_return_sequences=numbers.samples_per_demonstration,
            eos_token_id=sorted(stops),
        )
        for row in found[:, prompt.shape[1] :].tolist():
            end = next((place + 1 for place, token_id in enumerate(row) if token_id in stops), None)
            samples.append(Sample(key, iteration, tuple(row[:end]), end is None, 0.0, 0.0))
    return samples


def _prefer(
    model: Any, numbers: Preset, own: dict[str, TokenSequence], samples: dict[int, list[Sample]], step: int
) -> None:
    """All pairs of a step in one padded batch."""
    completions = {key: each.completion_ids for key, each in own.items()}
    size = numbers.pairs_per_demonstration * len(own)
    drawn = pairs.draw(samples, completions, max(samples), random.Random(step), numbers.mix, size)
    prompts = [own[pair.demonstration_id].prompt_ids for pair in drawn]
    chosen = [pair.chosen.token_ids if pair.chosen else completions[pair.demonstration_id] for pair in drawn]
    rejected = [pair.rejected.token_ids for pair in drawn]
    rows = list(zip(prompts + prompts, chosen + rejected, strict=True))
    naive_loss(model, rows, numbers.beta, _computing(model, "reference")).backward()


@contextmanager
def _computing(model: Any, adapter: str) -> Iterator[None]:
    model.set_adapter(adapter)
    yield
    model.set_adapter("default")


def _copy_adapter(model: Any, name: str) -> None:
    """The adapter under training as it is now, frozen under another name."""
    model.add_adapter(name, lora_config())
    values = dict(model.named_parameters())
    for key, value in values.items():
        if f".{name}." in key:
            value.data.copy_(values[key.replace(f".{name}.", ".default.")].data)


def _optimiser(model: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW([value for value in model.parameters() if value.requires_grad], lr=0.0, weight_decay=0.0)


def _learnt(count: int) -> tuple[Demonstration, ...]:
    mails = Path(str(files("dittod.cli").joinpath("demo_mails")))
    documents = [document for path in sorted(mails.glob("*.eml")) for document in read(path) if document]
    owner = Owner(identities=(documents[0].sender,))
    found = [each for document in documents for each in demonstrations_of(document, owner).demonstrations]
    return select(found).learn[:count]


def main() -> None:
    """One side, in a child; its seconds are the last line."""
    job = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    torch.manual_seed(0)
    side = {"naive": naive, "dittod": dittod}[job["side"]]
    print(json.dumps(side(_learnt(3 if job["quick"] else 8), QUICK if job["quick"] else WHOLE).figures()))


if __name__ == "__main__":
    main()
