"""DITTO, algorithm 1 of arXiv:2406.00888, as a generator that can be left alone after any micro-step.

    π_ref ← supervised fine-tuning of the base on the demonstrations D_E
    for t = 0, 1, …:
        D_t ← M samples of the live policy per demonstration             fresh before the first step that uses them
        K times: draw pairs of D_E ⪰ D_t ⪰ … ⪰ D_0, one step of DPO       the reference stays π_ref

Knows the method. How a gradient is computed, pairs are drawn and states are stored is next door.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch

from dittod.engine.protocol import Progress, Sampling, Update
from dittod.learner import checkpoint, pairs
from dittod.learner.batch import TokenSequence, collect
from dittod.learner.chance import derived_rng, derived_seed
from dittod.learner.checkpoint import Checkpoint, TrainingState
from dittod.learner.loss import LossWeights, metrics
from dittod.learner.preset import Preset
from dittod.learner.sampling import draw_rows
from dittod.learner.step import (
    Diverged,
    backward_preferences,
    constant_rate,
    make_optimiser,
    pair_index,
    take_step,
)
from dittod.learner.supervised import supervise
from dittod.learner.task import POLICY, REFERENCE, Task, prepare, reporting
from dittod.learner.workbench import Workbench as Workbench
from dittod.learner.workbench import score
from dittod.model.lora import LoraShape
from dittod.types import Sample


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an update leaves in memory, and how it got there."""

    policy: str  # name of DITTO's adapter
    reference: str  # name of the supervised one
    steps: int  # preference steps taken
    stopped: str | None  # why the preference stage ended early, a sentence; None: it went to its end
    figures: Mapping[str, float]  # of its last step


def run(workbench: Workbench, update: Update) -> Generator[Progress, None, Outcome]:
    """All of it, or the rest of it where `update.directory` holds a checkpoint. Leaves both adapters in memory."""
    task = prepare(workbench, update)
    found = checkpoint.load(task.directory, task.fingerprint)
    if found is None:
        yield from supervise(task)
        workbench.adapters.copy(POLICY, REFERENCE)
        state = TrainingState(reference_logps=(yield from reference_logps(task)))
    else:
        state = found.state
        _restore_weights(task, found)
    optimiser = make_optimiser(task.preset, workbench.adapters.parameters(POLICY))
    if found is None:
        _save(task, state, optimiser)
    elif found.optimiser:
        optimiser.load_state_dict(found.optimiser)
    yield from _iterate(task, state, optimiser)
    return Outcome(POLICY, REFERENCE, state.step, state.stopped, dict(state.figures))


def _iterate(task: Task, state: TrainingState, optimiser: torch.optim.Optimizer) -> Generator[Progress, None, None]:
    """The loop over t. Saves after the samples are drawn, and after the steps that use them."""
    while _goes_on(task, state):
        iteration = _iteration(task, state)
        if iteration not in state.samples:
            state.samples[iteration] = yield from negatives(task, iteration)
            _save(task, state, optimiser)
        try:
            while _goes_on(task, state) and _iteration(task, state) == iteration:
                yield from prefer(task, state, optimiser)
        except Diverged:
            _fall_back(task, state, optimiser)
        _save(task, state, optimiser)


def reference_logps(task: Task) -> Generator[Progress, None, dict[str, float]]:
    """log π_ref of every demonstration, once and for all."""
    work = score(task.workbench, list(task.own.values()), REFERENCE, task.preset.micro_batch_tokens)
    logps = yield from reporting(work, lambda done: task.progress("reference", done, len(task.own)))
    return dict(zip(task.own, logps, strict=True))


def negatives(task: Task, iteration: int) -> Generator[Progress, None, tuple[Sample, ...]]:
    """M completions per demonstration from the live policy, with their log-probability under the reference."""
    preset, own, bench = task.preset, task.own, task.workbench
    count = len(own) * preset.samples_per_demonstration
    prompts = {key: each.prompt_ids for key, each in own.items()}
    samplings = {key: _sampling(task, iteration, key) for key in own}
    work = draw_rows(bench, POLICY, prompts, samplings, preset.samples_per_demonstration)
    drawn = yield from reporting(work, lambda done: task.progress("sampling", done, count, iteration))
    rows = [(key, row) for key, each in drawn.items() for row in each]
    sequences = [TokenSequence(key, own[key].prompt_ids, tuple(row.token_ids)) for key, row in rows]
    scoring = score(bench, sequences, REFERENCE, preset.micro_batch_tokens)
    logps = yield from reporting(scoring, lambda done: task.progress("reference", done, count, iteration))
    samples = tuple(
        Sample(key, iteration, sequence.completion_ids, row.finish_reason == "length", logp)
        for (key, row), sequence, logp in zip(rows, sequences, logps, strict=True)
    )
    yield task.progress("sampling", count, count, iteration, sample_figures(samples))
    return samples


