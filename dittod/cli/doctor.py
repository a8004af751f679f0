"""doctor: every check, each as soon as it is made. The slow ones, which ask torch, come last."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict

import typer

from dittod import doctor as checks
from dittod.background import is_ours, manager
from dittod.cli.plan import ask
from dittod.cli.terminal import out, print_json
from dittod.config import Settings, load_settings
from dittod.doctor import Check
from dittod.errors import DittodError, SettingsError
from dittod.learner.plan import BEFORE_TEXTS, make_plan
from dittod.learner.preset import preset
from dittod.machine.lock import holder
from dittod.machine.probes import Probes
from dittod.model.shape import config_path
from dittod.paths import Home, home
from dittod.schedule import Conditions


def doctor(*, as_json: bool) -> None:
    """Exit code 1 if something is broken."""
    made: list[Check] = []
    for check in _all(home()):
        made.append(check)
        if not as_json:
            _show(check)
    if as_json:
        print_json({"state": checks.worst(made), "checks": [asdict(each) for each in made]})
    if checks.worst(made) == "broken":
        raise typer.Exit(1)


def _show(check: Check) -> None:
    out.print(f"{check.state:<9}{check.name}: {check.found}", markup=False, soft_wrap=True)
    if check.remedy:
        out.print(f"{'':9}remedy: {check.remedy}", markup=False, soft_wrap=True)


def _all(place: Home) -> Iterator[Check]:
    """A check that cannot be made is no reason to leave out the others."""
    there = next(each for each in (place.root, *place.root.parents) if os.access(each, os.F_OK))
    conditions = Probes(there, lambda: None).look()
    yield checks.python()
    settings, check = _settings(place)
    yield check
    in_home = _in_home(place)
    yield in_home
    if in_home.state == "ok":
        yield from _of_home(place, settings)
    yield from _of_machine(place, settings, conditions)
    yield from _of_model(settings, conditions)


def _settings(place: Home) -> tuple[Settings, Check]:
    """Those in force, or the defaults where they cannot be loaded."""
    try:
        settings = load_settings(place)
    except SettingsError as error:
        return Settings.model_construct(), Check("settings", "broken", error.title, error.hint)
    found = str(place.settings) if place.settings.exists() else "the defaults"
    return settings, Check("settings", "ok", found)


def _in_home(place: Home) -> Check:
    """Whether there is anything to look at."""
    if not os.access(place.root, os.F_OK):
        return Check("home", "warning", f"{place.root} is not there yet", "dittod init")
    if not place.root.is_dir() or not os.access(place.root, os.R_OK | os.W_OK | os.X_OK):
        remedy = "give it back to be read and written by you, or set DITTOD_HOME to another folder"
        return Check("home", "broken", f"{place.root} is no folder that you can read and write", remedy)
    return Check("home", "ok", f"{place.root}")


def _of_home(place: Home, settings: Settings) -> Iterator[Check]:
    yield _made("permissions", lambda: checks.permissions(place))
    yield _made("token", lambda: checks.token(place, settings))
    yield _made("clock", lambda: checks.clock(place, time.time()))
    yield _made("encryption", lambda: checks.encryption(place, settings))
    if place.store.exists():
        yield _made("store", lambda: checks.store(place))
        yield _made("engine", lambda: checks.engine(place))
    folder = checks.watched(settings, place)
    yield _made("watched folder", lambda: checks.watching(folder, running=_running(place) is not None))
    yield from checks.file_systems(folder, place.root)


def _of_machine(place: Home, settings: Settings, conditions: Conditions) -> Iterator[Check]:
    pid = _running(place)
    url = checks.noted(place, "endpoint").get("url") if pid is not None else None
    yield _made("port", lambda: checks.port(settings, url))
    yield _made("service", lambda: _service(pid))
    yield checks.disk(conditions, settings)
    yield checks.probes(conditions)


def _running(place: Home) -> int | None:
    """The daemon of the home. A lock that is not there is not made."""
    return holder(place.lock) if os.access(place.lock, os.R_OK | os.W_OK) else None


def _service(pid: int | None) -> Check:
    state = manager(sys.platform).state()
    return checks.service(installed=state.installed, serves=is_ours(state, pid), pid=pid)


def _of_model(settings: Settings, conditions: Conditions) -> Iterator[Check]:
    try:
        yield checks.model(settings.base_model, config_path(settings.base_model).parent)
        device, shape = ask(settings.base_model)
        yield checks.torch(device.kind, conditions)
        yield checks.bitsandbytes(device.four_bits, settings)
        budget = device.budget(settings.memory_budget)
        numbers = preset(settings.preset, settings.learner)
        wanted = None if settings.quantisation == "auto" else settings.quantisation
        plan = make_plan(shape, device, budget, numbers, quantisation=wanted, need=BEFORE_TEXTS).plan
        yield checks.memory(plan.peak_bytes, budget, device.kind, conditions)
    except DittodError as error:
        yield Check("learning", "broken", error.title, error.hint)
    except OSError as error:
        remedy = "give the files of base_model back to be read by you"
        yield Check("model", "broken", f"{error.filename or settings.base_model} cannot be read", remedy)


def _made(name: str, make: Callable[[], Check]) -> Check:
    try:
        return make()
    except DittodError as error:
        return Check(name, "warning", error.title, error.hint)
    except OSError as error:
        return Check(name, "warning", f"could not be looked at: {error.strerror or type(error).__name__}")
