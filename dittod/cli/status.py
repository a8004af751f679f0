"""status: how things stand, as a table or as JSON. What there is to say comes from `dittod.views.status`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dittod.cli.opened import opened
from dittod.cli.terminal import about, date, day, out, print_json, print_table
from dittod.paths import MARKER
from dittod.types import BASE, version_name
from dittod.views.status import describe

PAUSED = "paused at "  # how a run's note of a pause begins


def status(*, as_json: bool) -> None:
    """A table, or the document that docs/architecture.md describes."""
    with opened() as (place, settings, store):
        value = describe(place, settings, store)
    print_json(value) if as_json else _show(value)


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
    if kept := profile["kept_back"]:
        yield f"the last update was kept back: {kept['reason']}; dittod adapters show {kept['version']} has all of it"
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


def stage(run: Mapping[str, Any]) -> str:
    """Where an open run is, how long the rest takes, and what holds it up."""
    at = f"{run['phase']} {run['done']}/{run['of']}" if run.get("phase") else str(run["state"])
    reason = str(run["paused"] or "")
    by_hand = reason.startswith("paused")
    left = "" if run["seconds_left"] is None else f"{about(run['seconds_left'])} left"
    return ", ".join(filter(None, (at, left, reason if by_hand or not reason else f"paused: {reason}")))


def _row(profile: dict[str, Any], *, running: bool) -> tuple[object, ...]:
    adapter, run = profile["adapter"], profile["run"]
    serves = f"{version_name(profile['name'], adapter['number'])}: {adapter['recipe']}" if adapter else BASE
    learning = stage(run) if run else profile["waiting"]
    if run and not running:
        learning = f"{learning}; goes on with: dittod run"
    return (
        profile["name"],
        profile["demonstrations"],
        profile["held_out"],
        serves,
        date(adapter["promoted_at"] if adapter else None),
        learning or ("starts soon" if running else "would start: dittod run"),
    )
