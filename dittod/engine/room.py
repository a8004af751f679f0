"""How much room there is: the machine as torch sees it, the budget, and what that leaves for one update or for prompts.

`python -m dittod.engine.room MODEL` prints the machine and the model's dimensions as JSON, for a parent that imports
neither torch nor transformers. Knows devices, lengths of texts and presets; what to do with the room is for
learner.plan.
"""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import psutil
import torch
from transformers import AutoConfig

from dittod.engine.improve import CANDIDATES, GROUP, most_tokens
from dittod.engine.protocol import Improve, Update
from dittod.errors import DittodError, ModelError, SettingsError
from dittod.learner.memory import ANSWERING_BYTES, FRAGMENTS, LIBRARIES_BYTES, SCRATCH_BYTES, Device, serving_tokens
from dittod.learner.plan import BEFORE_TEXTS, Need, Planned, make_plan
from dittod.learner.preset import CLEAN, Preset, preset
from dittod.learner.workbench import Workbench
from dittod.model.allowance import lone_bytes, token_bytes
from dittod.model.chat import encode_chat, encode_completion
from dittod.model.decode import Decoder
from dittod.model.load import BaseModel, compute_dtype
from dittod.model.lora import LoraAdapters
from dittod.model.shape import ModelShape, config_path, shape_of
from dittod.types import Message, Plan, Quantisation

log = logging.getLogger("dittod.engine")

CONVERSATIONS_SHARE = 1 / 16  # of the budget: keys and values of conversations that may go on, while nothing is learnt
LEAST_TOKENS = 2048  # of a text that can be answered though the weights leave no room for it: the user chose them
CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")  # of control groups v2: bytes, or 'max'


@dataclass(frozen=True, slots=True)
class Room:
    """What does not change while the engine runs."""

    base_model: str
    device: Device
    budget_bytes: int

    @classmethod
    def of(cls, base_model: str, budget_bytes: int | None) -> Room:
        """Of this machine, for a model that is not loaded yet."""
        device = this_device()
        return cls(base_model, device, device.budget(budget_bytes))

    def answers_bytes(self, base: BaseModel, plan: Plan | None) -> int:
        """For keys and values of answers and earlier conversations together: what the weights leave, and while there is
        a plan what that leaves, its own share for them included."""
        holes = 1 + FRAGMENTS[self.device.kind]
        if plan is None:
            held = LIBRARIES_BYTES[self.device.kind] + int(base.model.get_memory_footprint())
            left = self.budget_bytes - held - SCRATCH_BYTES[self.device.kind] - ANSWERING_BYTES
            return max(int(left / holes), lone_bytes(base, min(LEAST_TOKENS, base.context_tokens)))
        over = int(max(0, self.budget_bytes - plan.peak_bytes) / holes)
        return over + serving_tokens(base.context_tokens) * token_bytes(base)

    def conversations_bytes(self, plan: Plan | None) -> int:
        """For keys and values of earlier conversations: beside work that goes on, no more than its plan leaves."""
        share = int(CONVERSATIONS_SHARE * self.budget_bytes)
        return share if plan is None else max(0, min(share, self.budget_bytes - plan.peak_bytes))

    def quantisation(self, wanted: Literal["auto"] | Quantisation, numbers: Preset) -> Quantisation:
        """How the weights are loaded. A budget without room for learning does not keep anybody from being served: each
        update is refused then, with the reason."""
        if wanted != "auto":
            return wanted
        try:
            shape = read_shape(self.base_model)
            return make_plan(shape, self.device, self.budget_bytes, numbers, need=BEFORE_TEXTS).plan.quantisation
        except DittodError as error:
            log.warning("learning with this base model cannot be planned: %s", error.title)
            return "nf4" if self.device.four_bits and isinstance(error, SettingsError) else "none"

    def workbench(self, base: BaseModel, adapters: LoraAdapters, update: Update) -> Workbench:
        """With the weights as they were loaded, for the texts as they are. Raises SettingsError where nothing fits."""
        return _workbench(base, adapters, self.for_update(base, update))

    def workbench_for_prompts(self, base: BaseModel, adapters: LoraAdapters, command: Improve) -> Workbench:
        """Planned as an update of the same texts would be, which takes more. Raises SettingsError like that."""
        need = need_of_prompts(base, command)
        planned = make_plan(
            read_shape(self.base_model),
            self.device,
            self.budget_bytes,
            CLEAN,
            quantisation=base.quantisation,
            need=need,
        )
        return _workbench(base, adapters, planned)

    def for_update(self, base: BaseModel, update: Update) -> Planned:
        """The plan of that, with its reasons."""
        numbers = preset(update.preset, update.overrides)
        return make_plan(
            read_shape(self.base_model),
            self.device,
            self.budget_bytes,
            numbers,
            quantisation=base.quantisation,
            need=need_of(base, numbers, update),
        )


def _workbench(base: BaseModel, adapters: LoraAdapters, planned: Planned) -> Workbench:
    rows = planned.plan.sampling_rows
    return Workbench(base, adapters, Decoder(base, adapters, max_rows=rows), planned.plan)


def read_shape(name: str) -> ModelShape:
    """The dimensions of a model given as the settings give it. Raises ModelError where they cannot be known."""
    path = config_path(name)
    try:
        config = AutoConfig.from_pretrained(path.parent, trust_remote_code=False)
        return shape_of(config.get_text_config().to_dict())
    except (OSError, ValueError) as error:
        raise ModelError(f"the config.json of {name!r} cannot be read", "download the model again") from error
    except KeyError as error:
        raise ModelError(
            f"the config.json of {name!r} does not say {error.args[0]}",
            "choose a dense causal model such as Llama, Qwen, Mistral or Gemma",
        ) from error


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


def need_of_prompts(base: BaseModel, command: Improve) -> Need:
    """The longest text with the longest addition; no tree: all that is scored has a prompt of its own."""
    tokens = max((most_tokens(base, each) for each in (*command.demonstrations, *command.others)), default=0)
    return Need(tokens, GROUP * CANDIDATES, tokens)


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


def main() -> None:
    """One line: device and shape, or the title and hint of what is wrong."""
    try:
        found: dict[str, object] = {"device": asdict(this_device()), "shape": asdict(read_shape(sys.argv[1]))}
    except DittodError as error:
        found = {"error": [error.title, error.hint]}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
