"""forget and receipts: what goes is shown first, to the last version, by doing it and taking it back."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import asdict
from pathlib import Path

import typer

from dittod.cli.opened import opened
from dittod.cli.terminal import day, out, print_json, print_table
from dittod.config import Settings, watched_folder
from dittod.errors import DittodError, NotFound
from dittod.forgetting import destroy_versions, finish_without_daemon, rehearsed
from dittod.ingest.brake import BRAKE
from dittod.ingest.folder import is_mounted, missing_files
from dittod.ingest.watch import relative_key
from dittod.paths import Home
from dittod.rows import Receipt
from dittod.store import BY_HAND, CHANGED, Store

COLUMNS = ("receipt", "when", "profile", "texts", "reason")
Work = Callable[[], list[Receipt]]  # forgets, in the store

PATIENCE_SECONDS = 15.0  # with a daemon that clears away: its engine ends a step first
POLL_SECONDS = 0.1
SHORTEST_ID = 4  # characters of its beginning: fewer are sooner a slip than a name
LEFT = (
    "not all of it is gone yet: the running daemon clears it away when its engine has ended its step, or the next one"
)
STAYS = "files stay where they are; one that was named gives nothing any more until its text changes"


def forget(targets: list[str], profile: str | None, *, yes: bool, as_json: bool) -> None:
    """Exit code 1 where there is nothing to forget, or the user does not want it after all."""
    with opened() as (place, settings, store):
        work = _work(settings, store, targets, profile)
        with rehearsed(store):
            planned = work()
        if not planned:
            raise NotFound("nothing was learnt from that", "see what there is with: dittod demos list")
        if not yes:
            _ask(planned, as_json=as_json)
        receipts = work()
        finished = _finish(place, settings, store, receipts)
        receipts = [each for each in store.receipts() if each.id in {one.id for one in receipts}]
    if as_json:
        print_json({"receipts": [asdict(each) for each in receipts], "finished": finished})
        return
    print_table(COLUMNS, map(_row, receipts), empty="")
    out.print(STAYS if targets or profile else "what comes back into the folder is learnt from again", soft_wrap=True)
    if not finished:
        out.print(LEFT, soft_wrap=True)


def list_receipts(*, as_json: bool) -> None:
    """Oldest first."""
    with opened() as (_, _, store):
        receipts = store.receipts()
    if as_json:
        print_json({"receipts": [asdict(each) for each in receipts]})
        return
    print_table(COLUMNS, map(_row, receipts), empty="nothing was forgotten so far")


def _row(receipt: Receipt) -> tuple[object, ...]:
    """Its last column gives way where the terminal is narrow."""
    told = [receipt.cause]
    if receipt.adapters:
        told += [f"{', '.join(receipt.adapters)} withdrawn", f"{receipt.replaced_by} served since"]
    if receipt.run_id:
        told.append(f"update {receipt.run_id} asked for")
    if not receipt.finished:
        told.append("not all of it is gone yet")
    return receipt.id, day(receipt.at), receipt.profile, receipt.demonstrations, "; ".join(told)


def _work(settings: Settings, store: Store, targets: list[str], profile: str | None) -> Work:
    """What is to be done; nothing is done yet. Raises NotFound."""
    if targets and profile is not None:
        raise DittodError("a profile is forgotten as a whole", "give --profile, or files and demonstrations")
    if profile is not None:
        made = (each.profile for each in store.adapters() if each.state != "forgotten")  # pruned: its words stay
        if profile not in {*store.profiles(), *made}:
            raise NotFound(f"there is no profile {profile!r}", "see what there is with: dittod status")
        return lambda: _forget_profile(store, profile)
    if targets:
        keys = _keys(settings, store, targets)
        now = time.time()
        return lambda: [each for name in keys for each in store.forget_texts(name, keys[name], BY_HAND, now)]
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
    """What the brake has held up."""
    now = time.time()
    receipts = [*store.forget_outdated(CHANGED, now), *store.forget_files(gone, now)]
    store.note(BRAKE, {})
    return receipts


def _keys(settings: Settings, store: Store, targets: list[str]) -> dict[str, set[str]]:
    """By profile, the keys of the texts that are meant. Raises NotFound for a target that means none."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    known = store.files()
    for target in targets:
        if not target.strip():
            raise DittodError("an empty target names nothing", "name files, or beginnings of demonstrations' ids")
        paths = _files(watched_folder(settings), known, target)
        if paths:
            for profile, key in store.texts_of(paths):
                found[profile].add(key)
            continue
        if len(target.rpartition("/")[2]) < SHORTEST_ID:
            raise NotFound(
                f"no file that was read is {target!r}, and it is too short for the beginning of an id",
                f"give at least {SHORTEST_ID} characters of it",
            )
        try:
            row = store.demonstration(target.encode(errors="replace").decode())
        except NotFound as error:
            raise NotFound(f"no file that was read is {target!r}, and {error.title}", error.hint) from None
        found[row.profile].add(row.key)
    return found


def _files(root: Path, known: Collection[str], target: str) -> list[str]:
    """Keys of the known files that a target names: one, or all of a folder."""
    for path in (Path(target).absolute(), root / target):
        if path.is_relative_to(root) and path != root:
            key = relative_key(root, path)
            if inside := [each for each in known if each == key or each.startswith(f"{key}/")]:
                return inside
    return []


def _ask(planned: list[Receipt], *, as_json: bool) -> None:
    if sys.stdin is None or not sys.stdin.isatty():
        raise DittodError("dittod forget asks first, and there is no terminal", "add --yes")
    rows = [
        (each.profile, each.demonstrations, ", ".join(each.adapters) or "-", each.replaced_by or "unchanged")
        for each in planned
    ]
    if not as_json:  # stdout is one document then
        out.print("for good:")
        print_table(("profile", "texts", "versions", "serves"), rows, empty="")
    texts = sum(each.demonstrations for each in planned)
    typer.confirm(f"forget all this ({texts} {'text' if texts == 1 else 'texts'})?", abort=True, err=True)


def _finish(place: Home, settings: Settings, store: Store, receipts: list[Receipt]) -> bool:
    """Whether everything is gone. Weights go at once, whoever works here: it may be a command that clears nothing away.
    The rest is for a daemon, where one runs."""
    destroy_versions(place, store)
    finish_without_daemon(place, store, settings)
    deadline = time.monotonic() + PATIENCE_SECONDS
    wanted = {each.id for each in receipts}
    while wanted & {each.id for each in store.unfinished_receipts()}:
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
        finish_without_daemon(place, store, settings)
    return True
