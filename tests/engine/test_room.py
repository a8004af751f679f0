"""The machine as a probe finds it, and what an update's texts need."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from fakes import demonstration, tiny_base

from dittod.cli.plan import ask
from dittod.engine import room
from dittod.engine.protocol import Update
from dittod.engine.room import Room, need_of, read_shape, this_device
from dittod.errors import ModelError, SettingsError
from dittod.learner.memory import Device
from dittod.learner.plan import BEFORE_TEXTS, Need, make_plan
from dittod.learner.preset import CLEAN, Preset, preset
from dittod.learner.workbench import encode
from dittod.model.allowance import lone_bytes, token_bytes
from dittod.model.lora import LoraAdapters
from dittod.types import Plan

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
    here = Room(base.name, Device("cpu", 2, 4 * GB, four_bits=True), 2 * GB)
    plan = here.for_update(replace(base, quantisation="nf4"), update).plan
    assert plan.quantisation == "nf4"
    assert here.for_update(base, update).plan.quantisation == "none"
    assert here.for_update(base, replace(update, preset="as_released")).plan.rank == 32


def test_a_budget_without_room_for_learning_refuses_updates_and_not_requests(tmp_path: Path, update: Update) -> None:
    base = tiny_base(tmp_path / "model")
    small = Room(base.name, Device("cpu", 2, 4 * GB, four_bits=True), 100 * 10**6)
    assert small.quantisation("auto", CLEAN) == "nf4"
    assert small.quantisation("none", CLEAN) == "none"
    with pytest.raises(SettingsError, match="budget is 100 MB"):
        small.workbench(base, LoraAdapters(base), update)


@pytest.mark.parametrize("numbers", [preset("clean"), preset("clean", {"rank": 64}), preset("as_released")])
def test_weights_are_loaded_as_dittod_plan_says(numbers: Preset) -> None:
    """From the least budget that does for the starter to twice that, where learning fits with any weights."""
    device, seen = Device("cpu", 2, 4 * GB, four_bits=True), set()
    shape = read_shape("starter")
    for budget in range(500 * 10**6, 1000 * 10**6, 10**7):
        try:
            expected = make_plan(shape, device, budget, numbers, need=BEFORE_TEXTS).plan.quantisation
        except SettingsError:
            continue
        assert Room("starter", device, budget).quantisation("auto", numbers) == expected
        seen.add(expected)
    assert "none" in seen


def test_no_budget_exceeds_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "this_device", lambda: Device("cpu", 2, 4 * GB, four_bits=True))
    assert Room.of("starter", 64 * GB).budget_bytes == 4 * GB
    assert Room.of("starter", GB).budget_bytes == GB


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
def test_a_parent_asks_for_device_and_shape_in_a_child() -> None:
    assert ask("starter") == (this_device(), read_shape("starter"))
    with pytest.raises(ModelError, match="no model of that name"):
        ask("org/not-here")


def test_conversations_get_a_sixteenth_of_the_budget_and_beside_an_update_no_more_than_its_plan_leaves() -> None:
    here = Room("m", Device("cpu", 2, 4 * GB, four_bits=True), 1600)
    assert here.conversations_bytes(None) == 100
    assert here.conversations_bytes(Plan(peak_bytes=900)) == 100
    assert here.conversations_bytes(Plan(peak_bytes=1560)) == 40
    assert here.conversations_bytes(Plan(peak_bytes=1700)) == 0


def test_answers_get_what_the_weights_leave_and_beside_an_update_what_its_plan_does(
    tmp_path: Path, update: Update
) -> None:
    base = tiny_base(tmp_path / "model")
    here = Room(base.name, Device("cpu", 4, 4 * GB, four_bits=True), 2 * GB)
    alone = here.answers_bytes(base, None)
    assert 1.1 * GB < alone < 1.4 * GB
    share = 3 * base.context_tokens * token_bytes(base)
    assert here.answers_bytes(base, Plan(peak_bytes=2 * GB)) == share
    assert share < here.answers_bytes(base, Plan(peak_bytes=2 * GB - 10**8)) < share + 10**8
    planned = here.for_update(base, update)
    serving = planned.phases["forward"].serving
    assert here.answers_bytes(base, replace(planned.plan, peak_bytes=2 * GB)) < serving


def test_weights_that_leave_no_room_are_served_with_short_texts_all_the_same(tmp_path: Path) -> None:
    base = tiny_base(tmp_path / "model")
    small = Room(base.name, Device("cpu", 4, 4 * GB, four_bits=True), 100 * 10**6)
    assert small.answers_bytes(base, None) == lone_bytes(base, base.context_tokens)
