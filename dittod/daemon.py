"""The daemon: watcher, scheduler and engine tied together. `dittod run` adds the endpoint on top.

Three threads beside the caller's: one keeps the store in step with the folder, one moves runs along, and APScheduler's
calls for a rescan and for a look at whether to learn. There is no state but the store and folders that are written
beside and renamed: killing the process at any moment loses nothing.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from pathlib import Path

from apscheduler.schedulers.background import BackgroundScheduler

from dittod import machine, runs
from dittod.config import Settings, watched_folder
from dittod.engine.client import Engine
from dittod.errors import DittodError, place_of
from dittod.ingest.folder import Folder, OnRead
from dittod.ingest.watch import Watch
from dittod.paths import Home
from dittod.prompting import Prompting
from dittod.store import Store

log = logging.getLogger("dittod")

MANY_EVENTS = 1000  # at once: the system may have dropped others
TICK_SECONDS = 0.2  # between two looks at events, runs and the engine


class Daemon:
    """One per home; the caller holds the home's lock."""

    def __init__(self, home: Home, settings: Settings, store: Store) -> None:
        self.home = home
        self.settings = settings
        self.store = store
        self.engine = Engine(
            settings.base_model,
            settings.quantisation,
            home.logs / "engine.log",
            memory_budget=settings.memory_budget,
            cache=home.quantised,
            method=(settings.preset, settings.learner),
        )
        self.folder = Folder(
            watched_folder(settings), store, settings.identities, settings.settle_seconds, settings.secrets
        )
        self.runs = runs.Runs(home, store, settings, self.engine)
        self.prompting = Prompting(store, settings, self.engine)
        self._events: queue.Queue[Path] = queue.Queue()
        self._rescan_due = threading.Event()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._watch = Watch(self.folder.root, self._events)
        self._noted_engine: dict[str, object] | None = None
        self._noted_reading: bool | None = None

    def read_folder(self, on_read: OnRead = lambda done, of, documents: None) -> None:
        """Bring the store up to date with the folder, waiting for files to settle. Before `start`, not beside it."""
        self.folder.prepare()
        self.folder.rescan(time.monotonic())
        self.folder.read_settled(time.monotonic(), on_read)  # also where only the settings have changed
        while self.folder.settling:
            if not self.folder.read_settled(time.monotonic(), on_read):
                time.sleep(0.05)

    def start(self) -> None:
        """Watch, schedule and run updates in the background until `stop`."""
        runs.sweep(self.home, self.store)
        self.folder.prepare()
        self._note_reading(True)
        self._rescan_due.set()
        self._scheduler = BackgroundScheduler(logger=logging.getLogger("dittod.scheduler"))
        self._scheduler.add_job(self._rescan_due.set, "interval", seconds=self.settings.rescan_seconds)
        self._scheduler.add_job(self.consider, "interval", seconds=self.settings.consider_seconds)
        self._scheduler.start()
        for work in (self._keep_in_step, self._move_along):
            thread = threading.Thread(target=self._repeat, args=(work,), name=work.__name__, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """End the threads and the engine. An update goes on from its last checkpoint at the next start."""
        self._stopping.set()
        self._scheduler.shutdown(wait=False)
        self.folder.close()
        for thread in self._threads:
            thread.join(timeout=5.0)
        self._watch.stop()
        self.engine.stop()
        self._note_engine()
        self._note_reading(False)

    def consider(self) -> None:
        """Ask for an update of the first profile that nothing speaks against."""
        for profile in self.store.profiles():
            on_battery = machine.on_battery()
            why = runs.why_waiting(self.store, self.settings, profile, on_battery=on_battery, now=time.time())
            if why is None:
                run = runs.request(self.store, self.settings, profile)
                log.info("update %s of profile %s", run.id, run.profile)
                return

    def _repeat(self, work: object) -> None:
        """A fault in one round is logged, and the next round tries again: the daemon goes on."""
        assert callable(work)
        trouble = ""  # that lasts is said once
        while not self._stopping.is_set():
            try:
                work()
                trouble = ""
            except DittodError as error:
                if error.title != trouble:
                    log.error("%s; %s", error.title, error.hint)
                trouble = error.title
                self._stopping.wait(1.0)
            except Exception as error:
                log.error("fault in the daemon: %s", place_of(error))
                self._stopping.wait(1.0)

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

    def _move_along(self) -> None:
        """One round of the runs' thread."""
        self.runs.advance()
        self.prompting.advance()
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
        ready = self.engine.ready
        state: dict[str, object] = {
            "state": self.engine.state,
            "pid": self.engine.pid,
            "base_model": self.settings.base_model,
            "memory_bytes": ready.memory_bytes if ready else 0,
            "context_tokens": ready.context_tokens if ready else None,
            "last_death": self.engine.last_death,
        }
        if state != self._noted_engine:
            self.store.note("engine", state)
            self._noted_engine = state


def _drain(events: queue.Queue[Path], patience_seconds: float) -> set[Path]:
    """What has come in; waits a moment for the first."""
    try:
        found = {events.get(timeout=patience_seconds)}
    except queue.Empty:
        return set()
    while not events.empty():
        found.add(events.get_nowait())
    return found
