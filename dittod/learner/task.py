"""What does not change during an update, and how its work reports where it is.

Knows the update's command and the engine's progress messages; knows nothing of the method's order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from dittod.engine.protocol import Progress, Update
from dittod.errors import TooFewDemonstrations
from dittod.learner.batch import TokenSequence
from dittod.learner.preset import Preset, at_width, preset
from dittod.learner.workbench import Workbench, encode

POLICY = "policy"  # the adapter under training
REFERENCE = "reference"  # the policy as supervised fine-tuning left it, frozen

Step = TypeVar("Step")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Task:
    """One update on one workbench."""

    workbench: Workbench
    update: Update
    preset: Preset
    own: dict[str, TokenSequence]  # the demonstrations, by id
    fingerprint: str  # of all that decides the result: a checkpoint with another one is of no use

    @property
    def directory(self) -> Path:
        """Where checkpoints are kept."""
        return Path(self.update.directory)

    def progress(
        self, phase: str, done: int, of: int, iteration: int = 0, figures: Mapping[str, float] | None = None
    ) -> Progress:
        """How far the update is."""
        return Progress(self.update.id, phase, done, of, iteration, dict(figures or {}))


def prepare(workbench: Workbench, update: Update) -> Task:
    """Look up the numbers, encode the demonstrations. Raises TooFewDemonstrations, and SettingsError for overrides."""
    if not update.demonstrations:
        raise TooFewDemonstrations("there is no demonstration to learn from", "put some of your writing in the folder")
    base = workbench.base
    numbers = at_width(preset(update.preset, update.overrides), base.model.config.get_text_config().hidden_size)
    own = {each.id: encode(base, each) for each in update.demonstrations}
    ground = [base.name, base.revision, base.quantisation, str(base.dtype), base.device.type, base.template_sha256]
    decisive = json.dumps([asdict(numbers), update.seed, list(own), ground])
    return Task(workbench, update, numbers, own, hashlib.sha256(decisive.encode()).hexdigest())


def reporting(
    work: Generator[Step, None, Result], progress: Callable[[Step], Progress]
) -> Generator[Progress, None, Result]:
    """Run some work to its end, saying after each of its micro-steps where the update is. Closes it when closed."""
    try:
        while True:
            try:
                step = next(work)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            yield progress(step)
    finally:
        work.close()
