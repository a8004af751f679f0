"""uninstall: take out what dittod has put onto this machine, and say what.

Knows everything that dittod makes by its name. What has another name stays and is said to stay; so do links, and the
watched folder with all that is in it but dittod's marker. A purge that was cut short is finished by the next one: what
the home is known by goes last.
"""

from __future__ import annotations

import contextlib
import re
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import typer
from rich.filesize import decimal

from dittod import background
from dittod.cli.service import remove
from dittod.cli.terminal import err, out
from dittod.config import Settings, load_settings, watched_folder
from dittod.errors import AlreadyRunning, DittodError, SettingsError
from dittod.machine.lock import held, holder, how_to_end
from dittod.paths import MARKER, Home, home
from dittod.sealing import forget_key
from dittod.store import Store

ENDING_SECONDS = 15.0  # a stopped daemon lets go of the lock
KINDS = {  # what it is to people, and how its path inside the home looks
    "adapters": r"adapters/(\.?[0-9a-f]{12,64})/[^/]+",
    "unfinished updates": r"runs/[0-9a-f]{12}/.+",
    "prompts being edited": r"editing/.+",
    "quantised models": r"quantised/\.?[^/]+-[0-9a-f]{8,64}/[^/]+",
    "clients' backups": r"backups/[a-z-]+-.+-\d{8}-\d{6}-[0-9a-f]{8}",
    "logs": r"logs/[a-z]+\.log(\.\d+)?",
    "token": r"\.?token(\.[0-9a-f]{8})?",
    "lock": r"lock",
    "texts and history": r"dittod\.sqlite([-.].+)?",
    "settings": r"\.?dittod\.toml(\.new|\.[0-9a-f]{8})?",
}
MARKED = f"marker {MARKER}"  # which lies in the watched folder, wherever that is
LAST = ("lock", "texts and history", "settings")  # by the latter two a home is known: they go at the very end


@dataclass(frozen=True, slots=True)
class Found:
    """What lies in a home: files of dittod's by kind, its folders (inner ones first), and what is not dittod's."""

    files: dict[str, list[Path]]
    sizes: dict[str, int]
    folders: list[Path]
    foreign: list[Path]


def uninstall(*, purge: bool, yes: bool) -> None:
    """Without --purge only the service goes. Raises AlreadyRunning while a daemon of the user's own runs."""
    place, manager = home(), background.manager(sys.platform)
    pid = holder(place.lock) if place.lock.is_file() else None
    if purge:
        _refuse(place, pid, background.is_ours(manager.state(), pid))
        settings = _settings(place)
        if not yes:
            _ask(place, look(place, settings))
    if not remove(manager):
        out.print("no service is installed")
    if purge:
        _purge(place, settings)
    else:
        out.print(f"what dittod has learnt, settings and token stay in {place.root}", markup=False, soft_wrap=True)
        out.print("  to remove them too: dittod uninstall --purge")
    out.print(f"the program itself: {_how_it_came()}", markup=False, soft_wrap=True)


def look(place: Home, settings: Settings | None) -> Found:
    """Everything in the home; of the watched folder only the marker."""
    found = Found({kind: [] for kind in KINDS}, dict.fromkeys((*KINDS, MARKED), 0), [], [])
    found.files[MARKED] = _marker(settings)
    watched = {place.root / "watched", *([watched_folder(settings)] if settings else [])}
    socket = settings.unix_socket if settings else None
    if place.root.is_dir():
        for path in _inside(place.root, watched):
            _sort(path, place, socket, found)
    return found


def _marker(settings: Settings | None) -> list[Path]:
    """None where the watched folder is not known or cannot be entered."""
    with contextlib.suppress(OSError):
        marker = None if settings is None else watched_folder(settings) / MARKER
        if marker is not None and marker.is_file() and not marker.is_symlink():
            return [marker]
    return []


def _sort(path: Path, place: Home, socket: Path | None, found: Found) -> None:
    name = path.relative_to(place.root).as_posix()
    mode = path.lstat().st_mode
    kind = next((kind for kind, pattern in KINDS.items() if re.fullmatch(pattern, name)), None)
    if stat.S_ISDIR(mode):
        if _is_folder_of_ours(name):
            found.folders.append(path)
    elif stat.S_ISSOCK(mode) and path == socket:
        found.files["lock"].append(path)
    elif kind and stat.S_ISREG(mode):
        found.files[kind].append(path)
        found.sizes[kind] += path.lstat().st_size
    else:
        found.foreign.append(path)


def _is_folder_of_ours(name: str) -> bool:
    return name in ("adapters", "runs", "quantised", "backups", "logs") or any(
        re.fullmatch(pattern, f"{name}/x") for pattern in KINDS.values()
    )


