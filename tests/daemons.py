"""Real `dittod run` processes for tests: started in a home of their own, watched through the CLI, killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

START = "from dittod.cli import main; main()"


class DaemonProcess:
    """One home and the daemon that runs in it, if one does."""

    def __init__(self, home: Path, **settings: str) -> None:
        self.home = home
        self.watched = home / "watched"
        self.output = home.with_suffix(".output")
        self.process: subprocess.Popen[bytes] | None = None
        variables = {f"DITTOD_{name.upper()}": value for name, value in settings.items()}
        defaults = {
            "DITTOD_PORT": "0",
            "DITTOD_SETTLE_SECONDS": "0.2",
            "DITTOD_IDLE_SECONDS": "0",  # what a person at this machine does, or its battery, is no matter of a test
            "DITTOD_QUIET_SECONDS": "0",
            "DITTOD_REST_SECONDS": "0",
            "DITTOD_LEARN_ON_BATTERY": "true",
            "DITTOD_LEARN_WITH_LID_CLOSED": "true",
            "DITTOD_MIN_BATTERY_PERCENT": "0",
            "DITTOD_MAX_GPU_USE_PERCENT": "100",
            "DITTOD_MAX_TEMPERATURE_CELSIUS": "1000",
            "DITTOD_MIN_FREE_MEMORY": "1MB",
            "DITTOD_MIN_FREE_GPU_MEMORY": "1MB",
            "DITTOD_MIN_FREE_DISK": "1MB",
            "DITTOD_EXAMPLES": "0",  # every version has weights, and no prompt is long
            "OMP_NUM_THREADS": "1",
        }
        self.environment = {**os.environ, **defaults, **variables, "DITTOD_HOME": str(home)}

    def start(self, code: str = START) -> None:
        """Start it, and wait until it says where it serves. `code` may patch things before it calls main."""
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code, "run"], env=self.environment, stdout=output, stderr=output
            )
        wait_for(lambda: self.ended or self.status()["endpoint"] is not None, 60)

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self.process is None or self.process.poll() is not None

    def kill(self, number: int = signal.SIGKILL) -> int:
        """Send a signal and wait for the end; returns the exit code."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(30)

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command in the same home."""
        command = [sys.executable, "-c", START, *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False, timeout=120)

    def json(self, *arguments: str) -> Any:
        """What a command prints with --json."""
        done = self.cli(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def status(self) -> dict[str, Any]:
        """`dittod status --json`."""
        return dict(self.json("status"))

    def profile(self, name: str = "default") -> dict[str, Any]:
        """The profile's part of it."""
        return next(each for each in self.status()["profiles"] if each["name"] == name)


def wait_for(condition: Callable[[], object], seconds: float) -> None:
    """Fails when the condition has not come true in that time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s"
        time.sleep(0.1)


def mail(words: str, *, sender: str = "bob@x.example", day: int = 1, headers: Mapping[str, str] | None = None) -> bytes:
    """A short mail of Bob's."""
    lines = {
        "From": f"Bob <{sender}>",
        "To": "Ann <ann@x.example>",
        "Subject": f"Note {day}",
        "Date": f"Thu, {day:02d} Jan 2026 10:00:00 +0000",
        **(headers or {}),
    }
    head = "".join(f"{name}: {value}\n" for name, value in lines.items())
    return f"{head}\n{words}\n".encode()
