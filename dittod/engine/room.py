"""How much room there is: the machine as torch sees it, the budget, and what that leaves for one update.

`python -m dittod.engine.room` prints the machine as JSON, for a parent that never imports torch. Knows devices, lengths
of texts and presets; what to do with the room is for learner.plan.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import psutil
import torch

from dittod.engine.protocol import Update
from dittod.learner.memory import Device
from dittod.learner.plan import Need, Planned, make_plan
from dittod.learner.preset import CLEAN, Preset, preset
from dittod.model.load import BaseModel, compute_dtype, encode_chat, encode_completion
from dittod.model.shape import ModelShape, read_shape
from dittod.types import Message, Quantisation

CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")  # of control groups v2: bytes, or 'max'


@dataclass(frozen=True, slots=True)
class Room:
    """What does not change while the engine runs."""

    shape: ModelShape
    device: Device
    budget_bytes: int

    @classmethod
    def of(cls, base_model: str, budget_bytes: int | None) -> Room:
        """Of this machine, for a model that is not loaded yet. Raises ModelError."""
        device = this_device()
        return cls(read_shape(base_model), device, budget_bytes or device.default_budget_bytes)

    def at_start(self, quantisation: Literal["auto"] | Quantisation) -> Planned:
        """For the default preset and texts of any length: it decides how the weights are loaded."""
        forced = None if quantisation == "auto" else quantisation
        return make_plan(self.shape, self.device, self.budget_bytes, CLEAN, quantisation=forced)

    def for_update(self, base: BaseModel, update: Update) -> Planned:
        """With the weights as they were loaded, for the texts as they are."""
        numbers = preset(update.preset, update.overrides)
        return make_plan(
            self.shape,
            self.device,
            self.budget_bytes,
            numbers,
            quantisation=base.quantisation,
            need=need_of(base, numbers, update),
        )


def need_of(base: BaseModel, numbers: Preset, update: Update) -> Need:
    """Tokens as this tokenizer counts them, samples and texts held out included."""
    prompts, completions = [], []
    for each in (*update.demonstrations, *update.held_out):
        prompts.append(len(encode_chat(base, [Message("user", each.prompt)])))
        completions.append(len(encode_completion(base, each.completion)))
    if not update.demonstrations:
        return Need()
    longest_sample = numbers.completion_limit(max(completions))
    tokens = max(prompt + max(longest_sample, own) for prompt, own in zip(prompts, completions, strict=True))
    rows = len(update.demonstrations) * numbers.samples_per_demonstration
    learnt = list(zip(prompts, completions, strict=True))[: len(update.demonstrations)]
    branches = 1 + numbers.pairs_per_demonstration  # samples are about as long as what they imitate
    return Need(tokens, rows, max(prompt + branches * own for prompt, own in learnt))


def this_device() -> Device:
    """What torch would compute on here."""
    four_bits = find_spec("bitsandbytes") is not None
    if torch.cuda.is_available():
        place = torch.device("cuda")
        memory_bytes = int(torch.cuda.get_device_properties(place).total_memory)
        return Device("cuda", compute_dtype(place).itemsize, memory_bytes, four_bits)
    return Device("cpu", compute_dtype(torch.device("cpu")).itemsize, _machine_bytes(), four_bits)


def _machine_bytes() -> int:
    """Of the machine, or of the container if that is given less."""
    total = int(psutil.virtual_memory().total)
    limit = CONTAINER_LIMIT.read_text().strip() if CONTAINER_LIMIT.exists() else "max"
    return total if limit == "max" else min(total, int(limit))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(this_device())) + "\n")
