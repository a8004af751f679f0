"""An update that is closed, killed, out of time or out of disk: what is kept, and that it ends as it would have."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import equal, finish

from dittod.engine.protocol import Progress, Update
from dittod.learner import checkpoint, ditto, supervised, task, training
from dittod.learner.batch import TokenSequence
from dittod.learner.ditto import Outcome, run
from dittod.learner.task import POLICY, REFERENCE
from dittod.learner.workbench import Workbench
from dittod.types import Plan

MakeWorkbench = Callable[..., Workbench]
MakeUpdate = Callable[..., Update]
Weights = Mapping[str, torch.Tensor]

BRIEF = {"completion_tokens_least": 3, "completion_tokens_most": 3}  # samples, so that a round has few micro-steps


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, str]]:
    """Stage, step and kind of every checkpoint that is written from now on."""
    written: list[tuple[str, int, str]] = []
    original = checkpoint.save

    def note(directory: Path, fingerprint: str, each: checkpoint.Checkpoint, kind: checkpoint.Kind, key: str) -> None:
        written.append((each.state.stage, each.state.step, kind))
        original(directory, fingerprint, each, kind, key)

    monkeypatch.setattr(training.checkpoint, "save", note)
    return written


def policy_and_reference(workbench: Workbench) -> list[Weights]:
    return [workbench.adapters.state(name) for name in (POLICY, REFERENCE)]


def take(work: Iterator[Progress], micro_steps: int) -> list[Progress]:
    return [next(work) for _ in range(micro_steps)]


def close_after(work: Any, phase: str, step: int) -> None:
    """Close an update that has just said that it has completed a step."""
    while (each := next(work)).phase != phase or each.completed_step != step:
        pass
    work.close()


def test_closed_after_any_micro_step_it_ends_in_the_same_bits(
    make_workbench: MakeWorkbench, make_update: MakeUpdate
) -> None:
    """Closed once, after micro-step 1, 2, 3, …, each in a folder of its own; ended in the same process as a new update
    or, every second time, on a workbench that has never seen it. A step has several micro-batches."""
    numbers = {**BRIEF, "supervised_steps": 2, "dpo_steps": 2, "resample_every": 1, "samples_per_demonstration": 1}
    plan = Plan(micro_batch_tokens=40)
    whole = replace(make_workbench(), plan=plan)
    micro_steps, outcome = finish(run(whole, make_update("whole", **numbers)))
    expected = policy_and_reference(whole)
    bench, half_done = replace(make_workbench(), plan=plan), 0
    for place in range(1, len(micro_steps)):
        update = make_update(f"closed-{place}", **numbers)
        work = run(bench, update)
        take(work, place)
        half_done += any(value.grad is not None for value in bench.adapters.parameters(POLICY))
        work.close()
        assert all(value.grad is None for value in bench.adapters.parameters(POLICY))
        if place % 2:
            bench = replace(make_workbench(), plan=plan)
        _, found = finish(run(bench, update))
        assert found == outcome, place
        assert all(map(equal, policy_and_reference(bench), expected)), place
    assert {each.phase for each in micro_steps} == {"supervised", "reference", "sampling", "dpo"}
    assert half_done >= 4, "no step was left in its midst: the test has not shown that its gradient is forgotten"


@pytest.mark.parametrize("micro_steps", [11, 17])
def test_closed_again_and_again_it_ends_in_the_same_bits(
    make_workbench: MakeWorkbench, make_update: MakeUpdate, micro_steps: int
) -> None:
    """More often than once per round of sampling, it would never end: a round that is left starts over."""
    whole = make_workbench()
    _, outcome = finish(run(whole, make_update("whole", **BRIEF)))
    bench, ended, closed = make_workbench(), None, 0
    while ended is None:
        work = run(bench, make_update("closed", **BRIEF))
        try:
            take(work, micro_steps)
            work.close()
            closed += 1
        except StopIteration as end:
            ended = end.value
    assert (ended, closed >= 2) == (outcome, True)
    assert all(map(equal, policy_and_reference(bench), policy_and_reference(whole)))


@pytest.mark.parametrize(("phase", "step"), [("supervised", 2), ("dpo", 1), ("dpo", 3)])
def test_a_closed_update_goes_on_at_the_step_that_it_had_completed(
    make_workbench: MakeWorkbench, make_update: MakeUpdate, saved: list[Any], phase: str, step: int
) -> None:
    close_after(run(make_workbench(), make_update()), phase, step)
    assert saved[-1] == ("supervised" if phase == "supervised" else "preference", step, "step")
    left, _ = finish(run(make_workbench(), make_update()))
    completed = [(each.phase, each.completed_step) for each in left if each.completed_step]
    assert (phase, step) not in completed
    assert (phase, step + 1) in completed


def test_closing_writes_nothing_where_nothing_has_come_since_the_last_checkpoint(
    make_workbench: MakeWorkbench, make_update: MakeUpdate, saved: list[Any]
) -> None:
    """Before the first step; in the midst of sampling; and where a resumed update is closed at once."""
    early = run(make_workbench(), make_update("early"))
    next(early)
    early.close()
    assert saved == []
    work = run(make_workbench(), make_update())
    while next(work).phase != "sampling":
        pass
    before = list(saved)
    work.close()
    resumed = run(make_workbench(), make_update())
    next(resumed)
    resumed.close()
    assert saved == before


def test_a_long_stage_is_saved_between_two_steps(
    make_workbench: MakeWorkbench, make_update: MakeUpdate, monkeypatch: pytest.MonkeyPatch, saved: list[Any]
) -> None:
    """Every micro-step takes a second, of which a supervised step has two: after steps 2 and 4."""
    ticks = count()
    monkeypatch.setattr(training, "clock", lambda: float(next(ticks)))
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 3.0)
    work = run(make_workbench(), make_update(supervised_steps=5))
    while next(work).phase == "supervised":
        pass
    assert saved == [("supervised", 2, "step"), ("supervised", 4, "step")]


@pytest.mark.parametrize("phase", ["supervised", "dpo"])
def test_a_kill_in_a_long_stage_costs_the_steps_since_the_last_checkpoint_and_no_bits(
    make_workbench: MakeWorkbench, make_update: MakeUpdate, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    """Killed in the step after the second of the stage, when each step is saved."""
    whole = make_workbench()
    _, outcome = finish(run(whole, make_update("whole")))
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    killed = run(make_workbench(), make_update())
    while (each := next(killed)).phase != phase or each.completed_step != 2:
        pass
    next(killed)
    resumed = make_workbench()
    left, found = finish(run(resumed, make_update()))
    assert next(each.completed_step for each in left if each.phase == phase and each.completed_step) == 3
    assert found == outcome
    assert all(map(equal, policy_and_reference(resumed), policy_and_reference(whole)))


def test_a_full_disk_does_not_keep_an_update_from_being_left(
    make_workbench: MakeWorkbench,
    make_update: MakeUpdate,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(training.checkpoint, "save", full)
        close_after(run(make_workbench(), make_update()), "supervised", 2)
    assert "No space left" in caplog.text
    seen, _ = finish(run(make_workbench(), make_update()))
    assert (seen[0].phase, seen[0].done) == ("supervised", 0)


def test_a_fault_in_a_step_is_raised_as_it_is_and_nothing_is_written(
    make_workbench: MakeWorkbench, make_update: MakeUpdate, monkeypatch: pytest.MonkeyPatch, saved: list[Any]
) -> None:
    """In the second step, when the first could have been saved."""
    original, steps = supervised.backward_likelihood, count(1)

    def faulty(*given: Any) -> Any:
        loss = yield from original(*given)
        if next(steps) == 2:
            raise MemoryError("of the last micro-batch")
        return loss

    monkeypatch.setattr(supervised, "backward_likelihood", faulty)
    with pytest.raises(MemoryError, match="last micro-batch"):
        finish(run(make_workbench(), make_update()))
    assert saved == []


@pytest.mark.parametrize("closed_after", [0, 3])
def test_what_a_divergence_goes_back_to_does_not_depend_on_pauses(
    make_workbench: MakeWorkbench, make_update: MakeUpdate, monkeypatch: pytest.MonkeyPatch, closed_after: int
) -> None:
    """Steps 3 and 4 are iteration 1's. Closed after step 3 or not, step 4 leads back to the policy after step 2."""
    two = make_workbench()
    finish(run(two, make_update("two", dpo_steps=2, dpo_warmup=0)))
    steps = count(1)
    monkeypatch.setattr(ditto, "exploded", lambda _: next(steps) == 4)
    if closed_after:
        close_after(run(make_workbench(), make_update(dpo_warmup=0)), "dpo", closed_after)
    bench = make_workbench()
    _, outcome = finish(run(bench, make_update(dpo_warmup=0)))
    assert outcome.stopped == "Preference step 4 diverged: the policy after step 2 was kept."
    assert all(map(equal, policy_and_reference(bench), policy_and_reference(two)))
    assert all(value.grad is None for value in bench.adapters.parameters(POLICY))


