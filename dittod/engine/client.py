"""The parent's handle on the engine: started on demand, listened to, restarted after it died, ended when idle.

Never imports torch. Knows the process and the pipe; knows nothing of profiles, runs or HTTP.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import IO

from dittod.engine.protocol import (
    Cancel,
    Command,
    Detokenized,
    Done,
    Embedded,
    Event,
    Failed,
    Improve,
    Ready,
    Request,
    Shutdown,
    Stopped,
    Tokenized,
    Update,
    Updated,
    decode_event,
    encode_command,
)
from dittod.errors import EngineUnavailable, ModelError, place_of

log = logging.getLogger("dittod")

ENDS = (Done, Embedded, Tokenized, Detokenized, Failed, Updated, Stopped)  # events after which no other comes
Work = Request | Update | Improve
Listener = Callable[[Event | EngineUnavailable], None]

ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin at barriers run 10 to 20 times slower beside other programs
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64",  # shapes of products whose kernels are kept; 1024 by default, each some
    "LRU_CACHE_CAPACITY": "64",  # 0.3 MB, and this for torch's own: gigabytes in time, since every text has its length
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",  # a bar that cannot be written, on a full disk, would fail the loading that it shows
}
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}  # nothing leaves the machine
START_SECONDS = 300.0  # a large model from a slow disk; a start that takes longer is hung
END_SECONDS = 15.0  # an engine that was told to end finishes its micro-step first
LONGEST_BACKOFF_SECONDS = 60.0


class Engine:
    """One engine process, or none. Usable from several threads."""

    def __init__(
        self,
        base_model: str,
        quantisation: str,
        log_file: Path,
        *,
        memory_budget: int | None = None,
        cache: Path | None = None,
        method: tuple[str, Mapping[str, float]] = ("clean", MappingProxyType({})),
    ) -> None:
        """`memory_budget` in bytes, None: by the machine; `cache`: a folder for quantised base models, None: none;
        `method`: preset and overrides of the updates to come, for which room is kept."""
        self._arguments = ["--base-model", base_model, "--quantisation", quantisation]
        self._arguments += ["--preset", method[0], "--learner", json.dumps(dict(method[1]))]
        if memory_budget is not None:
            self._arguments += ["--memory-budget", str(memory_budget)]
        if cache is not None:
            self._arguments += ["--cache", str(cache)]
        self._log_file = log_file
        self._changed = threading.Condition(threading.RLock())
        self._process: subprocess.Popen[bytes] | None = None
        self._listeners: dict[str, Listener] = {}
        self._refused: Failed | None = None  # what a start that cannot succeed said
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()  # for the running process; None: no more
        self._ending = False  # told to end, and not gone yet
        self._spawned_at = 0.0  # monotonic seconds
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
            while not self.begin():
                self._changed.wait(END_SECONDS)
            if not self._changed.wait_for(lambda: self.ready or self._process is None, START_SECONDS):
                self.end_a_hung_start()
                raise EngineUnavailable(f"the engine did not start within {START_SECONDS:.0f} s", "see logs/engine.log")
            if self.ready is not None:
                return self.ready
            raise self.why_not()

    def begin(self) -> bool:
        """Start it if need be, without waiting for anything. False: the one before has still to end, a moment. Raises
        as `start` does."""
        with self._changed:
            if self._ending:
                return False
            self.last_used = time.monotonic()
            if self._process is None:
                if time.monotonic() < self._not_before:
                    raise self.why_not()
                self._spawn()
            return True

    def end_a_hung_start(self) -> None:
        """Kill a process that should have loaded its model by now."""
        with self._changed:
            late = time.monotonic() - self._spawned_at >= START_SECONDS
            if self._process is not None and self.ready is None and late:
                self._process.kill()

    def why_not(self) -> ModelError | EngineUnavailable:
        """Why there is no engine: its model cannot be loaded, or it died and will be started again."""
        if self._refused is not None:
            return ModelError(self._refused.title, self._refused.hint)
        return self._unavailable()

    def submit(self, command: Work, listener: Listener) -> None:
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

    def stop_if_idle(self, idle_seconds: float) -> bool:
        """Give its memory back to the system, unless it is at work or was used within that time."""
        with self._changed:
            if self.ready is None or self.busy or time.monotonic() - self.last_used < idle_seconds:
                return False
            process = self._tell_to_end()
        self._see_it_end(process, END_SECONDS)
        return True

    def stop(self, patience_seconds: float = 5.0) -> None:
        """End the process, whatever it does."""
        with self._changed:
            process = self._tell_to_end()
        self._see_it_end(process, patience_seconds)

    def _tell_to_end(self) -> subprocess.Popen[bytes] | None:
        """From now on nothing can be submitted to it. One that is still loading cannot hear, and is killed."""
        process = self._process
        if process is not None:
            self._ending = True
            if self.ready is None:
                process.kill()
            else:
                self._send(Shutdown())
                self.ready = None
        return process

    def _see_it_end(self, process: subprocess.Popen[bytes] | None, patience_seconds: float) -> None:
        if process is None:
            return
        try:
            process.wait(patience_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        with self._changed:
            self._changed.wait_for(lambda: self._process is not process, patience_seconds)

    def _spawn(self) -> None:
        self.ready, self._refused, self._ending = None, None, False
        log_fd = os.open(self._log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        environment = {**ENVIRONMENT, **os.environ, **OFFLINE}
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
        self._outbox, self._spawned_at = queue.SimpleQueue(), time.monotonic()
        threading.Thread(target=self._listen, args=(self._process,), name="engine", daemon=True).start()
        threading.Thread(
            target=_write, args=(self._process, self._outbox), name="engine's commands", daemon=True
        ).start()

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        """In a thread of its own, for as long as the process lives."""
        assert process.stdout is not None
        try:
            for line in process.stdout:
                self._hear(decode_event(line))
        except Exception as error:  # half a line of a killed engine, say
            log.error("the engine cannot be understood: %s", place_of(error))
            process.kill()
        finally:
            self._bury(process, process.wait())

    def _hear(self, event: Event) -> None:
        with self._changed:
            if isinstance(event, Ready):
                self.ready = event
                self.last_used = time.monotonic()
                self._changed.notify_all()
                return
            if isinstance(event, Failed) and not event.id:
                self._refused = event
                return
            ended = isinstance(event, ENDS)
            listener = self._listeners.pop(event.id, None) if ended else self._listeners.get(event.id)
            self.last_used = time.monotonic()
            if ended:
                self._deaths = 0
        if listener is not None:
            _tell(listener, event)

    def _bury(self, process: subprocess.Popen[bytes], code: int) -> None:
        """The process has ended: everybody who waits is told, and a next start may have to wait."""
        with self._changed:
            orphans, self._listeners = self._listeners, {}
            self.ready, self._process = None, None
            told, self._ending = self._ending, False
            self._outbox.put(None)
            _close(process.stdout)
            if code != 0 and not told:
                self._deaths += 1
                backoff = min(LONGEST_BACKOFF_SECONDS, 2.0 ** (self._deaths - 2)) if self._deaths > 1 else 0.0
                self._not_before = time.monotonic() + backoff
                self.last_death = _cause(code)
                log.warning("engine died: %s", self.last_death)
            self._changed.notify_all()
            unavailable = self._unavailable()
        for listener in orphans.values():
            _tell(listener, unavailable)

    def _send(self, command: Command) -> None:
        self._outbox.put(encode_command(command))

    def _unavailable(self) -> EngineUnavailable:
        wait = max(1.0, self._not_before - time.monotonic())
        cause = f" ({self.last_death})" if self.last_death else ""
        return EngineUnavailable(f"the engine is not running{cause}", "it is started again", retry_after_seconds=wait)


def _tell(listener: Listener, event: Event | EngineUnavailable) -> None:
    """A listener's fault is its own: the engine is heard on."""
    try:
        listener(event)
    except Exception as error:
        log.error("a listener failed: %s", place_of(error))


def _cause(code: int) -> str:
    """What an exit code says, in words."""
    if code == -9:
        return "killed: by the system when memory ran out, or by hand"
    if code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}, see logs/engine.log"


def _write(process: subprocess.Popen[bytes], outbox: queue.SimpleQueue[bytes | None]) -> None:
    """In a thread of its own: an engine that does not read for a while must hold up nobody else."""
    assert process.stdin is not None
    with contextlib.suppress(OSError):  # it is dying: `_bury` tells everybody
        for line in iter(outbox.get, None):
            process.stdin.write(line)
            process.stdin.flush()
    _close(process.stdin)


def _close(pipe: IO[bytes] | None) -> None:
    if pipe is not None:
        with contextlib.suppress(OSError):  # what was still buffered for it has no reader any more
            pipe.close()
