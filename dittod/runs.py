"""Runs: one update each, from being asked for to its verdict. One at a time; a killed one goes on where it was.

Knows store and engine; knows nothing of files, HTTP or how an update is computed.
"""

from __future__ import annotations

import logging
import secrets
import shutil
import threading
import time
from pathlib import Path

from dittod import adapters
from dittod.config import Settings
from dittod.engine.client import Engine
from dittod.engine.protocol import AdapterRef, Event, Failed, Progress, Update, Updated
from dittod.errors import EngineUnavailable, ModelError, TooFewDemonstrations
from dittod.ingest.select import MOST_CONSIDERED, Selection, select
from dittod.paths import Home
from dittod.rows import StepRow
from dittod.schedule import Limits, Signals, reason_to_wait
from dittod.store import Store
from dittod.types import Adapter, Demonstration, Run

log = logging.getLogger("dittod")

MOST_DEATHS = 3  # of the engine during one run; after that the run is what kills it
PROGRESS_SECONDS = 0.2  # between two writes of a run's progress


def request(store: Store, settings: Settings, profile: str) -> Run:
    """Ask for an update, or find the one that is open already. Raises TooFewDemonstrations."""
    selection = next_selection(store, settings, profile)
    if not selection.learn:
        raise TooFewDemonstrations(
            f"profile {profile!r} has no demonstration to learn from",
            "put some of your sent mails or texts into the watched folder; dittod status names it",
        )
    run = Run(
        id=secrets.token_hex(6),
        profile=profile,
        state="requested",
        seed=secrets.randbelow(2**31),
        preset=settings.preset,
        requested_at=time.time(),
        demonstration_ids=tuple(each.id for each in selection.learn),
        held_out_ids=tuple(each.id for each in selection.held_out),
    )
    return store.request_run(run)


def next_selection(store: Store, settings: Settings, profile: str) -> Selection:
    """What an update of the profile would learn from and be judged by, if it were asked for now."""
    served = adapters.promoted(store, profile)
    return select(
        store.demonstrations(profile, newest=MOST_CONSIDERED),
        limit=settings.demonstrations,
        seen_before=store.now_called(profile, served.demonstration_ids) if served else (),
    )


def why_waiting(store: Store, settings: Settings, profile: str, *, on_battery: bool, now: float) -> str | None:
    """The sentence why the profile is not learning now; None: it should."""
    ended = store.runs("done", profile=profile)
    latest = store.runs("done", "failed", profile=profile)[-1:]
    signals = Signals(
        demonstrations=store.count_demonstrations(profile),
        new_demonstrations=store.count_demonstrations(profile, since=ended[-1].requested_at if ended else 0.0),
        ever_learnt=bool(ended),
        on_battery=on_battery,
        learning=bool(store.runs("requested", "running")),
        reading=bool(store.noted("reading").get("busy")),
        seconds_since_failure=now - (latest[0].finished_at or 0.0) if latest and latest[0].state == "failed" else None,
    )
    return reason_to_wait(
        signals, Limits(settings.min_demonstrations, settings.new_demonstrations, settings.learn_on_battery)
    )


