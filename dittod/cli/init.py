"""init: a home, by questions on a terminal and by flags anywhere. Can be called again: what exists is kept.

Everything is asked before anything is made, so that Ctrl-C leaves no half of it. Knows the order of what is made: a
model is named in the settings when it is there whole. The questions are next door, as are the lines of the settings.
"""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from dittod import download
from dittod.cli import base_model
from dittod.cli.making import (
    Value,
    change_settings,
    fault_of,
    fault_of_folder,
    make_home,
    make_settings,
    refuse_variable,
)
from dittod.cli.questions import (
    Wanted,
    absolute,
    fault_of_budget,
    guided,
    is_model,
    is_profile,
    say_of_another_folder,
)
from dittod.cli.service import install_service
from dittod.cli.terminal import err, out
from dittod.config import load_settings, watched_folder
from dittod.errors import DittodError, SettingsError
from dittod.machine.lock import holder
from dittod.paths import Home, home


def init(wanted: Wanted, *, yes: bool) -> None:
    """Asks on a terminal, unless `yes` or a flag says what is wanted. Raises DittodError."""
    place = home()
    settings = load_settings(place)
    listing = None
    is_guided = wanted == Wanted() and not yes and _at_terminal()
    if is_guided:
        try:
            wanted, listing = guided(place, settings)
        except (typer.Abort, KeyboardInterrupt) as error:
            err.print("\nnothing was changed")
            raise KeyboardInterrupt from error
    _refuse(wanted)
    if wanted.folder is not None and not is_guided:
        say_of_another_folder(place, watched_folder(settings), absolute(wanted.folder))
    _make(place, wanted)
    if wanted.model is not None:
        _bring(place, wanted.model, listing, yes=yes or is_guided)
    _say_next(place, served=wanted.service is True and _serve())


def _at_terminal() -> bool:
    """Whether somebody can answer."""
    return sys.stdin is not None and sys.stdin.isatty()


def _refuse(wanted: Wanted) -> None:
    """Before anything is made. Raises SettingsError."""
    for name, value in _values(wanted).items():
        refuse_variable(name)
        if fault := fault_of(name, value):
            raise SettingsError(f"setting {name} cannot be {value!r}: {fault}", "give another value")
    if wanted.folder is not None and (fault := fault_of_folder(absolute(wanted.folder))):
        raise SettingsError(fault, "name another folder, such as ~/dittod")
    if wanted.budget is not None and (fault := fault_of_budget(wanted.budget)):
        raise SettingsError(f"setting memory_budget cannot be {wanted.budget!r}: {fault}", "give another value")
    if wanted.profile is not None and not is_profile(wanted.profile):
        raise SettingsError(f"{wanted.profile!r} cannot be a profile", "give a plain name, such as email")
    if wanted.model is not None:
        refuse_variable("base_model")
        if not is_model(wanted.model):
            raise SettingsError(
                f"{wanted.model!r} is neither a folder with a model nor a model's id",
                "give one such as Qwen/Qwen2.5-0.5B-Instruct: docs/models.md has a table",
            )


def _values(wanted: Wanted) -> dict[str, Value]:
    """What is written into the settings at once. The model is, when it is there."""
    found: dict[str, Value] = {}
    if wanted.folder is not None:
        found["watched_folder"] = str(absolute(wanted.folder))
    if wanted.identities is not None:
        found["identities"] = list(wanted.identities)
    if wanted.budget is not None:
        found["memory_budget"] = wanted.budget
    return found


def _make(place: Home, wanted: Wanted) -> None:
    """The folder comes before the settings that name it."""
    place.create()
    if wanted.folder is not None:
        _make_folder(absolute(wanted.folder))
    make_settings(place)
    change_settings(place, _values(wanted))
    make_home()
    if wanted.profile is not None:
        folder = watched_folder(load_settings(place)) / wanted.profile
        _make_folder(folder)
        out.print(f"profile         {folder}", markup=False, soft_wrap=True)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"{folder} cannot be made: {error.strerror}", "name another folder") from error


def _bring(place: Home, model: str, listing: download.Listing | None, *, yes: bool) -> None:
    """A download that ends early leaves a home that works as it did before."""
    if base_model.is_missing(model):
        if listing is None:
            listing = base_model.look_up(model, load_settings(place))
            if not yes and _at_terminal() and not typer.confirm("download it now?", default=True):
                return
        base_model.fetch(listing)
    name = base_model.local_name(model)
    change_settings(place, {"base_model": name})
    out.print(f"base model      {name}", markup=False, soft_wrap=True)


def _serve() -> bool:
    """That there can be no service is no reason to undo the rest."""
    try:
        install_service()
    except DittodError as error:
        err.print(f"warning: no service was set up: {error.title}; {error.hint}", markup=False, soft_wrap=True)
        return False
    return True


def _say_next(place: Home, *, served: bool) -> None:
    running = holder(place.lock) is not None
    if running and not served:
        out.print("dittod runs already, as it was: start it anew for what was changed")
    then = "" if running or served else ", then: dittod run"
    out.print(f"next: put sent mails, documents or chat logs into it{then}")
    out.print("      dittod open      its pages in your browser")
    out.print("      dittod connect   settings for your editor, mail program or chat")
    out.print("      dittod status    what it does, and if it learns nothing, why")