def _inside(folder: Path, left_out: set[Path]) -> Iterator[Path]:
    """What is inside comes before the folder that it is in. Links are not followed."""
    for path in sorted(folder.iterdir()):
        if path in left_out:
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _inside(path, left_out)
        yield path


def _refuse(place: Home, pid: int | None, is_service: bool) -> None:
    if pid is not None and not is_service:
        raise AlreadyRunning(f"dittod is running (process {pid or 'unknown'})", f"end it first: {how_to_end(pid)}")
    if place.root.is_symlink():
        raise SettingsError(
            f"{place.root} is a link, and links are not followed", f"set DITTOD_HOME to {place.root.resolve()}"
        )
    names = {path.name for path in place.root.iterdir()} if place.root.is_dir() else set()
    if names - {"watched"} and not names & {place.settings.name, place.store.name}:
        raise SettingsError(f"{place.root} does not look like a home of dittod", "is DITTOD_HOME set rightly?")


def _settings(place: Home) -> Settings | None:
    """None when they cannot be read: that must not keep anybody from removing them."""
    try:
        return load_settings(place)
    except SettingsError as error:
        err.print(f"warning: {error.title}", markup=False, soft_wrap=True)
        err.print(f"so the watched folder is not known: its file {MARKER} stays")
        return None


def _ask(place: Home, found: Found) -> None:
    if not _at_terminal():
        raise DittodError("--purge asks first, and there is no terminal", "add --yes")
    out.print(f"in {place.root}, for good:", markup=False, soft_wrap=True)
    _tell(found)
    typer.confirm("remove all this?", abort=True)


def _at_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _purge(place: Home, settings: Settings | None) -> None:
    if not place.root.is_dir():
        out.print(f"there is no {place.root}", markup=False, soft_wrap=True)
        return
    with held(place.lock, patience_seconds=ENDING_SECONDS):
        _forget_keys(place)
        found = look(place, settings)
        _remove([path for kind in found.files if kind not in LAST for path in found.files[kind]], found.folders)
    if settings is not None:
        _leave(watched_folder(settings), made_by_us=watched_folder(settings) == place.watched)
    rest = [path for kind in LAST for path in found.files[kind]]
    _remove(sorted(rest, key=(place.store, place.settings).__contains__), [place.root])
    out.print(f"removed from {place.root}:", markup=False, soft_wrap=True)
    _tell(found)
    for path in found.foreign:
        out.print(f"stays, since dittod did not make it: {path}", markup=False, soft_wrap=True)


def _forget_keys(place: Home) -> None:
    """Before the store, which alone knows the name of its key."""
    if not place.store.exists():
        return
    try:
        store = Store(place.store)
        markers = (store.noted("sealed"), store.noted("scrub").get("key"))
        store.close()
    except DittodError as error:
        err.print(f"warning: {error.title}; a key of dittod in the keyring would stay", markup=False, soft_wrap=True)
        return
    for marker in markers:
        if marker:
            forget_key(marker)


def _remove(files: list[Path], folders: list[Path]) -> None:
    """Folders only when they are empty by then. Raises DittodError naming what cannot be removed."""
    for path in files:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise DittodError(
                f"{path} cannot be removed: {error.strerror}", "make it yours again, then repeat: dittod uninstall"
            ) from error
    for path in folders:
        with contextlib.suppress(OSError):
            path.rmdir()


def _leave(watched: Path, *, made_by_us: bool) -> None:
    """The folder stays, but for an empty one that dittod has made."""
    if made_by_us:
        _remove([], [watched])
    with contextlib.suppress(OSError):  # not there, or not to be entered
        texts = ", with your texts" if any(watched.iterdir()) else ""
        out.print(f"stays{texts}: {watched}", markup=False, soft_wrap=True)


def _tell(found: Found) -> None:
    for kind, files in found.files.items():
        if files:
            count = f"{len(files)} file{'s' if len(files) > 1 else ''}"
            out.print(f"  {kind:20} {count}, {decimal(found.sizes[kind])}")


def _how_it_came() -> str:
    """The command that removes the package, by where it lies."""
    prefix = Path(sys.prefix).as_posix()
    if "/pipx/" in prefix:
        return "pipx uninstall dittod"
    if "/uv/tools/" in prefix:
        return "uv tool uninstall dittod"
    if prefix.startswith("/usr/lib/") and background.call("dpkg-query", "--search", prefix).returncode == 0:
        return "apt remove dittod"
    if find_spec("pip") is None:  # as in our container image
        return f"lies in {prefix}; a container's goes with the container"
    return f"{sys.executable} -m pip uninstall dittod"
