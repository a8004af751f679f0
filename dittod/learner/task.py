"""What does not change during an update, and how its work reports where it is.

Knows the update's command and the engine's progress messages; knows nothing of the method's order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

from dittod.engine.protocol import Progress, Update
from dittod.errors import TooFewDemonstrations
from dittod.learner.batch import TokenSequence
from dittod.learner.preset import Preset, at_most_rank, at_width, preset
from dittod.learner.workbench import Workbench, encode, encode_answer
from dittod.model.load import BaseModel
from dittod.types import Demonstration, Rejected, demonstration_id

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
    rejected: tuple[TokenSequence, ...]  # answers that the user did not want: edited into one of the former, or not
    fingerprint: str  # of all that decides the result: a checkpoint with another one is of no use

    @property
    def asked(self) -> dict[str, TokenSequence]:
        """What has a prompt to be answered, by key: the demonstrations, then the answers that were rated down."""
        return {**self.own, **{key: each for each in self.rejected if (key := each.demonstration_id) not in self.own}}

    @property
    def directory(self) -> Path:
        """Where checkpoints are kept."""
        return Path(self.update.directory)

    def progress(
        self,
        phase: str,
        done: int,
        of: int,
        iteration: int = 0,
        figures: Mapping[str, float] | None = None,
        completed_step: int = 0,
    ) -> Progress:
        """How far the update is. `completed_step` where this completes one: see Progress."""
        return Progress(self.update.id, phase, done, of, iteration, dict(figures or {}), completed_step)


def prepare(workbench: Workbench, update: Update) -> Task:
    """Look up the numbers, encode the demonstrations. Raises TooFewDemonstrations, and SettingsError for overrides."""
    if not update.demonstrations:
        raise TooFewDemonstrations("there is no demonstration to learn from", "put some of your writing in the folder")
    base = workbench.base
    chosen = at_width(preset(update.preset, update.overrides), base.model.config.get_text_config().hidden_size)
    numbers = at_most_rank(chosen, workbench.plan.rank)
    room = workbench.plan.sequence_tokens
    own = {each.id: encode(base, each, room) for each in update.demonstrations}
    found = [_encoded(base, each, own, room) for each in update.rejected if each.demonstration_id in ("", *own)]
    rejected = tuple(found[-len(own) :])  # the newest, and no more than there is to learn towards
    return Task(workbench, update, numbers, own, rejected, _fingerprint(base, update, numbers, own, rejected))


def _encoded(base: BaseModel, rejected: Rejected, own: Mapping[str, TokenSequence], room: int) -> TokenSequence:
    """After the very prompt of the demonstration that it was edited into; one that was rated down has a key and a
    prompt of its own."""
    if rejected.demonstration_id:
        return encode_answer(base, own[rejected.demonstration_id], rejected.completion, room)
    key = f"rejected-{demonstration_id(rejected.prompt, rejected.completion)}"
    return encode(base, Demonstration(key, rejected.prompt, rejected.completion, "", 0.0), room)


def _fingerprint(
    base: BaseModel,
    update: Update,
    numbers: Preset,
    own: Mapping[str, TokenSequence],
    rejected: Sequence[TokenSequence],
) -> str:
    """The memory plan is not in it: another budget must not lose what was learnt. Where the plan does decide (a lower
    rank, a text that is cut, another quantisation) it shows in the numbers, the token ids or the base; only the limit
    of samples may change with it unseen. Nor is the time limit: whoever shortens it wants what there is."""
    method = asdict(replace(numbers, time_limit_seconds=0.0))
    ground = [base.name, base.revision, base.quantisation, str(base.dtype), base.device.type, base.template_sha256]
    encoded = [*own.items(), *((each.demonstration_id, each) for each in rejected)]
    texts = [[key, each.prompt_ids, each.completion_ids] for key, each in encoded]
    return hashlib.sha256(json.dumps([method, update.seed, texts, ground]).encode()).hexdigest()


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
