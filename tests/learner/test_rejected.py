"""Learning from answers that the user did not want: they edited them, or rated them down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from fakes import demonstration, equal, finish

from dittod.engine.protocol import Update
from dittod.learner import pairs
from dittod.learner.batch import TokenSequence, collect
from dittod.learner.ditto import negatives, rejected_samples, run
from dittod.learner.loss import LossWeights, ditto_loss
from dittod.learner.step import backward_preferences, pair_index
from dittod.learner.task import POLICY, REFERENCE, prepare
from dittod.learner.workbench import Workbench, score
from dittod.model.lora import LoraShape
from dittod.types import Demonstration, Plan, Rejected

MakeWorkbench = Callable[..., Workbench]
MakeUpdate = Callable[..., Update]
LEARNING = {
    "supervised_steps": 6,
    "dpo_steps": 12,
    "resample_every": 6,
    "dpo_learning_rate": 3e-3,
    "samples_per_demonstration": 3,
}
UNWANTED = "Dear Di, hm"


@pytest.fixture
def edited(demonstrations: tuple[Demonstration, ...]) -> Rejected:
    """What was given before the user made the second demonstration of it."""
    return Rejected(demonstrations[1].prompt, "Dear Bo, no", demonstrations[1].id)


@pytest.fixture
def rated_down() -> Rejected:
    return Rejected("Greet Di", UNWANTED)


def logp(workbench: Workbench, update: Update, rejected: Rejected) -> float:
    """Of an answer under the policy that an update has left."""
    task = prepare(workbench, replace(update, rejected=(rejected,)))
    return float(finish(score(workbench, task.rejected, POLICY))[1][0])


def test_answers_that_were_not_wanted_become_less_likely_than_without_the_users_word(
    make_workbench: MakeWorkbench, make_update: MakeUpdate, edited: Rejected, rated_down: Rejected
) -> None:
    plain, taught = make_workbench(), make_workbench()
    update = make_update("plain", **LEARNING)
    finish(run(plain, update))
    finish(run(taught, replace(make_update("taught", **LEARNING), rejected=(edited, rated_down))))
    for each in (edited, rated_down):
        assert logp(taught, update, each) < logp(plain, update, each) - 1.0


def test_fresh_samples_are_drawn_for_a_prompt_whose_answer_was_rated_down_and_for_no_other(
    make_workbench: MakeWorkbench, make_update: MakeUpdate, edited: Rejected, rated_down: Rejected
) -> None:
    workbench, update = make_workbench(), replace(make_update(), rejected=(edited, rated_down))
    finish(run(workbench, update))
    task = prepare(workbench, update)
    _, samples = finish(negatives(task, 0))
    extra = [each for each in samples if each.demonstration_id not in task.own]
    assert len(samples) == (3 + 1) * 2  # demonstrations and the prompt, two samples each
    assert {each.demonstration_id for each in extra} == {task.rejected[1].demonstration_id}


def test_an_answer_stands_after_the_very_prompt_of_what_it_was_edited_into(
    make_workbench: MakeWorkbench, make_update: MakeUpdate, edited: Rejected
) -> None:
    """Also where prompt and answer are cut: 12 tokens of prompt leave 8 for the answer, which has no end then."""
    bench = replace(make_workbench(), plan=Plan(sequence_tokens=20))
    task = prepare(bench, replace(make_update(), rejected=(replace(edited, completion="x" * 50),)))
    own = task.own[edited.demonstration_id]
    assert task.rejected[0].prompt_ids == own.prompt_ids
    assert len(task.rejected[0]) == 20
    bench.adapters.create(REFERENCE, LoraShape(task.preset.rank, task.preset.alpha, task.preset.targets), seed=1)
    assert finish(rejected_samples(task))[1][0].truncated


def test_their_log_probability_is_that_of_the_supervised_policy(
    make_workbench: MakeWorkbench, make_update: MakeUpdate, edited: Rejected, rated_down: Rejected
) -> None:
    """Scored alone, by the model's own full logits."""
    workbench, update = make_workbench(), replace(make_update(), rejected=(edited, rated_down))
    finish(run(workbench, update))
    task = prepare(workbench, update)
    for sample, sequence in zip(finish(rejected_samples(task))[1], task.rejected, strict=True):
        token_ids = torch.tensor([[*sequence.prompt_ids, *sequence.completion_ids]])
        with workbench.adapters.active(REFERENCE), torch.no_grad():
            logits = workbench.base.model(input_ids=token_ids).logits[0, len(sequence.prompt_ids) - 1 : -1]
        chosen = torch.tensor(sequence.completion_ids)[:, None]
        assert sample.reference_logp == pytest.approx(float(logits.log_softmax(-1).gather(-1, chosen).sum()), rel=1e-5)
        assert not sample.truncated


