import json
import stat
from pathlib import Path

import pytest
import torch

from dittod.learner.checkpoint import Checkpoint, TrainingState, load, save
from dittod.types import Sample


def a_checkpoint(step: int = 3) -> Checkpoint:
    samples = {0: (Sample("d", 0, (1, 2), truncated=True, reference_logp=-0.1 - 1e-16),), 1: ()}
    state = TrainingState(step, samples, {"d": -1 / 3}, 2, None, {"loss": 0.7})
    weights = {"a": torch.arange(6.0).reshape(2, 3) / 7}
    value = torch.nn.Parameter(torch.ones(2))
    optimiser = torch.optim.AdamW([value])
    value.sum().backward()
    optimiser.step()
    return Checkpoint(state, weights, {"a": -weights["a"]}, optimiser.state_dict())


def test_what_was_saved_is_loaded_to_the_last_bit(tmp_path: Path) -> None:
    saved = a_checkpoint()
    save(tmp_path, "f", saved)
    found = load(tmp_path, "f")
    assert found is not None
    assert found.state == saved.state
    assert torch.equal(found.policy["a"], saved.policy["a"])
    assert torch.equal(found.reference["a"], saved.reference["a"])
    assert torch.equal(found.optimiser["state"][0]["exp_avg"], saved.optimiser["state"][0]["exp_avg"])


def test_there_is_nothing_to_load_in_an_empty_or_missing_folder(tmp_path: Path) -> None:
    assert load(tmp_path, "f") is None
    assert load(tmp_path / "none", "f") is None


def test_a_checkpoint_of_another_update_is_passed_over(tmp_path: Path) -> None:
    save(tmp_path, "f", a_checkpoint())
    assert load(tmp_path, "g") is None


def test_only_the_newest_is_kept(tmp_path: Path) -> None:
    save(tmp_path, "f", a_checkpoint(3))
    (tmp_path / ".checkpoint-000005-torn").mkdir()
    save(tmp_path, "f", a_checkpoint(12))
    assert len(list(tmp_path.iterdir())) == 1
    found = load(tmp_path, "f")
    assert found is not None
    assert found.state.step == 12


@pytest.mark.parametrize("name", ["policy.safetensors", "optimiser.pt", "state.json", "seal.json"])
@pytest.mark.parametrize("damage", ["gone", "torn", "changed"])
def test_a_damaged_checkpoint_is_passed_over_for_an_older_one(tmp_path: Path, name: str, damage: str) -> None:
    """As if the machine had died between the rename and the removal of the older one."""
    save(tmp_path / "new", "f", a_checkpoint(12))
    save(tmp_path, "f", a_checkpoint(3))
    (newer,) = (tmp_path / "new").iterdir()
    newer.rename(tmp_path / newer.name)
    victim = tmp_path / newer.name / name
    content = victim.read_bytes()
    victim.unlink()
    if damage == "torn":
        victim.write_bytes(content[: len(content) // 2])
    if damage == "changed":
        victim.write_bytes(content[:20] + bytes([content[20] ^ 1]) + content[21:])
    found = load(tmp_path, "f")
    assert found is not None
    assert found.state.step == 3


def test_a_seal_of_another_shape_is_no_seal(tmp_path: Path) -> None:
    save(tmp_path, "f", a_checkpoint())
    (folder,) = tmp_path.iterdir()
    (folder / "seal.json").write_text(json.dumps([1, 2]))
    assert load(tmp_path, "f") is None


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    save(directory, "f", a_checkpoint())
    (folder,) = directory.iterdir()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()} == {0o600}
