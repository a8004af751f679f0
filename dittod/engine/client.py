"""The parent's handle on the engine: started on demand, listened to, restarted after it died, ended when idle.

Never imports torch. Knows the process and the pipe; knows nothing of profiles, runs or HTTP. What deaths have in common
is weighed in `deaths`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from dittod.engine.deaths import BASE, LEARNING, LOADING, Deaths, Scene
from dittod.engine.process import EngineProcess
from dittod.engine.protocol import (
    AdapterRef,
    Cancel,
    Command,
    Detokenized,
    Done,
    Embedded,
    Event,
    Failed,
    Generate,
    Improve,
    Improved,
    Memory,
    Ping,
    Progress,
    Ready,
    Request,
    Shutdown,
    Stopped,
    StopUpdate,
    Tokenized,
    Update,
    Updated,
    decode_event,
    encode_command,
)
from dittod.engine.pulse import LOOK_SECONDS, Pulse
from dittod.errors import EngineUnavailable, ModelError, place_of
from dittod.logs import LogFile

log = logging.getLogger("dittod")

ENDS = (Done, Embedded, Tokenized, Detokenized, Failed, Updated, Stopped)  # events after which no other comes
Work = Request | Update | Improve
Listener = Callable[[Event | EngineUnavailable], None]

END_SECONDS = 15.0  # an engine that was told to end finishes its micro-step first


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Somebody who waits for the end of a piece of work."""

    listener: Listener
    is_client: bool  # and not an update or the trying of prompts
    suspect: str  # whom to blame if the engine dies: an adapter's id or a kind of work


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
        self._log = LogFile(log_file)
        self._changed = threading.Condition(threading.RLock())
        self._process: EngineProcess | None = None
        self._waiting: dict[str, _Waiting] = {}  # by the id of their work
        self._pulse = Pulse()
        self._pinged = False  # and has said nothing since
        self._refused: Failed | None = None  # what a start that cannot succeed said
        self._ending = False  # told to end, and not gone yet
        self._expected = 0  # clients whose requests are still to be submitted
        self._closing = False  # nothing is learnt and nothing started any more
        self._scene = Scene.before(log_file)
        self._deaths = Deaths()
        self._not_before = 0.0  # monotonic seconds: backoff after deaths
        self.ready: Ready | None = None
        self.memory: Memory | None = None  # the latest, of the running process
        self.last_death: str | None = None  # a sentence, for status
        self.last_died_at: float | None = None  # POSIX seconds
        self.last_used = time.monotonic()
        self.last_asked: float | None = None  # monotonic seconds: when a client last began or ended to wait

    @property
    def pid(self) -> int | None:
        """Of the running process."""
        process = self._process
        return process.pid if process is not None else None

    @property
    def state(self) -> str:
        """'stopped', 'starting', 'ready', 'backing off', or 'failed': it dies whenever it is started."""
        if self._process is None:
            if time.monotonic() >= self._not_before:
                return "stopped"
            return "failed" if self._deaths.cannot_load() else "backing off"
        return "ready" if self.ready is not None else "starting"

    @property
    def trouble(self) -> str | None:
        """A sentence while it keeps dying, without names: nothing is learnt then."""
        with self._changed:
            return self._deaths.trouble(time.monotonic())

    @property
    def set_aside(self) -> frozenset[str]:
        """Ids of adapters that were answering whenever it died: base answers for them, as long as this parent lives."""
        return self._deaths.set_aside

    @property
    def busy(self) -> bool:
        """Whether somebody waits for an answer or an update."""
        return bool(self._waiting)

    @property
    def asked(self) -> bool:
        """Whether clients wait for answers."""
        with self._changed:
            return self._expected > 0 or any(each.is_client for each in self._waiting.values())

    @contextlib.contextmanager
    def expected(self) -> Iterator[None]:
        """Inside the block, a client waits for the engine to be ready for its request."""
        with self._changed:
            self._expected += 1
            self.last_asked = time.monotonic()
        try:
            yield
        finally:
            with self._changed:
                self._expected -= 1

    def start(self) -> Ready:
        """Wait until the engine has its model loaded, starting it if need be.

        Raises EngineUnavailable while it is backing off after deaths, ModelError when the model cannot be loaded.
        """
        with self._changed:
            while not self.begin():
                self._changed.wait(END_SECONDS)
            self._changed.wait_for(lambda: self.ready or self._process is None)
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
                if self._closing:
                    raise EngineUnavailable("dittod is ending", "it answers again once it is started")
                if time.monotonic() < self._not_before:
                    raise self.why_not()
                self._spawn()
            return True

    def why_not(self) -> ModelError | EngineUnavailable:
        """Why there is no engine: its model cannot be loaded, or it died and will be started again."""
        if self._refused is not None:
            return ModelError(self._refused.title, self._refused.hint)
        return self._unavailable()

    def submit(self, command: Work, listener: Listener) -> None:
        """Send work; the listener hears every event of it, or EngineUnavailable once, from another thread."""
        with self._changed:
            is_client = isinstance(command, Request)
            if self.ready is None or (self._closing and not is_client):
                raise self._unavailable()
            waiting = _Waiting(listener, is_client, _suspect(command))
            self._waiting[command.id] = waiting
            self._use(waiting)
            self._send(command)

    def send(self, command: Command) -> None:
        """Tell a running engine something; one that is not running does not need to hear it."""
        with self._changed:
            if self.ready is not None:
                self._send(command)

    def cancel(self, request_id: str) -> None:
        """Nobody waits for this request any more."""
        with self._changed:
            if (given_up := self._waiting.pop(request_id, None)) is not None:
                self._use(given_up)
                self.send(Cancel(request_id))

    def stop_if_idle(self, idle_seconds: float) -> bool:
        """Give its memory back to the system, unless clients wait or it was used within that time.

        With 0 that is at once: a running update writes its checkpoint, and its listener hears Stopped.
        """
        with self._changed:
            unused = 0.0 if self.busy else time.monotonic() - self.last_used
            if self.ready is None or self.asked or unused < idle_seconds:
                return False
            process = self._tell_to_end()
        self._see_it_end(process, END_SECONDS)
        return True

    def close(self) -> None:
        """Begin to end for good: a running update writes its checkpoint, nothing new is learnt, and a process that ends
        is not replaced. Answers go on until `stop`. Takes no time."""
        with self._changed:
            self._closing = True
            self.send(StopUpdate())

    def stop(self, patience_seconds: float = 5.0) -> None:
        """End the process, whatever it does."""
        with self._changed:
            process = self._tell_to_end()
        self._see_it_end(process, patience_seconds)

    def _tell_to_end(self) -> EngineProcess | None:
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

    def _see_it_end(self, process: EngineProcess | None, patience_seconds: float) -> None:
        if process is None:
            return
        process.wait(patience_seconds)
        with self._changed:
            self._changed.wait_for(lambda: self._process is not process, patience_seconds)

    def _spawn(self) -> None:
        self.ready, self.memory, self._ending = None, None, False
        self._refused = None
        self._pulse, self._pinged = Pulse(), False
        try:
            self._log.rotate_if_full()
            self._scene = Scene.before(self._log.path)
            self._process = EngineProcess(self._arguments, self._log)
            for work, name in ((self._watch, "engine's pulse"), (self._listen, "engine")):
                threading.Thread(target=work, args=(self._process,), name=name, daemon=True).start()
        except (OSError, RuntimeError, MemoryError) as error:  # no process, no thread or no memory is left
            self._give_up_the_start(error)
            raise self._unavailable() from error

    def _give_up_the_start(self, error: Exception) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            process.close()
        lack = error.strerror if isinstance(error, OSError) else None
        self._record_death(f"it could not be started: {lack or 'no thread or memory is left'}", [LOADING])
        self._changed.notify_all()

    def _watch(self, process: EngineProcess) -> None:
        """In a thread of its own, for as long as the process lives: one that is hung is killed."""
        with self._changed:
            while not self._changed.wait_for(lambda: self._process is not process, LOOK_SECONDS):
                self._look(process)

    def _look(self, process: EngineProcess) -> None:
        """A sign of life is due while it loads, while somebody waits, and after a Ping, whoever has given up since."""
        loading = self.ready is None
        if not (loading or self._waiting or self._pinged):
            self._pulse.hear()
            return
        self._pulse.look(process.processor_seconds())
        if (reason := self._pulse.hung(loading=loading)) is not None:
            process.kill(reason)
        elif not (loading or self._pinged):
            self._pinged = True
            self._send(Ping())

    def _listen(self, process: EngineProcess) -> None:
        """In a thread of its own, for as long as the process lives."""
        try:
            for line in process.lines():
                self._hear(decode_event(line))
        except Exception as error:  # half a line of a killed engine, say
            log.error("the engine cannot be understood: %s", place_of(error))
            process.kill("it could not be understood")
        finally:
            self._bury(process, process.wait())

    def _hear(self, event: Event) -> None:
        self._log.rotate_if_full()
        with self._changed:
            self._pinged = False
            self._pulse.hear()
        match event:
            case Ready():
                with self._changed:
                    self.ready = event
                    self.last_used = time.monotonic()
                    self._deaths.acquit(LOADING)
                    log.info("engine ready")
                    self._changed.notify_all()
            case Memory():
                self.memory = event
            case Failed(id=""):
                self._refused = event
            case _:
                self._hand_on(event.id, event)

    def _hand_on(self, work_id: str, event: Event) -> None:
        """To whoever waits for it."""
        with self._changed:
            ended = isinstance(event, ENDS)
            waiting = self._waiting.pop(work_id, None) if ended else self._waiting.get(work_id)
            if waiting is None:
                return
            self._use(waiting)
            if ended or _is_progress(event):
                self._deaths.acquit(waiting.suspect)
        _tell(waiting.listener, event)

    def _use(self, waiting: _Waiting) -> None:
        self.last_used = time.monotonic()
        if waiting.is_client:
            self.last_asked = self.last_used

    def _bury(self, process: EngineProcess, code: int) -> None:
        """The process has ended: everybody who waits is told, and a next start may have to wait."""
        with self._changed:
            orphans, self._waiting = self._waiting, {}
            was_loading = self.ready is None
            self.ready, self.memory, self._process = None, None, None
            told, self._ending = self._ending, False
            process.close()
            if code != 0 and not told:
                suspects = [LOADING] if was_loading else [each.suspect for each in orphans.values()]
                self._record_death(self._cause(process, code), suspects)
            self._changed.notify_all()
            unavailable = self._unavailable()
        for each in orphans.values():
            _tell(each.listener, unavailable)

    def _record_death(self, cause: str, suspects: Collection[str]) -> None:
        already, now = self.set_aside, time.monotonic()
        self.last_death, self.last_died_at = cause, time.time()
        self._deaths.add("its model cannot be loaded" if self._refused else cause, suspects, now)
        self._not_before = now + self._deaths.backoff_seconds()
        log.warning("engine died: %s", cause)
        for adapter_id in self.set_aside - already:
            log.warning("adapter %s is set aside: the engine died whenever it answered", adapter_id)

    def _cause(self, process: EngineProcess, code: int) -> str:
        if self._refused is not None:
            return f"its model cannot be loaded: {self._refused.title}"
        return f"killed: {process.killed_for}" if process.killed_for else self._scene.cause(code)

    def _send(self, command: Command) -> None:
        assert self._process is not None, "nothing is said to an engine that is not there"
        self._process.say(encode_command(command))

    @property
    def seconds_to_next_start(self) -> float:
        """Until it may be started again after a death."""
        return max(1.0, self._not_before - time.monotonic())

    def _unavailable(self) -> EngineUnavailable:
        cause = f" ({self.last_death})" if self.last_death else ""
        return EngineUnavailable(
            f"the engine is not running{cause}",
            "it is started again",
            retry_after_seconds=self.seconds_to_next_start,
        )


def _tell(listener: Listener, event: Event | EngineUnavailable) -> None:
    """A listener's fault is its own: the engine is heard on."""
    try:
        listener(event)
    except Exception as error:
        log.error("a listener failed: %s", place_of(error))


def _suspect(work: Work) -> str:
    """Whom to blame if the engine dies of it."""
    match work:
        case Update() | Improve():
            return LEARNING
        case Generate(adapter=AdapterRef(id=adapter_id)):
            return adapter_id
        case _:
            return BASE


def _is_progress(event: Event) -> bool:
    """Whether a part of a piece of learning is done for good."""
    return isinstance(event, Improved) or (isinstance(event, Progress) and event.completed_step > 0)
