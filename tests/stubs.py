"""An engine for tests of what is around it: a real process that is there in a moment, and fails as it is asked to."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from dittod.engine import process
from dittod.engine.client import Engine

STUB = Path(__file__).parent / "engine" / "stub_engine.py"


def stub_engine(folder: Path, monkeypatch: pytest.MonkeyPatch, *, model: str = "fine") -> Engine:
    """`model`: fine, dies, refuses, hangs or talks; see stub_engine.py. A file named fine in the folder heals it."""
    program = folder / "python"
    healed = f"[ -e '{folder}/fine' ] && set -- --base-model fine"
    program.write_text(f"#!/bin/sh\nshift 2\n{healed}\nexec '{sys.executable}' '{STUB}' \"$@\"\n")
    program.chmod(0o700)
    monkeypatch.setattr(process, "sys", SimpleNamespace(executable=str(program)))
    return Engine(model, "none", folder / "engine.log")
