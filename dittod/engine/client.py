"""The parent's handle on the engine: started on demand, listened to, restarted after it died, ended when idle.

Never imports torch. Knows the process and the pipe; knows nothing of profiles, runs or HTTP.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from dittod.engine.protocol import (
    Cancel,
    Command,
    Done,
    Event,
    Failed,
    Generate,
    Ready,
    Shutdown,
    Stopped,
    Update,
    Updated,
    decode_event,
    encode_command,
)
from dittod.errors import EngineUnavailable, ModelError

log = logging.getLogger("dittod")

Listener = Callable[[Event | EngineUnavailable], None]

ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin at barriers run 10 to 20 times slower beside other programs
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "32",  # by default 1024 shapes, each with memory: a tenth less after an update
    "TOKENIZERS_PARALLELISM": "false",
}
START_SECONDS = 300.0  # a large model from a slow disk; a start that takes longer is hung
LONGEST_BACKOFF_SECONDS = 60.0


class Engine:
    """One engine process, or none. Usable from several threads."""

    def __init__(self, base_model: str, quantisation: str, log_file: Path) -> None:
        self._arguments = ["--base-model", base_model, "--quantisation", quantisation]
        self._log_file = log_file
        self._changed = threading.Condition(threading.RLock())
        self._process: subprocess.Popen[bytes] | None = None
        self._listeners: dict[str, Listener] = {}
        self._refused: Failed | None = None  # what a start that cannot succeed said
        self._deaths = 0  # since an engine last ended a piece of work
        self._not_before = 0.0  # monotonic seconds: backoff after deaths
        self.ready: Ready | None = None
        self.last_death: str | None = None  # a sentence, for status
        self.last_used = time.monotonic()

    @property
    def pid(self) -> int | None:
        """Of the running process."""
        process = self._process
        return process.pid if process is not None else None

    @property
    def state(self) -> str:
        """'stopped', 'starting', 'ready' or 'backing off'."""
        if self._process is None:
            return "backing off" if time.monotonic() < self._not_before else "stopped"
        return "ready" if self.ready is not None else "starting"

    @property
    def busy(self) -> bool:
        """Whether somebody waits for an answer or an update."""
        return bool(self._listeners)

    def start(self) -> Ready:
        """Wait until the engine has its model loaded, starting it if need be.

        Raises EngineUnavailable while it is backing off after deaths, ModelError when the model cannot be loaded.
        """
        with self._changed:
            if self._process is None:
                self._spawn()
            if not self._changed.wait_for(lambda: self.ready or self._process is None, START_SECONDS):
                self._kill()
                raise EngineUnavailable(f"the engine did not start within {START_SECONDS:.0f} s", "see logs/engine.log")
            if self.ready is not None:
                return self.ready
            if self._refused is not None:
                raise ModelError(self._refused.title, self._refused.hint)
            raise self._unavailable()

    def submit(self, command: Generate | Update, listener: Listener) -> None:
        """Send work; the listener hears every event of it, or EngineUnavailable once, from another thread."""
        with self._changed:
            if self.ready is None:
                raise self._unavailable()
            self._listeners[command.id] = listener
            self.last_used = time.monotonic()
            self._send(command)

    def send(self, command: Command) -> None:
        """Tell a running engine something; one that is not running does not need to hear it."""
        with self._changed:
            if self.ready is not None:
                self._send(command)

    def cancel(self, request_id: str) -> None:
        """Nobody waits for this request any more."""
        with self._changed:
            if self._listeners.pop(request_id, None) is not None:
                self.send(Cancel(request_id))

    def stop(self, patience_seconds: float = 5.0) -> None:
        """End the process, so that its memory goes back to the system."""
        with self._changed:
            process = self._process
            if process is None:
                return
            self.send(Shutdown())
        try:
            process.wait(patience_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        with self._changed:
            self._changed.wait_for(lambda: self._process is not process, patience_seconds)

    def _spawn(self) -> None:
        if time.monotonic() < self._not_before:
            raise self._unavailable()
        self.ready, self._refused = None, None
        log_fd = os.open(self._log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        environment = {**ENVIRONMENT, **os.environ, "HF_HUB_OFFLINE": "1"}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "dittod.engine", *self._arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log_fd,
                env=environment,
                start_new_session=True,  # Ctrl-C reaches the parent alone, which then ends the engine in order
            )
        finally:
            os.close(log_fd)
        threading.Thread(target=self._listen, args=(self._process,), name="engine", daemon=True).start()

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        """In a thread of its own, for as long as the process lives."""
        assert process.stdout is not None
        for line in process.stdout:
            self._hear(decode_event(line))
        self._bury(process, process.wait())

    def _hear(self, event: Event) -> None:
        with self._changed:
            if isinstance(event, Ready):
                self.ready = event
                self._changed.notify_all()
                return
            if isinstance(event, Failed) and not event.id:
                self._refused = event
                return
            ended = isinstance(event, (Done, Failed, Updated, Stopped))
            listener = self._listeners.pop(event.id, None) if ended else self._listeners.get(event.id)
            self.last_used = time.monotonic()
            if ended:
                self._deaths = 0
        if listener is not None:
            listener(event)

    def _bury(self, process: subprocess.Popen[bytes], code: int) -> None:
        """The process has ended: everybody who waits is told, and a next start may have to wait."""
        with self._changed:
            orphans, self._listeners = self._listeners, {}
            self.ready, self._process = None, None
            _close(process.stdin, process.stdout)
            if code != 0:
                self._deaths += 1
                backoff = min(LONGEST_BACKOFF_SECONDS, 2.0 ** (self._deaths - 2)) if self._deaths > 1 else 0.0
                self._not_before = time.monotonic() + backoff
                self.last_death = _cause(code)
                log.warning("engine died: %s", self.last_death)
            self._changed.notify_all()
            unavailable = self._unavailable()
        for listener in orphans.values():
            listener(unavailable)

    def _send(self, command: Command) -> None:
        assert self._process is not None and self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it is dying: `_bury` tells everybody
            self._process.stdin.write(encode_command(command))
            self._process.stdin.flush()

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def _unavailable(self) -> EngineUnavailable:
        wait = max(1.0, self._not_before - time.monotonic())
        cause = f" ({self.last_death})" if self.last_death else ""
        return EngineUnavailable(f"the engine is not running{cause}", "it is started again", retry_after_seconds=wait)


def _cause(code: int) -> str:
    """What an exit code says, in words."""
    if code == -signal.SIGKILL:
        return "killed: by the system when memory ran out, or by hand"
    if code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}, see logs/engine.log"


def _close(*pipes: IO[bytes] | None) -> None:
    for pipe in pipes:
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):  # what was still buffered for it has no reader any more
                pipe.close()
