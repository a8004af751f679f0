"""One engine process as the parent sees it: lines to it, lines from it, its end. Never imports torch.

Knows neither what is said nor why; what it writes to stderr goes into a file.
"""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import IO

import psutil

from dittod.logs import LogFile

ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin at barriers run 10 to 20 times slower beside other programs
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64",  # shapes of products whose kernels are kept; 1024 by default, each some
    "LRU_CACHE_CAPACITY": "64",  # 0.3 MB, and this for torch's own: gigabytes in time, since every text has its length
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",  # a bar that cannot be written, on a full disk, would fail the loading that it shows
}
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}  # nothing leaves the machine


class EngineProcess:
    """It has been started, and runs until it ends or is killed."""

    def __init__(self, arguments: Sequence[str], log: LogFile) -> None:
        log_fd = log.open()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "dittod.engine", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log_fd,
                env={**ENVIRONMENT, **os.environ, **OFFLINE},
                start_new_session=True,  # Ctrl-C reaches the parent alone, which then ends the engine in order
            )
        finally:
            os.close(log_fd)
        self.pid = self._process.pid
        self.killed_for: str | None = None  # by us: why
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()  # None: no more
        try:
            threading.Thread(target=self._write, name="engine's commands", daemon=True).start()
        except BaseException:  # no thread is left: neither is the process then
            self.kill()
            self.wait()
            _close(self._process.stdin)
            _close(self._process.stdout)
            raise

    def say(self, line: bytes) -> None:
        """Without waiting for it to be read."""
        self._outbox.put(line)

    def processor_seconds(self) -> float:
        """That it has used since it began; 0.0 if the system does not tell."""
        try:
            times = psutil.Process(self.pid).cpu_times()
        except psutil.Error:
            return 0.0
        return times.user + times.system

    def lines(self) -> Iterator[bytes]:
        """What it says, until it ends."""
        assert self._process.stdout is not None
        yield from self._process.stdout

    def kill(self, reason: str | None = None) -> None:
        """At once. `reason`: what it did wrong."""
        if self._process.poll() is None:
            self.killed_for = reason
            self._process.kill()

    def wait(self, seconds: float | None = None) -> int:
        """Until it has ended; killed after that time. Returns its exit code, or minus the signal's number."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def close(self) -> None:
        """After its end."""
        self._outbox.put(None)
        _close(self._process.stdout)

    def _write(self) -> None:
        """In a thread of its own: an engine that does not read for a while must hold up nobody else."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it is dying: who listens to it tells everybody
            for line in iter(self._outbox.get, None):
                self._process.stdin.write(line)
                self._process.stdin.flush()
        _close(self._process.stdin)


def _close(pipe: IO[bytes] | None) -> None:
    if pipe is not None:
        with contextlib.suppress(OSError):  # what was still buffered for it has no reader any more
            pipe.close()
