"""Whether learning of one kind is held, with a memory of its pauses, so that it does not begin and end by turns.

Knows nothing of runs, engine or store: what is to be judged is handed in, and the caller acts.
"""

from __future__ import annotations

from dittod.schedule import Limits, Signals, goes_on_later, reason_to_pause, reason_to_stay_paused

LEAST_SECONDS = 30.0  # of a pause; twice that for each other one that began within the last hour
LONGEST_LEAST_SECONDS = 1800.0
NOT_LOOKED = "has yet to look at the machine"


class Hold:
    """Of what was asked for by hand, or of what was not."""

    def __init__(self, limits: Limits, *, by_hand: bool) -> None:
        self._limits = limits
        self._by_hand = by_hand
        self._began: list[float] = []  # the pauses of the last hour, in monotonic seconds
        self._until = 0.0  # monotonic seconds: before that no pause ends by itself
        self._rest: str | None = None  # what is said from the end of the reason to the end of the pause
        self.reason: str | None = NOT_LOOKED

    def look(self, signals: Signals, now: float, *, at_work: bool, waiting: bool) -> str | None:
        """Why it is held at `now` (monotonic seconds). `at_work`: the engine learns of this kind; `waiting`: some of
        it is open. What is at work, and what the user has just asked for, is held for less than what was paused."""
        held = waiting and self.reason not in (None, NOT_LOOKED)
        if signals.paused_until is not None:
            self._until = 0.0  # who pauses by hand resumes by hand, at once
        if (at_work or self._by_hand) and not held:
            reason = reason_to_pause(signals, self._limits, by_hand=self._by_hand)
            if reason is not None and at_work and signals.paused_until is None:
                self._begin(now)
        else:
            reason = reason_to_stay_paused(signals, self._limits, by_hand=self._by_hand)
            if reason is None and held and now < self._until:
                self._rest = self._rest or goes_on_later(signals.now, self._until - now, str(self.reason))
                self.reason = self._rest
                return self.reason
        self.reason, self._rest = reason, None
        return reason

    def _begin(self, now: float) -> None:
        self._began = [*(each for each in self._began if now - each < 3600.0), now]
        self._until = now + min(LONGEST_LEAST_SECONDS, LEAST_SECONDS * 2.0 ** (len(self._began) - 1))