def prefer(task: Task, state: TrainingState, optimiser: torch.optim.Optimizer) -> Generator[Progress, None, None]:
    """One step of DPO. Raises Diverged; ends the stage through `state.stopped`."""
    preset, iteration = task.preset, _iteration(task, state)
    rng = derived_rng(task.update.seed, "pairs", state.step)
    completions = {key: each.completion_ids for key, each in task.own.items()}
    size = preset.pairs_per_demonstration * len(task.own)
    drawn = pairs.draw(state.samples, completions, iteration, rng, preset.mix, size)
    if not drawn:
        state.stopped = "Every sample equals its demonstration: nothing is left to prefer."
        return
    batch = collect(drawn, task.own, state.reference_logps)
    weights = LossWeights(preset.beta, preset.nll_weight, len(batch.chosen), len(batch.demonstrations))
    here = task.progress("dpo", state.step, preset.dpo_steps, iteration, state.figures)
    work = backward_preferences(task.workbench, POLICY, batch, weights, preset.micro_batch_tokens)
    logps = yield from reporting(work, lambda _: here)
    rate = constant_rate(state.step, preset.dpo_steps, preset.dpo_warmup, preset.dpo_learning_rate)
    norm = take_step(optimiser, rate, preset.gradient_clip)
    reference = torch.tensor(batch.reference_logps, dtype=logps.dtype)
    figures = metrics(logps, reference, pair_index(batch, logps.device), weights)
    state.figures = {**figures, "grad_norm": norm, "learning_rate": rate}
    state.step += 1
    _guard(preset, state)
    yield task.progress("dpo", state.step, preset.dpo_steps, iteration, state.figures)


def sample_figures(samples: Sequence[Sample]) -> dict[str, float]:
    """Length and manner of ending: what drifts first when a policy goes astray."""
    return {
        "mean_tokens": fmean(len(each.token_ids) for each in samples),
        "eos_rate": fmean(not each.truncated for each in samples),
        "reference_logps": fmean(each.reference_logp for each in samples),
    }


def _sampling(task: Task, iteration: int, key: str) -> Sampling:
    longest = max(len(each.completion_ids) for each in task.own.values())
    return Sampling(
        temperature=task.preset.temperature,
        top_k=task.preset.top_k,
        max_tokens=task.preset.completion_limit(longest),
        seed=derived_seed(task.update.seed, "samples", iteration, key),
    )


def _guard(preset: Preset, state: TrainingState) -> None:
    """Likelihood displacement (arXiv:2410.08847): the margin grows while the user's own texts become less likely."""
    state.steps_below = state.steps_below + 1 if state.figures["demonstration_drift"] < 0 else 0
    if preset.guard_patience and state.steps_below >= preset.guard_patience:
        state.stopped = (
            f"Preference learning stopped after step {state.step}: for {state.steps_below} steps the user's own texts"
            " had been less likely than under the supervised policy."
        )


def _goes_on(task: Task, state: TrainingState) -> bool:
    return state.step < task.preset.dpo_steps and state.stopped is None


def _iteration(task: Task, state: TrainingState) -> int:
    return state.step // task.preset.resample_every


def _fall_back(task: Task, state: TrainingState, optimiser: torch.optim.Optimizer) -> None:
    """After a gradient that is no number: the policy as it was when this iteration's samples were drawn."""
    failed_at = state.step + 1
    last = checkpoint.load(task.directory, task.fingerprint)
    if last is None:
        task.workbench.adapters.copy(REFERENCE, POLICY)
        state.step = 0
    else:
        task.workbench.adapters.load_state(POLICY, last.policy)
        state.step, state.figures = last.state.step, last.state.figures
    state.stopped = f"Step {failed_at} diverged: the policy after step {state.step} was kept."


def _save(task: Task, state: TrainingState, optimiser: torch.optim.Optimizer) -> None:
    adapters = task.workbench.adapters
    saved = Checkpoint(state, adapters.state(POLICY), adapters.state(REFERENCE), optimiser.state_dict())
    checkpoint.save(task.directory, task.fingerprint, saved)


def _restore_weights(task: Task, found: Checkpoint) -> None:
    adapters = task.workbench.adapters
    adapters.create(POLICY, LoraShape(task.preset.rank, task.preset.alpha, task.preset.targets), seed=0)
    adapters.copy(POLICY, REFERENCE)
    adapters.load_state(POLICY, found.policy)
    adapters.load_state(REFERENCE, found.reference)
