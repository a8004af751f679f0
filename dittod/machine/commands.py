"""Programs of the system that tell what no file does. Each has a second."""

from __future__ import annotations

import subprocess

from dittod.machine.reading import Unreadable

ANSWER_SECONDS = 1.0


def ioreg(*arguments: str) -> str:
    """What macOS's registry of devices prints. Raises Unreadable."""
    try:
        return subprocess.run(
            ["/usr/sbin/ioreg", *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ANSWER_SECONDS,
            check=True,
        ).stdout
    except subprocess.TimeoutExpired as error:
        raise Unreadable("ioreg gives no answer") from error
    except (OSError, subprocess.CalledProcessError) as error:
        raise Unreadable("ioreg fails") from error
