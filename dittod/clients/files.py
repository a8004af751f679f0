"""Clients' files: what would change in them, and the change itself, with what was there kept beside it.

A link is followed, as people who keep their settings in a repository want it. Knows no client.
"""

from __future__ import annotations

import difflib
import os
import re
import secrets
import stat
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dittod.clients.formats import text_of
from dittod.clients.merging import merged
from dittod.clients.places import found
from dittod.clients.shape import TOKEN, Part
from dittod.clients.spans import CannotMerge
from dittod.errors import SettingsError

PRIVATE = 0o600
_SECRET = re.compile(r"""((?:key|token|secret|password)\w*["']?\s*[:=]\s*["']?)([^\s"',}]+)""", re.IGNORECASE)
_WORD = re.compile(r"""[^\s"',{}\[\]=:#/]{8,}+(?!["']?\s*[:=])""")  # of a value: what has a digit or a dash in it
_REFERENCE = re.compile(r"[$%{].*|\w+/[A-Z_]+|[A-Z_]+|dittod|true|false|null|[\d.]+")  # says where a secret is


@dataclass(frozen=True, slots=True)
class Change:
    """What one file holds, and is to hold."""

    path: Path  # as the client knows it
    old: str | None  # None: there is no such file
    new: str
    ours: str  # what of it is the client's settings for dittod
    brings_token: bool  # the file did not hold it before

    @property
    def is_needed(self) -> bool:
        """Whether anything is different."""
        return self.old != self.new

    @property
    def target(self) -> Path:
        """The file itself, behind every link."""
        return self.path.resolve()


def planned(part: Part, folder: Path | None, token: str) -> Change:
    """Raises SettingsError, with what to do instead, where the file cannot be merged into."""
    assert part.path is not None
    path = found(part.path, folder)
    old = _read(path)
    try:
        new = merged(old or "", part)
    except CannotMerge as error:
        raise SettingsError(
            f"{path} is left as it is: {error}",
            "paste what dittod connect prints without --write, or correct the file",
        ) from None
    return Change(path, old, new, text_of(part), token in new and token not in (old or ""))


def difference(change: Change, token: str) -> Iterable[str]:
    """Lines that go and come. No secret is in them: not the token, nor another key that the file holds."""
    old, new = (_masked(text, token, change.ours).splitlines() for text in (change.old or "", change.new))
    lines = difflib.unified_diff(old, new, lineterm="", n=2)
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


def write(change: Change) -> Path | None:
    """All of it or nothing. Returns where the former file is kept. Raises SettingsError."""
    target = change.target
    try:
        if _read(change.path) != change.old:
            raise SettingsError(f"{change.path} has changed meanwhile", "try again")
        target.parent.mkdir(parents=True, exist_ok=True)
        mode = stat.S_IMODE(target.stat().st_mode) if change.old is not None else PRIVATE
        backup = None if change.old is None else _kept(target)
        _replace(target, change.new, PRIVATE if change.brings_token else mode)
    except OSError as error:
        raise SettingsError(
            f"{change.path} cannot be written: {error.strerror}", "paste what dittod connect prints without --write"
        ) from error
    return backup


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is left as it is: it is not UTF-8", "save it as UTF-8, then try again") from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}", "correct its permissions") from error


def _kept(target: Path) -> Path:
    backup = target.with_name(f"{target.name}.dittod-backup-{time.strftime('%Y%m%d-%H%M%S')}")
    _make(backup, target.read_bytes(), PRIVATE)
    return backup


def _replace(target: Path, text: str, mode: int) -> None:
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    _make(beside, text.encode(), mode)
    try:
        beside.replace(target)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def _make(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        path.chmod(mode)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _masked(text: str, token: str, ours: str) -> str:
    """What is named as a secret, and what looks like one, unless it is among `ours`."""

    def named(found: re.Match[str]) -> str:
        return found[0] if _REFERENCE.fullmatch(found[2]) or found[2] == TOKEN else f"{found[1]}«…»"

    def lone(found: re.Match[str]) -> str:
        return "«…»" if found[0] not in ours and re.search(r"[-_0-9]", found[0]) else found[0]

    return _WORD.sub(lone, _SECRET.sub(named, text.replace(token, TOKEN)))
