"""When is a dropped file finished? When its size and time have not changed for a while. Pure: takes `now`, no clock.

Knows sizes, times and the names of temporary files. Does not know the disk: `ingest.watch` tells it what it saw.

A slow writer, a network copy or a resumed download changes the file again and waits anew. An editor that writes a
temporary file and renames it shows up as one new path. `now` may stand still or jump (a suspended laptop, a corrected
clock): a jump back restarts the wait, so that no file waits longer than `settle_seconds` of real time twice over.
"""

from __future__ import annotations

from collections.abc import Container, Hashable
from dataclasses import dataclass
from pathlib import PurePath

EXPECTED_SECONDS = 600.0  # what has waited for longer keeps changing, and nobody can tell until when

_TEMPORARY_SUFFIXES = (".tmp", ".temp", ".part", ".partial", ".crdownload", ".download", ".swp", ".swx", ".lock", "~")
_TEMPORARY_PREFIXES = (".", "~$", "#")  # hidden files and AppleDouble, Office's owner files, Emacs' autosaves
_SYSTEM_NAMES = frozenset(("thumbs.db", "desktop.ini", "icon\r", "@eadir", "__macosx", "lost+found"))


def is_taken(name: str) -> bool:
    """Whether a file or folder of this name is looked at: not hidden, not temporary, not the system's own."""
    lower = name.lower()
    return not (lower.startswith(_TEMPORARY_PREFIXES) or lower.endswith(_TEMPORARY_SUFFIXES) or lower in _SYSTEM_NAMES)


@dataclass(frozen=True, slots=True)
class _Seen:
    state: Hashable  # (size, changed_ns)
    since: float  # when it was first seen so
    first: float  # when it was first seen, in whichever state


class Settler:
    """The files that are waiting to be finished. A path is `ready` once per state; then it is forgotten."""

    def __init__(self, settle_seconds: float) -> None:
        self.settle_seconds = settle_seconds
        self._waiting: dict[str, _Seen] = {}

    def seen(self, path: str, size: int, changed_ns: int, now: float) -> None:
        """The file was there with this size and time of change. Call it for each event and each look."""
        if not is_taken(PurePath(path).name):
            return
        known = self._waiting.get(path)
        if known is None or known.state != (size, changed_ns) or now < known.since:
            self._waiting[path] = _Seen((size, changed_ns), now, min(known.first if known else now, now))

    def gone(self, path: str) -> None:
        """The file was deleted or renamed away."""
        self._waiting.pop(path, None)

    def ready(self, now: float) -> list[str]:
        """The paths that have not changed for `settle_seconds`, the longest unchanged first; each is given once."""
        for path, known in self._waiting.items():
            if now < known.since:
                self._waiting[path] = _Seen(known.state, now, min(known.first, now))
        settled = [path for path, known in self._waiting.items() if now - known.since >= self.settle_seconds]
        settled.sort(key=lambda path: (self._waiting[path].since, path))
        for path in settled:
            del self._waiting[path]
        return settled

    def waiting(self) -> list[str]:
        """The paths to look at again: a file that still grows may give no further event."""
        return list(self._waiting)

    def expected(self, now: float, read_before: Container[str]) -> list[str]:
        """Those of them that will be finished soon. Not: what has waited for long; and what was read before and changes
        while it waits, as a journal does that is written to all day."""
        return [
            path
            for path, seen in self._waiting.items()
            if now - seen.first < EXPECTED_SECONDS and not (path in read_before and seen.since > seen.first)
        ]

    def __len__(self) -> int:
        return len(self._waiting)