@pytest.mark.parametrize("micro_batch_tokens", [1, 60, 4096])
def test_a_step_has_the_exact_gradient_with_rejected_answers_in_it(
    make_workbench: MakeWorkbench,
    make_update: MakeUpdate,
    edited: Rejected,
    rated_down: Rejected,
    micro_batch_tokens: int,
) -> None:
    """In float64, against the whole batch at once: every pair that there is, cut into micro-batches of any size."""
    workbench = make_workbench(torch.float64)
    update = replace(make_update(), rejected=(edited, rated_down))
    work = run(workbench, update)
    while next(work).phase != "dpo":
        pass
    work.close()
    task = prepare(workbench, update)
    bench = replace(workbench, plan=replace(workbench.plan, micro_batch_tokens=micro_batch_tokens))
    samples = {pairs.REJECTED: finish(rejected_samples(task))[1], 0: finish(negatives(task, 0))[1]}
    drawn = pairs.all_pairs(samples, {key: each.completion_ids for key, each in task.own.items()}, 0)
    batch = collect(drawn, task.asked, dict.fromkeys(task.own, -20.0))
    weights = LossWeights(0.1, 0.2, len(batch.chosen), len(batch.demonstrations))
    finish(backward_preferences(bench, POLICY, batch, weights))
    found = [value.grad.clone() for value in workbench.adapters.parameters(POLICY) if value.grad is not None]
    for value in workbench.adapters.parameters(POLICY):
        value.grad = None
    with workbench.adapters.active(POLICY):
        logps = torch.stack([_logp(workbench, each) for each in batch.sequences])
        reference = torch.tensor(batch.reference_logps, dtype=logps.dtype)
        ditto_loss(logps, reference, pair_index(batch, logps.device), weights).backward()  # type: ignore[no-untyped-call]
    expected = [value.grad for value in workbench.adapters.parameters(POLICY) if value.grad is not None]
    assert len(found) == len(expected) > 0
    assert {pair.demonstration_id for pair in drawn if pair.rejected.iteration == pairs.REJECTED} == {
        each.demonstration_id for each in task.rejected
    }
    off = sum(float(((ours - theirs) ** 2).sum()) for ours, theirs in zip(found, expected, strict=True))
    assert (off / sum(float((each**2).sum()) for each in expected)) ** 0.5 < 1e-5


def test_without_any_an_update_is_the_one_that_it_was(make_workbench: MakeWorkbench, make_update: MakeUpdate) -> None:
    """Nothing changes for whoever gives no feedback, nor for one about a text that is not learnt from here."""
    plain, other = make_workbench(), make_workbench()
    elsewhere = Rejected("Ask Bo", "Dear Bo, no", "the id of a text that is held out")
    finish(run(plain, make_update("plain")))
    finish(run(other, replace(make_update("other"), rejected=(elsewhere,))))
    assert equal(plain.adapters.state(POLICY), other.adapters.state(POLICY))
    update = make_update("other")
    assert prepare(plain, update).fingerprint == prepare(plain, replace(update, rejected=(elsewhere,))).fingerprint


def test_no_more_of_them_count_than_demonstrations_the_newest(
    make_workbench: MakeWorkbench, make_update: MakeUpdate
) -> None:
    many = tuple(Rejected(f"Greet {name}", UNWANTED) for name in "ABCDE")
    task = prepare(make_workbench(), replace(make_update(), rejected=many))
    newest = prepare(make_workbench(), replace(make_update(), rejected=many[-3:]))
    assert task.rejected == newest.rejected


def test_another_word_of_the_user_is_another_update(
    make_workbench: MakeWorkbench, make_update: MakeUpdate, edited: Rejected, rated_down: Rejected
) -> None:
    workbench, update = make_workbench(), make_update()
    sets = [(), (edited,), (rated_down,), (edited, rated_down), (replace(rated_down, completion="Di, hm"),)]
    assert len({prepare(workbench, replace(update, rejected=each)).fingerprint for each in sets}) == len(sets)


@pytest.mark.parametrize(
    ("phase", "number"), [("supervised", 2), ("reference", 1), ("reference", 2), ("sampling", 3), ("dpo", 2)]
)
def test_a_killed_update_goes_on_to_the_same_bits_with_them(
    make_workbench: MakeWorkbench,
    make_update: MakeUpdate,
    edited: Rejected,
    rated_down: Rejected,
    phase: str,
    number: int,
) -> None:
    """Left alone at some micro-step of a stage: also between the answers' log-probs and the demonstrations'."""
    whole, killed, resumed = make_workbench(), make_workbench(), make_workbench()
    finish(run(whole, replace(make_update("whole"), rejected=(edited, rated_down))))
    update = replace(make_update("killed"), rejected=(edited, rated_down))
    work, left = run(killed, update), number
    while left:
        left -= next(work).phase == phase
    work.close()
    finish(run(resumed, update))
    assert equal(resumed.adapters.state(POLICY), whole.adapters.state(POLICY))
    assert not equal(whole.adapters.state(POLICY), whole.adapters.state(REFERENCE))


def test_a_reference_that_moves_takes_them_along(
    make_workbench: MakeWorkbench, make_update: MakeUpdate, edited: Rejected
) -> None:
    update = replace(make_update(moving_reference=True), rejected=(edited,))
    _, outcome = finish(run(make_workbench(), update))
    assert (outcome.steps, outcome.stopped) == (4, None)


def test_an_answer_that_equals_what_it_was_edited_into_is_no_pair(
    make_workbench: MakeWorkbench, make_update: MakeUpdate
) -> None:
    learnt = (demonstration("Ask Bo", "Bo, lunch?"),)
    plain, same = make_workbench(), make_workbench()
    finish(run(plain, make_update("plain", learnt)))
    echo = Rejected("Ask Bo", "Bo, lunch?", learnt[0].id)
    finish(run(same, replace(make_update("same", learnt), rejected=(echo,))))
    assert equal(plain.adapters.state(POLICY), same.adapters.state(POLICY))


def _logp(workbench: Workbench, sequence: TokenSequence) -> torch.Tensor:
    start = len(sequence.prompt_ids)
    token_ids = torch.tensor([[*sequence.prompt_ids, *sequence.completion_ids]])
    log_probs = workbench.base.model(input_ids=token_ids).logits[0, start - 1 : -1].log_softmax(-1)
    return log_probs.gather(-1, torch.tensor(sequence.completion_ids)[:, None]).sum()
