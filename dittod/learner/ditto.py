"""DITTO, algorithm 1 of arXiv:2406.00888, as a generator that can be left alone after any micro-step.

    π_ref ← supervised fine-tuning of the base on the demonstrations D_E
    for t = 0, 1, …:
        D_t ← M samples of the live policy per demonstration             fresh before the first step that uses them
        K times: draw pairs of D_E ⪰ D_t ⪰ … ⪰ D_0, one step of DPO       the reference stays π_ref

Answers that the user did not want, if there are any, stand below all samples: see pairs.py. With `moving_reference`,
π_ref ← π at each t ≥ 1 instead: for comparison, the paper found it far worse.

What a step or a round has come to is told before it is saved: a kill between the two repeats it, and no figure is
lost. Knows the method. How a gradient is computed, pairs are drawn and states are stored is next door.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from dittod.engine.protocol import Drawn, Progress, Sampling, Update
from dittod.learner import pairs
from dittod.learner.batch import TokenSequence, collect
from dittod.learner.chance import derived_rng, derived_seed
from dittod.learner.checkpoint import TrainingState
from dittod.learner.loss import LossWeights, exploded, metrics
from dittod.learner.optimiser import Diverged, constant_rate, take_step
from dittod.learner.preset import Preset
from dittod.learner.sampling import draw_rows, sample_figures
from dittod.learner.step import backward_preferences, pair_index
from dittod.learner.supervised import supervise
from dittod.learner.task import POLICY, REFERENCE, Task, prepare, reporting
from dittod.learner.training import Training
from dittod.learner.workbench import Workbench as Workbench
from dittod.learner.workbench import score
from dittod.types import PreferencePair, Sample

MOST_SHOWN = 12  # samples of a round that the user may look at, one of each demonstration
MOST_CHARACTERS = 600  # of each


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an update leaves in memory, and how it got there."""

    policy: str  # name of DITTO's adapter
    reference: str  # name of the supervised one
    steps: int  # preference steps taken
    stopped: str | None  # why learning ended early, a sentence; None: it went to its end
    figures: Mapping[str, float]  # of its last step


def run(workbench: Workbench, update: Update) -> Generator[Progress, None, Outcome]:
    """All of it, or the rest of it where `update.directory` holds a checkpoint. Leaves both adapters in memory.

    Closed between two micro-steps, it saves the latest completed step, to go on from there.
    """
    training = Training(prepare(workbench, update))
    try:
        yield from training.timed(_stages(training))
    except GeneratorExit:
        training.leave()
        raise
    state = training.state
    return Outcome(POLICY, REFERENCE, state.step, state.stopped, dict(state.figures))


def _stages(training: Training) -> Generator[Progress, None, None]:
    """Supervised learning, the reference, the loop over t."""
    task, state = training.task, training.state
    if state.stage == "supervised":
        yield from supervise(training)
        training.begin_preferences()
    if task.rejected and pairs.REJECTED not in state.samples:
        state.samples[pairs.REJECTED] = yield from rejected_samples(task)
    if not state.reference_logps:
        state.reference_logps = yield from reference_logps(task)
        training.save()
    while _goes_on(training):
        yield from _iterate(training)


def _iterate(training: Training) -> Generator[Progress, None, None]:
    """One t, or the rest of it."""
    task, state = training.task, training.state
    iteration = _iteration(training)
    if iteration not in state.samples:
        if iteration:
            training.keep_iterate(iteration)
        if task.preset.moving_reference and iteration:
            yield from move_reference(task, state)
        state.samples[iteration] = drawn = yield from negatives(task, iteration)
        yield task.progress("sampling", len(drawn), len(drawn), iteration, sample_figures(drawn), iteration + 1)
        training.watch_the_clock(task.preset.dpo_steps)
        training.save()
    try:
        while _goes_on(training) and _iteration(training) == iteration:
            yield from prefer(training)
            training.save_if_due()
    except Diverged:
        training.fall_back()
    training.save()


def move_reference(task: Task, state: TrainingState) -> Generator[Progress, None, None]:
    """π_ref ← π, and every log π_ref that was kept is computed anew. Left alone, it begins again: the checkpoint before
    has the old one still."""
    task.workbench.adapters.copy(POLICY, REFERENCE)
    state.reference_logps = yield from reference_logps(task)
    for iteration, drawn in state.samples.items():
        logps = yield from _sample_logps(task, iteration, [(each.demonstration_id, each.token_ids) for each in drawn])
        scored = zip(drawn, logps, strict=True)
        state.samples[iteration] = tuple(replace(each, reference_logp=logp) for each, logp in scored)


def reference_logps(task: Task) -> Generator[Progress, None, dict[str, float]]:
    """log π_ref of every demonstration, once and for all."""
    work = score(task.workbench, list(task.own.values()), REFERENCE)
    logps = yield from reporting(work, lambda done: task.progress("reference", done, len(task.own)))
    return dict(zip(task.own, logps, strict=True))


def rejected_samples(task: Task) -> Generator[Progress, None, tuple[Sample, ...]]:
    """The answers that the user did not want, as samples of a policy before all others. Which one wrote them may be
    long gone: what it thought of them is not known, and nothing asks for it."""
    answers = [(each.demonstration_id, each.completion_ids) for each in task.rejected]
    logps = yield from _sample_logps(task, 0, answers)
    end = task.workbench.base.end_of_turn_id
    return tuple(
        Sample(key, pairs.REJECTED, token_ids, end not in token_ids[-1:], logp, logp)
        for (key, token_ids), logp in zip(answers, logps, strict=True)
    )


