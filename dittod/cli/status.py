"""status: read from the store, so that it answers at once, whether or not a daemon runs."""

from __future__ import annotations

import time
from typing import Any

from dittod import __version__, machine, runs
from dittod.cli.identities import current_identities
from dittod.cli.terminal import day, out, print_json, print_table
from dittod.config import Settings, load_settings, watched_folder
from dittod.paths import MARKER, Home, home
from dittod.store import Store
from dittod.types import DEFAULT_PROFILE


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
    pid = machine.holder(place.lock)
    endpoint, engine = store.noted("endpoint"), store.noted("engine")
    running = pid is not None
    files = store.files().values()
    if not running and store.noted("reading"):
        store.note("reading", {})  # of a daemon that was killed
    return {
        "version": __version__,
        "daemon_pid": pid,
        "endpoint": f"{endpoint['url']}/v1" if running and endpoint else None,
        "watched_folder": str(settings.watched_folder),
        "watched_folder_is_mounted": not store.noted("watched") or (watched_folder(settings) / MARKER).exists(),
        "engine": {
            "state": engine.get("state", "stopped") if running else "stopped",
            "pid": engine.get("pid") if running else None,
            "base_model": settings.base_model,
            "memory_bytes": engine.get("memory_bytes", 0) if running else 0,
            "last_death": engine.get("last_death"),
        },
        "identities": current_identities(files, settings),
        "has_mail": any(file.senders for file in files),
        "identities_guessed": not settings.identities,
        "set_aside": sum(file.state == "set_aside" for file in files),
        "profiles": [_profile(store, settings, name) for name in store.profiles() or [DEFAULT_PROFILE]],
    }


def _profile(store: Store, settings: Settings, name: str) -> dict[str, Any]:
    adapter = next((each for each in store.adapters(name) if each.state == "promoted"), None)
    latest = store.runs(profile=name)[-1:]
    open_run = next((run for run in latest if run.state in ("requested", "running")), None)
    last_run = latest[0] if latest else None
    return {
        "name": name,
        "demonstrations": store.count_demonstrations(name),
        "held_out": len(last_run.held_out_ids if last_run else runs.next_selection(store, settings, name).held_out),
        "adapter": None
        if adapter is None
        else {"id": adapter.id, "number": adapter.number, "promoted_at": adapter.promoted_at},
        "waiting": None
        if open_run
        else runs.why_waiting(store, settings, name, on_battery=machine.on_battery(), now=time.time()),
        "run": {"id": open_run.id, "state": open_run.state, **open_run.progress} if open_run else None,
        "last_error": last_run.error if last_run else None,
    }


def _show(value: dict[str, Any]) -> None:
    engine = value["engine"]
    out.print(f"daemon    {'process ' + str(value['daemon_pid']) if value['daemon_pid'] else 'not running'}")
    out.print(f"endpoint  {value['endpoint'] or '-'}", markup=False, soft_wrap=True)
    memory = f", {engine['memory_bytes'] / 2**20:.0f} MiB" if engine["memory_bytes"] else ""
    out.print(f"engine    {engine['state']}, {engine['base_model']}{memory}", markup=False)
    if engine["last_death"]:
        out.print(f"          died last: {engine['last_death']}", markup=False)
    out.print(f"watching  {value['watched_folder']}", markup=False, soft_wrap=True)
    if not value["watched_folder_is_mounted"]:
        out.print(f"          its file {MARKER} is missing: nothing is read or forgotten until the folder is mounted")
        out.print(f"          or, if this is the folder, until the file is there again: touch {MARKER} in it")
    if value["identities"]:
        guessed = " (guessed; see: dittod identities)" if value["identities_guessed"] else ""
        out.print(f"mail from {', '.join(value['identities'])}{guessed}", markup=False, soft_wrap=True)
    elif value["has_mail"]:
        out.print("mail from nobody: it cannot be told whose the mails are; see: dittod identities")
    if value["set_aside"]:
        out.print(f"set aside {value['set_aside']}, see: dittod demos list")
    print_table(
        ("profile", "demonstrations", "held out", "serves", "promoted", "learning"),
        [_row(profile, running=value["daemon_pid"] is not None) for profile in value["profiles"]],
        empty="",
    )


def _stage(run: dict[str, Any]) -> str:
    return f"{run['phase']} {run['done']}/{run['of']}" if "phase" in run else str(run["state"])


def _row(profile: dict[str, Any], *, running: bool) -> tuple[object, ...]:
    adapter, run = profile["adapter"], profile["run"]
    serves = f"{profile['name']}@{adapter['number']}" if adapter else "base"
    learning = _stage(run) if run else profile["waiting"]
    if run and not running:
        learning = f"{learning}; goes on with: dittod run"
    if profile["last_error"] and not run:
        learning = f"{learning or 'now'}; last update failed: {profile['last_error']}"
    return (
        profile["name"],
        profile["demonstrations"],
        profile["held_out"],
        serves,
        day(adapter["promoted_at"]) if adapter else "-",
        learning or ("starts soon" if running else "would start: dittod run"),
    )
