"""Sees what happens in the watched folder: events into a queue, and a full scan for what events missed.

Knows the file system and the watchdog library. Does not know whether a file is finished (`ingest.settle`) nor what is
in it. Directory links are not followed; hidden and temporary names are skipped.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

from watchdog.events import FileSystemEvent, FileSystemEventHandler, FileSystemMovedEvent
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver
from watchdog.observers.polling import PollingObserver

from dittod.ingest.settle import is_taken
from dittod.types import DEFAULT_PROFILE

logger = logging.getLogger(__name__)

POLL_SECONDS = 10.0  # between two looks when there are no events; a full look at 10,000 files takes about 0.1 s
DEEPEST = 32  # folders below the root; a bind mount into itself would have no end
_WATCHES_FILE = Path("/proc/sys/fs/inotify/max_user_watches")


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file in the watched folder. `relative` is what the store keeps: any name, as text."""

    path: Path
    relative: str  # path_key of the path below the root, with '/' on every platform
    profile: str
    size: int  # bytes
    mtime_ns: int  # nanoseconds since the epoch


def scan(root: Path, on_unreadable: Callable[[str], None]) -> Iterator[FoundFile]:
    """Every file that is to be looked at, in a stable order. `on_unreadable` hears the key of each folder that cannot
    be listed ('' for the root): a folder that failed must never look like one that is empty."""
    yield from _scan(root, root, 0, on_unreadable)


def found_file(root: Path, path: Path) -> FoundFile | None:
    """The file at this path now; None when it is gone, a link to a folder, hidden, temporary or no plain file."""
    try:
        parts = path.relative_to(root).parts
        state = path.stat()
    except (ValueError, FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    if not stat.S_ISREG(state.st_mode) or not all(is_taken(part) for part in parts):
        return None
    return FoundFile(path, relative_key(root, path), profile_of(root, path), state.st_size, state.st_mtime_ns)


def profile_of(root: Path, path: Path) -> str:
    """The first sub-folder's name; files at the top belong to 'default', deeper folders to their first level."""
    parts = path.relative_to(root).parts
    return path_key(parts[0]) if len(parts) > 1 else DEFAULT_PROFILE


def relative_key(root: Path, path: Path) -> str:
    """What identifies a file in the store."""
    return path_key(path.relative_to(root).as_posix())


def path_key(path: str | os.PathLike[str]) -> str:
    """A path as text that any database and terminal takes: bytes that are no UTF-8 become '%XX', '%' becomes '%25'.

    Different paths have different keys, and ordinary names stay readable."""
    return "".join(_quoted(character) for character in os.fspath(path))


def path_of_key(key: str) -> str:
    """The path that `path_key` was made from."""
    plain, *quoted = key.split("%")
    return plain + "".join(_unquoted(part[:2]) + part[2:] for part in quoted)


def start_watching(root: Path, queue: Queue[Path]) -> BaseObserver:
    """Puts each path that appears, changes or goes into `queue`; polls where the system gives no events.

    The caller stops the observer, and rescans: events may be lost on the way, by any system."""
    try:
        return _started(Observer(), root, queue)
    except OSError as error:
        logger.warning("%s; looking every %.0f s instead", why_no_events(error), POLL_SECONDS)
        return _started(PollingObserver(timeout=POLL_SECONDS), root, queue)


def why_no_events(error: OSError, watches_file: Path = _WATCHES_FILE) -> str:
    """What to tell the user when the system refuses to watch: inotify's own message speaks of a full disk."""
    if error.errno == errno.ENOSPC:
        return (
            f"too many folders to watch: the limit fs.inotify.max_user_watches is {_number_in(watches_file)}"
            " (raise it with: sysctl fs.inotify.max_user_watches=524288)"
        )
    if error.errno == errno.EMFILE:
        instances = _number_in(watches_file.with_name("max_user_instances"))
        return (
            f"too many programs watch folders: the limit fs.inotify.max_user_instances is {instances}"
            " (raise it with: sysctl fs.inotify.max_user_instances=512)"
        )
    return f"the system cannot watch the folder ({error.strerror or type(error).__name__})"


class _IntoQueue(FileSystemEventHandler):
    """Every path an event names; whoever takes it looks what is there now."""

    def __init__(self, queue: Queue[Path]) -> None:
        self.queue = queue

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type in ("opened", "closed_no_write"):  # reading changes nothing
            return
        if event.is_directory and event.event_type == "modified":  # says only that something in it changed
            return
        self.queue.put(Path(os.fsdecode(event.src_path)))
        if isinstance(event, FileSystemMovedEvent) and event.dest_path:
            self.queue.put(Path(os.fsdecode(event.dest_path)))


def _started(observer: BaseObserver, root: Path, queue: Queue[Path]) -> BaseObserver:
    observer.schedule(_IntoQueue(queue), os.fspath(root), recursive=True)
    observer.start()
    return observer


def _number_in(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return "unknown"


def _scan(root: Path, folder: Path, depth: int, on_unreadable: Callable[[str], None]) -> Iterator[FoundFile]:
    try:
        with os.scandir(folder) as listing:
            entries = sorted((entry for entry in listing if is_taken(entry.name)), key=lambda entry: entry.name)
    except OSError:
        on_unreadable("" if folder == root else relative_key(root, folder))
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if depth < DEEPEST:
                yield from _scan(root, Path(entry.path), depth + 1, on_unreadable)
        elif found := found_file(root, Path(entry.path)):
            yield found


def _quoted(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte that is no UTF-8, as os.fsdecode holds it
        return f"%{ord(character) - 0xDC00:02X}"
    if "\ud800" <= character <= "\udfff":  # Windows' unpaired surrogates: three bytes, as UTF-8 would have had them
        return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))
    return "%25" if character == "%" else character


def _unquoted(digits: str) -> str:
    byte = int(digits, 16)
    return chr(byte) if byte < 0x80 else chr(0xDC00 + byte)
