"""The daemon: watcher, scheduler and engine tied together. `dittod run` adds the endpoint on top.

Five threads beside the caller's: one keeps the store in step with the folder, one moves runs along, one looks at the
machine, one clears away what was forgotten, and APScheduler's calls for a rescan and for a decision whether to learn.
There is no state but the store and folders that are written beside and renamed: killing the process at any moment loses
nothing.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from dittod import feedback, interactions, private
from dittod.config import Settings, watched_folder
from dittod.considering import Considering
from dittod.engine.client import Engine
from dittod.errors import DittodError, place_of
from dittod.forgetting import Forgetting
from dittod.ingest.folder import Folder, OnRead
from dittod.ingest.watch import Watch
from dittod.machine.probes import Probes
from dittod.paths import Home
from dittod.pruning import Pruning
from dittod.store import Store
from dittod.sweeping import sweep

log = logging.getLogger("dittod")

MANY_EVENTS = 1000  # at once: the system may have dropped others
TICK_SECONDS = 0.2  # between two looks at events, runs and the engine
LOOK_SECONDS = 2.0  # between two looks at the machine
TEND_SECONDS = 600.0  # between two looks at the room that the home takes, where no update ends meanwhile
END_SECONDS = 4.0  # for all threads together, and the engine, to end their rounds
GRACE_SECONDS = 60  # by which a look that is due may be late; a machine that slept through it has missed it


class Daemon:
    """One per home; the caller holds the home's lock."""

    def __init__(self, home: Home, settings: Settings, store: Store) -> None:
        self.home = home
        self.settings = settings
        self.store = store
        private.keep_sealed(home, store, wanted=settings.encrypt if "encrypt" in settings.model_fields_set else None)
        self.engine = Engine(
            settings.base_model,
            settings.quantisation,
            home.logs / "engine.log",
            memory_budget=settings.memory_budget,
            cache=home.quantised,
            method=(settings.preset, settings.learner),
        )
        died = store.noted("engine")
        self.engine.last_death, self.engine.last_died_at = died.get("last_death"), died.get("last_died_at")
        self.folder = Folder(
            watched_folder(settings), store, settings.identities, settings.settle_seconds, settings.secrets
        )
        probes = Probes(home.root, lambda: self.engine.pid)
        self.considering = Considering(home, store, settings, self.engine, probes.look)
        self._forgetting = Forgetting(home, store, settings, self.engine, self.considering.runs)
        self._pruning = Pruning(home, store, settings)
        self._tended: tuple[int, float] | None = None  # when that many runs had ended, in monotonic seconds
        self._events: queue.Queue[Path] = queue.Queue()
        self._rescan_due = threading.Event()
        self._stopping = threading.Event()
        self.threads: list[threading.Thread] = []
        self._watch = Watch(self.folder.root, self._events)
        self.scheduler = BackgroundScheduler(
            logger=logging.getLogger("dittod.scheduler"),
            timezone=UTC,  # its own guess fails for some that the system knows
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": GRACE_SECONDS},
        )
        self._trouble = ""  # of considering, the last time
        self._noted_engine: dict[str, object] | None = None
        self._budget_bytes = settings.memory_budget  # None: not known before the engine has looked at the machine
        self._noted_reading: bool | None = None

    def read_folder(self, on_read: OnRead = lambda done, of, documents: None) -> None:
        """Bring the store up to date with the folder, waiting for files to settle. Before `start`, not beside it."""
        self.folder.prepare()
        self.folder.rescan(time.monotonic())
        self.folder.read_settled(time.monotonic(), on_read)  # also where only the settings have changed
        while self.folder.settling:
            if not self.folder.read_settled(time.monotonic(), on_read):
                time.sleep(0.05)
        self._forgetting.tend()
        self._forgetting.finish()

    def start(self) -> None:
        """Watch, schedule and run updates in the background until `stop`."""
        sweep(self.home, self.store)
        self.folder.prepare()
        self._note_reading(True)
        self._rescan_due.set()
        self._schedule()
        self.scheduler.start()
        for work in (self._look, self._keep_in_step, self._move_along, self._clear_away):
            thread = threading.Thread(target=self._repeat, args=(work,), name=work.__name__, daemon=True)
            thread.start()
            self.threads.append(thread)

    def stop(self, patience_seconds: float = END_SECONDS) -> None:
        """End the threads and the engine, together in that time. An update goes on from its last checkpoint at the next
        start."""
        self._stopping.set()
        self.scheduler.shutdown(wait=False)
        self.folder.close()
        deadline = time.monotonic() + patience_seconds
        for thread in self.threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._watch.stop()
        self.engine.stop(max(0.0, deadline - time.monotonic()))
        with suppress(DittodError):  # on a full disk they stay as they are, and count for nothing without a daemon
            self._note_engine()
            self._note_reading(False)
            self.considering.end()

    def _schedule(self) -> None:
        """Again where the clock or the time zone was set: what APScheduler had planned by it is void."""
        settings = self.settings
        for name, work, trigger in (
            ("rescan", self._rescan_due.set, IntervalTrigger(seconds=settings.rescan_seconds, timezone=UTC)),
            ("consider", self._consider, _looks(settings)),
        ):
            self.scheduler.add_job(work, trigger, id=name, replace_existing=True)

    def _repeat(self, work: Callable[[], None]) -> None:
        """A fault in one round is logged, and the next round tries again: the daemon goes on."""
        trouble = ""
        while not self._stopping.is_set():
            trouble = _attempt(work, trouble)
            if trouble:
                self._stopping.wait(1.0)

    def _consider(self) -> None:
        """What APScheduler calls. It would log a fault with everything that was at hand."""
        self._trouble = _attempt(self.considering.consider, self._trouble)

    def _keep_in_step(self) -> None:
        """One round of the folder's thread."""
        paths = _drain(self._events, TICK_SECONDS)
        now = time.monotonic()
        if self._watch.tend(now) or self._rescan_due.is_set() or len(paths) > MANY_EVENTS:
            self._rescan_due.clear()
            self.folder.rescan(now)
        if paths:
            self.folder.notice(paths, now)
        read = self.folder.read_settled(time.monotonic())
        if read:
            log.info("%d files read", read)
        self._note_reading(self.folder.settling)

    def _clear_away(self) -> None:
        """One round of the thread that is there for what was forgotten, by whichever process: reading files and loading
        a model take a while, and this should not wait for them."""
        self._forgetting.tend()
        self._stopping.wait(TICK_SECONDS)

    def _look(self) -> None:
        """One round of the thread that looks at the machine."""
        if self.considering.look():
            log.info("the machine has slept, or its clock or time zone was set: looking at everything again")
            self._rescan_due.set()
            self._schedule()
        self._tend_room()
        self._stopping.wait(LOOK_SECONDS)

    def _tend_room(self) -> None:
        """Keep the home within its budget, and what clients asked for no longer than they may: now and then, and after
        each run."""
        ended, now = self.considering.runs.ended, time.monotonic()
        if self._tended is None or ended != self._tended[0] or now - self._tended[1] >= TEND_SECONDS:
            self._tended = (ended, now)
            self._pruning.tend()
            interactions.expire(self.store, self.settings, time.time())
            feedback.tidy(self.store, self.settings)

    def _move_along(self) -> None:
        """One round of the runs' thread."""
        self.considering.advance()
        self._forgetting.finish()
        if self.engine.stop_if_idle(self.settings.idle_unload_seconds):
            log.info("engine unused for %.0f s: its memory goes back to the system", self.settings.idle_unload_seconds)
        self._note_engine()
        self._stopping.wait(TICK_SECONDS)

    def _note_reading(self, busy: bool) -> None:
        """While files are being read, no update starts: the next ones may be what it should learn from."""
        if busy != self._noted_reading:
            self.store.note("reading", {"busy": busy})
            self._noted_reading = busy

    def _note_engine(self) -> None:
        ready, memory = self.engine.ready, self.engine.memory
        held = memory.bytes + memory.gpu_bytes if memory else ready.memory_bytes if ready else 0
        self._budget_bytes = ready.budget_bytes if ready else self._budget_bytes
        state: dict[str, object] = {
            "state": self.engine.state,
            "pid": self.engine.pid,
            "base_model": self.settings.base_model,
            "memory_bytes": held,
            "budget_bytes": self._budget_bytes,
            "context_tokens": ready.context_tokens if ready else None,
            "last_death": self.engine.last_death,
            "last_died_at": self.engine.last_died_at,
            "set_aside": [each.name for each in self.store.adapters() if each.id in self.engine.set_aside]
            if self.engine.set_aside
            else [],
            "trouble": self.engine.trouble,
        }
        if state != self._noted_engine:
            self.store.note("engine", state)
            self._noted_engine = state


def _looks(settings: Settings) -> BaseTrigger:
    """When to decide whether to learn."""
    if settings.consider_at is not None:
        here = datetime.now().astimezone().tzinfo  # as it is now; what changes it has the looks planned anew
        return CronTrigger.from_crontab(settings.consider_at, timezone=here)
    return IntervalTrigger(seconds=settings.consider_seconds, timezone=UTC)


def _attempt(work: Callable[[], None], trouble: str) -> str:
    """Do it. Returns what went wrong, which is logged unless it is the trouble that it was before; '': nothing."""
    try:
        work()
        return ""
    except DittodError as error:
        if error.title != trouble:
            log.error("%s; %s", error.title, error.hint)
        return error.title
    except Exception as error:
        place = place_of(error)
        if place != trouble:
            log.error("fault in the daemon: %s", place)
        return place


def _drain(events: queue.Queue[Path], patience_seconds: float) -> set[Path]:
    """What has come in; waits a moment for the first."""
    try:
        found = {events.get(timeout=patience_seconds)}
    except queue.Empty:
        return set()
    while not events.empty():
        found.add(events.get_nowait())
    return found
