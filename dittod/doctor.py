"""What could keep dittod from working here: one small check each, with what was found and what to do.

Nothing is changed, made or repaired, and no torch is imported: what only torch knows is handed in. Knows the machine,
the home and the settings; which checks are made, in which order, is for the command line.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import sqlite3
import stat
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from errno import EACCES, EADDRINUSE
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import psutil

from dittod import sealing
from dittod.config import Settings, watched_folder
from dittod.errors import DittodError
from dittod.ingest.watch import POLL_SECONDS, REMOTE, ask_for_one_more, remote_kind, why_no_events
from dittod.migrations import MIGRATIONS
from dittod.paths import Home
from dittod.schedule import Conditions

State = Literal["ok", "warning", "broken"]

OLDEST_PYTHON = (3, 11)
SOMETIMES_SLOW_SECONDS = 3600.0  # by which a clock may be behind a file: summer time on a foreign disk
MOST_ENTRIES = 20_000  # looked at in a folder
WRITTEN_IN = 2026  # no clock that is right shows an earlier year
STARTER_SHA256 = {
    "model.safetensors": "911569f61a318a53411a53f5ddf51d98745a6ad107d823c1fb304ceba5ad3f61",
    "tokenizer.json": "2733d2305504adbaaba743adbe46551f1d6a669f10078a5dc9260f21c21d9225",
}
LOOPBACK = ("127.0.0.1", "localhost", "::1")
FULL_BYTES = 128 * 2**10  # with less free on the disk, the files beside the store may find no room
MAKE_ROOM = "make room on it, then try again"


@dataclass(frozen=True, slots=True)
class Check:
    """What one check came to."""

    name: str
    state: State
    found: str  # a sentence for people
    remedy: str = ""  # what to do; empty where nothing is to be done


def python() -> Check:
    """The interpreter: versions before 3.11 do not run dittod, and 32 bits hold no model."""
    found = f"Python {sys.version.split()[0]}, {sys.executable}"
    if sys.version_info < OLDEST_PYTHON or sys.maxsize < 2**32:
        return Check("python", "broken", found, "install dittod with a 64-bit Python 3.11 or newer")
    return Check("python", "ok", found)


def torch(kind: str, conditions: Conditions) -> Check:
    """Its version and CUDA's, read from its files, and the `kind` of device that it found: 'cpu' or 'cuda'."""
    found = (
        f"torch {_version('torch')}, {_cuda()}, computes on the {'graphics card' if kind == 'cuda' else 'processor'}"
    )
    if kind == "cpu" and conditions.free_gpu_memory_bytes is not None:
        remedy = "install a torch that is made for CUDA, and a driver that is new enough for it: see pytorch.org"
        return Check("torch", "warning", f"{found}, though there is an NVIDIA card", remedy)
    return Check("torch", "ok", found)


def bitsandbytes(four_bits: bool, settings: Settings) -> Check:
    """What quantises. Needed only where the settings or the memory ask for four bits."""
    if four_bits:
        return Check("bitsandbytes", "ok", f"bitsandbytes {_version('bitsandbytes')}")
    remedy = "pip install bitsandbytes, or set quantisation to none"
    if settings.quantisation == "nf4":
        return Check("bitsandbytes", "broken", "missing, and the settings ask for four bits", remedy)
    return Check("bitsandbytes", "ok", "missing: base models are kept in 16 bits")


def memory(peak_bytes: int, budget_bytes: int, kind: str, conditions: Conditions) -> Check:
    """Whether the plan's peak is free now."""
    free = conditions.free_gpu_memory_bytes if kind == "cuda" else conditions.free_memory_bytes
    found = f"learning takes {_gib(peak_bytes)} at the peak, of a budget of {_gib(budget_bytes)}"
    if free is not None and free < peak_bytes:
        remedy = "end other programs, set a smaller memory_budget, or choose a smaller base_model; see dittod plan"
        return Check("memory", "warning", f"{found}; only {_gib(free)} is free now", remedy)
    return Check("memory", "ok", found)


def model(name: str, folder: Path) -> Check:
    """The files of a base model: whole, and where it is known what they must be, those."""
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        return Check("model", "broken", f"{name} has no weights in {folder}", "download the model again")
    again = "install dittod again" if name == "starter" else "download the model again"
    for path in weights:
        if not is_whole(path):
            return Check("model", "broken", f"{path} is damaged or cut off", again)
    expected = STARTER_SHA256 if name == "starter" else {each.name: hash_in_cache(each) for each in weights}
    for file, sha256 in expected.items():
        if sha256 and sha256_of(folder / file) != sha256:
            return Check("model", "broken", f"{folder / file} is not what was published: its hash differs", again)
    known = "with the hashes they were published with" if all(expected.values()) else "whole; no hash is known of them"
    return Check("model", "ok", f"{name}: {_gib(sum(each.stat().st_size for each in weights))} of weights, {known}")


