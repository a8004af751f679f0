"""The other way to teach a manner: preferences between pairs of the policy's own answers, instead of demonstrations.

After the paper's third figure. There people chose; here the verifier and the style judge do, who know the author's
texts and are the ones that judge in the end, though with other impostors: that is to the advantage of this way. As many
steps of as many pairs as DITTO takes, from the supervised policy or from the base. Knows the learner and two judges.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest
from statistics import fmean, pstdev

from fidelity_writing import Policy, finished

from dittod.engine.protocol import Update
from dittod.judge.impostors import shipped_impostors
from dittod.judge.style import StyleProfile
from dittod.judge.verifier import Verifier
from dittod.learner.batch import collect
from dittod.learner.ditto import negatives, run
from dittod.learner.loss import LossWeights
from dittod.learner.optimiser import constant_rate, make_optimiser, take_step
from dittod.learner.step import backward_preferences
from dittod.learner.task import POLICY, Task, prepare
from dittod.learner.workbench import Workbench
from dittod.types import PreferencePair, Sample


def learn_from_preferences(bench: Workbench, update: Update, count: int) -> Policy:
    """The policy after DPO on so many pairs, drawn once from the supervised policy; without supervised steps, from the
    base."""
    finished(run(bench, replace(update, overrides={**update.overrides, "dpo_steps": 0})))
    each = -(-2 * count // len(update.demonstrations))
    task = prepare(bench, replace(update, overrides={**update.overrides, "samples_per_demonstration": each}))
    samples = finished(negatives(task, 0))
    scores = _liking(task, samples)
    _dpo(task, list(pairs(samples, scores))[:count])
    return bench.adapters.state(POLICY)


def pairs(samples: Sequence[Sample], scores: Sequence[float]) -> Iterator[PreferencePair]:
    """Two and two of one demonstration, in the order in which they were drawn: the first pairs of all of them first.
    Answers that are equal, or liked alike, are no pair."""
    drawn: dict[str, list[tuple[float, Sample]]] = {}
    for score, sample in zip(scores, samples, strict=True):
        drawn.setdefault(sample.demonstration_id, []).append((score, sample))
    rounds = zip_longest(*([*zip(each[::2], each[1::2], strict=False)] for each in drawn.values()))
    for couple in (each for couples in rounds for each in couples if each is not None):
        (low, worse), (high, better) = sorted(couple, key=lambda scored: scored[0])
        if low < high and worse.token_ids != better.token_ids:
            yield PreferencePair(better.demonstration_id, better, worse, "intermodel")


def _liking(task: Task, samples: Sequence[Sample]) -> list[float]:
    """Both judges together, each in its own standard deviations."""
    known = [each.completion for each in task.update.demonstrations]
    decode = task.workbench.base.tokenizer.decode
    texts = [decode(each.token_ids, skip_special_tokens=True) for each in samples]
    verified = Verifier(known, shipped_impostors()).scores(texts)
    style = StyleProfile.of(known)
    near = [-style.distance(each) for each in texts]
    return [sum(both) for both in zip(_standardised(verified), _standardised(near), strict=True)]


def _standardised(values: Sequence[float]) -> list[float]:
    mean, deviation = fmean(values), pstdev(values) or 1.0
    return [(each - mean) / deviation for each in values]


def _dpo(task: Task, preferences: Sequence[PreferencePair]) -> None:
    """As DITTO takes its steps, without the term on the demonstrations, which nobody has given here."""
    preset, bench = task.preset, task.workbench
    optimiser = make_optimiser(preset, bench.adapters.parameters(POLICY), bench.plan.optimiser)
    size = min(len(preferences), preset.pairs_per_demonstration * len(task.own))
    for step in range(preset.dpo_steps):
        drawn = random.Random(f"{task.update.seed} {step}").sample(preferences, size)
        batch = collect(drawn, task.own, {})
        finished(backward_preferences(bench, POLICY, batch, LossWeights(preset.beta, 0.0, len(batch.chosen), 0)))
        rate = constant_rate(step, preset.dpo_steps, preset.dpo_warmup, preset.dpo_learning_rate)
        take_step(optimiser, rate, preset.gradient_clip)
