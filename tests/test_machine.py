"""The lock: one holder, gone with its process."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dittod.errors import AlreadyRunning, DittodError
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


def test_where_the_file_system_has_no_locks_that_is_said_and_nobody_is_taken_for_its_holder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    for attempt in (lambda: holder(tmp_path / "lock"), held(tmp_path / "lock").__enter__):
        with pytest.raises(DittodError, match="cannot be taken: No locks available") as raised:
            attempt()
        assert not isinstance(raised.value, AlreadyRunning) and "DITTOD_HOME" in raised.value.hint


@pytest.mark.parametrize("before", ["", "4194303999"])
def test_a_full_disk_keeps_nobody_from_the_lock_and_leaves_no_wrong_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    lock = tmp_path / "lock"
    lock.write_text(before)
    monkeypatch.setattr("dittod.machine.lock.os.write", full)
    with held(lock):
        assert holder(lock) == 0, "held, and by whom is not known"
        with pytest.raises(AlreadyRunning, match="process unknown"), held(lock, patience_seconds=0.0):
            pass
    assert holder(lock) is None


def test_a_number_that_is_longer_than_the_next_one_leaves_no_digits_behind(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text("4194303999999")
    with held(lock):
        assert holder(lock) == os.getpid()
