"""Memory that runs out while learning: the same result in smaller pieces, and a remedy where there is none smaller."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from fakes import demonstration, equal, finish

from dittod.engine.protocol import Progress, Update
from dittod.engine.update import update
from dittod.errors import ModelError
from dittod.learner.ditto import run
from dittod.learner.shortage import retried
from dittod.learner.step import backward_likelihood
from dittod.learner.task import POLICY
from dittod.learner.workbench import SMALLEST_TOKENS, Workbench, encode, score
from dittod.model.decode import Decoder
from dittod.model.footprint import ran_out
from dittod.model.logprobs import CompletionScorer
from dittod.model.lora import LoraShape
from dittod.types import Demonstration, Plan

MakeWorkbench = Callable[..., Workbench]
MakeUpdate = Callable[..., Update]
HELD_OUT = (demonstration("Ask Di", "Di, tea?"), demonstration("Ask Ed", "Ed! Bun."))


class Shortage:
    """Once it is armed, the next call of a method finds no memory; or as many calls as are said."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: type, name: str, *, late: bool = False) -> None:
        self.calls = 0
        method = getattr(owner, name)

        def short(*given: Any, **named: Any) -> Any:
            fails, self.calls = self.calls > 0, max(0, self.calls - 1)
            result = method(*given, **named) if late or not fails else None
            if fails:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return result

        monkeypatch.setattr(owner, name, short)


def weights(bench: Workbench, command: Update, arm: Callable[[], object] = lambda: None, at: str = "") -> Any:
    """Of the policy when DITTO is done with it; `arm` is called once, when the phase has begun."""
    work = run(bench, command)
    armed = False
    while True:
        try:
            progress = next(work)
        except StopIteration:
            return bench.adapters.state(POLICY)
        if progress.phase == at and not armed:
            armed = True
            arm()


@pytest.mark.parametrize(
    ("phase", "owner", "name", "note"),
    [
        ("supervised", CompletionScorer, "logps", "memory ran out; micro-batches of 512 tokens from here on"),
        ("reference", CompletionScorer, "logps", "memory ran out; micro-batches of 512 tokens from here on"),
        ("dpo", CompletionScorer, "logps", "memory ran out; micro-batches of 512 tokens from here on"),
        ("sampling", Decoder, "step", "memory ran out; 40 samples at a time from here on"),
        ("sampling", Decoder, "_give_tokens", "memory ran out; 40 samples at a time from here on"),
    ],
)
@pytest.mark.parametrize("late", [False, True], ids=["before it is computed", "after it"])
def test_an_update_that_runs_out_of_memory_ends_as_one_that_does_not(
    make_workbench: MakeWorkbench,
    make_update: MakeUpdate,
    monkeypatch: pytest.MonkeyPatch,
    phase: str,
    owner: type,
    name: str,
    note: str,
    late: bool,
) -> None:
    """Every text fits into half a micro-batch, so that not even rounding differs."""
    expected = weights(make_workbench(), make_update("calm"))
    bench, shortage = make_workbench(), Shortage(monkeypatch, owner, name, late=late)
    found = weights(bench, make_update("short"), lambda: setattr(shortage, "calls", 1), phase)
    assert bench.notes == [note]
    assert equal(found, expected)


def test_half_of_a_backward_pass_is_forgotten(make_workbench: MakeWorkbench, make_update: MakeUpdate) -> None:
    """The last layer has its gradient when the first finds no memory for its own."""
    expected = weights(make_workbench(), make_update("calm"))
    bench, failures = make_workbench(), [2]

    def arm() -> None:
        def short(_: torch.Tensor) -> None:
            if failures[0]:
                failures[0] -= 1
                assert bench.adapters.parameters(POLICY)[-1].grad is not None
                raise MemoryError

        with bench.adapters.active(POLICY):  # where its weights want gradients
            bench.adapters.parameters(POLICY)[0].register_hook(short)  # type: ignore[no-untyped-call]

    assert equal(weights(bench, make_update("short"), arm, "dpo"), expected)
    assert [note.split("; ")[1] for note in bench.notes] == [
        "micro-batches of 512 tokens from here on",
        "micro-batches of 256 tokens from here on",
    ]


