"""status: read from the store, so that it answers at once. Without a daemon it looks itself why nothing is learnt."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from dittod import __version__, pruning, runs
from dittod.cli.identities import current_identities
from dittod.cli.terminal import day, out, print_json, print_table
from dittod.cli.verdict import in_words
from dittod.config import Settings, load_settings, watched_folder
from dittod.errors import DittodError
from dittod.in_use import NOTE as ROLLED_BACK
from dittod.ingest.brake import BRAKE
from dittod.ingest.folder import is_mounted
from dittod.machine.lock import holder
from dittod.machine.probes import Probes
from dittod.paths import MARKER, Home, home
from dittod.rows import FileRow
from dittod.schedule import reason_to_pause
from dittod.sealing import NoKey
from dittod.signals import LEARNING, limits, of_machine, why_waiting
from dittod.store import Store
from dittod.types import DEFAULT_PROFILE, Adapter, Run

PAUSED = "paused at "  # how a run's note of a pause begins
DATE = 10  # characters of a time that are the day


def status(*, as_json: bool) -> None:
    """A table, or the document that docs/architecture.md describes."""
    place = home()
    place.create()
    settings = load_settings(place)
    store = Store(place.store)
    value = describe(place, settings, store)
    store.close()
    print_json(value) if as_json else _show(value)


def describe(place: Home, settings: Settings, store: Store) -> dict[str, Any]:
    """Everything `status` knows."""
    pid = holder(place.lock)
    endpoint, engine = store.noted("endpoint"), store.noted("engine")
    running = pid is not None
    files = _files(store)
    if not running and store.noted("reading"):
        with suppress(DittodError):  # on a full disk it stays
            store.note("reading", {})  # of a daemon that was killed
    profiles = store.profiles() or [DEFAULT_PROFILE]
    learning = store.noted(LEARNING) if running else {}
    learning = learning or _learning_without_daemon(place, settings, store, profiles)
    return {
        "version": __version__,
        "daemon_pid": pid,
        "endpoint": f"{endpoint['url']}/v1" if running and endpoint else None,
        "watched_folder": str(settings.watched_folder),
        "watched_folder_is_mounted": not store.noted("watched") or is_mounted(watched_folder(settings)),
        "engine": {
            "state": engine.get("state", "stopped") if running else "stopped",
            "pid": engine.get("pid") if running else None,
            "base_model": settings.base_model,
            "memory_bytes": engine.get("memory_bytes", 0) if running else 0,
            "last_death": engine.get("last_death"),
            "last_died_at": engine.get("last_died_at"),
            "set_aside": engine.get("set_aside", []) if running else [],
            "trouble": engine.get("trouble") if running else None,
        },
        "learning": learning,
        "disk": pruning.use_of(place, store, settings),
        "brake": store.noted(BRAKE).get("sentence"),
        "identities": current_identities(files, settings),
        "has_mail": any(file.senders for file in files),
        "identities_guessed": not settings.identities,
        "set_aside": sum(file.state == "set_aside" for file in files),
        "profiles": [_profile(store, settings, name, learning["profiles"].get(name)) for name in profiles],
    }


def _learning_without_daemon(place: Home, settings: Settings, store: Store, profiles: list[str]) -> dict[str, Any]:
    """What a daemon would say, were one running."""
    conditions = Probes(place.root, lambda: None).look()
    machine = of_machine(store, conditions, time.time())
    reasons = {name: why_waiting(store, settings, name, machine) for name in profiles}
    for run in store.runs(*runs.OPEN):
        reasons[run.profile] = reason_to_pause(machine, limits(settings), by_hand=run.by_hand)
    nearest = None if None in reasons.values() else next(iter(reasons.values()))
    state = "paused" if machine.paused_until is not None else "waiting"
    return {"state": state, "reason": nearest, "profiles": reasons, "unreadable": list(conditions.unreadable)}


def _files(store: Store) -> tuple[FileRow, ...]:
    """None where their key cannot be had, as over ssh: whose the mails are is not known then."""
    try:
        return tuple(store.files().values())
    except NoKey:
        return ()


def _held_out(store: Store, settings: Settings, name: str, last_run: Run | None) -> int:
    """Before the first update it depends on the texts; 0 where their key cannot be had."""
    if last_run is not None:
        return len(last_run.held_out_ids)
    try:
        return len(runs.next_selection(store, settings, name).held_out)
    except NoKey:
        return 0


def _profile(store: Store, settings: Settings, name: str, reason: str | None) -> dict[str, Any]:
    adapter = next((each for each in store.adapters(name) if each.state == "promoted"), None)
    latest = store.runs(profile=name)[-1:]
    open_run = next((run for run in latest if run.state in runs.OPEN), None)
    last_run = latest[0] if latest else None
    return {
        "name": name,
        "demonstrations": store.count_demonstrations(name),
        "held_out": _held_out(store, settings, name, last_run),
        "adapter": None
        if adapter is None
        else {
            "id": adapter.id,
            "number": adapter.number,
            "promoted_at": adapter.promoted_at,
            "recipe": in_words(adapter.recipe),
        },
        "rolled_back": _rolled_back(store, name, adapter),
        "forgotten": _forgotten(store, name),
        "waiting": None if open_run else reason,
        "run": None if open_run is None else _run(open_run, reason),
        "last_error": last_run.error if last_run else None,
    }


def _rolled_back(store: Store, profile: str, served: Adapter | None) -> dict[str, Any] | None:
    """That a version was, by itself, while the profile still serves what it went back to."""
    note = store.noted(ROLLED_BACK).get(profile)
    now = f"{profile}@{served.number}" if served else "base"
    return dict(note) if note and note["served"] == now else None


def _forgotten(store: Store, profile: str) -> list[str]:
    """Versions that had learnt from what was forgotten, while the update that follows them is open."""
    waiting = {run.id for run in store.runs(*runs.OPEN, profile=profile)}
    return [version for each in store.receipts() if each.run_id in waiting for version in each.adapters]


def _run(run: Run, reason: str | None) -> dict[str, Any]:
    return {"id": run.id, "state": run.state, **run.progress, "paused": reason, "notes": list(run.notes)}


def _show_disk(disk: dict[str, Any]) -> None:
    out.print(f"disk      {disk['used_bytes'] / 2**20:.0f} MiB of {disk['budget_bytes'] / 2**20:.0f} MiB")
    if disk["sentence"]:
        out.print(f"          {disk['sentence']}", markup=False, soft_wrap=True)


def _show_engine(engine: dict[str, Any]) -> None:
    memory = f", {engine['memory_bytes'] / 2**20:.0f} MiB" if engine["memory_bytes"] else ""
    out.print(f"engine    {engine['state']}, {engine['base_model']}{memory}", markup=False)
    if engine["last_death"]:
        out.print(f"          died last: {day(engine['last_died_at'])}, {engine['last_death']}", markup=False)
    for version in engine["set_aside"]:
        out.print(f"          {version} is not used until the next start: the engine died of it", markup=False)
    if engine["trouble"]:
        out.print(f"          {engine['trouble']}", markup=False)


def _show(value: dict[str, Any]) -> None:
    pid = value["daemon_pid"]
    out.print("daemon    not running" if pid is None else f"daemon    process {pid or 'unknown'}")
    none = "-" if pid is None else "-  (dittod update or dittod ingest is at work, or dittod run is starting)"
    out.print(f"endpoint  {value['endpoint'] or none}", markup=False, soft_wrap=True)
    _show_engine(value["engine"])
    _show_disk(value["disk"])
    out.print(f"watching  {value['watched_folder']}", markup=False, soft_wrap=True)
    if not value["watched_folder_is_mounted"]:
        out.print(f"          it or its file {MARKER} is missing or cannot be read: until it can be,")
        out.print(f"          nothing is read or forgotten; if only the file is gone: touch {MARKER} in it")
    if value["brake"]:
        out.print(f"          {value['brake']}", markup=False, soft_wrap=True)
    if value["identities"]:
        guessed = " (guessed; see: dittod identities)" if value["identities_guessed"] else ""
        out.print(f"mail from {', '.join(value['identities'])}{guessed}", markup=False, soft_wrap=True)
    elif value["has_mail"]:
        out.print("mail from nobody: it cannot be told whose the mails are; see: dittod identities")
    if value["set_aside"]:
        out.print(f"set aside {value['set_aside']}, see: dittod demos list")
    print_table(
        ("profile", "texts", "held out", "serves", "since", "learning"),
        [_row(profile, running=value["daemon_pid"] is not None) for profile in value["profiles"]],
        empty="",
    )
    for profile in value["profiles"]:
        for sentence in _sentences(profile):
            out.print(f"{profile['name']}: {sentence}", markup=False, soft_wrap=True)
    for sentence in value["learning"]["unreadable"]:
        out.print(f"not known, and so not heeded: {sentence}", markup=False)


def _sentences(profile: dict[str, Any]) -> Iterator[str]:
    """What the table has no room for."""
    if profile["last_error"] and not profile["run"]:
        yield f"last update failed: {profile['last_error']}"
    if back := profile["rolled_back"]:
        yield f"rolled back at {day(back['at'])}. {back['sentence']}"
    if run := profile["run"]:
        if profile["forgotten"] and run["state"] == "requested":
            yield f"forgotten: {', '.join(profile['forgotten'])}; an update without their texts is asked for"
        else:
            yield from _latest_note(run)


def _latest_note(run: dict[str, Any]) -> list[str]:
    """Of what befell the run, if it is still so: of a run that goes on, pauses are no news any more."""
    return [each for each in run["notes"] if run["paused"] or not each.startswith(PAUSED)][-1:]


def _stage(run: dict[str, Any]) -> str:
    stage = f"{run['phase']} {run['done']}/{run['of']}" if "phase" in run else str(run["state"])
    reason = str(run["paused"] or "")
    by_hand = reason.startswith("paused")
    return ", ".join(filter(None, (stage, reason if by_hand or not reason else f"paused: {reason}")))


def _row(profile: dict[str, Any], *, running: bool) -> tuple[object, ...]:
    adapter, run = profile["adapter"], profile["run"]
    serves = f"{profile['name']}@{adapter['number']}: {adapter['recipe']}" if adapter else "base"
    learning = _stage(run) if run else profile["waiting"]
    if run and not running:
        learning = f"{learning}; goes on with: dittod run"
    return (
        profile["name"],
        profile["demonstrations"],
        profile["held_out"],
        serves,
        day(adapter["promoted_at"])[:DATE] if adapter else "-",
        learning or ("starts soon" if running else "would start: dittod run"),
    )
