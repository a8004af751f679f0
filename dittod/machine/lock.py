"""The lock that keeps a home to one daemon."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dittod.errors import AlreadyRunning


def holder(lock: Path) -> int | None:
    """The process that holds the lock, if one does."""
    try:
        with held(lock, patience_seconds=0.0):
            return None
    except AlreadyRunning:
        return _written_pid(lock)


@contextmanager
def held(lock: Path, *, patience_seconds: float = 0.5) -> Iterator[None]:
    """Hold the lock inside the block. The system lets go of it when the process dies, so none is ever stale.

    Raises AlreadyRunning, naming the process that has it.
    """
    file = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(file, lock, patience_seconds)
        os.ftruncate(file, 0)
        os.lseek(file, 0, os.SEEK_SET)
        os.write(file, str(os.getpid()).encode())
        yield
    finally:
        os.close(file)


def _lock(file: int, path: Path, patience_seconds: float) -> None:
    """Tries for a moment: `holder` takes the lock for an instant to see whether it is free."""
    deadline = time.monotonic() + patience_seconds
    while not _try_lock(file):
        if time.monotonic() >= deadline:
            raise AlreadyRunning(
                f"dittod is already running here (process {_written_pid(path) or 'unknown'})",
                "use it, stop it first, or set DITTOD_HOME to another folder",
            )
        time.sleep(0.05)


def _try_lock(file: int) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            os.lseek(file, 1 << 20, os.SEEK_SET)  # Windows locks bytes, and the first ones hold the process's number
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _written_pid(lock: Path) -> int | None:
    try:
        return int(lock.read_text())
    except (OSError, ValueError):
        return None