def is_whole(path: Path) -> bool:
    """Whether a safetensors file ends where its header says."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            size = path.stat().st_size
            header = json.loads(file.read(length)) if length < size else {}
        ends = [entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    return bool(ends) and 8 + length + max(ends) == size


def hash_in_cache(path: Path) -> str:
    """The hub's cache calls large files by their hash; empty elsewhere."""
    name = Path(os.path.realpath(path)).name
    return name if re.fullmatch(r"[0-9a-f]{64}", name) else ""


def sha256_of(path: Path) -> str:
    """Empty where there is no such file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def watching(folder: Path, *, running: bool) -> Check:
    """Whether the system still lets a folder be watched; the daemon that runs has its watches already."""
    if not folder.is_dir():
        return Check("watched folder", "broken", f"{folder} is no folder", "run dittod init, or correct watched_folder")
    if not os.access(folder, os.R_OK | os.X_OK):
        return Check("watched folder", "broken", f"{folder} cannot be read", "give it back to be read by you")
    remedy = f"raise the limit, or leave it: the folder is looked at every {POLL_SECONDS:g} seconds then"
    try:
        ask_for_one_more(folder)
    except OSError as error:
        return Check("watched folder", "warning", why_no_events(error, folder), remedy)
    folders = sum(1 for _ in islice(os.walk(folder), MOST_ENTRIES))
    limit = inotify_limit()
    if limit is not None and not running and folders >= limit:
        found = f"{folders} folders, and the limit fs.inotify.max_user_watches is {limit}"
        return Check("watched folder", "warning", found, f"sudo sysctl fs.inotify.max_user_watches={2 * folders}")
    at_most = "" if limit is None else f"; {limit} could be watched"
    return Check("watched folder", "ok", f"{folder}: {folders} {'folder' if folders == 1 else 'folders'}{at_most}")


def inotify_limit(folder: Path = Path("/proc/sys/fs/inotify")) -> int | None:
    """Folders that one user may watch; None where there is no such limit."""
    try:
        return int((folder / "max_user_watches").read_text())
    except (OSError, ValueError):
        return None


def file_systems(folder: Path, home: Path) -> Iterator[Check]:
    """On what kind of disk the watched folder and the home lie."""
    kind, remote = kind_of(folder), remote_kind(folder)
    if remote or kind.startswith("fuse"):
        found = f"{remote or kind}: what others write there is seen by looking, every {POLL_SECONDS:g} seconds"
        remedy = "nothing, or keep the folder on a disk of this machine"
        yield Check("disk of the watched folder", "warning", found, remedy)
    else:
        same = "; names that differ only in upper and lower case are one file" if ignores_case(folder) else ""
        yield Check("disk of the watched folder", "ok", f"{kind or 'unknown kind'}{same}")
    if kind_of(home) in REMOTE | {"vfat", "exfat", "msdos"}:
        found = f"{kind_of(home)}: the store needs a disk of this machine that keeps locks and permissions"
        yield Check("disk of the home", "warning", found, "set DITTOD_HOME to a folder on such a disk")


def kind_of(path: Path) -> str:
    """The file system's type, as the system calls it; empty where it does not tell."""
    place = Path(os.path.realpath(path))
    mounts = [(Path(each.mountpoint), each.fstype.lower()) for each in psutil.disk_partitions(all=True)]
    around = [(len(point.parts), kind) for point, kind in mounts if place.is_relative_to(point)]
    return max(around, key=lambda each: each[0], default=(0, ""))[1]


def ignores_case(folder: Path) -> bool:
    """By the first name in it that has letters."""
    try:
        names = (each.name for each in islice(folder.iterdir(), 100))
        name = next((name for name in names if name.swapcase() != name), None)
        return name is not None and (folder / name.swapcase()).samefile(folder / name)
    except OSError:
        return False


def port(settings: Settings, running_at: str | None) -> Check:
    """Whether the endpoint can listen, or does. `running_at`: the URL of the daemon that runs."""
    where = f"{settings.host} port {settings.port}"
    if running_at is not None:
        return Check("port", "ok", f"dittod serves at {running_at}")
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as listener:
            if os.name == "posix":  # what a connection that ended still holds does not count
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(1)
    except OSError as error:
        reasons = {EADDRINUSE: "is taken by another program", EACCES: "is for the system alone"}
        reason = reasons.get(error.errno or 0, "cannot be listened at")
        return Check("port", "broken", f"{where} {reason}", "set host and port to what is free on this machine")
    return Check("port", "ok", f"{where} is free")


