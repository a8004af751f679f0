"""Whether an engine still lives: it says something, or its processor time grows.

Pure. Time is counted in looks, not read from a clock: a parent that slept with its machine, or was stopped, has not
looked. Knows neither the process nor what is said.
"""

from __future__ import annotations

from dataclasses import dataclass

LOOK_SECONDS = 5.0  # between two looks
STILL_SECONDS = 300.0  # without a word and without work: hung
SILENT_SECONDS = 900.0  # without a word, at work: hung too, unless it loads; no step or piece of a prompt takes so long
WORK_SECONDS = 1.0  # of the processor: less than that since it last worked is what waiting takes


@dataclass(slots=True)
class Pulse:
    """Of one process, from which a sign of life is due."""

    silent_seconds: float = 0.0  # since it last said something
    still_seconds: float = 0.0  # since it last said something or worked
    worked_seconds: float = 0.0  # of the processor, when it last worked

    def hear(self) -> None:
        """It has said something, or nothing is due from it."""
        self.silent_seconds = self.still_seconds = 0.0

    def look(self, processor_seconds: float) -> None:
        """Another look has found no word. `processor_seconds`: used since it began."""
        self.silent_seconds += LOOK_SECONDS
        self.still_seconds += LOOK_SECONDS
        if processor_seconds - self.worked_seconds >= WORK_SECONDS:
            self.worked_seconds, self.still_seconds = processor_seconds, 0.0

    def hung(self, *, loading: bool) -> str | None:
        """A sentence if it is. Loading a model takes as long as it takes, as long as it works."""
        doing = "while it loaded its model" if loading else "though it was asked"
        if self.still_seconds >= STILL_SECONDS:
            return f"it did nothing for {STILL_SECONDS / 60:.0f} minutes {doing}"
        if not loading and self.silent_seconds >= SILENT_SECONDS:
            return f"it said nothing for {SILENT_SECONDS / 60:.0f} minutes {doing}"
        return None
