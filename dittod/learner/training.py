"""The policy under training: weights, optimiser and state together, and when they go to disk.

Knows adapters, optimisers and checkpoints; knows neither losses nor what a step is made of.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Mapping

import torch

from dittod.engine.protocol import Progress
from dittod.learner import checkpoint, iterates
from dittod.learner.chance import derived_seed
from dittod.learner.checkpoint import Checkpoint, TrainingState
from dittod.learner.optimiser import make_optimiser
from dittod.learner.task import POLICY, REFERENCE, Task
from dittod.model.lora import LoraShape

log = logging.getLogger("dittod.engine")

CHECKPOINT_SECONDS = 120.0  # of learning that a kill may cost, beside the step it falls into and a round of samples
clock = time.monotonic


class Training:
    """One update's course so far: from its checkpoint, or a fresh adapter at the supervised stage's beginning."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self._adapters = task.workbench.adapters
        shape = LoraShape(task.preset.rank, task.preset.alpha, task.preset.targets)
        self._adapters.create(POLICY, shape, seed=derived_seed(task.update.seed, "adapter"))
        found = checkpoint.load(task.directory, task.fingerprint, key=task.update.key)
        self.state = found.state if found else TrainingState()
        self.optimiser = self._new_optimiser()
        if found:
            self._restore(found)
        self._saved = self._place()
        self._saved_seconds = self.state.seconds

    def begin_preferences(self) -> None:
        """The policy as it is now becomes the reference, and the second stage starts from it."""
        self._adapters.copy(POLICY, REFERENCE)
        self.optimiser = self._new_optimiser()
        self.state.stage, self.state.step, self.state.figures = "preference", 0, {}

    def complete_step(self, figures: Mapping[str, float], of: int) -> None:
        """The optimiser has moved: count the step, and look whether there is time for another of the stage's `of`."""
        self.state.step += 1
        self.state.figures = dict(figures)
        if self.state.step < of:
            self.watch_the_clock(of)

    def watch_the_clock(self, of: int) -> None:
        """End both stages where the time limit is reached: the gate judges what there is."""
        limit, state = self.task.preset.time_limit_seconds, self.state
        if limit and state.seconds >= limit:
            state.stopped = f"The time limit of {limit:g} s was reached after {state.stage} step {state.step} of {of}."

    def timed(self, work: Generator[Progress, None, None]) -> Generator[Progress, None, None]:
        """Run some work to its end, counting the seconds inside its micro-steps and not those between them, which
        belong to requests. Closes it when closed."""
        try:
            while True:
                started = clock()
                try:
                    progress = next(work)
                except StopIteration:
                    return
                finally:
                    self.state.seconds += clock() - started
                yield progress
        finally:
            work.close()

    def save(self) -> None:
        """At the end of a stage, a round of samples or an iteration: where `fall_back` leads."""
        self._write("round")

    def save_if_due(self) -> None:
        """Between two steps, so that a kill in a long stage costs minutes at most."""
        if self.state.seconds - self._saved_seconds >= CHECKPOINT_SECONDS and self._place() != self._saved:
            self._write("step")

    def keep_iterate(self, rounds: int) -> None:
        """The policy after so many rounds of samples, for the gate. At the beginning of the next round, which a kill
        leads back to: then it is written anew, in the same bits."""
        task = self.task
        iterates.save(task.directory, task.fingerprint, rounds, self._adapters.state(POLICY), task.update.key)

    def leave(self) -> None:
        """The update is left alone between two micro-steps: keep the latest completed step, forget a half-done one.

        A disk that takes nothing does not keep the engine from stopping: the checkpoint before counts.
        """
        self.optimiser.zero_grad(set_to_none=True)
        if self._place() == self._saved:
            return
        try:
            self._write("step")
        except OSError as error:
            log.warning("the steps since the last checkpoint are lost: %s", error.strerror)

    def fall_back(self) -> None:
        """Back to the policy as it was when this iteration's samples were drawn, and no further: it is lost.

        Not to the latest checkpoint, which may be of any step: a paused update ends as one that was not.
        """
        self.optimiser.zero_grad(set_to_none=True)
        state, failed_at = self.state, self.state.step + 1
        task = self.task
        last = checkpoint.load(task.directory, task.fingerprint, "round", task.update.key)
        if last is None or last.state.stage == "supervised":  # somebody has emptied the folder
            self._adapters.copy(REFERENCE, POLICY)
            state.step, state.figures = 0, {}
        else:
            self._adapters.load_state(POLICY, last.policy)
            state.step, state.figures = last.state.step, last.state.figures
        state.stopped = f"Preference step {failed_at} diverged: the policy after step {state.step} was kept."

    def _write(self, kind: checkpoint.Kind) -> None:
        self.state.optimiser = type(self.optimiser).__name__
        reference = self._adapters.state(REFERENCE) if self.state.stage == "preference" else {}
        whole = Checkpoint(self.state, self._adapters.state(POLICY), reference, self.optimiser.state_dict())
        checkpoint.save(self.task.directory, self.task.fingerprint, whole, kind, self.task.update.key)
        self._saved, self._saved_seconds = self._place(), self.state.seconds

    def _restore(self, found: Checkpoint) -> None:
        self._adapters.load_state(POLICY, found.policy)
        if found.reference:
            self._adapters.copy(POLICY, REFERENCE)
            self._adapters.load_state(REFERENCE, found.reference)
        if found.state.optimiser == type(self.optimiser).__name__:  # else its moments start anew
            self.optimiser.load_state_dict(found.optimiser)

    def _new_optimiser(self) -> torch.optim.Optimizer:
        kind = self.task.workbench.plan.optimiser
        return make_optimiser(self.task.preset, self._adapters.parameters(POLICY), kind)

    def _place(self) -> tuple[object, ...]:
        """What changes with everything that is worth a checkpoint."""
        state = self.state
        return state.stage, state.step, len(state.samples), len(state.reference_logps), state.stopped
