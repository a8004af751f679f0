"""Iterates on disk: whole, private, of one update, or not there."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fakes import equal, finish

from dittod.engine.protocol import Update
from dittod.learner import iterates
from dittod.learner.ditto import run
from dittod.learner.task import POLICY, prepare
from dittod.learner.workbench import Workbench

WEIGHTS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(1)}
KEY = "0f" * 32


@pytest.mark.parametrize("key", ["", KEY])
def test_what_was_saved_is_read_again(tmp_path: Path, key: str) -> None:
    iterates.save(tmp_path / "run", "print", 2, WEIGHTS, key)
    found = iterates.load(tmp_path / "run", "print", 2, key)
    assert found is not None and equal(found, WEIGHTS)
    assert [each.name for each in (tmp_path / "run").iterdir()] == ["iterate-000002"]
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "run" / "iterate-000002").stat().st_mode) == 0o600


def test_another_update_s_or_another_round_s_is_passed_over(tmp_path: Path) -> None:
    iterates.save(tmp_path, "print", 2, WEIGHTS)
    assert iterates.load(tmp_path, "another", 2) is None
    assert iterates.load(tmp_path, "print", 1) is None
    (tmp_path / "iterate-000002").rename(tmp_path / "iterate-000001")
    assert iterates.load(tmp_path, "print", 1) is None


@pytest.mark.parametrize("key", ["", KEY])
def test_a_damaged_one_is_passed_over(tmp_path: Path, key: str) -> None:
    iterates.save(tmp_path, "print", 1, WEIGHTS, key)
    path = tmp_path / "iterate-000001"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert iterates.load(tmp_path, "print", 1, key) is None
    path.write_bytes(whole[:20])
    assert iterates.load(tmp_path, "print", 1, key) is None


def test_a_sealed_one_opens_with_its_own_key_only_and_shows_no_weights(tmp_path: Path) -> None:
    iterates.save(tmp_path, "print", 1, WEIGHTS, KEY)
    assert iterates.load(tmp_path, "print", 1, "ee" * 32) is None
    assert iterates.load(tmp_path, "print", 1) is None
    assert WEIGHTS["a"].numpy().tobytes() not in (tmp_path / "iterate-000001").read_bytes()


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        iterates.save(tmp_path, "print", 1, WEIGHTS)
    assert list(tmp_path.iterdir()) == []


def test_an_update_leaves_the_policy_after_every_round_but_the_last(
    make_workbench: Callable[..., Workbench], make_update: Callable[..., Update]
) -> None:
    """Six steps, two for each round: iterate 2 is the policy of an update that ends after four."""
    long, short = make_update("long", dpo_steps=6, dpo_warmup=0), make_update("short", dpo_steps=4, dpo_warmup=0)
    bench = make_workbench()
    finish(run(bench, long))
    task = prepare(bench, long)
    found = [iterates.load(task.directory, task.fingerprint, number) for number in (1, 2, 3)]
    other = make_workbench()
    finish(run(other, short))
    assert found[0] is not None and found[2] is None
    assert found[1] is not None and equal(found[1], other.adapters.state(POLICY))
    assert not equal(found[0], found[1])


def test_left_between_two_rounds_it_keeps_the_iterate_all_the_same(
    make_workbench: Callable[..., Workbench], make_update: Callable[..., Update]
) -> None:
    work = run(make_workbench(), make_update())
    while (each := next(work)).phase != "dpo" or each.completed_step != 2:
        pass
    work.close()
    bench = make_workbench()
    finish(run(bench, make_update()))
    task = prepare(bench, make_update())
    assert iterates.load(task.directory, task.fingerprint, 1) is not None
