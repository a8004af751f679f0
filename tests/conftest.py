"""Fixtures that several folders of tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import make_tiny_model


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random two-layer model over bytes. Read it; never write into it."""
    return make_tiny_model(tmp_path_factory.mktemp("model") / "tiny")
