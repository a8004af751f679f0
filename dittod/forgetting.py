"""Forgetting to its end: after the store has let go of texts, what is left of them goes too.

The store's part is one transaction (`dittod.store.receipts`). What follows is here: weights are destroyed, the engine
lets go of its copies and caches, samples of open updates go, an update without the texts is asked for. Each
may be repeated, and a receipt says whether all were done: a kill at any moment is made up for at the next start. Knows
homes, store and engine; does not know why a text is to be forgotten, nor how to ask its user.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from dittod import runs
from dittod.config import Settings
from dittod.engine.client import Engine
from dittod.engine.protocol import Forget
from dittod.errors import TooFewDemonstrations
from dittod.machine.lock import holder
from dittod.paths import Home
from dittod.rows import Receipt
from dittod.runs import Runs
from dittod.store import Store
from dittod.types import Adapter, Run

log = logging.getLogger("dittod")

AGAIN_SECONDS = 1.0  # until what could not be removed is tried again
clock = time.monotonic

_CHUNK = bytes(2**20)


def finish_without_daemon(home: Home, store: Store, settings: Settings) -> None:
    """What a daemon would do, where none runs."""
    if holder(home.lock) is None:
        for receipt in store.unfinished_receipts():
            destroy_versions(home, store)
            _destroy_samples(home, store, receipt.profile)
            _finish(home, store, settings, receipt)


@contextmanager
def rehearsed(store: Store) -> Iterator[None]:
    """What is forgotten inside is not: to see what would go."""
    with suppress(_OnlyRehearsed), store.together():
        yield
        raise _OnlyRehearsed


class Forgetting:
    """The daemon's part. `tend` is used by one thread, `finish` by the one that moves runs along: else a run could
    begin while its samples go."""

    def __init__(self, home: Home, store: Store, settings: Settings, engine: Engine, runs: Runs) -> None:
        self._home = home
        self._store = store
        self._settings = settings
        self._engine = engine
        self._runs = runs
        self._told: set[str] = set()  # the engine, of these receipts
        self._again_at = 0.0  # monotonic seconds: what could not be removed is tried again

    def tend(self) -> None:
        """Have the engine let go of what is withdrawn, and destroy it, until it is gone: somebody may have a file of it
        open."""
        unfinished = self._store.unfinished_receipts()
        news = [each for each in unfinished if each.id not in self._told]
        for receipt in news:
            self._tell(receipt)
        if news or (unfinished and clock() >= self._again_at):
            destroy_versions(self._home, self._store)
            self._again_at = clock() + AGAIN_SECONDS

    def finish(self) -> None:
        """The rest, once the engine has let go."""
        for receipt in self._store.unfinished_receipts():
            if receipt.id in self._told and not self._is_being_learnt(receipt.profile):
                _destroy_samples(self._home, self._store, receipt.profile)
                _finish(self._home, self._store, self._settings, receipt)

    def _tell(self, receipt: Receipt) -> None:
        """A run that is under way is left at its checkpoint, also one that only has the text before a prompt: it goes
        on without it."""
        self._engine.send(Forget(tuple(each.id for each in _withdrawn(self._store, receipt))))
        active = self._runs.active
        if active is not None and active.profile == receipt.profile:
            self._runs.pause("texts were forgotten", datetime.now())
        self._told.add(receipt.id)
        went = f", {', '.join(receipt.adapters)} withdrawn, {receipt.replaced_by} served" if receipt.adapters else ""
        log.info("profile %s: %d texts forgotten (%s)%s", receipt.profile, receipt.demonstrations, receipt.cause, went)

    def _is_being_learnt(self, profile: str) -> bool:
        """Whether the engine works on a run that had the texts still; `dittod.runs` begins such a run anew."""
        active = self._runs.active
        return active is not None and active.profile == profile and _is_robbed(self._store, active)


def destroy_versions(home: Home, store: Store) -> None:
    """The folders of all that is forgotten, also what a kill has left of one."""
    for each in store.adapters():
        if each.state == "forgotten":
            destroy(home.adapters / each.id)


def destroy(folder: Path) -> None:
    """Overwrite what is in it, then remove it. From the first moment on nobody finds it by its name, unless the system
    forbids that; who has a file of it open reads zeros. Repeating it finishes what was cut short."""
    hidden = _hidden(folder)
    with suppress(OSError):  # it is not there, or hidden already
        folder.rename(hidden)
    for place in (hidden, folder):
        for inside, _, names in os.walk(place):
            for name in names:
                with suppress(OSError):  # what cannot be overwritten is removed all the same
                    _overwrite(Path(inside, name))
        shutil.rmtree(place, ignore_errors=True)


def _hidden(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}")


def _is_there(folder: Path) -> bool:
    return folder.exists() or _hidden(folder).exists()


def _withdrawn(store: Store, receipt: Receipt) -> list[Adapter]:
    made = [each for each in store.adapters(receipt.profile) if each.state == "forgotten"]
    return [each for each in made if each.name in receipt.adapters]


def _overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        left = os.fstat(file.fileno()).st_size
        while left > 0:
            left -= file.write(_CHUNK[:left])
        file.flush()
        os.fsync(file.fileno())


def _destroy_samples(home: Home, store: Store, profile: str) -> None:
    for folder in _robbed(home, store, profile):
        destroy(folder)


def _robbed(home: Home, store: Store, profile: str) -> list[Path]:
    """What lies there of runs, also of such as were given up, whose texts are not all there any more."""
    there = {each.name.removeprefix(".") for each in home.runs.iterdir()}
    runs_of_profile = [run for run in store.runs(profile=profile) if run.id in there]
    return [home.runs / run.id for run in runs_of_profile if _is_robbed(store, run)]


def _is_robbed(store: Store, run: Run) -> bool:
    ids = {*run.demonstration_ids, *run.held_out_ids}
    return bool(ids - store.demonstrations_of(run.profile, ids).keys())


def _finish(home: Home, store: Store, settings: Settings, receipt: Receipt) -> None:
    """What the left run may have written meanwhile goes; an update takes the place of what went, under the usual
    conditions, where there is enough to learn from. While anything of it is there still, it is not the end."""
    store.trim_versions(receipt.profile)
    folders = [home.adapters / each.id for each in _withdrawn(store, receipt)]
    if any(map(_is_there, (*folders, *_robbed(home, store, receipt.profile)))) or not store.empty_log():
        return
    run_id = None
    if receipt.adapters and store.count_demonstrations(receipt.profile) >= settings.min_demonstrations:
        with suppress(TooFewDemonstrations):
            run_id = runs.request(store, settings, receipt.profile, now=time.time()).id
    store.finish_receipt(receipt.id, run_id)


class _OnlyRehearsed(Exception):
    """Takes everything back."""
