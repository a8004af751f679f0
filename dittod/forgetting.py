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
from dittod.runs import OPEN, Runs
from dittod.store import Store
from dittod.types import Run

log = logging.getLogger("dittod")

_CHUNK = bytes(2**20)


def finish_without_daemon(home: Home, store: Store, settings: Settings) -> None:
    """What a daemon would do, where none runs."""
    if holder(home.lock) is None:
        for receipt in store.unfinished_receipts():
            destroy_versions(home, store)
            for run in _robbed(store, receipt.profile):
                destroy(home.runs / run.id)
            _finish(store, settings, receipt)


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

    def tend(self) -> None:
        """Destroy what is withdrawn, and have the engine let go of it."""
        for receipt in self._store.unfinished_receipts():
            if receipt.id not in self._told:
                destroy_versions(self._home, self._store)
                self._tell(receipt)

    def finish(self) -> None:
        """The rest, once the engine has let go."""
        for receipt in self._store.unfinished_receipts():
            if receipt.id in self._told and self._samples_are_gone(receipt.profile):
                _finish(self._store, self._settings, receipt)

    def _tell(self, receipt: Receipt) -> None:
        """A run that is under way is left at its checkpoint, also one that only has the text before a prompt: it goes
        on without it."""
        ids = {f"{each.profile}@{each.number}": each.id for each in self._store.adapters(receipt.profile)}
        self._engine.send(Forget(tuple(ids[name] for name in receipt.adapters)))
        active = self._runs.active
        if active is not None and active.profile == receipt.profile:
            self._runs.pause("texts were forgotten", datetime.now())
        self._told.add(receipt.id)
        went = f", {', '.join(receipt.adapters)} withdrawn, {receipt.replaced_by} served" if receipt.adapters else ""
        log.info("profile %s: %d texts forgotten (%s)%s", receipt.profile, receipt.demonstrations, receipt.cause, went)

    def _samples_are_gone(self, profile: str) -> bool:
        """Those of runs that had the texts; `dittod.runs` begins such a run anew."""
        robbed = _robbed(self._store, profile)
        active = self._runs.active
        if active is not None and active.id in {run.id for run in robbed}:
            return False
        for run in robbed:
            destroy(self._home.runs / run.id)
        return True


def destroy_versions(home: Home, store: Store) -> None:
    """The folders of all that is forgotten, also what a kill has left of one."""
    for each in store.adapters():
        if each.state == "forgotten":
            destroy(home.adapters / each.id)


def destroy(folder: Path) -> None:
    """Overwrite what is in it, then remove it. From the first moment on nobody finds it by its name; who has a file of
    it open reads zeros. Repeating it finishes what was cut short."""
    hidden = folder.with_name(f".{folder.name}")
    with suppress(OSError):  # it is not there, or hidden already
        folder.rename(hidden)
    for inside, _, names in os.walk(hidden):
        for name in names:
            with suppress(OSError):  # what cannot be overwritten is removed all the same
                _overwrite(Path(inside, name))
    shutil.rmtree(hidden, ignore_errors=True)


def _overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        left = os.fstat(file.fileno()).st_size
        while left > 0:
            left -= file.write(_CHUNK[:left])
        file.flush()
        os.fsync(file.fileno())


def _robbed(store: Store, profile: str) -> list[Run]:
    """Open runs whose texts are not all there any more."""
    found = []
    for run in store.runs(*OPEN, profile=profile):
        ids = {*run.demonstration_ids, *run.held_out_ids}
        if ids - store.demonstrations_of(profile, ids).keys():
            found.append(run)
    return found


def _finish(store: Store, settings: Settings, receipt: Receipt) -> None:
    """What the left run may have written meanwhile goes; an update takes the place of what went, under the usual
    conditions, where there is enough to learn from."""
    store.trim_versions(receipt.profile)
    run_id = None
    if receipt.adapters and store.count_demonstrations(receipt.profile) >= settings.min_demonstrations:
        with suppress(TooFewDemonstrations):
            run_id = runs.request(store, settings, receipt.profile, now=time.time()).id
    store.finish_receipt(receipt.id, run_id)


class _OnlyRehearsed(Exception):
    """Takes everything back."""
