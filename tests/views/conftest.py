"""A home with nothing in it yet, and what it is set to."""

from __future__ import annotations

from pathlib import Path

import pytest

from dittod.config import Settings, load_settings
from dittod.paths import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.create()
    return made


@pytest.fixture
def settings(home: Home) -> Settings:
    return load_settings(home)
