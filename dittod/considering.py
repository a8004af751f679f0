"""Whether now is a time to learn: looks at the machine, says why nothing is learnt, asks for updates, and pauses what
is under way as long as somebody or something else should have the machine.

Two clocks are compared between two looks: by them a machine that has slept and a clock that was set show themselves.
What cannot be noted, on a full disk, keeps nothing from being done. Knows nothing of threads, of files or of how a
machine is probed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from apscheduler.triggers.cron import CronTrigger

from dittod import runs
from dittod.config import Settings
from dittod.engine.client import Engine
from dittod.errors import DittodError
from dittod.hold import Hold
from dittod.paths import Home
from dittod.prompting import Prompting
from dittod.schedule import Conditions, EngineMemory, Limits, Signals, frees_memory, reason_to_wait
from dittod.signals import LEARNING, bring_pause_forward, limits, of_machine, of_profile, why_waiting
from dittod.store import Store
from dittod.types import DEFAULT_PROFILE, Run

log = logging.getLogger("dittod")

JUMP_SECONDS = 60.0  # between what two clocks say, or between two looks: the machine has slept, or its clock was set
UNASKED_SECONDS = 60.0  # by clients, before an engine that should make room ends though nothing was learnt
LOADED_SECONDS = 5.0  # before that too: whoever had it loaded has asked by then


@dataclass(frozen=True, slots=True)
class Clock:
    """Where times come from."""

    wall: Callable[[], float] = time.time  # POSIX seconds; people and time servers set it
    monotonic: Callable[[], float] = time.monotonic  # seconds, as `Engine` counts them


class Considering:
    """One per daemon. Usable from several threads."""

    def __init__(
        self,
        home: Home,
        store: Store,
        settings: Settings,
        engine: Engine,
        probe: Callable[[], Conditions],
        *,
        clock: Clock | None = None,
    ) -> None:
        self._store = store
        self._settings = settings
        self._engine = engine
        self._probe = probe
        self._clock = clock or Clock()
        self._limits = limits(settings)
        self._looks_at = _looks_at(settings)
        self._lock = threading.RLock()
        self._holds = {by_hand: Hold(self._limits, by_hand=by_hand) for by_hand in (False, True)}
        self._looked_at: tuple[float, float] | None = None  # wall and monotonic seconds
        self._zone: int | None = None  # seconds by which local time is ahead of UTC
        self._jumped = False  # time did, and nobody was told yet
        self._set_back: float | None = 0.0  # seconds that the clock was; None: the store knows
        self._woke_at = -1e9  # monotonic seconds
        self._gives_back = False  # the engine's memory, as soon as nobody waits for an answer
        self._memory = self._gpu_memory = EngineMemory()
        self._noted: dict[str, object] = {}
        self._unwritten = ""  # why something could not be noted, the last time
        self.runs = runs.Runs(home, store, settings, engine, self._why_held, now=self._clock.wall)
        self.prompting = Prompting(store, settings, engine, lambda: self._holds[False].reason)

    def look(self) -> bool:
        """See how things stand, pause what should be paused, and note it all. Returns whether the machine has slept, or
        its clock or time zone was set."""
        with self._lock:
            self._compare_clocks()
            machine = self._machine_now()
            self._look_at(machine)
        self._give_back(machine)
        with self._lock:
            jumped, self._jumped = self._jumped, False
        return jumped

    def consider(self) -> None:
        """Look, and ask for an update of the first profile that nothing speaks against."""
        with self._lock:
            self._compare_clocks()
            machine = self._machine_now()
            for profile in self._store.profiles():
                if why_waiting(self._store, self._settings, profile, machine) is None:
                    runs.request(self._store, self._settings, profile, now=self._clock.wall())
                    break
            self._look_at(machine)

    def advance(self) -> None:
        """Move on what is open and not held."""
        self.runs.advance()
        self.prompting.advance()

    def end(self) -> None:
        """No daemon speaks for this home any more."""
        self._store.note(LEARNING, {})
        self.runs.tidy()  # who waits for an update ends as soon as that was given up, before the next look

    def _look_at(self, machine: Signals) -> None:
        open_runs = self._store.runs(*runs.OPEN)
        self._hold(machine, open_runs)
        self.runs.tidy()
        with self._noting():
            self._note(machine, open_runs)

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """What fails inside is said once, and tried again at the next look."""
        try:
            yield
            self._unwritten = ""
        except DittodError as error:
            if error.title != self._unwritten:
                log.error("%s; %s", error.title, error.hint)
            self._unwritten = error.title

    def _compare_clocks(self) -> None:
        """Where the clock was set back, what had been noted before lies in the future: that is put right."""
        if hasattr(time, "tzset"):
            time.tzset()  # else the zone is that of the start, wherever the machine has travelled since
        wall, monotonic = now = self._clock.wall(), self._clock.monotonic()
        before, self._looked_at = self._looked_at, now
        passed = monotonic - before[1] if before else 0.0
        jump = wall - before[0] - passed if before else 0.0
        zone, self._zone = self._zone, time.localtime(wall).tm_gmtoff
        if passed > JUMP_SECONDS or jump > JUMP_SECONDS:
            self._woke_at = monotonic
        self._jumped |= passed > JUMP_SECONDS or abs(jump) > JUMP_SECONDS or (zone is not None and zone != self._zone)
        if jump < -1.0:
            self._set_back = (self._set_back or 0.0) - jump
        if self._set_back is not None:
            with self._noting():
                self._store.set_clock_back(wall)
                since = wall - passed - 1.0 if self._set_back else 0.0
                bring_pause_forward(self._store, self._set_back, since=since, now=wall)
                self._set_back = None

    def _machine_now(self) -> Signals:
        """Who wakes a machine up is there, whatever its idle time says."""
        now, asked = self._clock.monotonic(), self._engine.last_asked
        conditions = self._with_engine(self._probe())
        if conditions.idle_seconds is not None:
            conditions = replace(conditions, idle_seconds=min(conditions.idle_seconds, now - self._woke_at))
        since_request = None if asked is None else max(0.0, now - asked)
        return replace(
            of_machine(self._store, conditions, self._clock.wall()),
            seconds_since_request=0.0 if self._engine.asked else since_request,
            trouble=self._engine.trouble,
        )

    def _with_engine(self, conditions: Conditions) -> Conditions:
        memory, learns = self._engine.memory, self.runs.active is not None
        self._memory = self._memory.now(memory.bytes if memory else 0, learns=learns)
        self._gpu_memory = self._gpu_memory.now(memory.gpu_bytes if memory else 0, learns=learns)
        return replace(conditions, engine_memory=self._memory, engine_gpu_memory=self._gpu_memory)

    def _hold(self, machine: Signals, open_runs: list[Run]) -> None:
        active, now = self.runs.active, self._clock.monotonic()
        for by_hand, hold in self._holds.items():
            at_work = active.by_hand == by_hand if active else self.prompting.at_work and not by_hand
            waiting = any(run.by_hand == by_hand for run in open_runs)
            reason = hold.look(machine, now, at_work=at_work, waiting=waiting)
            if reason is not None and at_work and not self.runs.pausing:
                self._gives_back = True
                self.prompting.leave()
                self.runs.pause("by hand" if machine.paused_until else reason, machine.now)

    def _why_held(self, run: Run) -> str | None:
        return self._holds[run.by_hand].reason

    def _give_back(self, machine: Signals) -> None:
        """Where others need the memory, what was paused makes room at once. So does an engine that has not been asked
        for a while; whoever talks with it would wait for its model at every turn."""
        learning = self.runs.active is not None and not self.runs.pausing
        if learning or not frees_memory(machine, self._limits):
            self._gives_back = False
            return
        asked = machine.seconds_since_request
        if self._gives_back:
            self._gives_back = not (self._engine.stop_if_idle(0.0) or self._engine.ready is None)
        elif asked is None or asked >= UNASKED_SECONDS:
            self._engine.stop_if_idle(LOADED_SECONDS)

    def _note(self, machine: Signals, open_runs: list[Run]) -> None:
        """For `dittod status`, /health and the log: the same sentences everywhere."""
        machine = replace(machine, next_look=self._next_look(machine.now))
        profiles = self._store.profiles() or [DEFAULT_PROFILE]
        standing = {name: of_profile(self._store, name, machine, self._limits) for name in profiles}
        reasons = {name: reason_to_wait(each, self._limits) for name, each in standing.items()}
        reasons |= {run.profile: self._why_open(run) for run in open_runs}
        candidates = [run.profile for run in open_runs] or profiles
        nearest = min(candidates, key=lambda name: _distance(standing[name], reasons[name], self._limits))
        paused = bool(open_runs) or machine.paused_until is not None
        going = bool(open_runs) and reasons[nearest] is None
        note: dict[str, object] = {
            "state": "learning" if going else "paused" if paused else "waiting",
            "reason": reasons[nearest],
            "profiles": reasons,
            "unreadable": list(machine.conditions.unreadable),
        }
        if note != self._noted:
            self._store.note(LEARNING, note)
            _log_changes(note, self._noted)
            self._noted = note

    def _why_open(self, run: Run) -> str | None:
        """Why an open run does not move on."""
        active = self.runs.active
        waits = active is not None and active.id != run.id
        return self._why_held(run) or ("an update is under way" if waits else None)

    def _next_look(self, now: datetime) -> datetime | None:
        """Where looks have set times."""
        if self._looks_at is None:
            return None
        found: datetime | None = self._looks_at.get_next_fire_time(None, now.replace(tzinfo=UTC))
        return None if found is None else found.replace(tzinfo=None)


def _looks_at(settings: Settings) -> CronTrigger | None:
    """By what a clock on the wall shows, in whichever zone: that is what it is asked with."""
    return CronTrigger.from_crontab(settings.consider_at, timezone=UTC) if settings.consider_at else None


def _distance(signals: Signals, reason: str | None, limits: Limits) -> tuple[bool, bool, int]:
    """How far a profile is from learning: one that only the machine holds up is nearer than one with too few texts."""
    enough = signals.demonstrations >= limits.min_demonstrations
    worth_it = not signals.ever_learnt or signals.new_demonstrations >= limits.new_demonstrations
    return reason is not None, not (enough and worth_it), -signals.new_demonstrations


def _is_by_hand(reason: object) -> bool:
    return str(reason or "").startswith("paused until")


def _log_changes(note: dict[str, object], before: dict[str, object]) -> None:
    reason, was = note["reason"], before.get("reason")
    if _is_by_hand(was) and not _is_by_hand(reason):
        log.info("the pause has ended")
    if reason is not None and reason != was:
        log.info("not learning: %s", reason)
    if note["unreadable"] and note["unreadable"] != before.get("unreadable"):
        log.warning("not known, and so not heeded: %s", "; ".join(map(str, note["unreadable"])))  # type: ignore[call-overload]