def token(home: Home, settings: Settings) -> Check:
    """The secret that clients show."""
    if not settings.require_token:
        open_to_all = settings.host not in LOOPBACK
        found = f"not asked for, and the endpoint listens at {settings.host}" if open_to_all else "not asked for"
        return Check("token", "warning" if open_to_all else "ok", found, "set require_token" if open_to_all else "")
    try:
        empty = not home.token_file.read_text().strip()
    except FileNotFoundError:
        return Check("token", "ok", "made at the first start")
    except (OSError, ValueError) as error:
        return Check("token", "broken", f"{home.token_file} cannot be read: {type(error).__name__}", "remove it")
    if empty:
        return Check("token", "broken", f"{home.token_file} is empty", "remove it: a new one is made at the next start")
    return Check("token", "ok", "there; dittod token prints it")


def permissions(home: Home) -> Check:
    """Whether all that dittod keeps is its user's alone."""
    if os.name != "posix":
        return Check("permissions", "ok", "as this system gives them")
    us, seen = os.getuid(), [home.root, *islice(_kept_in(home), MOST_ENTRIES)]
    states = [(path, state) for path in seen if (state := _lstat(path)) is not None]
    if foreign := [path for path, state in states if state.st_uid != us]:
        remedy = f"give it back: sudo chown -R {us} {home.root}"
        return Check("permissions", "broken", f"{foreign[0]} belongs to another user", remedy)
    if others := [path for path, state in states if state.st_mode & 0o077 and not stat.S_ISLNK(state.st_mode)]:
        found = f"{others[0]} may be read by others ({len(others)} in all)"
        return Check("permissions", "warning", found, f"chmod -R go= {home.root}")
    return Check("permissions", "ok", f"{home.root} is yours alone")


def _kept_in(home: Home) -> Iterator[Path]:
    """Without the watched folder, if that lies in the home: its texts keep the permissions that they came with."""
    for path in home.root.iterdir():
        if path != home.watched:
            yield path
            if path.is_dir() and not path.is_symlink():
                yield from path.rglob("*")


def _lstat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except OSError:
        return None


def store(home: Home) -> Check:
    """Whether the file opens, is whole, and is of no later dittod."""
    again = "put a backup in its place, or move it away: your texts are read again then"
    try:
        with closing(_opened(home.store)) as db:
            number = int(db.execute("PRAGMA user_version").fetchone()[0])
            damage = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        return _unread(home.store, getattr(error, "sqlite_errorcode", 0) & 0xFF, again)
    if number > len(MIGRATIONS):
        return Check("store", "broken", f"{home.store} was made by a newer dittod", "install that version again")
    if damage != "ok":
        return Check("store", "broken", f"{home.store} is damaged", again)
    return Check("store", "ok", f"{home.store} is whole")


def _unread(path: Path, code: int, again: str) -> Check:
    """Why, by SQLite's result code: only of a damaged file is it said that it should be replaced."""
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return Check("store", "broken", f"{path} is damaged", again)
    unchecked = f"{path} could not be checked"
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Check("store", "warning", f"{unchecked}: another program has locked it", "end that program")
    if shutil.disk_usage(path.parent).free < FULL_BYTES:
        return Check("store", "warning", f"{unchecked}: the disk is full", MAKE_ROOM)
    remedy = "give it and its folder back to be read and written by you, or look after the disk"
    return Check("store", "broken", f"{path} cannot be read", remedy)


def noted(home: Home, key: str) -> dict[str, Any]:
    """What the daemon left in the store, which is not opened for writing; {} where there is nothing to read."""
    try:
        with closing(_opened(home.store)) as db:
            row = db.execute("SELECT value FROM daemon WHERE key = ?", (key,)).fetchone()
            return dict(json.loads(row[0])) if row else {}
    except (sqlite3.Error, ValueError):
        return {}


def _opened(path: Path) -> sqlite3.Connection:
    """Read-only. A file that nobody writes to is opened as it is: else SQLite makes files beside it."""
    quiet = not path.with_name(f"{path.name}-wal").exists()
    return sqlite3.connect(f"{path.as_uri()}?{'immutable=1' if quiet else 'mode=ro'}", uri=True, timeout=2.0)


