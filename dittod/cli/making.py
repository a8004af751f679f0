"""What a home begins with, and what is changed in its settings file later: a line at a time.

Whatever else stands in the file stays as it is, comments above all. Knows TOML's lines; what is understood is proved by
reading the result. Asks nobody anything.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from dittod.cli.terminal import out
from dittod.config import PREFIX, Settings, load_settings, watched_folder
from dittod.errors import SettingsError
from dittod.ingest.folder import SOURCE_TREE, Folder
from dittod.ingest.watch import scan
from dittod.paths import Home, home, is_mounted, write_private
from dittod.store import Store

Value = str | int | list[str]
_MARK = "\ufeff"  # some editors on Windows begin files with it

TEMPLATE = """\
# dittod's settings. Each line that is commented out shows a default; docs/settings.md explains all of them.
# identities = ["you@example.org"]   # your own addresses and names; empty: learnt from the From lines in the folder
# watched_folder = "{watched}"
# base_model = "starter"             # a folder or hub id of a causal model; "starter" is the embedded one
# memory_budget = "6GiB"             # what learning may take; else half of the machine's memory, or most of the card's
"""


def make_settings(place: Home) -> None:
    """A file that shows the defaults, where there is none."""
    if not place.settings.exists():
        write_private(place.settings.resolve(), TEMPLATE.format(watched=watched_folder(load_settings(place))))


def make_home() -> None:
    """Settings file, watched folder and token. Safe to call again: what exists is kept."""
    place = home()
    place.create()
    make_settings(place)
    settings = load_settings(place)
    root = watched_folder(settings)
    found = 0 if is_mounted(root) else sum(1 for _ in scan(root, lambda unreadable: None))
    with closing(Store(place.store)) as store:
        Folder(root, store, settings.identities, settings.settle_seconds).prepare()
    place.token()
    out.print(f"settings        {place.settings}", markup=False, soft_wrap=True)
    out.print(f"watched folder  {root}", markup=False, soft_wrap=True)
    if found:
        said = f"files that lie there already: {found}; they will be read and learnt from"
        out.print(f"{'':16}{said}", soft_wrap=True)


def change_settings(place: Home, values: Mapping[str, Value]) -> None:
    """Write these into the settings file, at once or not at all. Raises SettingsError for what cannot be a setting."""
    for name, value in values.items():
        refuse_variable(name)
        if fault := fault_of(name, value):
            raise SettingsError(f"setting {name} cannot be {value!r}: {fault}", "give another value")
    before = place.settings.read_bytes().decode() if place.settings.exists() else ""
    text = before
    for name, value in values.items():
        text = with_setting(text, name, value)
    if text != before:
        write_private(place.settings.resolve(), text)  # a link stays one


def fault_of(name: str, value: Value) -> str | None:
    """Why a value cannot be this setting, in words; None: it can."""
    kind = Settings.model_fields[name].annotation
    assert kind is not None
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        return str(error.errors()[0]["msg"]).removeprefix("Value error, ")
    return None


def refuse_variable(name: str) -> None:
    """A variable of the environment comes before the file. Raises SettingsError where there is one."""
    variable = f"{PREFIX}{name.upper()}"
    if os.environ.get(variable):
        raise SettingsError(f"{variable} is set, and comes before dittod.toml", "unset it, or change it there")


def fault_of_folder(folder: Path) -> str | None:
    """Why a folder should not be watched: what is no text of one's own would be learnt from."""
    if folder.exists() and not folder.is_dir():
        return f"{folder} is a file"
    if not _is_text(str(folder)):
        return "its name is no text, and cannot stand in dittod.toml"
    if folder == Path.home() or folder in Path.home().parents:
        return f"{folder} holds far more than your texts: make a folder for them in it"
    if held := next((each for each in SOURCE_TREE if (folder / each).exists()), None):
        return f"{folder} holds {held}: that is a folder of programs"
    return None


def _is_text(name: str) -> bool:
    """Some names of files are not."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


# --- lines of the file ---


def with_setting(text: str, name: str, value: Value) -> str:
    """The file's text with a setting given: in the place of the old one, below its commented default, or at the top."""
    if text.startswith(_MARK):
        return _MARK + with_setting(text[1:], name, value)
    if "\r\n" in text:
        return with_setting(text.replace("\r\n", "\n"), name, value).replace("\n", "\r\n")
    assignment = f"{name} = {_literal(value)}"
    lines = text.split("\n")
    place = _assigned(lines, name)
    if place is None:
        changed = _with_new(lines, name, assignment)
    else:
        first, last = place
        changed = [*lines[:first], assignment + _comment(lines[first:last]), *lines[last:]]
    made = "\n".join(changed)
    loses = place is not None and place[1] - place[0] > 1 and "#" in "".join(lines[slice(*place)])
    if loses or not _parses([made]) or tomllib.loads(made) != tomllib.loads(text) | {name: value}:
        raise SettingsError(f"{name} cannot be changed in dittod.toml without you", f"write there: {assignment}")
    return made


def _literal(value: Value) -> str:
    """JSON's strings, numbers and lists of strings are TOML's, but for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _assigned(lines: list[str], name: str) -> tuple[int, int] | None:
    """First line and the one after the last of an assignment above all tables."""
    for first, line in enumerate(lines[: _above_tables(lines)]):
        if re.match(rf"\s*{name}\s*=", line):
            for last in range(first + 1, len(lines) + 1):
                if _parses(lines[first:last]):
                    return first, last
    return None


def _above_tables(lines: list[str]) -> int:
    """How many lines belong to no table. A '[' inside of a list of several lines begins none."""
    return next((n for n, line in enumerate(lines) if re.match(r"\s*\[", line) and _parses(lines[:n])), len(lines))


def _parses(lines: list[str]) -> bool:
    try:
        tomllib.loads("\n".join(lines))
    except tomllib.TOMLDecodeError:
        return False
    return True


def _comment(lines: list[str]) -> str:
    """What stands behind the value, with the space before it; of a value on several lines, nothing: those that have
    comments are not changed."""
    if len(lines) > 1:
        return ""
    (line,) = lines
    for place in (match.start() for match in re.finditer(r"\s*#", line)):
        if _parses([line[:place]]):
            return line[place:]
    return ""


def _with_new(lines: list[str], name: str, assignment: str) -> list[str]:
    """Below the line that shows its default; else above everything but the comments that a file begins with."""
    for place, line in enumerate(lines[: _above_tables(lines)]):
        if re.match(rf"#\s*{name}\s*=", line):
            return [*lines[: place + 1], assignment, *lines[place + 1 :]]
    top = next((place for place, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return [*lines[:top], assignment, *lines[top:]]
