"""All probes together: how the machine is now.

What a probe reads and where is its own module's; this one knows how often each is worth reading. No decisions in here.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from dittod.machine.bus import Bus, system_address
from dittod.machine.gpu import Gpu
from dittod.machine.idle import Idle
from dittod.machine.memory import free_disk, free_memory
from dittod.machine.power import Lid, battery, processor_temperature
from dittod.machine.reading import Found, Reading
from dittod.schedule import Conditions

PATIENCE_SECONDS = 0.8  # of one look, for all probes together
PROGRAM_SECONDS = 4.0  # between two looks at what only another program tells, as on macOS
SLOW_SECONDS = 10.0  # between two looks at what changes slowly, or takes a driver long to tell
HOT_SECONDS = 5.0


class Probes:
    """Read again and again; what is slow to read is kept for a while."""

    def __init__(self, home: Path, engine_pid: Callable[[], int | None]) -> None:
        """`home`: whose disk counts; `engine_pid`: what the engine itself uses is not other programs' use."""
        often = PROGRAM_SECONDS if sys.platform == "darwin" else 0.0
        self._readings = [
            Reading("keyboard and mouse", Idle(), often),
            Reading("lid", Lid(Bus(system_address)), often),
            Reading("battery", battery, SLOW_SECONDS),
            Reading("temperature of the processor", processor_temperature, HOT_SECONDS),
            Reading("free memory", free_memory),
            Reading("graphics card", Gpu(engine_pid)),
            Reading("free disk", lambda: free_disk(home), SLOW_SECONDS),
        ]

    def look(self) -> Conditions:
        """How the machine is now. Never raises: what cannot be read is named in `unreadable`."""
        began = time.monotonic()
        started = [each for each in self._readings if each.start(began)]
        for reading in started:
            reading.wait(began + PATIENCE_SECONDS - time.monotonic())
        return together([each.outcome(time.monotonic()) for each in self._readings])


def together(outcomes: list[tuple[Found, str | None]]) -> Conditions:
    """Of the temperatures, the highest."""
    found: Found = {}
    for each, _ in outcomes:
        hotter = max(each.get("temperature_celsius", 0.0), found.get("temperature_celsius", 0.0))
        found = found | each | ({"temperature_celsius": hotter} if hotter else {})
    return Conditions(**found, unreadable=tuple(trouble for _, trouble in outcomes if trouble is not None))
