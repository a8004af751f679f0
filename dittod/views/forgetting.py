"""Forgetting as a person asks for it: what is meant by files, ids, a profile or nothing; what would go; what has gone.

What would go is found to the last version, by doing it and taking it back. Knows the watched folder's names; how what
was forgotten is cleared away is `dittod.forgetting`'s.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dittod.config import Settings, watched_folder
from dittod.errors import DittodError, HasChanged, NotFound, RequestError
from dittod.forgetting import destroy_versions, finish_without_daemon, rehearsed
from dittod.ingest.brake import BRAKE
from dittod.ingest.folder import missing_files
from dittod.ingest.watch import relative_key
from dittod.paths import Home, is_mounted
from dittod.rows import Receipt
from dittod.store import BY_HAND, CHANGED, Store

PATIENCE_SECONDS = 15.0  # with a daemon that clears away: its engine ends a step first
POLL_SECONDS = 0.1
SHORTEST_ID = 4  # characters of its beginning: fewer are sooner a slip than a name

Work = Callable[[], list[Receipt]]  # forgets, in the store


def rehearse(
    place: Home, settings: Settings, store: Store, targets: Collection[str], profile: str | None
) -> dict[str, Any]:
    """What `forget` would do, as receipts; nothing is done. Raises NotFound where that is nothing."""
    work = _work(settings, store, targets, profile)
    with rehearsed(store):
        planned = work()
    if not planned:
        raise NotFound("nothing was learnt from that", "see what there is with: dittod demos list")
    return _document(planned, finished=False)


def forget(
    place: Home,
    settings: Settings,
    store: Store,
    targets: Collection[str],
    profile: str | None,
    texts: int | None = None,
) -> dict[str, Any]:
    """Forget files and demonstrations, or all of a profile, and every version that learnt from it; without either,
    files that are gone and wait for a word. `texts`: how many a rehearsal has shown; None: nobody was shown any.
    Returns receipts, and whether everything is gone already. Raises NotFound, and HasChanged for another number."""
    work = _work(settings, store, targets, profile)
    with store.together():
        done = work()
        going = sum(each.demonstrations for each in done)
        if texts is not None and going != texts:
            raise HasChanged(
                f"the number of texts that would go is {going} by now, and {texts} was shown: nothing was forgotten",
                "look again at what would go",
            )
    if not done:
        raise NotFound("nothing was learnt from that", "see what there is with: dittod demos list")
    finished = _finish(place, settings, store, {each.id for each in done})
    ids = {each.id for each in done}
    return _document((each for each in store.receipts() if each.id in ids), finished=finished)


def files_at(root: Path, known: Collection[str], path: Path) -> list[str]:
    """Keys of the known files at a path: one, or all of a folder; none outside of the watched folder, nor at it."""
    if not path.is_relative_to(root) or path == root:
        return []
    key = relative_key(root, path)
    return [each for each in known if each == key or each.startswith(f"{key}/")]


def receipts(store: Store) -> dict[str, Any]:
    """What was forgotten, the oldest first."""
    return {"receipts": [asdict(each) for each in store.receipts()]}


def _document(receipts: Iterable[Receipt], *, finished: bool) -> dict[str, Any]:
    return {"receipts": [asdict(each) for each in receipts], "finished": finished}


def _work(settings: Settings, store: Store, targets: Collection[str], profile: str | None) -> Work:
    """What is to be done; nothing is done yet. Raises NotFound."""
    if targets and profile is not None:
        raise RequestError(
            "a profile is forgotten as a whole", "give --profile, or files and demonstrations", param="targets"
        )
    if profile is not None:
        made = (each.profile for each in store.adapters() if each.state != "forgotten")  # pruned: its words stay
        if profile not in {*store.profiles(), *made}:
            raise NotFound(f"there is no profile {profile!r}", "see what there is with: dittod status")
        return lambda: _forget_profile(store, profile)
    if targets:
        keys = _keys(settings, store, targets)
        now = time.time()
        return lambda: [each for name in keys for each in store.forget_texts(name, keys[name], BY_HAND, now)]
    return _released(settings, store)


def _released(settings: Settings, store: Store) -> Work:
    """What the brake has held up. Raises NotFound."""
    if not store.noted(BRAKE):
        raise NotFound(
            "nothing waits for a word from you", "name files, beginnings of demonstrations' ids, or --profile"
        )
    root = watched_folder(settings)
    if not is_mounted(root):
        raise DittodError(f"the watched folder is not there: {root}", "mount its disk, then see again")
    gone = missing_files(root, store.files())
    return lambda: _release(store, gone)


def _forget_profile(store: Store, profile: str) -> list[Receipt]:
    store.stop_run(profile, time.time())
    return store.forget_profile(profile, time.time())


def _release(store: Store, gone: list[str]) -> list[Receipt]:
    now = time.time()
    receipts = [*store.forget_outdated(CHANGED, now), *store.forget_files(gone, now)]
    store.note(BRAKE, {})
    return receipts


def _keys(settings: Settings, store: Store, targets: Iterable[str]) -> dict[str, set[str]]:
    """By profile, the keys of the texts that are meant. Raises NotFound for a target that means none."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    known = store.files()
    for target in targets:
        if not target.strip():
            raise RequestError(
                "an empty target names nothing", "name files, or beginnings of demonstrations' ids", param="targets"
            )
        paths = _files(watched_folder(settings), known, target)
        texts = store.texts_of(paths) if paths else [_text(store, target)]
        for profile, key in texts:
            found[profile].add(key)
    return found


def _text(store: Store, target: str) -> tuple[str, str]:
    """Profile and key of the one whose id begins so. Raises NotFound."""
    if len(target.rpartition("/")[2]) < SHORTEST_ID:
        raise NotFound(
            f"no file that was read is {target!r}, and it is too short for the beginning of an id",
            f"give at least {SHORTEST_ID} characters of it",
        )
    try:
        row = store.demonstration(target.encode(errors="replace").decode())
    except NotFound as error:
        raise NotFound(f"no file that was read is {target!r}, and {error.title}", error.hint) from None
    return row.profile, row.key


def _files(root: Path, known: Collection[str], target: str) -> list[str]:
    """Keys of the known files that a target names: a key itself, else what lies there in the watched folder. The
    working directory of whoever asks here is nobody's who names a file."""
    return [target] if target in known else files_at(root, known, root / target)


def _finish(place: Home, settings: Settings, store: Store, wanted: set[str]) -> bool:
    """Whether everything is gone. Weights go at once, whoever works here: it may be a command that clears nothing away.
    The rest is for a daemon, where one runs."""
    destroy_versions(place, store)
    finish_without_daemon(place, store, settings)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while wanted & {each.id for each in store.unfinished_receipts()}:
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
        finish_without_daemon(place, store, settings)
    return True
