"""The reference that moves to the last iterate: SPIN where only online pairs are drawn, else an ablation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from fakes import equal, finish

from dittod.engine.protocol import Update
from dittod.learner import checkpoint, ditto, pairs
from dittod.learner.batch import TokenSequence
from dittod.learner.checkpoint import TrainingState
from dittod.learner.ditto import run
from dittod.learner.task import POLICY, REFERENCE, prepare
from dittod.learner.workbench import Workbench, score
from dittod.types import Plan

MakeWorkbench = Callable[..., Workbench]
MakeUpdate = Callable[..., Update]
Weights = Mapping[str, torch.Tensor]

MOVING = {"moving_reference": True, "dpo_learning_rate": 1e-2}
BRIEF = {"completion_tokens_least": 2, "completion_tokens_most": 2, "samples_per_demonstration": 1}
SPIN = {**MOVING, "online": 1.0, "replay": 0.0, "intermodel": 0.0}


def both(workbench: Workbench) -> list[Weights]:
    return [workbench.adapters.state(name) for name in (POLICY, REFERENCE)]


def state_of(workbench: Workbench, update: Update) -> TrainingState:
    """What is kept of it when it has ended."""
    task = prepare(workbench, update)
    found = checkpoint.load(task.directory, task.fingerprint)
    assert found is not None
    return found.state


def test_each_iteration_is_compared_with_the_policy_that_the_one_before_ended_with(
    make_workbench: MakeWorkbench, make_update: MakeUpdate
) -> None:
    """Four steps, resampled every two: the supervised policy, then the policy after the second step."""
    workbench = make_workbench()
    references, after_step_two = {}, {}
    for each in (work := run(workbench, make_update(**MOVING))):
        if each.phase == "dpo" and each.completed_step == 2:
            after_step_two = workbench.adapters.state(POLICY)
        if each.phase == "sampling" and each.completed_step:
            references[each.iteration] = workbench.adapters.state(REFERENCE)
    work.close()
    assert equal(references[1], after_step_two)
    assert not equal(references[0], references[1])


def test_every_iteration_starts_at_its_reference(make_workbench: MakeWorkbench, make_update: MakeUpdate) -> None:
    """Its samples have not drifted, and the margin of its first step is 0, up to the rounding of float32 sums; where
    the reference stays, both have grown by then."""
    for numbers, moved in ((MOVING, True), ({**MOVING, "moving_reference": False}, False)):
        seen, _ = finish(run(make_workbench(), make_update(f"run-{moved}", **numbers)))
        drift = next(each for each in seen if each.phase == "sampling" and each.completed_step == 2).figures["drift"]
        margin = next(each for each in seen if each.phase == "dpo" and each.completed_step == 3).figures["margin"]
        assert (abs(drift) < 1e-3, abs(margin) < 1e-3) == (moved, moved)


def test_all_that_is_kept_knows_its_log_probability_under_the_new_reference(
    make_workbench: MakeWorkbench, make_update: MakeUpdate
) -> None:
    workbench, update = make_workbench(), make_update(**MOVING)
    finish(run(workbench, update))
    task, state = prepare(workbench, update), state_of(workbench, update)
    samples = [each for drawn in state.samples.values() for each in drawn]
    theirs = [TokenSequence("", task.own[each.demonstration_id].prompt_ids, each.token_ids) for each in samples]
    _, expected = finish(score(workbench, [*task.own.values(), *theirs], REFERENCE))
    kept = [*state.reference_logps.values(), *(each.reference_logp for each in samples)]
    assert {each.iteration for each in samples} == {0, 1}
    assert kept == pytest.approx(expected, rel=1e-5)


def test_closed_anywhere_around_the_move_it_ends_in_the_same_bits(
    make_workbench: MakeWorkbench, make_update: MakeUpdate
) -> None:
    """From the last step of the first iteration to the first one of the second; ended on the same workbench or, every
    second time, on a new one."""
    numbers = {**MOVING, **BRIEF, "supervised_steps": 1, "dpo_steps": 2, "resample_every": 1}
    plan = Plan(micro_batch_tokens=40)  # the move takes several micro-steps
    whole = replace(make_workbench(), plan=plan)
    seen, outcome = finish(run(whole, make_update("whole", **numbers)))
    first = next(place for place, each in enumerate(seen) if each.phase == "dpo" and each.completed_step == 1)
    second = next(place for place, each in enumerate(seen) if each.phase == "dpo" and each.iteration == 1)
    assert sum(each.phase == "reference" for each in seen[first:second]) > 3
    bench = replace(make_workbench(), plan=plan)
    for place in range(first + 1, second + 1):
        update = make_update(f"closed-{place}", **numbers)
        work = run(bench, update)
        for _ in range(place):
            next(work)
        work.close()
        if place % 2:
            bench = replace(make_workbench(), plan=plan)
        _, found = finish(run(bench, update))
        assert found == outcome, place
        assert all(map(equal, both(bench), both(whole))), place


def test_spin_prefers_the_demonstrations_over_the_newest_samples_and_nothing_else(
    make_workbench: MakeWorkbench, make_update: MakeUpdate, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[str, bool, bool]] = []
    original = pairs.draw

    def spy(samples: Any, completions: Any, iteration: int, *rest: Any) -> Any:
        found = original(samples, completions, iteration, *rest)
        drawn.extend((each.kind, each.chosen is None, each.rejected.iteration == iteration) for each in found)
        return found

    monkeypatch.setattr(ditto.pairs, "draw", spy)
    finish(run(make_workbench(), make_update(**SPIN)))
    assert set(drawn) == {("online", True, True)}


def test_the_reference_stays_unless_it_is_told_to_move(make_workbench: MakeWorkbench, make_update: MakeUpdate) -> None:
    """The fingerprint tells the two apart: a checkpoint of one is of no use to the other."""
    bench = make_workbench()
    plain, moving = (prepare(bench, make_update(moving_reference=each)) for each in (False, True))
    assert plain.preset.moving_reference is False
    assert plain.fingerprint != moving.fingerprint
