"""The disk budget: whose weights go when adapters, runs, logs and copies of base models take too much room.

Never those of a version that its profile serves or would roll back to, nor of a pinned one, nor any of a profile that
is learning; a version without weights takes no room. A version whose weights go leaves its row, its reasons and its
figures. Its folder stays for some minutes more: a request that was given the version before may still wait for the
engine to start. Copies of base models that are no longer used go before any version. Neither the store nor the watched
folder counts, nor the copy that is in use, which the next start would make anew. Nothing here knows why the rest of the
disk is full.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from dittod import adapters
from dittod.config import Settings
from dittod.errors import DittodError
from dittod.paths import Home
from dittod.rows import GONE
from dittod.store import Store
from dittod.types import Adapter

log = logging.getLogger("dittod")
clock = time.monotonic

GRACE_SECONDS = 480.0  # from the last moment at which a version can be asked for to the end of its folder
KEPT_COURSES = 100  # runs whose single steps stay in the store; each has some hundred
FULL_BYTES = 16 * 2**20  # free: with less, the store's log or a checkpoint may find no room


def what_to_prune(
    made: Sequence[Adapter], sizes: Mapping[str, int], budget: int, *, learning: Collection[str] = ()
) -> list[Adapter]:
    """Those to go so that the others take no more than `budget` bytes, or as little as can be: candidates before what
    was promoted once, the oldest first. `sizes`: bytes by id; `learning`: profiles that an update is working for."""
    excess = sum(sizes.get(each.id, 0) for each in made if each.state not in GONE) - budget
    found: list[Adapter] = []
    for each in sorted(_expendable(made, learning), key=_worth):
        if excess <= 0:
            break
        if size := sizes.get(each.id, 0):
            found.append(each)
            excess -= size
    return found


def _expendable(made: Sequence[Adapter], learning: Collection[str]) -> Iterator[Adapter]:
    kept = {good.id for profile in {each.profile for each in made} if (good := adapters.last_good(made, profile))}
    for each in made:
        unused = each.state in ("candidate", "retired") and each.profile not in learning
        if unused and each.recipe.policy != "base" and not each.pinned and each.id not in kept:
            yield each


def _worth(adapter: Adapter) -> tuple[bool, float, float]:
    """What was rolled back from has no time of promotion: it goes before what was good."""
    return adapter.state == "retired", adapter.promoted_at or 0.0, adapter.created_at


class Pruning:
    """Keeps a home within its budget. Used by one thread at a time."""

    def __init__(self, home: Home, store: Store, settings: Settings) -> None:
        self._home = home
        self._store = store
        self._settings = settings
        self._pruned_at: dict[str, float] = {}  # monotonic seconds, by adapter; who is not in here was so at the start
        self._trouble = ""  # that lasts is logged once

    def tend(self) -> None:
        """Remove what was pruned, prune what is too much, note how it stands. Now and then, and after each run."""
        try:
            self._store.forget_courses(keep=KEPT_COURSES)
            self._remove_folders()
            self._prune()
            self._note()
            self._trouble = ""
        except DittodError as error:  # the store cannot be written: another time
            if error.title != self._trouble:
                log.warning("nothing is pruned now: %s", error.title)
            self._trouble = error.title

    def _remove_folders(self) -> None:
        """Also after a kill between a row and its folder."""
        learning = self._learning()
        for each in self._store.adapters():
            age = clock() - self._pruned_at.get(each.id, -GRACE_SECONDS)
            if each.state == "pruned" and each.profile not in learning and age >= GRACE_SECONDS:
                shutil.rmtree(each.path, ignore_errors=True)

    def _prune(self) -> None:
        room = self._settings.disk_budget - _other_bytes(self._home, self._settings.base_model)
        made, sizes = self._store.adapters(), _sizes(self._home)
        for copy in _unused_copies(self._home, self._settings.base_model):
            if room < sum(sizes.get(each.id, 0) for each in made if each.state not in GONE):
                room += _bytes_in(copy)
                shutil.rmtree(copy, ignore_errors=True)
        for each in what_to_prune(made, sizes, room, learning=self._learning()):
            if self._store.prune(each.id):
                self._pruned_at[each.id] = clock()
                log.info("version %s@%d is pruned: its weights go", each.profile, each.number)

    def _learning(self) -> set[str]:
        return {run.profile for run in self._store.runs("running")}

    def _note(self) -> None:
        noted = use_of(self._home, self._store, self._settings)
        if noted != self._store.noted("disk"):
            self._store.note("disk", noted)


def use_of(home: Home, store: Store, settings: Settings) -> dict[str, object]:
    """How the disk stands, for status and doctor: `used_bytes`, `budget_bytes` and `sentence`, None where all is well.
    What is pruned counts as gone."""
    sizes = _sizes(home)
    used = _other_bytes(home, settings.base_model)
    used += sum(sizes.get(id, 0) for id, (_, state) in store.adapters_in_short().items() if state not in GONE)
    trouble = full(home) or over_budget(used, settings.disk_budget)
    return {"used_bytes": used, "budget_bytes": settings.disk_budget, "sentence": trouble}


def full(home: Home) -> str | None:
    """The sentence while there is next to no room on the disk of the home."""
    free = shutil.disk_usage(home.root).free
    if free >= FULL_BYTES:
        return None
    return f"the disk is full: {free / 2**20:.0f} MiB are free; nothing is lost, and it goes on when there is room"


def over_budget(used: int, budget: int) -> str | None:
    """The sentence where all that may go is gone, and it is still too much."""
    if used <= budget:
        return None
    return (
        f"versions, runs and logs take {_size(used)} on the disk, and disk_budget is {_size(budget)}: what is served,"
        " pinned or would be rolled back to stays; raise disk_budget, or unpin versions"
    )


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def _sizes(home: Home) -> dict[str, int]:
    """Of each adapter's folder, by id."""
    return {folder.name: _bytes_in(folder) for folder in _folders_in(home.adapters)}


def _other_bytes(home: Home, base_model: str) -> int:
    return sum(map(_bytes_in, (home.runs, home.logs, *_unused_copies(home, base_model))))


def _unused_copies(home: Home, base_model: str) -> list[Path]:
    """Quantised copies of other base models than this one: their names begin with a hash of the model's (see
    `dittod.model.load`)."""
    own = hashlib.sha256(base_model.encode()).hexdigest()[:12]
    return [each for each in _folders_in(home.quantised) if not each.name.removeprefix(".").startswith(own)]


def _folders_in(folder: Path) -> list[Path]:
    try:
        return [each for each in folder.iterdir() if each.is_dir()]
    except OSError:
        return []


def _bytes_in(folder: Path) -> int:
    """Of all files below; what vanishes meanwhile counts nothing."""
    count = 0
    for inside, _, names in os.walk(folder):
        for name in names:
            try:
                count += Path(inside, name).lstat().st_size
            except OSError:
                continue
    return count
