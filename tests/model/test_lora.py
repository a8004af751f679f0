"""Adapters from folders that others wrote: what is broken is refused, and harms neither the base nor its neighbours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from fakes import tiny_base

from dittod.errors import ModelError
from dittod.model.load import BaseModel
from dittod.model.lora import CONFIG_FILE, LoraAdapters, LoraShape

PLAIN = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "target_modules": ["q_proj"], "r": 4, "lora_alpha": 8}


@pytest.fixture
def base(tmp_path: Path) -> BaseModel:
    return tiny_base(tmp_path / "model")


def _logits(base: BaseModel) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = base.model(torch.tensor([[1, 2, 3]])).logits
    return logits


@pytest.mark.parametrize(
    "config",
    [
        [],
        5,
        {"peft_type": "IA3"},
        {"peft_type": "none of PEFT's"},
        {"peft_type": ["LORA"]},
        {**PLAIN, "r": "x"},
        {**PLAIN, "r": 0},
        {**PLAIN, "r": 8},
        {**PLAIN, "lora_alpha": None},
        {**PLAIN, "rank_pattern": 5},
        {**PLAIN, "target_modules": "((("},
        {**PLAIN, "target_modules": ["nothing of that name"]},
        {**PLAIN, "modules_to_save": ["lm_head"]},
        {**PLAIN, "use_dora": True},
    ],
)
def test_a_broken_configuration_is_refused_and_changes_nothing(base: BaseModel, tmp_path: Path, config: object) -> None:
    before = _logits(base)
    adapters = LoraAdapters(base)
    adapters.create("good", LoraShape(rank=4, alpha=8, targets=("q_proj",)), seed=1)
    folder = tmp_path / "adapter"
    adapters.save("good", folder)
    plain = (folder / CONFIG_FILE).read_text(encoding="utf-8")
    (folder / CONFIG_FILE).write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ModelError, match="adapter"):
        adapters.load("broken", folder)
    assert adapters.names() == ["good"]
    assert torch.equal(_logits(base), before)
    (folder / CONFIG_FILE).write_text(plain, encoding="utf-8")
    adapters.load("broken", folder)