def timed_run(
    make_workbench: MakeWorkbench, update: Update, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[Progress], Outcome, Workbench]:
    """A run in which every micro-step takes a second."""
    ticks = count()
    monkeypatch.setattr(training, "clock", lambda: float(next(ticks)))
    bench = make_workbench()
    seen, outcome = finish(run(bench, update))
    return seen, outcome, bench


def test_the_time_limit_ends_supervised_learning_and_the_policy_is_the_reference(
    make_workbench: MakeWorkbench, make_update: MakeUpdate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step has two micro-steps and looks at the clock in its second one: after 1, 3, 5 seconds."""
    update = make_update(time_limit_seconds=2.5, supervised_steps=4)
    seen, outcome, bench = timed_run(make_workbench, update, monkeypatch)
    assert outcome.stopped == "The time limit of 2.5 s was reached after supervised step 2 of 4."
    assert {each.phase for each in seen} == {"supervised", "reference"}
    assert equal(*policy_and_reference(bench))
    assert finish(run(make_workbench(), update)) == ([], outcome)


def test_the_time_limit_ends_preference_learning(
    make_workbench: MakeWorkbench, make_update: MakeUpdate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many seconds as lie before the micro-step that completes step 3."""
    seen, outcome, _ = timed_run(make_workbench, make_update("free"), monkeypatch)
    assert outcome.stopped is None
    limit = next(place for place, each in enumerate(seen) if each.phase == "dpo" and each.completed_step == 3)
    _, outcome, _ = timed_run(make_workbench, make_update("limited", time_limit_seconds=limit), monkeypatch)
    assert outcome.stopped == f"The time limit of {limit} s was reached after preference step 3 of 4."
    assert outcome.steps == 3


def test_the_time_limit_counts_across_restarts_and_not_between_micro_steps(
    make_workbench: MakeWorkbench, make_update: MakeUpdate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two steps, so four seconds, and hours between them; the limit is shortened to 3 meanwhile, and step 3 is the
    last. Started over, step 2 would be; with a clock that starts over, step 4."""
    now = [0.0]

    def passing() -> float:
        now[0] += 1
        return now[0]

    monkeypatch.setattr(training, "clock", passing)
    work = run(make_workbench(), make_update(time_limit_seconds=100, supervised_steps=9))
    for each in work:
        now[0] += 3600
        if each.completed_step == 2:
            work.close()
    _, outcome = finish(run(make_workbench(), make_update(time_limit_seconds=3, supervised_steps=9)))
    assert outcome.stopped == "The time limit of 3 s was reached after supervised step 3 of 9."


def test_another_memory_plan_goes_on_from_the_checkpoint_but_a_lower_rank_starts_over(
    make_workbench: MakeWorkbench, make_update: MakeUpdate
) -> None:
    close_after(run(make_workbench(), make_update()), "supervised", 2)
    tighter = replace(make_workbench(), plan=Plan(micro_batch_tokens=64, sampling_rows=4, checkpointing=True))
    assert next(run(tighter, make_update())).done == 2
    lower = replace(make_workbench(), plan=Plan(rank=4))
    assert next(run(lower, make_update())).done == 0
    assert lower.adapters.state(POLICY)["base_model.model.model.layers.0.mlp.up_proj.lora_A.weight"].shape[0] == 4


def test_texts_that_are_cut_elsewhere_start_over(
    make_workbench: MakeWorkbench, make_update: MakeUpdate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when another budget has room for shorter sequences only: those in the checkpoint are other texts."""
    close_after(run(make_workbench(), make_update()), "supervised", 2)
    original = task.encode

    def shorter(*given: Any) -> TokenSequence:
        whole = original(*given)
        return TokenSequence(whole.demonstration_id, whole.prompt_ids[1:], whole.completion_ids)

    monkeypatch.setattr(task, "encode", shorter)
    assert next(run(make_workbench(), make_update())).done == 0


def test_the_moments_of_another_optimiser_are_not_read(
    make_workbench: MakeWorkbench, make_update: MakeUpdate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when another budget has chosen the 8-bit one: it goes on at its step, with fresh moments."""
    close_after(run(make_workbench(), make_update()), "supervised", 2)
    monkeypatch.setattr(training, "make_optimiser", lambda _, parameters, __: torch.optim.SGD(parameters, lr=0.0))
    left, outcome = finish(run(make_workbench(), make_update()))
    assert left[0].done == 2
    assert outcome.steps == 4
