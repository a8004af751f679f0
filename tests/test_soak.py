"""Two minutes of what `make soak` does for half an hour: everything at once, and nothing lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
MOST_GROWTH_MB = 60.0  # of the daemon, in two minutes of which the first half are warming up


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_minutes_of_everything_at_once_lose_double_and_break_nothing() -> None:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "soak.py"), "--quick"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["demonstrations"] > 50
    assert figures["answers"]["answered"] > 5
    assert figures["harm"]["engine killed"] > 1
    wrong = {name: figures[name] for name in ("lost", "doubled", "undead", "broken_answers", "processes_left")}
    wrong |= {name: figures[name] for name in ("texts_in_logs", "open_to_others", "adapters_without_weights")}
    assert not any(wrong.values()), (wrong, figures["faults"])
    assert figures["bad_ends"] == []
    assert figures["store_is_sound"]
    assert figures["memory_growth_mb"] < MOST_GROWTH_MB
