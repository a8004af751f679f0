"""The supervised stage: a fresh adapter learns the demonstrations, and becomes the reference of what follows.

Knows batches and learning rates; knows nothing of samples and preferences.
"""

from __future__ import annotations

from collections.abc import Generator

from dittod.engine.protocol import Progress
from dittod.errors import ModelError
from dittod.learner.batch import TokenSequence
from dittod.learner.chance import derived_rng, derived_seed
from dittod.learner.preset import Preset
from dittod.learner.step import Diverged, backward_likelihood, cosine_rate, make_optimiser, take_step
from dittod.learner.task import POLICY, Task, reporting
from dittod.model.lora import LoraShape


def supervise(task: Task) -> Generator[Progress, None, None]:
    """Fine-tune on the demonstrations, end of turn included, until the steps are done or the stop loss is reached.

    `clean` counts completion tokens only: its prompts are made by our own templates, and learning to write those is
    no use to anybody. The released code counts the prompt's too.
    """
    preset, adapters = task.preset, task.workbench.adapters
    shape = LoraShape(preset.rank, preset.alpha, preset.targets)
    adapters.create(POLICY, shape, seed=derived_seed(task.update.seed, "adapter"))
    optimiser = make_optimiser(preset, adapters.parameters(POLICY))
    examples = [_as_one_text(each) if preset.supervised_on_prompt else each for each in task.own.values()]
    figures: dict[str, float] = {}
    for step in range(preset.supervised_steps):
        here = task.progress("supervised", step, preset.supervised_steps, figures=figures)
        batch = batch_of_demonstrations(examples, step, preset.supervised_batch, task.update.seed)
        work = backward_likelihood(task.workbench, POLICY, batch, preset.micro_batch_tokens)
        loss = yield from reporting(work, lambda _, here=here: here)  # type: ignore[misc]
        rate = _rate(preset, step)
        try:
            norm = take_step(optimiser, rate, preset.gradient_clip)
        except Diverged as error:
            raise ModelError("supervised learning diverged", "lower supervised_learning_rate") from error
        figures = {"loss": loss, "grad_norm": norm, "learning_rate": rate}
        yield task.progress("supervised", step + 1, preset.supervised_steps, figures=figures)
        if loss < preset.supervised_stop_loss:
            return


def batch_of_demonstrations(examples: list[TokenSequence], step: int, size: int, seed: int) -> list[TokenSequence]:
    """Batch number `step` of an endless shuffled deck: every demonstration once before any comes twice."""
    size = min(size, len(examples))
    batches = -(-len(examples) // size)  # an epoch's; the last one may be smaller
    epoch, place = divmod(step, batches)
    deck = list(examples)
    derived_rng(seed, "epoch", epoch).shuffle(deck)
    return deck[place * size : (place + 1) * size]


def _rate(preset: Preset, step: int) -> float:
    return cosine_rate(step, preset.supervised_steps, preset.supervised_warmup, preset.supervised_learning_rate)


def _as_one_text(sequence: TokenSequence) -> TokenSequence:
    """All but the first token counts."""
    whole = sequence.prompt_ids + sequence.completion_ids
    return TokenSequence(sequence.demonstration_id, whole[:1], whole[1:])
