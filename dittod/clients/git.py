"""Whether a file would go into the next commit of the repository that it lies in. Knows no client, reads no file."""

from __future__ import annotations

import subprocess
from pathlib import Path

SECONDS = 10.0  # a repository on a slow disk
IGNORED = 0  # what `git check-ignore` ends with for a file that is not tracked and is ignored


def is_published(file: Path) -> bool:
    """Whether it is tracked, or not ignored. Where git cannot say so, it counts as published."""
    if not any((folder / ".git").exists() for folder in file.parents):
        return False
    command = ["git", "-C", str(file.parent), "check-ignore", "--quiet", "--", file.name]
    try:
        asked = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return True
    return asked.returncode != IGNORED
