"""A workbench over the tiny model, and short demonstrations. Models are made anew: adapters wrap them in place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fakes import demonstration, tiny_base

from dittod.engine.protocol import Update
from dittod.learner.workbench import Workbench
from dittod.model.decode import Decoder
from dittod.model.lora import LoraAdapters
from dittod.types import Demonstration

MakeWorkbench = Callable[..., Workbench]

SHORT = {
    "supervised_steps": 3,
    "dpo_steps": 4,
    "resample_every": 2,
    "samples_per_demonstration": 2,
    "completion_tokens_least": 4,
    "completion_ratio": 1.0,
    "guard_patience": 0,
}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def make_workbench(tmp_path: Path) -> MakeWorkbench:
    """Each call makes a new one, equal to the others: what a new process would have."""

    def make(dtype: torch.dtype = torch.float32) -> Workbench:
        base = tiny_base(tmp_path / "model", dtype=dtype)
        adapters = LoraAdapters(base)
        return Workbench(base, adapters, Decoder(base, adapters, max_rows=64))

    return make


@pytest.fixture
def demonstrations() -> tuple[Demonstration, ...]:
    """Two share a prompt and differ in their completion."""
    return (
        demonstration("Ask Bo", "Bo, lunch?"),
        demonstration("Ask Bo", "Bo! Tea. A."),
        demonstration("Thank Cy", "Cy, ta. A."),
    )


@pytest.fixture
def make_update(tmp_path: Path, demonstrations: tuple[Demonstration, ...]) -> Callable[..., Update]:
    """An update of a few short steps, in a directory of its own."""

    def make(name: str = "run", learnt: tuple[Demonstration, ...] = demonstrations, **overrides: float) -> Update:
        return Update(
            id=name,
            directory=str(tmp_path / name),
            adapters_directory=str(tmp_path / "adapters"),
            preset="clean",
            seed=7,
            demonstrations=learnt,
            held_out=(),
            served=None,
            overrides={**SHORT, **overrides},
        )

    return make
