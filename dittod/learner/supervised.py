"""The supervised stage: a fresh adapter learns the demonstrations, and becomes the reference of what follows.

Knows batches and learning rates; knows nothing of samples and preferences.
"""

from __future__ import annotations

from collections.abc import Generator

from dittod.engine.protocol import Progress
from dittod.errors import ModelError
from dittod.learner.batch import TokenSequence
from dittod.learner.chance import derived_rng
from dittod.learner.checkpoint import TrainingState
from dittod.learner.optimiser import Diverged, cosine_rate, take_step
from dittod.learner.preset import Preset
from dittod.learner.step import backward_likelihood
from dittod.learner.task import POLICY, reporting
from dittod.learner.training import Training


def supervise(training: Training) -> Generator[Progress, None, None]:
    """Fine-tune on the demonstrations, end of turn included, until the steps are done, the stop loss is reached or
    time is up.

    `clean` counts completion tokens only: its prompts are made by our own templates, and learning to write those is
    no use to anybody. The released code counts the prompt's too.
    """
    preset, own = training.task.preset, training.task.own
    examples = [_as_one_text(each) if preset.supervised_on_prompt else each for each in own.values()]
    while _goes_on(preset, training.state):
        yield from _step(training, examples)
        training.save_if_due()


def _step(training: Training, examples: list[TokenSequence]) -> Generator[Progress, None, None]:
    """One step of the optimiser on one batch."""
    task, preset, state = training.task, training.task.preset, training.state
    here = task.progress("supervised", state.step, preset.supervised_steps, figures=state.figures)
    batch = batch_of_demonstrations(examples, state.step, preset.supervised_batch, task.update.seed)
    loss = yield from reporting(backward_likelihood(task.workbench, POLICY, batch), lambda _: here)
    rate = cosine_rate(state.step, preset.supervised_steps, preset.supervised_warmup, preset.supervised_learning_rate)
    try:
        norm = take_step(training.optimiser, rate, preset.gradient_clip)
    except Diverged as error:
        raise ModelError("supervised learning diverged", "lower supervised_learning_rate") from error
    training.complete_step({"loss": loss, "grad_norm": norm, "learning_rate": rate}, preset.supervised_steps)
    yield task.progress("supervised", state.step, preset.supervised_steps, 0, state.figures, state.step)


def batch_of_demonstrations(examples: list[TokenSequence], step: int, size: int, seed: int) -> list[TokenSequence]:
    """Batch number `step` of an endless shuffled deck: every demonstration once before any comes twice."""
    size = min(size, len(examples))
    batches = -(-len(examples) // size)  # an epoch's; the last one may be smaller
    epoch, place = divmod(step, batches)
    deck = list(examples)
    derived_rng(seed, "epoch", epoch).shuffle(deck)
    return deck[place * size : (place + 1) * size]


def _goes_on(preset: Preset, state: TrainingState) -> bool:
    learnt_enough = bool(state.figures) and state.figures["loss"] < preset.supervised_stop_loss
    return state.step < preset.supervised_steps and state.stopped is None and not learnt_enough


def _as_one_text(sequence: TokenSequence) -> TokenSequence:
    """All but the first token counts."""
    whole = sequence.prompt_ids + sequence.completion_ids
    return TokenSequence(sequence.demonstration_id, whole[:1], whole[1:])
