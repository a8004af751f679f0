from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fakes import demonstration, finish, tiny_base

from dittod.engine.protocol import Update
from dittod.engine.update import update
from dittod.learner.workbench import Workbench
from dittod.model.decode import Decoder
from dittod.model.lora import LoraAdapters

OVERRIDES = {
    "supervised_steps": 3.0,
    "dpo_steps": 2.0,
    "samples_per_demonstration": 2.0,
    "completion_tokens_least": 4.0,
    "completion_ratio": 1.0,
}


def workbench(tmp_path: Path) -> Workbench:
    torch.set_num_threads(1)
    base = tiny_base(tmp_path / "model")
    adapters = LoraAdapters(base)
    return Workbench(base, adapters, Decoder(base, adapters, max_rows=32))


@pytest.fixture
def command(tmp_path: Path) -> Update:
    return Update(
        id="run",
        directory=str(tmp_path / "run"),
        adapters_directory=str(tmp_path / "adapters"),
        preset="clean",
        seed=5,
        demonstrations=(demonstration("Ask Bo", "Bo, lunch?"), demonstration("Thank Cy", "Cy, ta.")),
        held_out=(demonstration("Ask Di", "Di, rum?"), demonstration("Ask Ed", "Ed!")),
        served=None,
        overrides=OVERRIDES,
    )


def test_an_update_leaves_an_adapter_named_by_its_content_with_a_verdict(tmp_path: Path, command: Update) -> None:
    bench = workbench(tmp_path)
    seen, updated = finish(update(bench, command))
    folder = tmp_path / "adapters" / updated.adapter.id
    assert Path(updated.adapter.path) == folder
    assert [each.name for each in (tmp_path / "adapters").iterdir()] == [updated.adapter.id]
    assert {each.name for each in folder.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()} == {0o600}
    assert "base_nats_per_token" in updated.verdict.figures
    phases = list(dict.fromkeys(each.phase for each in seen))
    assert phases == ["supervised", "reference", "sampling", "dpo", "gate", "saving"]
    assert bench.adapters.names() == []


def test_the_saved_adapter_computes_the_same_in_plain_peft(tmp_path: Path, command: Update) -> None:
    from peft import PeftModel

    bench = workbench(tmp_path)
    _, updated = finish(update(bench, command))
    bench.adapters.load("again", Path(updated.adapter.path))
    token_ids = torch.tensor([[3, 1, 4, 1, 5]])
    with torch.no_grad(), bench.adapters.active("again"):
        ours = bench.base.model(input_ids=token_ids).logits
        with bench.adapters.active(None):
            bare = bench.base.model(input_ids=token_ids).logits
    plain = PeftModel.from_pretrained(tiny_base(tmp_path / "model").model, updated.adapter.path).eval()
    with torch.no_grad():
        theirs = plain(input_ids=token_ids).logits
    assert torch.allclose(ours, theirs, atol=1e-6)
    assert not torch.allclose(ours, bare, atol=1e-4)


@pytest.mark.parametrize("phase", ["dpo", "gate", "saving"])
def test_an_update_killed_in_any_phase_ends_with_the_same_adapter_and_verdict(
    tmp_path: Path, command: Update, phase: str
) -> None:
    whole = replace(command, id="whole", directory=str(tmp_path / "whole"))
    _, expected = finish(update(workbench(tmp_path), whole))
    work = update(workbench(tmp_path), command)
    while next(work).phase != phase:
        pass
    (tmp_path / "adapters" / ".run").mkdir(exist_ok=True)  # as if the kill had come while files were written
    _, found = finish(update(workbench(tmp_path), command))
    assert (found.adapter, found.verdict) == (expected.adapter, expected.verdict)
    assert [each.name for each in (tmp_path / "adapters").iterdir()] == [found.adapter.id]


def test_updates_can_follow_each_other_on_one_workbench(tmp_path: Path, command: Update) -> None:
    bench = workbench(tmp_path)
    _, first = finish(update(bench, command))
    again = replace(command, id="second", directory=str(tmp_path / "second"), served=first.adapter)
    _, second = finish(update(bench, again))
    assert second.adapter == first.adapter
    assert not second.verdict.promoted


def test_an_abandoned_update_leaves_no_adapter_in_memory(tmp_path: Path, command: Update) -> None:
    bench = workbench(tmp_path)
    work = update(bench, command)
    while next(work).phase != "dpo":
        pass
    work.close()
    assert bench.adapters.names() == []
    assert not bench.decoder.busy
