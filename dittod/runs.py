"""Runs: one update each, from being asked for to its verdict. One at a time; a killed one goes on where it was, and so
does one that was paused.

Knows store and engine; knows nothing of files, HTTP, how an update is computed or why one should be paused.
"""

from __future__ import annotations

import logging
import secrets
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from dittod import adapters
from dittod.config import Settings
from dittod.engine import protocol
from dittod.engine.client import Engine
from dittod.engine.protocol import Drawn, Event, Failed, Noted, Progress, Ready, StopUpdate, Update, Updated
from dittod.errors import DittodError, EngineUnavailable, ModelError, NotFound, TooFewDemonstrations
from dittod.ingest.select import MOST_CONSIDERED, Selection, select
from dittod.learner.preset import preset
from dittod.material import TextsChanged, learnt_by, update_of
from dittod.paths import Home
from dittod.rows import StepRow
from dittod.stages import Course, Pace
from dittod.store import Store
from dittod.types import Adapter, Run, RunState

log = logging.getLogger("dittod")

MOST_FULL = 16  # times that a run finds no room on the disk or in memory
FULL_SECONDS = 15.0  # until it is tried again, twice as long each time
clock = time.monotonic
MOST_DEATHS = 3  # of the engine during one run; after that the run is what kills it
PROGRESS_SECONDS = 0.2  # between two writes of a run's progress
KEPT_SAMPLES = 24  # the latest, in memory only: two rounds
OPEN: tuple[RunState, ...] = ("requested", "running")


def request(store: Store, settings: Settings, profile: str, *, by_hand: bool = False, now: float | None = None) -> Run:
    """Ask for an update at `now` (POSIX seconds; None: this moment), or find the one that is open already: it counts as
    asked for by hand if either was. Raises TooFewDemonstrations."""
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
        requested_at=time.time() if now is None else now,
        demonstration_ids=tuple(each.id for each in selection.learn),
        held_out_ids=tuple(each.id for each in selection.held_out),
        by_hand=by_hand,
    )
    return store.request_run(run)


def stop(store: Store, profile: str, now: float) -> Run:
    """Give the profile's open update up, at this time (POSIX seconds), for good. Raises NotFound."""
    run = store.stop_run(profile, now)
    if run is None:
        raise NotFound(f"profile {profile!r} has no open update", "see what there is with: dittod status")
    return run


def next_selection(store: Store, settings: Settings, profile: str) -> Selection:
    """What an update of the profile would learn from and be judged by, if it were asked for now."""
    served = adapters.promoted(store, profile)
    learnt = served is not None and adapters.reference(served).weights  # without weights, nothing was
    return select(
        store.demonstrations(profile, newest=MOST_CONSIDERED),
        limit=settings.demonstrations,
        seen_before=store.now_called(profile, served.demonstration_ids) if served and learnt else (),
    )


@dataclass(slots=True)
class _Befell:
    """A run, since this daemon began."""

    deaths: int = 0  # of the engine, since the run was last further than ever
    furthest: int = 0  # steps that it had completed when the engine died
    met_full: int = 0  # times that it found no room on the disk or in memory
    not_before: float = 0.0  # monotonic seconds


