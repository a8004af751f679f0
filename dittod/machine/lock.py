"""The lock that keeps a home to one daemon."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dittod.errors import AlreadyRunning, DittodError

HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)  # what systems say of a lock that another process has


def holder(lock: Path) -> int | None:
    """The process that holds the lock; 0: one that is not known, None: none. Raises DittodError where the file system
    has no locks."""
    file = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        return None if _try_lock(file, lock) else _written_pid(lock)
    finally:
        os.close(file)


def how_to_end(pid: int) -> str:
    """A process that `holder` has found."""
    return f"kill {pid}" if pid else "Ctrl-C where it runs"


@contextmanager
def held(lock: Path, *, patience_seconds: float = 0.5) -> Iterator[None]:
    """Hold the lock inside the block. The system lets go of it when the process dies, so none is ever stale.

    Raises AlreadyRunning, naming the process that has it, and DittodError where the file system has no locks.
    """
    file = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(file, lock, patience_seconds)
        _write_pid(file)
        yield
    finally:
        os.close(file)


def _lock(file: int, path: Path, patience_seconds: float) -> None:
    """Tries for a moment: `holder` takes the lock for an instant to see whether it is free."""
    deadline = time.monotonic() + patience_seconds
    while not _try_lock(file, path):
        if time.monotonic() >= deadline:
            raise AlreadyRunning(
                f"dittod is already running here (process {_written_pid(path) or 'unknown'})",
                "use it, stop it first, or set DITTOD_HOME to another folder",
            )
        time.sleep(0.05)


def _try_lock(file: int, path: Path) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            os.lseek(file, 1 << 20, os.SEEK_SET)  # Windows locks bytes, and the first ones hold the process's number
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in HELD:
            return False
        raise DittodError(
            f"the lock {path} cannot be taken: {error.strerror or type(error).__name__}",
            "its file system may be without locks: set DITTOD_HOME to a folder on a disk of this machine",
        ) from error
    return True


def _write_pid(file: int) -> None:
    """On a full disk there may be no room for it: then the lock holds without."""
    number = str(os.getpid()).encode()
    os.lseek(file, 0, os.SEEK_SET)
    try:
        written = os.write(file, number)  # over the one before, which has its room already
    except OSError:
        written = 0
    with suppress(OSError):
        os.ftruncate(file, written if written == len(number) else 0)


def _written_pid(lock: Path) -> int:
    try:
        return int(lock.read_text())
    except (OSError, ValueError):
        return 0
