"""Whole updates on the card, from demonstrations to a verdict; left alone and gone on with."""

from __future__ import annotations

import json
import math
from collections.abc import Generator
from pathlib import Path
from typing import Literal

import pytest
import torch
from fakes import finish
from safetensors.torch import load_file

from dittod.engine.protocol import Progress, Updated
from dittod.engine.update import update
from dittod.types import Plan, Quantisation

from .benches import an_update, on_the_card, workbench

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(120)]


Optimiser = Literal["preset", "adamw_8bit"]


@pytest.mark.parametrize(("quantisation", "optimiser"), [("none", "preset"), ("nf4", "preset"), ("nf4", "adamw_8bit")])
def test_an_update_learns_and_is_judged(tmp_path: Path, quantisation: Quantisation, optimiser: Optimiser) -> None:
    base = on_the_card(tmp_path / "model", quantisation=quantisation)
    bench = workbench(base, Plan(quantisation, optimiser=optimiser))
    seen, updated = finish(update(bench, an_update(tmp_path, supervised_steps=20)))
    figures = updated.verdict.figures
    assert {each.phase for each in seen} == {"supervised", "reference", "sampling", "dpo", "gate", "saving"}
    assert all(math.isfinite(value) for value in figures.values())
    assert figures["supervised_nats_per_token"] < figures["base_nats_per_token"] - 0.5
    assert (Path(updated.adapter.path) / "adapter_model.safetensors").exists()
    assert bench.adapters.names() == []


def in_fp32(folder: Path, name: str, optimiser: Optimiser) -> Generator[Progress, None, Updated]:
    """An update of a workbench of its own, as of a new process. In fp32 a card's sums differ in their last bits only
    from run to run, so that the same tokens are drawn."""
    bench = workbench(on_the_card(folder / "model", dtype=torch.float32), Plan(optimiser=optimiser))
    return update(bench, an_update(folder, name=name))


def weights(updated: Updated) -> torch.Tensor:
    tensors = load_file(Path(updated.adapter.path) / "adapter_model.safetensors")
    return torch.cat([value.flatten() for _, value in sorted(tensors.items())])


@pytest.mark.parametrize(
    ("phase", "optimiser", "kind"),
    [("supervised", "preset", "AdamW"), ("dpo", "preset", "AdamW"), ("dpo", "adamw_8bit", "AdamW8bit")],
)
def test_an_update_left_in_its_second_step_goes_on_from_there(
    tmp_path: Path, phase: str, optimiser: Optimiser, kind: str
) -> None:
    """Without its moments it would end 6 % (left in the supervised stage) or 0.3 % (in the other) away."""
    _, whole = finish(in_fp32(tmp_path, "whole", optimiser))
    work = in_fp32(tmp_path, "left", optimiser)
    while (left := next(work)).phase != phase or left.done == 0 or left.completed_step:
        pass
    work.close()
    states = [json.loads(each.read_text()) for each in (tmp_path / "left").glob("*/state.json")]
    assert kind in [each["optimiser"] for each in states]
    seen, gone_on = finish(in_fp32(tmp_path, "left", optimiser))
    assert (seen[0].phase, seen[0].done) == (phase, left.done) == (phase, 1)
    expected = weights(whole)
    assert float((weights(gone_on) - expected).norm() / expected.norm()) < 1e-3
