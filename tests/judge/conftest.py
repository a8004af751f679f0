"""What the judges' tests share: a model, its adapters and a decoder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fakes import tiny_base

from dittod.learner.workbench import Workbench
from dittod.model.decode import Decoder
from dittod.model.lora import LoraAdapters


@pytest.fixture
def bench(tmp_path: Path) -> Workbench:
    torch.set_num_threads(1)
    base = tiny_base(tmp_path / "model")
    adapters = LoraAdapters(base)
    return Workbench(base, adapters, Decoder(base, adapters, max_rows=8))