class Runs:
    """The run that is under way, and the ones that wait."""

    def __init__(
        self,
        home: Home,
        store: Store,
        settings: Settings,
        engine: Engine,
        held: Callable[[Run], str | None] = lambda run: None,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`held`: why a run must not be started now; None: it may. `now`: POSIX seconds."""
        self._held = held
        self._now = now
        self._home = home
        self._store = store
        self._settings = settings
        self._engine = engine
        self._lock = threading.Lock()  # an engine hears of an update before it hears that it should leave it alone
        self._active: str | None = None  # id of the run the engine works on
        self._pace: Pace | None = None  # of that run; None: nothing was heard of it yet
        self._samples: tuple[Drawn, ...] = ()  # of that run
        self._told_to_stop = False  # the engine was, for the active run
        self._seen_open: frozenset[str] = frozenset()
        self._befell: defaultdict[str, _Befell] = defaultdict(_Befell)  # by run
        self.ended = 0  # runs, since the start
        self._written_at = 0.0

    @property
    def active(self) -> Run | None:
        """What the engine works on."""
        active = self._active
        return None if active is None else self._store.run(active)

    @property
    def samples(self) -> tuple[Drawn, ...]:
        """What the policy of the active run has written lately, the latest last. Never on the disk; gone with the first
        text of the profile that is forgotten, whoever forgets it."""
        found = self._samples
        run = self.active if found else None
        if run is None or any(each.profile == run.profile for each in self._store.unfinished_receipts()):
            return ()
        return found

    @property
    def pausing(self) -> bool:
        """Whether the engine was told to leave the active run alone, and has not done so yet."""
        return self._told_to_stop

    def advance(self) -> None:
        """If the engine has no run, give it the next that nothing holds: what was asked for by hand first, then an
        unfinished one, then the oldest."""
        run = self.active
        if run is not None:
            if run.state == "stopped":
                self._tell_to_stop()
            return
        waiting = self._store.runs(*OPEN)
        for run in sorted(waiting, key=lambda run: (not run.by_hand, run.state != "running")):
            if self._held(run) is None and clock() >= self._befell[run.id].not_before:
                self._start(run)
                return

    def pause(self, reason: str, at: datetime) -> None:
        """Have the engine leave the active run alone, once it has written its checkpoint. The run stays open."""
        run = self.active
        if run is not None and not self._told_to_stop:
            self._tell_to_stop()
            with suppress(DittodError):  # on a full disk the pause is all there is
                self._note(run, f"paused at {at:%H:%M}: {reason}")

    def tidy(self) -> None:
        """Remove the checkpoints of runs that were stopped, when the engine has let go of them. Say who was stopped."""
        there = list(self._home.runs.iterdir())  # first: what is made from here on belongs to a run that is open
        still_open = frozenset(run.id for run in self._store.runs(*OPEN))
        for run in map(self._store.run, self._seen_open - still_open):
            if run.state == "stopped":
                log.info("run %s of profile %s: given up by hand", run.id, run.profile)
        self._seen_open = still_open
        needed = {self._active, *still_open}
        for folder in there:
            if folder.name not in needed:
                shutil.rmtree(folder, ignore_errors=True)

    def _tell_to_stop(self) -> None:
        with self._lock:
            if not self._told_to_stop:
                self._told_to_stop, self._samples = True, ()
                self._engine.send(StopUpdate())

    def _start(self, run: Run) -> None:
        made = [each for each in self._store.adapters(run.profile) if each.run_id == run.id]
        if made:  # killed between its result and its end
            served = self._served(run.profile)
            before = served is None or (served.promoted_at or 0.0) < run.requested_at
            self._conclude(run, made[0], nothing_changed=before)
            return
        try:
            self._engine.start()
            if self._held(run) is not None:  # by now: loading a model takes a while
                return
            served = self._served(run.profile)
            update = update_of(self._home, self._store, self._settings, run, served)
            if not self._store.change_run(run.id, state="running"):  # stopped in this moment
                return
            with self._lock:
                self._set_active(run.id)
                self._engine.submit(update, lambda event: self._hear(run, update, event))
            begins = "goes on" if run.state == "running" else "begins"
            by_hand = ", asked for by hand" if run.by_hand else ""
            log.info("run %s of profile %s: %s%s", run.id, run.profile, begins, by_hand)
        except EngineUnavailable:  # backing off, or just told to end: no fault of this run, which waits
            self._set_active(None)
        except TextsChanged:
            self._begin_anew(run)
        except ModelError as error:
            self._finish(run, state="failed", error=f"{error.title}; {error.hint}")
        except BaseException:
            self._set_active(None)
            raise

    def _begin_anew(self, run: Run) -> None:
        """With the texts as they are now: what was deleted must not be learnt from, and what came is not new after."""
        shutil.rmtree(self._home.runs / run.id, ignore_errors=True)
        now = self._now()  # first: what comes in while it is chosen is new
        selection = next_selection(self._store, self._settings, run.profile)
        if not selection.learn:
            self._finish(
                run, state="failed", error="all texts of this run were deleted; there is nothing to learn from"
            )
            return
        self._store.change_run(
            run.id,
            requested_at=now,
            demonstration_ids=[each.id for each in selection.learn],
            held_out_ids=[each.id for each in selection.held_out],
            progress={},
        )
        self._befell[run.id].furthest = 0
        self._set_active(None)
        self._note(run, "texts of it were deleted or changed: it begins anew with what there is")

    def _set_active(self, run_id: str | None) -> None:
        self._active, self._told_to_stop = run_id, False
        self._pace, self._samples = None, ()

    def _hear(self, run: Run, update: Update, event: Event | EngineUnavailable) -> None:
        """Called from the engine's thread. A fault here (a full disk) lets the run be sent again."""
        try:
            self._take(run, update, event)
        except BaseException:
            if not isinstance(event, (Progress, Noted, Drawn)):
                self._set_active(None)
            raise

    def _take(self, run: Run, update: Update, event: Event | EngineUnavailable) -> None:
        match event:
            case Progress():
                self._note_progress(run, update, event)
            case Drawn():
                self._keep(event)
            case Noted():
                self._note(run, event.sentence)
            case Updated():
                self._enter(run, update, event)
            case Failed(code=protocol.DISK_FULL | protocol.OUT_OF_MEMORY):
                self._wait_for_room(run, event)
            case Failed():
                self._finish(run, state="failed", error=f"{event.title}; {event.hint}")
            case EngineUnavailable():
                self._after_death(run, event)
            case _:  # Stopped: left alone; `advance` goes on with it when nothing holds it
                self._set_active(None)

    def _wait_for_room(self, run: Run, failed: Failed) -> None:
        """On the disk or in memory. The run goes on from its checkpoint. `min_free_disk` and `min_free_memory` hold it
        meanwhile; where the system sees room that is not for us, a quota's say, it tries again ever later, and fails
        after half a day of that."""
        befell = self._befell[run.id]
        befell.met_full += 1
        if befell.met_full > MOST_FULL:
            self._finish(run, state="failed", error=f"{failed.title}; {failed.hint}")
            return
        befell.not_before = clock() + min(3600.0, FULL_SECONDS * 2**befell.met_full)
        self._set_active(None)
        with suppress(DittodError):  # a full disk is full for the store too, likely
            self._note(run, f"{failed.title}: it goes on from its checkpoint when there is room")

    def _note(self, run: Run, sentence: str) -> None:
        self._store.add_note(run.id, sentence)
        log.info("run %s of profile %s: %s", run.id, run.profile, sentence)

    def _keep(self, drawn: Drawn) -> None:
        """Not of a run that is to be left: it may be that its texts were forgotten."""
        with self._lock:
            if not self._told_to_stop:
                self._samples = (*self._samples, drawn)[-KEPT_SAMPLES:]

    def _note_progress(self, run: Run, update: Update, progress: Progress) -> None:
        self._pace = self._pace or _pace(run)
        self._pace.hear(progress, clock())
        if progress.completed_step:
            row = StepRow(progress.phase, progress.completed_step, progress.iteration, progress.figures)
            self._store.record_step(run.id, row)
            self._forget_deaths(run)
        now = time.monotonic()
        if now - self._written_at < PROGRESS_SECONDS and progress.done != progress.of:
            return
        self._written_at = now
        course = Course.of(preset(update.preset, update.overrides))
        self._store.change_run(
            run.id,
            progress={
                "phase": progress.phase,
                "iteration": progress.iteration,
                "done": progress.done,
                "of": progress.of,
                "figures": dict(progress.figures),
                "course": asdict(course),
                "seconds": self._pace.seconds,
                "elapsed": self._pace.elapsed,
            },
        )

    def _enter(self, run: Run, update: Update, updated: Updated) -> None:
        """Every step may be repeated: a kill between any two is healed by the run's being sent again.

        The verdict is about what was served when the run was sent. If the user has promoted or rolled back since,
        the candidate waits for a word from them.
        """
        base = self._engine.ready
        if base is None:  # told to end in this moment: it says the same again when the run is sent again
            self._set_active(None)
            return
        with self._store.together():  # between the look at its texts and its entry nobody can forget one
            stopped = self._store.run(run.id).state == "stopped"
            adapter = None if stopped else self._entered(run, update, updated, base)
        if adapter is None:
            self._drop(updated)
            self._finish(run, state="stopped") if stopped else self._begin_anew(run)
            return
        served, compared_with = self._served(run.profile), update.served
        same = (served.id if served else None) == (compared_with.id if compared_with else None)
        self._conclude(run, adapter, nothing_changed=same)

    def _entered(self, run: Run, update: Update, updated: Updated, base: Ready) -> Adapter | None:
        """None: texts changed while they were learnt from, and what has seen them goes too."""
        try:
            learnt_by(self._home, self._store, run)
        except TextsChanged:
            return None
        adapter = adapters.add(self._store, run, updated, base)
        pool = [each.id for each in update.pool]
        if len(self._store.demonstrations_of(run.profile, pool)) < len(pool):
            self._store.trim_versions(run.profile)  # nothing has learnt from what stood in prompts: only they quote
        return adapter

    def _drop(self, updated: Updated) -> None:
        """Its folder, unless an earlier run came to the same result."""
        path = Path(updated.adapter.path)
        if path.name not in {each.id for each in self._store.adapters()}:
            shutil.rmtree(path, ignore_errors=True)

    def _conclude(self, run: Run, adapter: Adapter, *, nothing_changed: bool) -> None:
        """Promote a candidate that passed the gate, if what it was compared with is still what is served. What an
        earlier run came to already may have been served since."""
        may_be = adapter.state == "candidate" or (adapter.state == "retired" and adapter.promoted_at is not None)
        if adapter.verdict.promoted and may_be and nothing_changed:
            adapters.promote(self._store, adapter)
        promoted = self._store.adapter(adapter.id).state == "promoted"
        self._finish(run, "promoted" if promoted else "kept back", state="done", adapter_id=adapter.id)

    def _served(self, profile: str) -> Adapter | None:
        """What answers for the profile; one made for another base model serves nobody."""
        served = adapters.promoted(self._store, profile)
        fits = served is not None and adapters.fits(served, self._settings.base_model, self._engine.ready)
        return served if fits else None

    def _after_death(self, run: Run, error: EngineUnavailable) -> None:
        if self._told_to_stop:  # and ended, to give its memory back: no death
            self._set_active(None)
            return
        befell = self._befell[run.id]
        befell.deaths += 1
        befell.furthest = max(len(self._store.steps(run.id)), befell.furthest)
        if befell.deaths >= MOST_DEATHS:
            self._finish(run, state="failed", error=f"the engine died {MOST_DEATHS} times in this run; {error.title}")
            return
        self._set_active(None)

    def _forget_deaths(self, run: Run) -> None:
        """Of a run that has completed a step that it had not come to before."""
        befell = self._befell[run.id]
        if befell.deaths and len(self._store.steps(run.id)) > befell.furthest:
            befell.deaths = 0

    def _finish(self, run: Run, outcome: object = "", **changes: object) -> None:
        outcome = outcome or changes.get("error")
        shutil.rmtree(self._home.runs / run.id, ignore_errors=True)  # first: on a full disk it makes room for the row
        if self._store.change_run(run.id, finished_at=self._now(), **changes):
            level = logging.WARNING if changes["state"] == "failed" else logging.INFO
            ended = ", ".join(str(each) for each in (changes["state"], outcome) if each)
            log.log(level, "run %s of profile %s: %s", run.id, run.profile, ended)
        self._befell.pop(run.id, None)
        self.ended += 1
        self._set_active(None)


def _pace(run: Run) -> Pace:
    """Goes on with what was timed before the run was left."""
    seconds = run.progress.get("seconds")
    return Pace(len(run.demonstration_ids), seconds if isinstance(seconds, dict) else {})
