"""How much is let in at once, and for how long it may take. A full queue is a 429.

It counts answers, not requests: `n` of 8 takes eight places. Knows nothing of the engine, which decodes as many
together as it can and lets the others wait.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from dittod_service.openai.errors import NO_RETRY, Failure, Refused

MOST_ANSWERS = 128  # running and waiting together, unless told otherwise
MOST_SECONDS = 1800.0  # for one request, from its first byte to its last, unless told otherwise
LONGEST_WAIT_SECONDS = 60  # that a client is told to wait before it tries again
_RECENT = 0.2  # weight of the latest request in the running mean of how long one takes

TOOK_TOO_LONG = Failure(
    504,
    "The answer took longer than a request may: ask for less at once",
    "server_error",
    code="request_timeout",
    headers=NO_RETRY,
)


class Admission:
    """The places of one endpoint. Used from one event loop."""

    def __init__(self, most_answers: int = MOST_ANSWERS, most_seconds: float = MOST_SECONDS) -> None:
        self._most_answers = most_answers
        self.most_seconds = most_seconds
        self._mean_seconds = 1.0  # of a request, of late
        self._begun: list[float] = []  # when each that holds places began, in monotonic seconds, the oldest first
        self.taken = 0

    def check(self, answers: int = 1) -> None:
        """Raises Refused where so many places are not free; one request may always run."""
        if self.taken and self.taken + answers > self._most_answers:
            raise Refused(self._full())

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Hold one place inside the block, which is Refused when it takes longer than a request may."""
        with self.place(1):
            try:
                async with asyncio.timeout(self.most_seconds):
                    yield
            except TimeoutError:
                raise Refused(TOOK_TOO_LONG) from None

    @contextmanager
    def place(self, answers: int) -> Iterator[None]:
        """Hold so many places inside the block. Raises Refused where they are not free."""
        self.check(answers)
        self.taken += answers
        begun = time.monotonic()
        self._begun.append(begun)
        try:
            yield
        finally:
            self.taken -= answers
            self._begun.remove(begun)
            self._mean_seconds += _RECENT * (time.monotonic() - begun - self._mean_seconds)

    def _full(self) -> Failure:
        oldest = time.monotonic() - self._begun[0] if self._begun else 0.0  # those behind it wait as long at least
        wait = str(min(LONGEST_WAIT_SECONDS, max(1, math.ceil(max(self._mean_seconds, oldest)))))
        return Failure(
            429,
            f"{self.taken} answers are running or waiting, and {self._most_answers} is the most: try again in {wait} s",
            "rate_limit_error",
            code="rate_limit_exceeded",
            headers={"retry-after": wait},
        )
