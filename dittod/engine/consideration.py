"""How the engine stands behind other programs: in the processor's line while it learns, and always when memory ends.

Linux divides the processor among sessions first (autogroup, on by default), and the engine has one of its own. So the
session's niceness is what counts, and that may be taken back at once when somebody asks, even in the middle of a
micro-step. Without autogroup the niceness of threads counts: learning has a thread of its own, whose workers inherit
it, but that cannot be taken back. What is read and written follows a thread's. Windows and macOS: nothing is done yet.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
from pathlib import Path

NICENESS = 10  # of learning: a ninth of the processor's time beside a program that never waits
FIRST_TO_GO = 500  # of 1000: what the kernel adds to the share of memory that this process takes
AUTOGROUP = Path("/proc/self/autogroup")
_M_ARENA_MAX = -8  # of glibc's mallopt


class Standing:
    """Of the engine's session. Nothing, where the session is not its own."""

    def __init__(self) -> None:
        self._own = sys.platform == "linux" and os.getsid(0) == os.getpid() and AUTOGROUP.exists()
        self._behind = False
        self._changing = threading.Lock()

    def set(self, *, behind: bool) -> None:
        """Stand behind other sessions, or beside them. From any thread. The kernel takes ten changes a second of all
        sessions together: one that came too soon is left to the next occasion."""
        with self._changing:
            if not self._own or behind == self._behind:
                return
            with contextlib.suppress(OSError):
                AUTOGROUP.write_text(str(NICENESS if behind else 0))
                self._behind = behind


def be_considerate() -> None:
    """For the calling thread, and those it will start. A system that does not allow it is no reason not to learn."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


def be_the_first_to_go() -> None:
    """Where memory ends, the kernel shall take the engine, which is started again, and not the browser. And all threads
    share one heap: what one has freed, the others can use."""
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # another C library than glibc has no such heaps
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(str(FIRST_TO_GO))
