"""Why engines died, what they did then, and whether they keep dying of it.

Pure but for what `Scene` reads. Knows suspects by name; knows neither the process nor the pipe.
"""

from __future__ import annotations

import contextlib
import json
import math
import signal
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

LOADING = "loading"  # suspects that are no adapter's id: the start,
LEARNING = "learning"  # updates and the trying of prompts,
BASE = "base"  # answers of the base model, embeddings, tokens,
IDLENESS = "idleness"  # and nothing at all
KINDS = (LOADING, LEARNING, BASE, IDLENESS)

MANY = 3  # deaths of one suspect's in a row are no chance
ROW_SECONDS = 1200.0  # deaths further apart are no row
TROUBLE_SECONDS = 600.0  # without a death until it is trusted again
LONGEST_BACKOFF_SECONDS = 60.0
TAIL_BYTES = 4096  # of its log, where the last error is looked for
LONGEST_KIND = 100  # characters


@dataclass(frozen=True, slots=True)
class Row:
    """Deaths with the same suspect, who has ended nothing well in between. Monotonic seconds."""

    count: int
    since: float
    until: float

    def with_another(self, at: float) -> Row:
        """One more, unless the row is too old to go on."""
        return Row(self.count + 1, self.since, at) if at - self.until <= ROW_SECONDS else Row(1, at, at)


@dataclass(slots=True)
class Deaths:
    """The memory of one parent for its engines' deaths."""

    cause: str | None = None  # of the latest, a sentence
    set_aside: frozenset[str] = frozenset()  # ids of adapters that were answering too often when it died
    _rows: dict[str, Row] = field(default_factory=dict[str, Row])

    def add(self, cause: str, suspects: Collection[str], now: float) -> None:
        """Another one."""
        self.cause = cause
        for suspect in suspects or (IDLENESS,):
            row = self._rows.get(suspect)
            self._rows[suspect] = row.with_another(now) if row else Row(1, now, now)
        bad = {suspect for suspect, row in self._rows.items() if row.count >= MANY and suspect not in KINDS}
        self.set_aside |= bad

    def acquit(self, suspect: str) -> None:
        """Something of its ended well."""
        if suspect not in self.set_aside:
            self._rows.pop(suspect, None)
        if suspect != LOADING:
            self._rows.pop(IDLENESS, None)

    def cannot_load(self) -> bool:
        """Whether it dies whenever it loads its model."""
        return LOADING in self._rows and self._rows[LOADING].count >= MANY

    def backoff_seconds(self) -> float:
        """How long the next start should wait after the latest death."""
        if self.cannot_load():
            return TROUBLE_SECONDS
        counts = [row.count for suspect, row in self._rows.items() if suspect not in self.set_aside]
        most = max(counts, default=0)
        return min(LONGEST_BACKOFF_SECONDS, 2.0 ** (most - 2)) if most > 1 else 0.0

    def trouble(self, now: float) -> str | None:
        """A sentence while it keeps dying; it names nobody's profile."""
        rows = {suspect: row for suspect, row in self._rows.items() if row.count >= MANY}
        if not rows:
            return None
        suspect, row = max(rows.items(), key=lambda each: each[1].until)
        if now - row.until >= TROUBLE_SECONDS:
            return None
        sentence = f"the engine died {row.count} times in {_duration(row.until - row.since)}, the last time: "
        return sentence + (self.cause or "") + _remark(suspect)


def _remark(suspect: str) -> str:
    if suspect == LOADING:
        return f"; it is started again every {TROUBLE_SECONDS / 60:.0f} minutes at most"
    if suspect in KINDS:
        return ""
    return "; the adapter that was answering is set aside until the next start, and base answers for it"


def _duration(seconds: float) -> str:
    minutes = max(1, math.ceil(seconds / 60))
    return "a minute" if minutes == 1 else f"{minutes} minutes"


@dataclass(frozen=True, slots=True)
class Scene:
    """What can be found out about a death afterwards: taken before the start, looked at after the end."""

    log_file: Path
    log_bytes: int  # of the log, before the start
    killings: int | None  # by the system when memory ran out; None: cannot be read

    @classmethod
    def before(cls, log_file: Path) -> Scene:
        """As it is now."""
        try:
            size = log_file.stat().st_size
        except OSError:
            size = 0
        return cls(log_file, size, killings_for_memory())

    def cause(self, code: int) -> str:
        """Why a process ended with this exit code, in words."""
        if code == -9:
            return self._of_a_killing()
        said = last_error(self.log_file, self.log_bytes)
        return f"{_name_of(code)}: {said}" if said else f"{_name_of(code)}, see logs/engine.log"

    def _of_a_killing(self) -> str:
        after = killings_for_memory()
        if self.killings is None or after is None:
            return "killed: by the system when memory ran out, or by hand"
        return "killed by the system: memory ran out" if after > self.killings else "killed by hand or another program"


def _name_of(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"signal {signal.Signals(-code).name}"
    return f"signal {-code}"


def last_error(log_file: Path, from_byte: int) -> str | None:
    """The kind of the last error that the engine logged after that place in its log. Never its message: what an
    exception says may quote a text."""
    try:
        with log_file.open("rb") as file:
            size = file.seek(0, 2)
            start = from_byte if from_byte <= size else 0  # rotated since
            file.seek(max(start, size - TAIL_BYTES))
            lines = file.read(TAIL_BYTES).decode("utf-8", "replace").splitlines()
    except OSError:
        return None
    return next((kind for line in reversed(lines) if (kind := _kind_of(line))), None)


def _kind_of(line: str) -> str | None:
    """Of a line that the engine logged, or of Python's last words when it crashes."""
    if line.startswith("Fatal Python error: "):
        return line[:LONGEST_KIND]
    try:
        record = json.loads(line)
        is_error = record["level"] in ("ERROR", "CRITICAL")
        return str(record["message"]).splitlines()[0][:LONGEST_KIND] if is_error else None
    except (ValueError, KeyError, TypeError, IndexError):
        return None


def killings_for_memory(groups: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """How often the kernel has killed a process of this one's control group for want of memory. None: cannot be read,
    as on systems without control groups of version 2."""
    try:
        own = next(line[3:] for line in groups.read_text().splitlines() if line.startswith("0::"))
        counts = (root / own.strip("/") / "memory.events").read_text().split()
        return int(counts[counts.index("oom_kill") + 1])
    except (OSError, StopIteration, ValueError, IndexError):
        return None
