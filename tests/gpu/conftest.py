"""Every test in this folder wants a card, and leaves it as empty as it found it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from dittod.engine.worker import give_memory_back


@pytest.fixture(autouse=True)
def card() -> Iterator[None]:
    if not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU")
    yield
    give_memory_back()
