"""The gradient of a step against the plainest way to compute it, in float64."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Generator
from typing import Any, TypeVar

import pytest
import torch
import torch.nn.functional as F
from fakes import finish

from dittod.learner.batch import Batch, TokenSequence, collect, forests
from dittod.learner.loss import LossWeights, ditto_loss
from dittod.learner.optimiser import Diverged, constant_rate, cosine_rate, make_optimiser, take_step
from dittod.learner.pairs import draw
from dittod.learner.preset import CLEAN
from dittod.learner.step import backward_likelihood, backward_preferences, pair_index
from dittod.learner.workbench import Workbench, encode, score
from dittod.model.lora import LoraShape
from dittod.types import Demonstration, Plan, PreferencePair, Sample

BETA, NLL = 0.3, 0.2
Result = TypeVar("Result")
Gradient = list[torch.Tensor]


def result_of(work: Generator[Any, None, Result]) -> Result:
    return finish(work)[1]


def with_two_adapters(workbench: Workbench) -> Workbench:
    """Policy and reference in float64, both away from the base."""
    generator = torch.Generator().manual_seed(1)
    for name in ("policy", "reference"):
        workbench.adapters.create(name, LoraShape(rank=4, alpha=8), seed=1)
        for value in workbench.adapters.parameters(name):
            fresh = torch.randn(value.shape, generator=generator, dtype=torch.float64)
            value.data = value.data.double() + 0.05 * fresh
    return workbench


def a_step(workbench: Workbench, demonstrations: tuple[Demonstration, ...]) -> tuple[list[PreferencePair], Batch]:
    """Pairs of all three kinds, over demonstrations of which two share a prompt."""
    own = {each.id: encode(workbench.base, each) for each in demonstrations}
    rng = random.Random(3)
    sequences = [
        (t, TokenSequence(key, own[key].prompt_ids, tuple(rng.randrange(256) for _ in range(rng.randrange(1, 12)))))
        for t in range(2)
        for key in own
        for _ in range(3)
    ]
    logps = result_of(score(workbench, [each for _, each in sequences], "reference"))
    samples: dict[int, list[Sample]] = {0: [], 1: []}
    for (t, each), logp in zip(sequences, logps, strict=True):
        samples[t].append(
            Sample(each.demonstration_id, t, each.completion_ids, truncated=True, reference_logp=logp, policy_logp=logp)
        )
    completions = {key: each.completion_ids for key, each in own.items()}
    mix = {"online": 0.5, "replay": 0.25, "intermodel": 0.25}
    pairs = draw(samples, completions, 1, rng, mix, 12)  # type: ignore[arg-type]
    reference = dict(zip(own, result_of(score(workbench, list(own.values()), "reference")), strict=True))
    return pairs, collect(pairs, own, reference)


def naive(workbench: Workbench, demonstrations: tuple[Demonstration, ...], pairs: list[PreferencePair]) -> torch.Tensor:
    """Every pair forwarded alone, full logits, live reference. Leaves the gradient in the policy; returns the loss."""
    own = {each.id: encode(workbench.base, each) for each in demonstrations}

    def logp(adapter: str, prompt: tuple[int, ...], completion: tuple[int, ...]) -> torch.Tensor:
        with workbench.adapters.active(adapter):
            token_ids = torch.tensor([[*prompt, *completion]])
            logits = workbench.base.model(input_ids=token_ids).logits[0, len(prompt) - 1 : -1]
            return logits.log_softmax(-1).gather(-1, torch.tensor(completion)[:, None]).sum()

    total = torch.zeros((), dtype=torch.float64)
    chosen_demonstrations = sorted({pair.demonstration_id for pair in pairs if pair.chosen is None})
    for pair in pairs:
        prompt, mine = own[pair.demonstration_id].prompt_ids, own[pair.demonstration_id].completion_ids
        chosen = mine if pair.chosen is None else pair.chosen.token_ids
        with torch.no_grad():
            reference = logp("reference", prompt, chosen) - logp("reference", prompt, pair.rejected.token_ids)
        policy = logp("policy", prompt, chosen) - logp("policy", prompt, pair.rejected.token_ids)
        with workbench.adapters.active("policy"):
            loss = -F.logsigmoid(BETA * (policy - reference)) / len(pairs)
            loss.backward()
        total += loss.detach()
    for key in chosen_demonstrations:
        loss = -logp("policy", own[key].prompt_ids, own[key].completion_ids) / len(own[key].completion_ids)
        loss = NLL * loss / len(chosen_demonstrations)
        with workbench.adapters.active("policy"):
            loss.backward()
        total += loss.detach()
    return total


def planned(workbench: Workbench, micro_batch_tokens: int, checkpointing: bool = False) -> Workbench:
    plan = Plan(micro_batch_tokens=micro_batch_tokens, checkpointing=checkpointing)
    return Workbench(workbench.base, workbench.adapters, workbench.decoder, plan)


def taken_gradient(workbench: Workbench) -> Gradient:
    taken = []
    for value in workbench.adapters.parameters("policy"):
        assert value.grad is not None
        taken.append(value.grad.clone())
        value.grad = None
    return taken


def relative_error(ours: Gradient, theirs: Gradient) -> float:
    off = sum(float(((a - b) ** 2).sum()) for a, b in zip(ours, theirs, strict=True))
    return (off / sum(float((b**2).sum()) for b in theirs)) ** 0.5


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("micro_batch_tokens", [10_000, 75, 30, 1])
def test_loss_and_gradient_are_those_of_every_pair_forwarded_alone(
    make_workbench: Callable[..., Workbench],
    demonstrations: tuple[Demonstration, ...],
    micro_batch_tokens: int,
    checkpointing: bool,
) -> None:
    """All trees in one pass, a tree per pass, trees in pieces, every sequence a piece."""
    workbench = with_two_adapters(make_workbench(torch.float64))
    pairs, batch = a_step(workbench, demonstrations)
    assert set(Counter(pair.kind for pair in pairs)) == {"online", "replay", "intermodel"}
    weights = LossWeights(BETA, NLL, len(batch.chosen), len(batch.demonstrations))

    expected_loss = naive(workbench, demonstrations, pairs)
    expected = taken_gradient(workbench)
    workbench = planned(workbench, micro_batch_tokens, checkpointing)
    logps = result_of(backward_preferences(workbench, "policy", batch, weights))
    ours = taken_gradient(workbench)

    reference = torch.tensor(batch.reference_logps, dtype=torch.float64)
    loss = ditto_loss(logps, reference, pair_index(batch, logps.device), weights)
    assert float(loss) == pytest.approx(float(expected_loss), rel=1e-5)
    assert relative_error(ours, expected) < 1e-5


def test_the_budgets_above_do_take_all_four_ways(
    make_workbench: Callable[..., Workbench], demonstrations: tuple[Demonstration, ...]
) -> None:
    _, batch = a_step(with_two_adapters(make_workbench(torch.float64)), demonstrations)
    shapes = {budget: [len(part) for part in forests(batch, budget)] for budget in (10_000, 75, 30, 1)}
    assert shapes[10_000] == [1]
    assert shapes[75] == [1, 1, 1]
    assert max(shapes[30]) > 1
    assert sum(shapes[1]) == len(batch.sequences)


def test_no_text_is_forwarded_twice(
    make_workbench: Callable[..., Workbench], demonstrations: tuple[Demonstration, ...]
) -> None:
    """Trees of one demonstration each: its prompt once, its completions once, but for the last token of each, after
    which nothing is predicted."""
    workbench = planned(with_two_adapters(make_workbench(torch.float64)), 75)
    _, batch = a_step(workbench, demonstrations)
    tokens = 0

    def count(module: Any, args: Any, kwargs: dict[str, torch.Tensor], output: Any) -> None:
        nonlocal tokens
        tokens += kwargs["input_ids"].numel()

    workbench.base.model.model.register_forward_hook(count, with_kwargs=True)
    weights = LossWeights(BETA, NLL, len(batch.chosen), len(batch.demonstrations))
    result_of(backward_preferences(workbench, "policy", batch, weights))
    prompts = {each.demonstration_id: len(each.prompt_ids) for each in batch.sequences}
    assert tokens == sum(prompts.values()) + sum(len(each.completion_ids) - 1 for each in batch.sequences)


def test_other_adapters_may_work_between_micro_batches(
    make_workbench: Callable[..., Workbench], demonstrations: tuple[Demonstration, ...]
) -> None:
    workbench = with_two_adapters(make_workbench(torch.float64))
    _, batch = a_step(workbench, demonstrations)
    weights = LossWeights(BETA, NLL, len(batch.chosen), len(batch.demonstrations))
    result_of(backward_preferences(planned(workbench, 30), "policy", batch, weights))
    undisturbed = taken_gradient(workbench)
    for _ in backward_preferences(planned(workbench, 30), "policy", batch, weights):
        with workbench.adapters.active("reference"), torch.no_grad():
            workbench.base.model(input_ids=torch.tensor([[1, 2, 3]]))
    assert all(torch.equal(a, b) for a, b in zip(taken_gradient(workbench), undisturbed, strict=True))


def test_the_likelihood_gradient_does_not_depend_on_micro_batches(
    make_workbench: Callable[..., Workbench], demonstrations: tuple[Demonstration, ...]
) -> None:
    workbench = with_two_adapters(make_workbench(torch.float64))
    own = [encode(workbench.base, each) for each in demonstrations]
    whole = result_of(backward_likelihood(planned(workbench, 10_000), "policy", own))
    expected = taken_gradient(workbench)
    parts = result_of(backward_likelihood(planned(workbench, 1), "policy", own))
    assert parts == pytest.approx(whole)
    assert relative_error(taken_gradient(workbench), expected) < 1e-6


def test_a_gradient_that_is_no_number_changes_nothing() -> None:
    value = torch.nn.Parameter(torch.ones(2))
    optimiser = make_optimiser(CLEAN, [value])
    value.grad = torch.tensor([1.0, float("nan")])
    with pytest.raises(Diverged):
        take_step(optimiser, 0.1, 1.0)
    assert value.tolist() == [1, 1]
    assert value.grad is None


def test_a_step_is_clipped_and_reports_the_norm_before() -> None:
    value = torch.nn.Parameter(torch.zeros(2))
    optimiser = torch.optim.SGD([value], lr=0.0)
    value.grad = torch.tensor([3.0, 4.0])
    assert take_step(optimiser, 1.0, 1.0) == pytest.approx(5.0)
    assert value.tolist() == pytest.approx([-0.6, -0.8], abs=1e-5)


def test_rates_rise_in_a_line_then_stay_or_follow_the_cosine() -> None:
    """Ten steps, the first fifth of them rising: 0.5 and 1 of the peak; the cosine's middle is at step 2 + 8/2."""
    assert [constant_rate(step, 10, 0.2, 2.0) for step in range(4)] == [1.0, 2.0, 2.0, 2.0]
    assert [cosine_rate(step, 10, 0.2, 2.0) for step in (0, 1, 2)] == [1.0, 2.0, 2.0]
    assert cosine_rate(6, 10, 0.2, 2.0) == pytest.approx(1.0)
    assert 0 < cosine_rate(9, 10, 0.2, 2.0) < 0.1
