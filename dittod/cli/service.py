"""service: dittod in the background, by the system's own manager."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import psutil

from dittod import background
from dittod.background import Installation, Manager
from dittod.cli.making import make_home
from dittod.cli.terminal import day, err, out, print_json, print_table
from dittod.config import load_settings, watched_folder
from dittod.errors import NotFound
from dittod.machine.lock import holder, how_to_end
from dittod.paths import Home, home


def install_service() -> None:
    """Safe to call again: the same definition is written, a changed one replaces it."""
    left_behind = background.variables_left_behind(os.environ)
    for name in left_behind:
        del os.environ[name]  # the service will not have them: its folders are those of the file alone
    place = home()
    if not place.settings.exists():
        make_home()
    place.create()
    settings = load_settings(place)
    _warn_of_variables(left_behind, place)
    made = background.installation(place, settings, os.environ)
    _warn_of_places(made, watched_folder(settings))
    install(background.manager(sys.platform), made, holder(place.lock))


def install(manager: Manager, made: Installation, running: int | None) -> None:
    """Have a manager start it, unless another one runs there. `running`: the process that holds the home."""
    changed = manager.install(made)
    out.print(f"installed   {manager.definition} ({manager.name})", markup=False, soft_wrap=True)
    state = manager.state()
    if running is not None and not background.is_ours(state, running):
        out.print(
            f"not started: process {running or 'unknown'} was started by hand. End it ({how_to_end(running)}), then:"
        )
        out.print("  dittod service start")
        return
    if changed or running is None:
        manager.restart()
    out.print("running     see: dittod status, dittod logs")
    if manager.name == "systemd":
        out.print("it runs while you are logged in. On a server, for always: loginctl enable-linger")


def uninstall_service() -> None:
    """What was learnt stays."""
    manager = background.manager(sys.platform)
    if remove(manager):
        out.print("what dittod has learnt stays; dittod uninstall --purge removes it")
    else:
        out.print("no service is installed")


def remove(manager: Manager) -> bool:
    """Says whether there was one."""
    if not manager.state().installed:
        return False
    manager.remove()
    out.print(f"removed     {manager.definition} ({manager.name})", markup=False, soft_wrap=True)
    return True


def start_service() -> None:
    """An error where it does not come up."""
    manager, place = _installed(), home()
    running = holder(place.lock) if place.root.is_dir() else None
    if running is not None:
        ours = background.is_ours(manager.state(), running)
        out.print(f"dittod runs already (process {running or 'unknown'}{'' if ours else ', started by hand'})")
        return
    manager.start()
    out.print("started")


def stop_service() -> None:
    """Returns when it has ended."""
    _installed().stop()
    out.print("stopped")
    place = home()
    if place.root.is_dir() and (running := holder(place.lock)) is not None:
        out.print(f"but process {running or 'unknown'}, which was started by hand, runs on: {how_to_end(running)}")


def restart_service() -> None:
    """An error where it does not come up."""
    _installed().restart()
    out.print("restarted")


def service_status(*, as_json: bool) -> None:
    """A table, or one document."""
    place = home()
    value = describe(background.manager(sys.platform), holder(place.lock) if place.root.is_dir() else None)
    if as_json:
        print_json(value)
        return
    rows = [(name.replace("_", " "), _shown(name, each)) for name, each in value.items()]
    print_table(("service", ""), rows, empty="")


def describe(manager: Manager, running: int | None) -> dict[str, Any]:
    """What a manager knows of the service. `running`: the process that holds the home, whoever started it."""
    state = manager.state()
    ours = running if background.is_ours(state, running) else None
    pid = state.pid or ours
    return {
        "manager": manager.name,
        "definition": manager.definition,
        "installed": state.installed,
        "enabled": state.enabled,
        "running": state.running,
        "pid": pid,
        "since": _since(pid),
        "last_result": state.last_result,
        "started_by_hand": running if running != pid else None,
    }


def _installed() -> Manager:
    manager = background.manager(sys.platform)
    if not manager.state().installed:
        raise NotFound("no service is installed", "dittod service install")
    return manager


def _since(pid: int | None) -> float | None:
    try:
        return None if pid is None else psutil.Process(pid).create_time()
    except psutil.Error:
        return None


def _shown(name: str, value: object) -> object:
    if name == "since" and (value is None or isinstance(value, float)):
        return day(value)
    return {True: "yes", False: "no", None: "-"}.get(value, value) if value in (True, False, None) else value


def _warn_of_variables(names: list[str], place: Home) -> None:
    if names:
        them = ", ".join(names)
        err.print(
            f"warning: the service will not have {them} of this shell: set it in {place.settings}",
            markup=False,
            soft_wrap=True,
        )


def _warn_of_places(made: Installation, watched: Path) -> None:
    for what, place in (("program", made.executable), ("home", made.home), ("watched folder", watched)):
        if background.may_vanish(place):
            err.print(f"warning: the {what} {place} lies in a folder that may be cleared", markup=False, soft_wrap=True)
    if not watched.is_dir():
        err.print(
            f"warning: {watched} is not there now; if it comes later, the service can read it but not write to it",
            markup=False,
            soft_wrap=True,
        )