def negatives(task: Task, iteration: int) -> Generator[Progress, None, tuple[Sample, ...]]:
    """M completions per prompt from the live policy, with their log-probability under it and the reference."""
    preset, asked, bench = task.preset, task.asked, task.workbench
    count = len(asked) * preset.samples_per_demonstration
    prompts = {key: each.prompt_ids for key, each in asked.items()}
    samplings = {key: _sampling(task, iteration, key) for key in asked}
    work = draw_rows(bench, POLICY, prompts, samplings, preset.samples_per_demonstration)
    drawn = yield from reporting(work, lambda done: task.progress("sampling", done, count, iteration))
    task.workbench.drawn += to_be_shown(task, iteration, {key: rows[0].token_ids for key, rows in drawn.items()})
    rows = [(key, row) for key, each in drawn.items() for row in each]
    logps = yield from _sample_logps(task, iteration, [(key, tuple(row.token_ids)) for key, row in rows])
    return tuple(
        Sample(key, iteration, tuple(row.token_ids), row.finish_reason == "length", logp, sum(row.logps))
        for (key, row), logp in zip(rows, logps, strict=True)
    )


def to_be_shown(task: Task, iteration: int, samples: Mapping[str, Sequence[int]]) -> list[Drawn]:
    """Of one sample of each demonstration, as much as the pipe should take."""
    decode, now = partial(task.workbench.base.tokenizer.decode, skip_special_tokens=True), time.time()
    return [
        Drawn(task.update.id, iteration, key, decode(samples[key])[:MOST_CHARACTERS], now)
        for key in list(task.own)[:MOST_SHOWN]
    ]


def _sample_logps(
    task: Task, iteration: int, samples: Sequence[tuple[str, tuple[int, ...]]]
) -> Generator[Progress, None, list[float]]:
    """log π_ref of an iteration's samples: (id of the demonstration, token ids) each."""
    asked = task.asked
    sequences = [TokenSequence(key, asked[key].prompt_ids, token_ids) for key, token_ids in samples]
    scoring = score(task.workbench, sequences, REFERENCE)
    here = partial(task.progress, "reference", of=len(sequences), iteration=iteration)
    return (yield from reporting(scoring, here))


def prefer(training: Training) -> Generator[Progress, None, None]:
    """One step of DPO. Raises Diverged; ends the stage through `state.stopped`."""
    task, preset, state = training.task, training.task.preset, training.state
    drawn = _draw(training)
    if not drawn:
        state.stopped = "Every sample equals its demonstration: nothing is left to prefer."
        return
    batch = collect(drawn, task.asked, state.reference_logps)
    weights = LossWeights(preset.beta, preset.nll_weight, len(batch.chosen), len(batch.demonstrations))
    iteration = _iteration(training)
    here = task.progress("dpo", state.step, preset.dpo_steps, iteration, state.figures)
    logps = yield from reporting(backward_preferences(task.workbench, POLICY, batch, weights), lambda _: here)
    reference = torch.tensor(batch.reference_logps, dtype=logps.dtype)
    figures = metrics(logps, reference, pair_index(batch, logps.device), weights)
    if exploded(figures):
        raise Diverged
    rate = constant_rate(state.step, preset.dpo_steps, preset.dpo_warmup, preset.dpo_learning_rate)
    norm = take_step(training.optimiser, rate, preset.gradient_clip)
    figures |= {**pairs.pair_figures(drawn, _completions(task)), "grad_norm": norm, "learning_rate": rate}
    training.complete_step(figures, preset.dpo_steps)
    _guard(preset, state)
    yield task.progress("dpo", state.step, preset.dpo_steps, iteration, state.figures, state.step)


def _draw(training: Training) -> list[PreferencePair]:
    """The pairs of the next step."""
    task, preset, step = training.task, training.task.preset, training.state.step
    rng = derived_rng(task.update.seed, "pairs", step)
    size = preset.pairs_per_demonstration * len(task.own)
    return pairs.draw(training.state.samples, _completions(task), _iteration(training), rng, preset.mix, size)


def _completions(task: Task) -> dict[str, tuple[int, ...]]:
    return {key: each.completion_ids for key, each in task.own.items()}


def _sampling(task: Task, iteration: int, key: str) -> Sampling:
    longest = max(len(each.completion_ids) for each in task.own.values())
    room = task.workbench.plan.sequence_tokens - len(task.asked[key].prompt_ids)
    return Sampling(
        temperature=task.preset.temperature,
        top_k=task.preset.top_k,
        max_tokens=min(room, task.preset.completion_limit(longest)),
        seed=derived_seed(task.update.seed, "samples", iteration, key),
    )


def _guard(preset: Preset, state: TrainingState) -> None:
    """Likelihood displacement (arXiv:2410.08847): the margin grows while the user's own texts become less likely."""
    state.steps_below = state.steps_below + 1 if state.figures["demonstration_drift_per_token"] < 0 else 0
    if preset.guard_patience and state.steps_below >= preset.guard_patience:
        state.stopped = (
            f"Preference learning stopped after step {state.step}: for {state.steps_below} steps the user's own texts"
            " had been less likely than under the supervised policy."
        )


def _goes_on(training: Training) -> bool:
    return training.state.step < training.task.preset.dpo_steps and training.state.stopped is None


def _iteration(training: Training) -> int:
    return training.state.step // training.task.preset.resample_every
