"""How things stand: what is served, what is being learnt, and if nothing is, why. Read from the store, so that it
answers at once; without a daemon it looks itself why nothing is learnt.

Also where the key of a sealed store cannot be had: what only the texts tell is left out then. Knows nothing of
requests, which only the endpoint counts.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from dittod import __version__, adapters, pruning, runs
from dittod.config import Settings, watched_folder
from dittod.errors import DittodError
from dittod.ingest.brake import BRAKE
from dittod.machine.lock import holder
from dittod.machine.probes import Probes
from dittod.paths import Home, is_mounted
from dittod.schedule import reason_to_pause
from dittod.sealing import NoKey
from dittod.serving import Document
from dittod.signals import LEARNING, ROLLED_BACK, limits, of_machine, why_waiting
from dittod.store import Store
from dittod.types import BASE, DEFAULT_PROFILE, Adapter, Run
from dittod.views import learning
from dittod.views.figures import finite
from dittod.views.remembered import remembered
from dittod.views.selections import chosen
from dittod.views.voices import current_identities
from dittod.views.words import in_words

PROGRESS = ("phase", "iteration", "done", "of", "figures")  # of a run, as far as it is known


@dataclass(frozen=True, slots=True)
class _Files:
    """What the files that were read tell."""

    identities: tuple[str, ...] = ()  # whose mail counts
    has_mail: bool = False
    set_aside: int = 0


def now(
    place: Home, settings: Settings, store: Store, *, asked: bool = False, next_look: datetime | None = None
) -> Document:
    """What `describe` says, with the engine's memory, when learning is looked at next, and a newcomer's first steps.
    `asked`: whether anybody has asked for an answer yet."""
    value = describe(place, settings, store)
    return {
        **value,
        "memory": {"used_bytes": value["engine"]["memory_bytes"], "budget_bytes": _budget(settings, store)},
        "next": None if next_look is None else f"whether to learn is looked at next at {_moment(next_look)}",
        "setup": _first_steps(value, settings, learnt=bool(store.adapters_in_short()), asked=asked),
    }


def describe(place: Home, settings: Settings, store: Store) -> Document:
    """Everything `dittod status` knows."""
    pid = holder(place.lock)
    endpoint, engine = store.noted("endpoint"), store.noted("engine")
    running = pid is not None
    files = _files(store, settings)
    if not running and store.noted("reading"):
        with suppress(DittodError):  # on a full disk it stays
            store.note("reading", {})  # of a daemon that was killed
    profiles = store.profiles() or [DEFAULT_PROFILE]
    told = store.noted(LEARNING) if running else {}
    told = told or _learning_without_daemon(place, settings, store, profiles)
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
        "learning": told,
        "disk": pruning.use_of(place, store, settings),
        "brake": store.noted(BRAKE).get("sentence"),
        "identities": list(files.identities),
        "has_mail": files.has_mail,
        "identities_guessed": not settings.identities,
        "set_aside": files.set_aside,
        "profiles": [_profile(store, settings, name, told["profiles"].get(name)) for name in profiles],
    }


def _budget(settings: Settings, store: Store) -> int | None:
    """What the engine keeps within, in bytes. None: nothing is set, and it has not looked at the machine yet."""
    found: int | None = store.noted("engine").get("budget_bytes") or settings.memory_budget
    return found


def _first_steps(value: Document, settings: Settings, *, learnt: bool, asked: bool) -> list[Document]:
    """Whose mails they are is only a question where there are mails."""
    whose = {"done": bool(value["identities"]), "what": "Say which addresses are yours: dittod identities"}
    return [
        {
            "done": any(each["demonstrations"] for each in value["profiles"]),
            "what": f"Put mails that you have sent, or texts that you wrote, into {value['watched_folder']}",
        },
        *([whose] if value["has_mail"] else ()),
        {
            "done": learnt,
            "what": f"Have a first version learnt: by itself from {settings.min_demonstrations} texts on, or at once:"
            " dittod update",
        },
        {"done": asked, "what": "Ask it something: dittod connect has ready settings for your programs"},
    ]


def _moment(when: datetime) -> str:
    """A time of the day, with its date where that is another day."""
    here = when.astimezone()
    return f"{here:%H:%M}" if here.date() == datetime.now(here.tzinfo).date() else f"{here:%Y-%m-%d %H:%M}"


def _learning_without_daemon(place: Home, settings: Settings, store: Store, profiles: list[str]) -> Document:
    """What a daemon would say, were one running."""
    conditions = Probes(place.root, lambda: None).look()
    machine = of_machine(store, conditions, time.time())
    reasons = {name: why_waiting(store, settings, name, machine) for name in profiles}
    for run in store.runs(*runs.OPEN):
        reasons[run.profile] = reason_to_pause(machine, limits(settings), by_hand=run.by_hand)
    nearest = None if None in reasons.values() else next(iter(reasons.values()))
    state = "paused" if machine.paused_until is not None else "waiting"
    return {"state": state, "reason": nearest, "profiles": reasons, "unreadable": list(conditions.unreadable)}


def _files(store: Store, settings: Settings) -> _Files:
    """Nothing where their key cannot be had, as over ssh: whose the mails are is not known then."""

    def find() -> _Files:
        files = store.files().values()
        return _Files(
            tuple(current_identities(files, settings)),
            any(file.senders for file in files),
            sum(file.state == "set_aside" for file in files),
        )

    try:
        return remembered(store, "files", lambda: (settings.identities, store.mark_of_texts()), find)
    except NoKey:
        return _Files(settings.identities)


def _held_out(store: Store, settings: Settings, name: str, last_run: Run | None) -> int:
    """Before the first update it depends on the texts; 0 where their key cannot be had."""
    if last_run is not None:
        return len(last_run.held_out_ids)
    try:
        return chosen(store, settings, name).held_out
    except NoKey:
        return 0


def _profile(store: Store, settings: Settings, name: str, reason: str | None) -> Document:
    adapter = adapters.promoted(store, name)
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
        "kept_back": _kept_back(store, last_run),
        "forgotten": _forgotten(store, name),
        "waiting": None if open_run else reason,
        "run": None if open_run is None else _run(store, open_run, reason),
        "last_error": last_run.error if last_run else None,
    }


def _kept_back(store: Store, last_run: Run | None) -> Document | None:
    """What the latest update came to, where the gate did not want it and nobody has promoted it since."""
    if last_run is None or last_run.state != "done" or last_run.adapter_id is None:
        return None
    with suppress(NoKey):
        made = store.adapter(last_run.adapter_id)
        if made.state == "candidate" and not made.verdict.promoted:
            return {"version": made.name, "reason": next(iter(made.verdict.reasons), "")}
    return None


def _rolled_back(store: Store, profile: str, served: Adapter | None) -> Document | None:
    """That a version was, by itself, while the profile still serves what it went back to."""
    note = store.noted(ROLLED_BACK).get(profile)
    name = served.name if served else BASE
    return dict(note) if note and note["served"] == name else None


def _forgotten(store: Store, profile: str) -> list[str]:
    """Versions that had learnt from what was forgotten, while the update that follows them is open."""
    waiting = {run.id for run in store.runs(*runs.OPEN, profile=profile)}
    return [version for each in store.receipts() if each.run_id in waiting for version in each.adapters]


def _run(store: Store, run: Run, reason: str | None) -> Document:
    told = {name: run.progress[name] for name in PROGRESS if name in run.progress}
    if isinstance(figures := told.get("figures"), dict):
        told["figures"] = finite(figures)
    left = None if reason else learning.seconds_left(store, run)
    return {"id": run.id, "state": run.state, **told, "paused": reason, "seconds_left": left, "notes": list(run.notes)}
