"""Which optimiser a plan gets, that it goes on as if never stopped, and that every step is seen."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from dittod.learner.optimiser import make_optimiser, take_step
from dittod.learner.preset import AS_RELEASED, CLEAN

Make = Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]


def parameters(device: str = "cpu") -> list[torch.nn.Parameter]:
    """Moments of the first are large enough for 8 bits, the last's too small for 8 bits."""
    generator = torch.Generator().manual_seed(0)
    sizes = ((400, 300), (100, 100), (10, 10))
    return [torch.nn.Parameter(torch.randn(size, generator=generator).to(device)) for size in sizes]


def step(optimiser: torch.optim.Optimizer, values: list[torch.nn.Parameter], number: int) -> None:
    generator = torch.Generator().manual_seed(number)
    for value in values:
        value.grad = torch.randn(value.shape, generator=generator).to(value.device)
    take_step(optimiser, 1e-2, 1.0)


def steps_with_a_stop(make: Make, device: str, stop_after: int | None) -> list[torch.Tensor]:
    """The parameters after six steps; where it stops, the moments go to a file and come back in a new optimiser."""
    values = parameters(device)
    optimiser = make(values)
    for number in range(6):
        if number == stop_after:
            file = io.BytesIO()
            torch.save(optimiser.state_dict(), file)
            file.seek(0)
            optimiser = make(values)
            optimiser.load_state_dict(torch.load(file, weights_only=True))
        step(optimiser, values, number)
    return [value.detach().cpu() for value in values]


def test_the_cpu_gets_torchs_optimisers_whatever_the_plan() -> None:
    assert type(make_optimiser(CLEAN, parameters(), "preset")) is torch.optim.AdamW
    assert type(make_optimiser(CLEAN, parameters(), "adamw_8bit")) is torch.optim.AdamW
    assert type(make_optimiser(AS_RELEASED, parameters(), "adamw_8bit")) is torch.optim.RMSprop


@pytest.mark.parametrize("method", ["adamw", "rmsprop"])
def test_a_stop_changes_no_bit(method: str) -> None:
    preset = replace(CLEAN, optimiser=method)  # type: ignore[arg-type]
    expected = steps_with_a_stop(lambda values: make_optimiser(preset, values), "cpu", None)
    found = steps_with_a_stop(lambda values: make_optimiser(preset, values), "cpu", 3)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("kind", ["torch", "torch, fused", "bitsandbytes"])
def test_every_step_raises_the_versions_of_what_it_changed(kind: str) -> None:
    """Casts of the weights are kept for as long as autograd says that those are the same. Neither bitsandbytes' kernels
    nor torch's fused ones tell it of a change."""
    values = parameters()
    if kind == "bitsandbytes":
        optimiser = pytest.importorskip("bitsandbytes").optim.AdamW8bit(values, lr=0.0, weight_decay=0.0)
    else:
        optimiser = torch.optim.AdamW(values, lr=0.0, weight_decay=0.0, fused=kind == "torch, fused")
    before = [(value._version, value.detach().clone()) for value in values]
    step(optimiser, values, 0)
    for value, (version, content) in zip(values, before, strict=True):
        assert not torch.equal(value, content)
        assert value._version > version


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_the_8bit_optimiser_keeps_moments_in_bytes_and_a_stop_changes_no_bit() -> None:
    bitsandbytes = pytest.importorskip("bitsandbytes")

    def make(values: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
        return make_optimiser(CLEAN, values, "adamw_8bit")

    values = parameters("cuda")
    optimiser = make(values)
    assert isinstance(optimiser, bitsandbytes.optim.AdamW8bit)
    step(optimiser, values, 0)
    kept = [optimiser.state[value]["state1"] for value in values]
    assert [each.dtype for each in kept] == [torch.uint8, torch.uint8, torch.float32]
    expected = steps_with_a_stop(make, "cuda", None)
    assert all(torch.equal(a, b) for a, b in zip(steps_with_a_stop(make, "cuda", 3), expected, strict=True))
