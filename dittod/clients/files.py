"""Clients' files: what would change in them, and the change itself, with what was there kept in a folder of dittod's: a
copy beside it, with all keys in it, could end in a repository.

A link is followed, as people who keep their settings in a repository want it. Knows no client.
"""

from __future__ import annotations

import difflib
import os
import secrets
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from dittod.clients.formats import text_of
from dittod.clients.merging import merged
from dittod.clients.places import found
from dittod.clients.shape import TOKEN, Part
from dittod.clients.spans import CannotMerge
from dittod.errors import SettingsError

PRIVATE = 0o600
PRIVATE_FOLDER = 0o700


@dataclass(frozen=True, slots=True)
class Change:
    """What one file holds, and is to hold."""

    path: Path  # as the client knows it
    old: str | None  # None: there is no such file
    new: str
    ours: str  # what of it is the client's settings for dittod
    has_token: bool  # the file is to hold it
    brings_token: bool  # and did not before

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
    return Change(path, old, new, text_of(part), token in new, token in new and token not in (old or ""))


def difference(change: Change, token: str) -> list[str]:
    """The lines of ours that come, without the token. What else stands in the file may be secret: it is counted."""
    old, new = (text.splitlines() for text in (change.old or "", change.new))
    lines = [line for line in difflib.unified_diff(old, new, lineterm="", n=0) if line[0] in "+-"][2:]
    ours = {_bare(line) for line in change.ours.splitlines()}
    shown = [line for line in lines if line[0] == "+" and _bare(line[1:]) in ours]
    going = sum(line[0] == "-" for line in lines)
    coming = len(lines) - going - len(shown)
    counted = [f"not shown, as other keys may be in them: lines that go: {going}, lines that come: {coming}"]
    return [line.replace(token, TOKEN) for line in shown] + (counted if going or coming else [])


def write(change: Change, backups: Path, client: str) -> Path | None:
    """All of it or nothing. Returns where the former file is kept, in the folder of backups. Raises SettingsError."""
    target = change.target
    try:
        mode = stat.S_IMODE(target.stat().st_mode) if change.old is not None else PRIVATE
        target.parent.mkdir(parents=True, exist_ok=True)
        return _replace(change, PRIVATE if change.brings_token else mode, backups, client)
    except OSError as error:
        raise SettingsError(
            f"{change.path} cannot be written: {error.strerror}", "paste what dittod connect prints without --write"
        ) from error


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is left as it is: it is not UTF-8", "save it as UTF-8, then try again") from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}", "correct its permissions") from error


def _replace(change: Change, mode: int, backups: Path, client: str) -> Path | None:
    """Looks at the file once more when all else is done."""
    beside = change.target.with_name(f".{change.target.name}.{secrets.token_hex(4)}")
    kept = None
    _make(beside, change.new.encode(), mode)
    try:
        kept = _kept(change, backups, client)
        if _read(change.path) != change.old:
            raise SettingsError(f"{change.path} has changed meanwhile", "try again")
        beside.replace(change.target)
    except BaseException:
        for made in filter(None, (beside, kept)):
            made.unlink(missing_ok=True)
        raise
    return kept


def _kept(change: Change, backups: Path, client: str) -> Path | None:
    if change.old is None:
        return None
    backups.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    moment = time.strftime("%Y%m%d-%H%M%S")
    backup = backups / f"{client}-{change.path.name}-{moment}-{secrets.token_hex(4)}"
    _make(backup, change.old.encode(), PRIVATE)
    return backup


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


def _bare(line: str) -> str:
    """Without what depends on where it stands: indentation, and a comma behind it."""
    return line.strip().rstrip(",")
