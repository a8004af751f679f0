from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fakes import demonstration, finish, tiny_base

from dittod.engine.protocol import AdapterRef, Update, Updated
from dittod.engine.update import keep, update
from dittod.judge.gate import Judgement
from dittod.learner.workbench import Workbench
from dittod.model.decode import Decoder
from dittod.model.lora import LoraAdapters, LoraShape
from dittod.types import Recipe, Verdict

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
    assert updated.recipe == judged_best(updated)
    phases = list(dict.fromkeys(each.phase for each in seen))
    assert phases == ["supervised", "reference", "sampling", "dpo", "gate", "saving"]
    assert bench.adapters.names() == []


def judged_best(updated: Updated) -> Recipe:
    """The recipe of the learnt candidate that the panel liked best: nothing here is good enough to be promoted."""
    figures = updated.verdict.figures
    by_name = {each.name: each for each in (Recipe("supervised"), Recipe("ditto"))}
    return max(by_name.items(), key=lambda each: figures.get(f"{each[0]}_advantage", -99.0))[1]


def kept(bench: Workbench, command: Update, recipe: Recipe, adapter: str | None) -> tuple[AdapterRef, Path]:
    reference = keep(bench, command, Judgement(recipe, adapter, Verdict(True, (), {})))
    return reference, Path(reference.path)


def test_a_version_without_weights_is_an_empty_folder_named_by_its_recipe_its_base_and_its_texts(
    tmp_path: Path, command: Update
) -> None:
    bench, pool = workbench(tmp_path), command.demonstrations
    command = replace(command, pool=pool)
    first, folder = kept(bench, command, Recipe("base", examples=3), None)
    assert (first.weights, first.examples, list(folder.iterdir())) == (False, 3, [])
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    again, _ = kept(bench, replace(command, id="again", pool=pool[::-1]), Recipe("base", examples=3), None)
    more, _ = kept(bench, command, Recipe("base", examples=4), None)
    fewer, _ = kept(bench, replace(command, pool=pool[:1]), Recipe("base", examples=3), None)
    bare, _ = kept(bench, command, Recipe("base"), None)
    assert again == first
    assert len({each.id for each in (first, more, fewer, bare)}) == 4


def test_the_same_weights_with_examples_are_another_version_with_the_same_files(
    tmp_path: Path, command: Update
) -> None:
    bench = workbench(tmp_path)
    bench.adapters.create("policy", LoraShape(rank=4, alpha=8), seed=1)
    plain, folder = kept(bench, command, Recipe("ditto"), "policy")
    shown, other = kept(bench, command, Recipe("ditto", examples=3), "policy")
    assert plain.id != shown.id and (plain.examples, shown.examples) == (0, 3)
    assert [each.read_bytes() for each in sorted(folder.iterdir())] == [
        each.read_bytes() for each in sorted(other.iterdir())
    ]


@pytest.mark.parametrize("key", ["", "ab" * 32])
def test_killed_in_its_last_iteration_it_still_judges_every_iterate(tmp_path: Path, command: Update, key: str) -> None:
    """Three rounds of samples; the process that is killed in the third was another one. Whoever is judged, is judged
    alike."""
    command = replace(command, key=key, overrides={**OVERRIDES, "dpo_steps": 3.0, "resample_every": 1.0})
    whole = replace(command, id="whole", directory=str(tmp_path / "whole"))
    _, expected = finish(update(workbench(tmp_path), whole))
    work = update(workbench(tmp_path), command)
    while (each := next(work)).phase != "dpo" or each.completed_step != 3:
        pass
    _, found = finish(update(workbench(tmp_path), command))
    assert {"ditto-1_nats_per_token", "ditto-2_nats_per_token"} <= found.verdict.figures.keys()
    assert (found.adapter, found.verdict, found.recipe) == (expected.adapter, expected.verdict, expected.recipe)


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