def encryption(home: Home, settings: Settings) -> Check:
    """Whether the keyring has the key, or could take one."""
    marker = noted(home, "sealed")
    if not settings.encrypt and not marker:
        return Check("encryption", "ok", "off")
    if marker and "encrypt" not in settings.model_fields_set:
        remedy = f"set encrypt = true in {home.settings}, or encrypt = false to convert them back"
        return Check("encryption", "broken", "texts are encrypted, and no setting says whether they should be", remedy)
    if missing := [name for name in ("cryptography", "keyring") if find_spec(name) is None]:
        remedy = "pip install 'dittod[encryption]', or unset encrypt"
        found = f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed"
        return Check("encryption", "broken", found, remedy)
    try:
        sealing.seal_of(marker) if marker else sealing.need_keyring()
    except DittodError as error:
        return Check("encryption", "broken", error.title, error.hint)
    return Check("encryption", "ok", "the key is in the keyring" if marker else "begins at the next start")


def clock(home: Home, now: float) -> Check:
    """Whether it shows a time that can be: schedules and rests go by it."""
    newest = max((state.st_mtime for path in home.root.glob("*") if (state := _lstat(path))), default=0.0)
    shown = time.strftime("%Y-%m-%d %H:%M", time.localtime(now))
    if time.gmtime(now).tm_year < WRITTEN_IN or now + SOMETIMES_SLOW_SECONDS < newest:
        found = f"it shows {shown}, and files of dittod's are newer" if now < newest else f"it shows {shown}"
        return Check("clock", "warning", found, "set the clock, or switch on its setting by the network")
    return Check("clock", "ok", f"{shown}, {time.tzname[time.localtime(now).tm_isdst > 0]}")


def disk(conditions: Conditions, settings: Settings) -> Check:
    """Free space where the home lies."""
    free = conditions.free_disk_bytes
    if free is None:
        return Check("free disk", "ok", "not known")
    found = f"{_gib(free)} free where the home lies"
    if free < FULL_BYTES:
        return Check("free disk", "broken", f"the disk is full: {found}", "make room on it")
    if free < settings.min_free_disk:
        return Check("free disk", "warning", f"{found}: nothing is learnt", "make room, or set a smaller min_free_disk")
    return Check("free disk", "ok", found)


def probes(conditions: Conditions) -> Check:
    """What learning cannot be considerate of."""
    if conditions.unreadable:
        found, remedy = "; ".join(conditions.unreadable), "learning does not heed these; quiet_hours may help instead"
        return Check("considerateness", "warning", f"cannot be read: {found}", remedy)
    names = {"keyboard and mouse": conditions.idle_seconds, "battery": conditions.on_battery}
    names |= {"lid": conditions.lid_closed, "temperature": conditions.temperature_celsius}
    names |= {"memory": conditions.free_memory_bytes, "graphics card": conditions.free_gpu_memory_bytes}
    read = [name for name, value in names.items() if value is not None]
    return Check("considerateness", "ok", f"heeded: {', '.join(read)}; the machine has nothing else that can be read")


def engine(home: Home) -> Check:
    """What the daemon says of it."""
    said = noted(home, "engine")
    if trouble := said.get("trouble"):
        return Check("engine", "warning", str(trouble), f"see {home.logs}")
    return Check("engine", "ok", "no trouble noted")


def service(*, installed: bool, serves: bool, pid: int | None) -> Check:
    """`pid`: the daemon that runs; `serves`: that is the service's."""
    if not installed:
        return Check("service", "ok", "not installed; dittod service install starts dittod at every login")
    if pid is None:
        return Check("service", "warning", "installed, and nothing runs", "dittod service start")
    if not serves:
        found = f"installed, but process {pid} holds the home: the service cannot start"
        return Check("service", "warning", found, f"end process {pid}, then: dittod service start")
    return Check("service", "ok", "installed, and runs")


def worst(checks: Iterable[Check]) -> State:
    """Of all."""
    states = {each.state for each in checks}
    return "broken" if "broken" in states else "warning" if "warning" in states else "ok"


def watched(settings: Settings, home: Home) -> Path:
    """The folder, also of settings that could not be loaded."""
    return home.watched if settings.watched_folder is None else watched_folder(settings)


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "(no version)"


def _cuda() -> str:
    """By torch's own file, read as text."""
    found = find_spec("torch")
    origin = None if found is None or found.origin is None else Path(found.origin).with_name("version.py")
    text = origin.read_text() if origin is not None and origin.exists() else ""
    match = re.search(r"^cuda\b[^=]*= *'([0-9.]+)'", text, re.MULTILINE)
    return f"CUDA {match[1]}" if match else "without CUDA"


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
