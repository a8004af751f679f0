"""The lock: one holder, gone with its process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dittod.errors import AlreadyRunning
from dittod.machine.lock import held, holder


def test_a_second_holder_is_told_who_has_it(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    assert holder(lock) is None
    with held(lock):
        assert holder(lock) == os.getpid()
        with pytest.raises(AlreadyRunning, match=f"process {os.getpid()}"), held(lock, patience_seconds=0.0):
            pass
    assert holder(lock) is None


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    code = (
        "import sys, time; from pathlib import Path; from dittod.machine.lock import held\n"
        "with held(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(lock)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    assert holder(lock) == process.pid
    process.kill()
    process.wait()
    process.stdout.close()
    assert holder(lock) is None