def test_the_gate_judges_the_same_though_memory_runs_out(
    make_workbench: MakeWorkbench, make_update: MakeUpdate, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = finish(update(make_workbench(), replace(make_update("calm"), held_out=HELD_OUT)))[1]
    bench = make_workbench()
    scoring, sampling = Shortage(monkeypatch, CompletionScorer, "logps"), Shortage(monkeypatch, Decoder, "step")
    work = update(bench, replace(make_update("short"), held_out=HELD_OUT))

    def told() -> Iterator[Progress]:
        result.append((yield from work))

    result: list[Any] = []
    for progress in told():
        if progress.phase == "gate" and not scoring.calls and not bench.notes:
            scoring.calls, sampling.calls = 1, 1
    assert len(bench.notes) == 2
    assert (result[0].verdict, result[0].adapter.id) == (calm.verdict, calm.adapter.id)


def test_a_gradient_that_is_begun_anew_in_smaller_pieces_is_the_same(
    make_workbench: MakeWorkbench, demonstrations: tuple[Demonstration, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_workbench(torch.float64)
    bench = Workbench(made.base, made.adapters, made.decoder, Plan(micro_batch_tokens=128))
    bench.adapters.create(POLICY, LoraShape(rank=4, alpha=8), seed=1)
    parameters = bench.adapters.parameters(POLICY)
    for value in parameters:
        value.data = value.data.double() + 0.1
    texts = [encode(bench.base, replace(each, completion=3 * each.completion)) for each in demonstrations]
    loss = finish(backward_likelihood(bench, POLICY, texts))[1]
    whole = [value.grad.clone() for value in parameters if value.grad is not None]
    shortage = Shortage(monkeypatch, CompletionScorer, "logps", late=True)
    shortage.calls = 1
    seen, again = finish(backward_likelihood(bench, POLICY, texts))
    assert (len(seen), bench.plan.micro_batch_tokens) == (3, 64)
    assert again == pytest.approx(loss, rel=1e-12)
    for before, value in zip(whole, parameters, strict=True):
        assert value.grad is not None
        torch.testing.assert_close(value.grad, before, rtol=1e-9, atol=1e-9)


def test_what_is_scored_already_is_not_scored_again(
    make_workbench: MakeWorkbench, demonstrations: tuple[Demonstration, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_workbench()
    bench = Workbench(made.base, made.adapters, made.decoder, Plan(micro_batch_tokens=100))
    texts = [encode(bench.base, each) for each in demonstrations]
    expected = finish(score(bench, texts, None))[1]
    shortage = Shortage(monkeypatch, CompletionScorer, "logps")
    work, seen = score(bench, texts, None), []
    for done in work:
        seen.append(done)
        shortage.calls = int(len(seen) == 1)
    assert seen == sorted(set(seen)) and seen[-1] == len(texts)
    assert finish(score(bench, texts, None))[1] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "owner", "phase"), [("logps", CompletionScorer, "dpo"), ("step", Decoder, "sampling")]
)
def test_where_nothing_can_be_made_smaller_the_update_fails_with_a_remedy(
    make_workbench: MakeWorkbench,
    make_update: MakeUpdate,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    owner: type,
    phase: str,
) -> None:
    bench, shortage = make_workbench(), Shortage(monkeypatch, owner, name)
    with pytest.raises(ModelError, match="memory ran out while learning") as caught:
        weights(bench, make_update(), lambda: setattr(shortage, "calls", 10**9), phase)
    assert "choose a smaller base_model" in caught.value.hint
    if owner is CompletionScorer:
        assert (bench.plan.micro_batch_tokens, bench.plan.checkpointing) == (SMALLEST_TOKENS, True)
    else:
        assert bench.plan.sampling_rows == 1


def test_another_error_is_no_shortage() -> None:
    def failing() -> Iterator[None]:
        yield
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        list(retried(failing, lambda: pytest.fail("it was tried again")))  # type: ignore[arg-type]


def test_torch_says_in_these_ways_that_there_is_no_memory() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 46, dtype=torch.uint8)
    assert ran_out(caught.value)
    assert ran_out(MemoryError()) and ran_out(torch.OutOfMemoryError("CUDA out of memory"))
    assert ran_out(RuntimeError("CUDA error: out of memory"))
    assert not ran_out(RuntimeError("expected scalar type Float"))
    assert not ran_out(ValueError("DefaultCPUAllocator"))
