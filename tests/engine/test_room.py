"""The machine as a probe finds it, and what an update's texts need."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from fakes import demonstration, tiny_base

from dittod.engine import room
from dittod.engine.protocol import Update
from dittod.engine.room import Room, need_of, this_device
from dittod.errors import SettingsError
from dittod.learner.memory import Device
from dittod.learner.plan import Need
from dittod.learner.preset import CLEAN, preset
from dittod.learner.workbench import encode
from dittod.model.shape import read_shape

GB = 10**9


@pytest.fixture
def update(tmp_path: Path) -> Update:
    return Update(
        id="run",
        directory=str(tmp_path / "run"),
        adapters_directory=str(tmp_path / "adapters"),
        preset="clean",
        seed=5,
        demonstrations=(
            demonstration("Ask Bo", "Bo, lunch? " * 4),
            demonstration("Thank Cy for the long letter", "Ta."),
        ),
        held_out=(demonstration("Ask Di", "Di, " * 40),),
        served=None,
        overrides={},
    )


def test_an_update_needs_its_longest_text_or_sample_and_all_its_samples(tmp_path: Path, update: Update) -> None:
    """Samples may have half as many tokens again as the longest text, and follow the longest prompt."""
    base = tiny_base(tmp_path / "model")
    sequences = [encode(base, each) for each in (*update.demonstrations, *update.held_out)]
    longest_prompt = max(len(each.prompt_ids) for each in sequences)
    longest_text = max(len(each.completion_ids) for each in sequences)
    assert longest_prompt == len(sequences[1].prompt_ids) and longest_text == len(sequences[2].completion_ids)
    need = need_of(base, CLEAN, update)
    tree = len(sequences[0].prompt_ids) + (1 + 3) * len(sequences[0].completion_ids)  # itself and three samples
    assert need == Need(longest_prompt + -(-3 * longest_text // 2), 2 * 10, tree)
    assert need_of(base, preset("clean", {"samples_per_demonstration": 3}), update).rows == 6


def test_the_plan_of_an_update_keeps_the_weights_as_they_were_loaded(tmp_path: Path, update: Update) -> None:
    base = tiny_base(tmp_path / "model")
    here = Room(read_shape(base.name), Device("cpu", 2, 4 * GB, four_bits=True), 2 * GB)
    plan = here.for_update(replace(base, quantisation="nf4"), update).plan
    assert plan.quantisation == "nf4"
    assert here.for_update(base, update).plan.quantisation == "none"
    assert here.for_update(base, replace(update, preset="as_released")).plan.rank == 32


def test_a_budget_that_is_too_small_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    base = tiny_base(tmp_path / "model")
    with pytest.raises(SettingsError, match="budget is 100 MB"):
        Room.of(base.name, 100 * 10**6).at_start("auto")


def test_without_a_budget_it_is_half_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "this_device", lambda: Device("cpu", 2, 4 * GB, four_bits=True))
    assert Room.of("starter", None).budget_bytes == 2 * GB
    monkeypatch.setattr(room, "this_device", lambda: Device("cuda", 2, 10 * GB, four_bits=True))
    assert Room.of("starter", None).budget_bytes == 8 * GB


@pytest.mark.parametrize(("written", "expected"), [("1000000\n", 1_000_000), ("max\n", None), (None, None)])
def test_a_container_has_no_more_than_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str | None, expected: int | None
) -> None:
    monkeypatch.setattr(room, "CONTAINER_LIMIT", tmp_path / "memory.max")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    if written is not None:
        (tmp_path / "memory.max").write_text(written)
    assert this_device().memory_bytes == (expected or psutil.virtual_memory().total)


@pytest.mark.timeout(60)
def test_a_parent_can_ask_for_the_device_as_json() -> None:
    ended = subprocess.run([sys.executable, "-m", "dittod.engine.room"], capture_output=True, text=True, check=True)
    assert Device(**json.loads(ended.stdout)) == this_device()
