"""Free memory and free disk. A container's limit counts as the machine's memory does."""

from __future__ import annotations

import shutil
from pathlib import Path

import psutil

from dittod.machine.reading import Found

GROUPS = Path("/sys/fs/cgroup")  # control groups v2
OWN_GROUP = Path("/proc/self/cgroup")


def free_memory() -> Found:
    """What programs could have without swapping, here and within the limits of this process's groups."""
    available = int(psutil.virtual_memory().available)
    own = own_group(GROUPS, OWN_GROUP)
    return {"free_memory_bytes": min([available, *(room for group in own if (room := room_in(group)) is not None)])}


def own_group(groups: Path, own: Path) -> list[Path]:
    """The folder of this process's group and those around it, of whichever has a limit the smallest counts."""
    try:
        line = next(each for each in own.read_text().splitlines() if each.startswith("0::"))
    except (OSError, StopIteration):
        return []
    innermost = groups / line.removeprefix("0::").strip("/")
    return [each for each in (innermost, *innermost.parents) if each.is_relative_to(groups)]


def room_in(group: Path) -> int | None:
    """What is left below its limit, files that are only cached not counted as used; None: it has no limit."""
    try:
        limit = (group / "memory.max").read_text().strip()
        if limit == "max":
            return None
        used = int((group / "memory.current").read_text())
        kept = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return max(0, int(limit) - used + int(kept.get("inactive_file", 0)))
    except (OSError, ValueError):
        return None


def free_disk(home: Path) -> Found:
    """Where the home lies, for this user."""
    return {"free_disk_bytes": shutil.disk_usage(home).free}
