"""update: ask for a run and follow it. The daemon does the work; where none runs, this process is one for so long."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import typer
from rich.progress import Progress, TaskID

from dittod import adapters, runs
from dittod.cli.opened import opened
from dittod.cli.terminal import about, err, out, print_json, progress_bars
from dittod.cli.verdict import print_judges, print_reasons
from dittod.config import Settings
from dittod.daemon import Daemon
from dittod.errors import AlreadyRunning
from dittod.logs import log_to_file
from dittod.machine.lock import held, holder
from dittod.paths import Home
from dittod.signals import LEARNING
from dittod.stages import IN_ROUNDS, Stage
from dittod.store import Store
from dittod.types import Adapter, Run
from dittod.views import learning
from dittod.views.words import in_words

POLL_SECONDS = 0.2
RESTART_SECONDS = 60.0  # for a daemon that ended to come back, or another one
NOTICE_SECONDS = 3.0  # for a daemon to say what it makes of what was asked for: it looks every two
GONE = "the daemon has ended: waits a minute for the next one"


def update(profile: str, *, wait: bool, as_json: bool) -> None:
    """Exit code 0 for both verdicts, 1 when the update failed."""
    with ExitStack() as stack:
        place, settings, store = stack.enter_context(opened())
        bars = _bars()
        stack.callback(bars.stop)
        if holder(place.lock) is None:
            bars.start()
            stack.enter_context(daemon_here(place, settings, store, bars))
            wait = True
        said = _reason(store, profile)
        run = runs.request(store, settings, profile, by_hand=True)
        if wait:
            bars.start()
        while wait and (run := follow(store, run, bars, place)).state in runs.OPEN:  # the daemon we waited for is gone
            with suppress(AlreadyRunning):
                stack.enter_context(daemon_here(place, settings, store, bars))
        held_by = None if wait or as_json else why_held(store, run, said)
    if not wait:
        why = f"held for now: {held_by}; " if held_by else ""
        print_json({"run": run.id}) if as_json else err.print(
            f"asked for: run {run.id}; {why}see dittod status", markup=False, soft_wrap=True
        )
        return
    report(place, run, as_json=as_json)


@contextmanager
def daemon_here(place: Home, settings: Settings, store: Store, bars: Progress) -> Iterator[Daemon]:
    """A daemon without endpoint inside the block, its folder read."""
    with held(place.lock):
        log_to_file(place)
        daemon = Daemon(place, settings, store)
        read_folder(daemon, bars)
        daemon.start()
        try:
            yield daemon
        finally:
            daemon.stop()


def read_folder(daemon: Daemon, bars: Progress) -> None:
    """Bring the store up to date with the folder, with progress, in a process that holds the home and serves nobody."""
    daemon.store.note("endpoint", {})  # of a daemon before
    task = bars.add_task("files read", total=None, note="")

    def draw(done: int, of: int, documents: int) -> None:
        bars.update(task, completed=done, total=of, note=f"{documents} mails and texts")

    daemon.read_folder(draw)
    files = len(daemon.store.files())
    bars.update(task, completed=files, total=files)


def follow(store: Store, run: Run, bars: Progress, place: Home) -> Run:
    """Draw a run's stages until it has ended, or until no daemon has been there to end it for a while: one that is
    restarted finds its home free."""
    tasks: dict[tuple[str, int], TaskID] = {}
    held = bars.add_task("held", total=None, visible=False, note="")
    waiting = _Waiting()
    seen_at = time.monotonic()  # the daemon was
    while (run := store.run(run.id)).state in runs.OPEN:
        if run.progress:
            _draw(bars, tasks, run.progress, learning.seconds_left(store, run))
        is_there = holder(place.lock) is not None
        seen_at = time.monotonic() if is_there else seen_at
        reason = _reason(store, run.profile) if is_there else GONE
        bars.update(held, visible=reason is not None, note=reason or "")
        if bars.disable:
            waiting.look(reason)
        if time.monotonic() - seen_at > RESTART_SECONDS:
            break
        time.sleep(POLL_SECONDS)
    else:
        bars.update(held, visible=False)
    for task in tasks.values() if run.state == "done" else ():
        bars.update(task, completed=bars.tasks[task].total)
    return run


def _bars() -> Progress:
    """Not begun yet: bars that show nothing still leave an empty line. None are drawn where there is no terminal."""
    bars = progress_bars()
    bars.disable = not bars.console.is_interactive
    return bars


@dataclass
class _Waiting:
    """Why a run is held, said as a line each where no bars are: what the daemon has stood by for a moment, since before
    it has looked at a run it says why it would not have started one."""

    reason: str | None = None
    since: float = 0.0  # monotonic seconds
    said: str | None = None

    def look(self, reason: str | None) -> None:
        """Once more."""
        now = time.monotonic()
        if reason != self.reason:
            self.reason, self.since = reason, now
        if reason != self.said and now - self.since >= NOTICE_SECONDS:
            err.print(f"held: {reason}" if reason else "held no longer", markup=False, soft_wrap=True)
            self.said = reason


def why_held(store: Store, run: Run, said: str | None) -> str | None:
    """What the daemon says of a run that was just asked for. Before it has looked it still says why it would not have
    started one by itself (`said`), which says nothing of this one."""
    deadline = time.monotonic() + NOTICE_SECONDS
    while store.run(run.id).state == "requested" and (reason := _reason(store, run.profile)) == said:
        if time.monotonic() >= deadline:
            return reason
        time.sleep(POLL_SECONDS)
    return _reason(store, run.profile) if store.run(run.id).state in runs.OPEN else None


def _reason(store: Store, profile: str) -> str | None:
    """What the daemon says of the profile."""
    reason: str | None = store.noted(LEARNING).get("profiles", {}).get(profile)
    return reason


def _draw(bars: Progress, tasks: dict[tuple[str, int], TaskID], progress: object, left: float | None) -> None:
    assert isinstance(progress, dict)
    phase, iteration = str(progress["phase"]), int(progress["iteration"])
    key = (phase, iteration if phase in IN_ROUNDS else 0)
    if key not in tasks:
        for earlier in tasks.values():
            bars.update(earlier, completed=bars.tasks[earlier].total)
        tasks[key] = bars.add_task(Stage(phase, iteration).title, total=progress["of"], note="", left="")
    in_all = "" if left is None else f"{about(left)} left in all"
    note = _note(progress["figures"])
    bars.update(tasks[key], completed=progress["done"], total=progress["of"], note=note, left=in_all)


def _note(figures: object) -> str:
    """The one figure of the stage that shows whether it gets anywhere."""
    assert isinstance(figures, dict)
    shown = [name for name in ("margin", "loss") if isinstance(figures.get(name), (int, float))]
    return f"{shown[0]} {figures[shown[0]]:.2f}" if shown else ""


def report(place: Home, run: Run, *, as_json: bool) -> None:
    """The verdict with its reasons and figures."""
    if run.state != "done" or run.adapter_id is None:
        reason = "it was given up" if run.state == "stopped" else run.error or "no reason given"
        err.print(f"error: the update {run.state}: {reason}", markup=False, soft_wrap=True)
        raise typer.Exit(1)
    store = Store(place.store)
    adapter, served = store.adapter(run.adapter_id), adapters.promoted(store, run.profile)
    store.close()
    if as_json:
        print_json(_reported(run, adapter))
        return
    out.print(f"version {adapter.name}: {in_words(adapter.recipe)}", markup=False)
    print_reasons(adapter.verdict.reasons)
    print_judges(adapter)
    out.print(_now_served(run.profile, adapter, served), markup=False, soft_wrap=True)


def _reported(run: Run, adapter: Adapter) -> dict[str, Any]:
    verdict = adapter.verdict
    return {
        "run": run.id,
        "adapter": adapter.id,
        "verdict": "promoted" if verdict.promoted else "kept",
        "recipe": in_words(adapter.recipe),
        "reasons": list(verdict.reasons),
        "figures": dict(verdict.figures),
    }


def _now_served(profile: str, adapter: Adapter, served: Adapter | None) -> str:
    """In one sentence. A candidate that passed waits where the user has promoted or rolled back meanwhile."""
    if served is None:
        return "base is served, as before"
    if served.id == adapter.id:
        return f"it is served now; to go back: dittod adapters rollback {profile}"
    return f"{served.name} ({in_words(served.recipe)}) is served, as before"
