"""One thing that is read again and again, each time in a thread of its own, so that what hangs holds nobody up.

Knows nothing of what is read, only how often, and what to say when that fails.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

Found = dict[str, Any]  # some of the fields of schedule.Conditions; empty: there is no such thing here

MOST_FAILURES = 3  # in a row: up to that, what was read before still counts, and the next look tries again
RETRY_SECONDS = 300.0  # from one failure more to the next attempt
ABSENT_SECONDS = 10.0  # from finding no such thing to the next look for it: somebody may log in
HANGS_SECONDS = 5.0  # without an answer: what was read before counts no more


class Absent(Exception):
    """There is no such thing on this machine."""


class Unreadable(Exception):
    """It should be there and cannot be read; the message says why, in words."""


class Reading:
    """`read` returns what it found, raises Absent, or anything else where it fails."""

    def __init__(self, what: str, read: Callable[[], Found], every_seconds: float = 0.0) -> None:
        self._what = what
        self._read = read
        self._every = every_seconds
        self._due = 0.0
        self._began = 0.0
        self._thread: threading.Thread | None = None
        self._outcome: tuple[Found, str | None] = ({}, None)
        self._failures = 0  # in a row

    def start(self, now: float) -> bool:
        """Read again, unless it is too early for that or the last reading still hangs."""
        if now < self._due or self._hangs_on():
            return False
        self._began, self._due = now, now + self._every
        self._thread = threading.Thread(target=self._work, args=(now,), name=f"probe {self._what}", daemon=True)
        self._thread.start()
        return True

    def wait(self, seconds: float) -> None:
        """For the reading that was started, but no longer than that."""
        if self._thread is not None:
            self._thread.join(max(0.0, seconds))

    def outcome(self, now: float) -> tuple[Found, str | None]:
        """What was found last, and a sentence if it cannot be read."""
        if self._hangs_on() and now - self._began >= HANGS_SECONDS:
            return {}, f"{self._what}: no answer"
        return self._outcome

    def _hangs_on(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _work(self, now: float) -> None:
        try:
            self._outcome, self._failures = (self._read(), None), 0
        except Absent:
            self._outcome, self._failures = ({}, None), 0
            self._due = now + ABSENT_SECONDS
        except Exception as error:
            self._failures += 1
            lasts = self._failures >= MOST_FAILURES
            if lasts or not self._outcome[0]:
                self._outcome = ({}, f"{self._what}: {_in_words(error)}")
            self._due = now + (RETRY_SECONDS if lasts else 0.0)


def _in_words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) if isinstance(error, Unreadable) else type(error).__name__
