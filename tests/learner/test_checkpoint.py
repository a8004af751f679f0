import json
import stat
from pathlib import Path

import pytest
import torch

from dittod.learner import checkpoint
from dittod.learner.checkpoint import Checkpoint, TrainingState, load, save
from dittod.types import Sample


def a_checkpoint(step: int = 3) -> Checkpoint:
    samples = {0: (Sample("d", 0, (1, 2), truncated=True, reference_logp=-0.1 - 1e-16, policy_logp=-0.3),), 1: ()}
    state = TrainingState("preference", step, 0.1 + 0.2, "AdamW", samples, {"d": -1 / 3}, 2, None, {"loss": 0.7})
    weights = {"a": torch.arange(6.0).reshape(2, 3) / 7}
    value = torch.nn.Parameter(torch.ones(2))
    optimiser = torch.optim.AdamW([value])
    value.sum().backward()
    optimiser.step()
    return Checkpoint(state, weights, {"a": -weights["a"]}, optimiser.state_dict())


def test_what_was_saved_is_loaded_to_the_last_bit(tmp_path: Path) -> None:
    saved = a_checkpoint()
    save(tmp_path, "f", saved, "round")
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
    save(tmp_path, "f", a_checkpoint(), "round")
    assert load(tmp_path, "g") is None


def test_only_the_newest_is_kept(tmp_path: Path) -> None:
    save(tmp_path, "f", a_checkpoint(3), "round")
    (tmp_path / ".checkpoint-000005-torn").mkdir()
    save(tmp_path, "f", a_checkpoint(12), "round")
    assert len(list(tmp_path.iterdir())) == 1
    found = load(tmp_path, "f")
    assert found is not None
    assert found.state.step == 12


def test_one_of_a_step_leaves_the_round_before_it_and_takes_the_place_of_other_steps(tmp_path: Path) -> None:
    for step, kind in ((1, "round"), (2, "step"), (10, "round"), (11, "step"), (12, "step")):
        save(tmp_path, "f", a_checkpoint(step), kind)  # type: ignore[arg-type]
    newest, newest_round = load(tmp_path, "f"), load(tmp_path, "f", "round")
    assert newest is not None and newest.state.step == 12
    assert newest_round is not None and newest_round.state.step == 10
    assert sorted(each.name for each in tmp_path.iterdir()) == ["checkpoint-000003-round", "checkpoint-000005-step"]


def test_a_disk_that_takes_nothing_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, "f", a_checkpoint(3), "round")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(checkpoint, "write_private", full)
        save(tmp_path, "f", a_checkpoint(4), "step")
    found = load(tmp_path, "f")
    assert found is not None and found.state.step == 3
    save(tmp_path, "f", a_checkpoint(4), "round")
    assert len(list(tmp_path.iterdir())) == 1


def test_a_checkpoint_of_another_version_is_passed_over(tmp_path: Path) -> None:
    save(tmp_path, "f", a_checkpoint(), "round")
    (folder,) = tmp_path.iterdir()
    seal = json.loads((folder / "seal.json").read_text())
    (folder / "seal.json").write_text(json.dumps({**seal, "format": 1}))
    assert load(tmp_path, "f") is None


@pytest.mark.parametrize("name", ["policy.safetensors", "optimiser.pt", "state.json", "seal.json"])
@pytest.mark.parametrize("damage", ["gone", "torn", "changed"])
def test_a_damaged_checkpoint_is_passed_over_for_an_older_one(tmp_path: Path, name: str, damage: str) -> None:
    """As if the machine had died between the rename and the removal of the older one."""
    save(tmp_path, "f", a_checkpoint(3), "round")
    save(tmp_path / "new", "f", a_checkpoint(12), "round")
    (newer,) = (tmp_path / "new").iterdir()
    victim = newer.rename(tmp_path / "checkpoint-000002-round") / name
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
    save(tmp_path, "f", a_checkpoint(), "round")
    (folder,) = tmp_path.iterdir()
    (folder / "seal.json").write_text(json.dumps([1, 2]))
    assert load(tmp_path, "f") is None


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    save(directory, "f", a_checkpoint(), "round")
    (folder,) = directory.iterdir()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()} == {0o600}


KEY, OTHER = "5e" * 32, "a7" * 32


def test_with_a_key_it_is_whole_to_who_has_it_and_nothing_can_be_read_of_it(tmp_path: Path) -> None:
    saved = a_checkpoint()
    save(tmp_path, "f", saved, "round", KEY)
    (folder,) = tmp_path.iterdir()
    content = b"".join(each.read_bytes() for each in folder.iterdir())
    assert b"token_ids" not in content and b"exp_avg" not in content and b"F32" not in content
    found = load(tmp_path, "f", key=KEY)
    assert found is not None
    assert found.state == saved.state and torch.equal(found.policy["a"], saved.policy["a"])


@pytest.mark.parametrize(("written", "read"), [(KEY, OTHER), (KEY, ""), ("", KEY)])
def test_one_that_was_sealed_otherwise_is_passed_over(tmp_path: Path, written: str, read: str) -> None:
    save(tmp_path, "f", a_checkpoint(), "round", written)
    assert load(tmp_path, "f", key=read) is None


def test_a_sealed_one_does_not_open_in_anothers_place(tmp_path: Path) -> None:
    save(tmp_path, "f", a_checkpoint(), "round", KEY)
    (folder,) = tmp_path.iterdir()
    folder.rename(tmp_path / "checkpoint-000007-round")
    assert load(tmp_path, "f", key=KEY) is None