class Runs:
    """The run that is under way, and the ones that wait."""

    def __init__(self, home: Home, store: Store, settings: Settings, engine: Engine) -> None:
        self._home = home
        self._store = store
        self._settings = settings
        self._engine = engine
        self._lock = threading.Lock()
        self._active: str | None = None  # id of the run the engine works on
        self._deaths: dict[str, int] = {}
        self._written_at = 0.0

    def advance(self) -> None:
        """If the engine has no run, give it the next: an unfinished one first, then the oldest asked for."""
        with self._lock:
            if self._active is not None:
                return
        waiting = self._store.runs("running") or self._store.runs("requested")
        if waiting:
            self._start(waiting[0])

    def _start(self, run: Run) -> None:
        made = [each for each in self._store.adapters(run.profile) if each.run_id == run.id]
        if made:  # killed between its result and its end
            served = self._served(run.profile)
            before = served is None or (served.promoted_at or 0.0) < run.requested_at
            self._conclude(run, made[0], nothing_changed=before)
            return
        try:
            self._engine.start()
            update = self._update(run)
            self._store.change_run(run.id, state="running")
            self._set_active(run.id)
            self._engine.submit(update, lambda event: self._hear(run, update, event))
        except EngineUnavailable:  # backing off, or just told to end: no fault of this run, which waits
            self._set_active(None)
        except (ModelError, TooFewDemonstrations) as error:
            self._finish(run, state="failed", error=f"{error.title}; {error.hint}")
        except BaseException:
            self._set_active(None)
            raise

    def _set_active(self, run_id: str | None) -> None:
        with self._lock:
            self._active = run_id

    def _update(self, run: Run) -> Update:
        served = self._served(run.profile)
        directory = self._home.runs / run.id
        directory.mkdir(mode=0o700, exist_ok=True)
        by_id = self._store.demonstrations_of(run.profile, (*run.demonstration_ids, *run.held_out_ids))
        return Update(
            id=run.id,
            directory=str(directory),
            adapters_directory=str(self._home.adapters),
            preset=run.preset,
            seed=run.seed,
            demonstrations=_still_there(by_id, run.demonstration_ids),
            held_out=_still_there(by_id, run.held_out_ids),
            served=AdapterRef(served.id, served.path) if served else None,
            overrides=self._settings.learner,
        )

    def _hear(self, run: Run, update: Update, event: Event | EngineUnavailable) -> None:
        """Called from the engine's thread. A fault here (a full disk) lets the run be sent again."""
        try:
            self._take(run, update, event)
        except BaseException:
            if not isinstance(event, Progress):
                self._set_active(None)
            raise

    def _take(self, run: Run, update: Update, event: Event | EngineUnavailable) -> None:
        match event:
            case Progress():
                self._note_progress(run, event)
            case Updated():
                self._enter(run, update, event)
            case Failed():
                self._finish(run, state="failed", error=f"{event.title}; {event.hint}")
            case EngineUnavailable():
                self._after_death(run, event)
            case _:  # Stopped: left alone, `advance` goes on with it
                self._set_active(None)

    def _note_progress(self, run: Run, progress: Progress) -> None:
        if progress.completed_step:
            row = StepRow(progress.phase, progress.completed_step, progress.iteration, progress.figures)
            self._store.record_step(run.id, row)
        now = time.monotonic()
        if now - self._written_at < PROGRESS_SECONDS and progress.done != progress.of:
            return
        self._written_at = now
        self._store.change_run(
            run.id,
            progress={
                "phase": progress.phase,
                "iteration": progress.iteration,
                "done": progress.done,
                "of": progress.of,
                "figures": dict(progress.figures),
            },
        )

    def _enter(self, run: Run, update: Update, updated: Updated) -> None:
        """Every step may be repeated: a kill between any two is healed by the run's being sent again.

        The verdict is about what was served when the run was sent. If the user has promoted or rolled back since,
        the candidate waits for a word from them.
        """
        base = self._engine.ready
        assert base is not None, "an engine that has just spoken is ready"
        try:
            self._update(run)
        except TooFewDemonstrations as error:  # deleted while it was learnt from: what has seen it goes too
            shutil.rmtree(updated.adapter.path, ignore_errors=True)
            self._finish(run, state="failed", error=f"{error.title}; {error.hint}")
            return
        adapter = adapters.add(self._store, run, updated, base)
        served, compared_with = self._served(run.profile), update.served
        same = (served.id if served else None) == (compared_with.id if compared_with else None)
        self._conclude(run, adapter, nothing_changed=same)

    def _conclude(self, run: Run, adapter: Adapter, *, nothing_changed: bool) -> None:
        """Promote a candidate that passed the gate, if what it was compared with is still what is served."""
        if adapter.verdict.promoted and adapter.state == "candidate" and nothing_changed:
            adapters.promote(self._store, adapter)
        self._finish(run, state="done", adapter_id=adapter.id)

    def _served(self, profile: str) -> Adapter | None:
        """What answers for the profile; one made for another base model serves nobody."""
        served = adapters.promoted(self._store, profile)
        fits = served is not None and adapters.fits(served, self._settings.base_model, self._engine.ready)
        return served if fits else None

    def _after_death(self, run: Run, error: EngineUnavailable) -> None:
        self._deaths[run.id] = self._deaths.get(run.id, 0) + 1
        if self._deaths[run.id] >= MOST_DEATHS:
            self._finish(run, state="failed", error=f"the engine died {MOST_DEATHS} times in this run; {error.title}")
            return
        self._set_active(None)

    def _finish(self, run: Run, **changes: object) -> None:
        shutil.rmtree(self._home.runs / run.id, ignore_errors=True)  # first: on a full disk it makes room for the row
        self._store.change_run(run.id, finished_at=time.time(), **changes)
        log.info("run %s of profile %s: %s", run.id, run.profile, changes["state"])
        self._set_active(None)


def sweep(home: Home, store: Store) -> None:
    """At start: what a kill left behind. Folders of runs that ended, and half-written adapters."""
    open_runs = {run.id for run in store.runs("requested", "running")}
    known = {Path(each.path).name for each in store.adapters()}
    for folder in home.runs.iterdir():
        if folder.name not in open_runs:
            shutil.rmtree(folder, ignore_errors=True)
    if not open_runs:
        for folder in home.adapters.iterdir():
            if folder.name not in known:
                shutil.rmtree(folder, ignore_errors=True)


def _still_there(by_id: dict[str, Demonstration], ids: tuple[str, ...]) -> tuple[Demonstration, ...]:
    """Raises TooFewDemonstrations when a text of the run was deleted meanwhile: it must not be learnt from. So it is
    with one whose prompt was edited or that was excluded."""
    if any(each not in by_id for each in ids):
        raise TooFewDemonstrations(
            "texts of this run were deleted or changed since", "another update learns from what is left"
        )
    return tuple(by_id[each] for each in ids)
