"""TOML and files of variables, changed line by line so that all the rest stays as it is. Knows no file.

Whoever asks reads the result again and compares: a value over several lines is not seen here.
"""

from __future__ import annotations

import re

from dittod.clients.formats import env_value, toml_value
from dittod.clients.shape import Settings
from dittod.clients.spans import Edit, applied, end_of_line

_HEADER = re.compile(r"^[ \t]*\[", re.MULTILINE)


def edited_env(text: str, wanted: dict[str, str]) -> str:
    """A variable that is set already is set anew on its line."""
    for name, value in wanted.items():
        line = re.compile(rf"^([ \t]*(?:export[ \t]+)?{re.escape(name)}=).*$", re.MULTILINE)
        found = list(line.finditer(text))
        if found:  # the last one counts
            text = applied(text, [Edit(found[-1].end(1), found[-1].end(), env_value(value))])
        else:
            text = f"{_ended(text)}{name}={env_value(value)}\n"
    return text


def edited_toml(text: str, wanted: dict[str, Settings]) -> str:
    """Tables that are not there yet go to the end."""
    values = {key: each for key, each in wanted.items() if not isinstance(each, dict)}
    text = _with_values(_ended(text), "", values)
    for name, table in _tables(wanted, ""):
        if re.search(_header(name), text, re.MULTILINE):
            text = _with_values(text, name, table)
        else:
            text = f"{text}\n{_table(name, table)}"
    return text


def _with_values(text: str, name: str, values: dict[str, Settings]) -> str:
    """Set in the table of that name; '' is the file's head."""
    for key, value in values.items():
        start, end = _section(text, name)
        new = f"{key} = {toml_value(value)}"
        found = re.compile(rf"^[ \t]*{re.escape(key)}[ \t]*=[^\n#]*", re.MULTILINE).search(text, start, end)
        edit = Edit(found.start(), found.end(), new) if found else Edit(start, start, f"{new}\n")
        text = applied(text, [edit])
    return text


def _section(text: str, name: str) -> tuple[int, int]:
    header = re.search(_header(name), text, re.MULTILINE) if name else None
    start = end_of_line(text, header.end()) if header else 0
    following = _HEADER.search(text, start)
    return start, following.start() if following else len(text)


def _header(name: str) -> str:
    return rf"^[ \t]*\[[ \t]*{re.escape(name)}[ \t]*\]"


def _tables(settings: dict[str, Settings], name: str) -> list[tuple[str, dict[str, Settings]]]:
    """Every table that has values of its own, by its whole name."""
    found: list[tuple[str, dict[str, Settings]]] = []
    for key, each in settings.items():
        if isinstance(each, dict):
            whole = f"{name}.{key}" if name else key
            own = {inner: value for inner, value in each.items() if not isinstance(value, dict)}
            found += [(whole, own), *_tables(each, whole)] if own else _tables(each, whole)
    return found


def _table(name: str, values: dict[str, Settings]) -> str:
    return f"[{name}]\n" + "".join(f"{key} = {toml_value(value)}\n" for key, value in values.items())


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"
