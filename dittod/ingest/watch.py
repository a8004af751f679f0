"""Sees what happens in the watched folder: events into a queue, and a full scan for what events missed.

Knows the file system, its mounts and the watchdog library. Does not know whether a file is finished (`ingest.settle`)
nor what is in it. Hidden and temporary names are skipped, except the hidden folders of a Maildir++. Nothing outside of
the folder is looked at: links are not followed, whatever they lead to, and where the folder itself is exchanged for
another one, the other one is watched.
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

import psutil
from watchdog.events import FileSystemEvent, FileSystemEventHandler, FileSystemMovedEvent
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from dittod.ingest.settle import is_taken
from dittod.types import DEFAULT_PROFILE

logger = logging.getLogger("dittod")

POLL_SECONDS = 10.0  # between two looks when there are no events; a full look at 10,000 files takes about 0.2 s
RETRY_SECONDS = 60.0  # until events are asked for again; doubled each time they are refused, up to an hour
LONGEST_RETRY_SECONDS = 3600.0
DEEPEST = 32  # folders below the root; a bind mount into itself would have no end
REMOTE = frozenset(  # file systems that others write to without an event on this machine
    (
        *("nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "afpfs", "webdav", "davfs", "ncpfs", "afs"),
        *("9p", "drvfs", "virtiofs", "vboxsf", "prl_fs", "fuse.vmhgfs-fuse", "fuse.grpcfuse", "fuse.osxfs"),
        *("fuse.sshfs", "fuse.rclone", "fuse.s3fs", "fuse.davfs", "fuse.gvfsd-fuse", "fuse.glusterfs"),
        *("ceph", "fuse.ceph", "lustre", "beegfs"),
    )
)
_INOTIFY = Path("/proc/sys/fs/inotify")


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file in the watched folder. `relative` is what the store keeps: any name, as text."""

    path: Path
    relative: str  # path_key of the path below the root, with '/' on every platform
    profile: str
    size: int  # bytes
    changed_ns: int  # nanoseconds since the epoch: of the content's time and the inode's, the later
    is_link: bool = False  # it is named, so that somebody can be told; it is not followed


def scan(root: Path, on_unreadable: Callable[[str], None], folder: Path | None = None) -> Iterator[FoundFile]:
    """Every file that is to be looked at (in `folder` alone, if one is given), in a stable order. `on_unreadable` hears
    the key of each folder that cannot be listed ('' for the root): one that failed must never look like an empty one.
    """
    if folder is None:
        yield from _scan(root, root, on_unreadable)
    elif all(is_entered(each) for each in _folders_between(root, folder)):
        yield from _scan(root, folder, on_unreadable)


def found_file(root: Path, path: Path) -> FoundFile | None:
    """The file at this path now; None when it is gone, hidden, temporary, no plain file or not below the root."""
    try:
        parents = _folders_between(root, path.parent)
        state = path.lstat()
    except (ValueError, OSError):
        return None
    if not is_taken(path.name) or not all(is_entered(each) for each in parents):
        return None
    return _found(root, path, profile_of(root, path), state)


def is_entered(folder: Path) -> bool:
    """Whether a folder is looked into: no link, not hidden unless it is one of a Maildir++, no Maildir's `tmp`."""
    if folder.name == "tmp" and (folder.parent / "cur").is_dir():
        return False
    is_maildir = folder.name.startswith(".") and (folder / "cur").is_dir()
    return (is_taken(folder.name) or is_maildir) and not folder.is_symlink()


def profile_of(root: Path, path: Path) -> str:
    """The first sub-folder's name; files at the top belong to 'default', deeper folders to their first level. A
    Maildir's `cur` and `new` are no level, and a Maildir++'s '.Sent' is 'Sent'."""
    folder = path.parent
    if folder.name in ("cur", "new") and (folder.parent / "cur").is_dir() and (folder.parent / "new").is_dir():
        folder = folder.parent
    parts = folder.relative_to(root).parts if folder != root.parent else ()
    return path_key(parts[0].lstrip(".") or parts[0]) if parts else DEFAULT_PROFILE


def relative_key(root: Path, path: Path) -> str:
    """What identifies a file in the store."""
    return path_key(path.relative_to(root).as_posix())


def path_key(path: str | os.PathLike[str]) -> str:
    """A path as text that any database and terminal takes: bytes that are no UTF-8, controls and '%' become '%XX'.

    Different paths have different keys, and ordinary names stay readable."""
    text = os.fspath(path)
    is_plain = text.isascii() and text.isprintable() and "%" not in text
    return text if is_plain else "".join(_quoted(character) for character in text)


def path_of_key(key: str) -> str:
    """The path that `path_key` was made from."""
    plain, *quoted = key.split("%")
    return plain + "".join(_unquoted(part[:2]) + part[2:] for part in quoted)


class Watch:
    """Events of one folder, for as long as the system gives them; where it does not, when to look instead."""

    def __init__(self, root: Path, queue: Queue[Path]) -> None:
        self.root = root
        self._queue = queue
        self._observer: BaseObserver | None = None
        self._place: tuple[int, int] | None = None  # which folder it was that is watched
        self._said = ""  # why there are no events
        self._ask_at = self._poll_at = 0.0  # monotonic seconds
        self._pause = RETRY_SECONDS

    def tend(self, now: float) -> bool:
        """Call it every moment. True: look at the whole folder now, since events are missing or were until now."""
        if (place := identity(self.root)) != self._place:
            self.stop()
            self._place, self._ask_at, self._pause = place, now, RETRY_SECONDS
        if place is None:
            return False
        if self._observer is not None and (why := self._why_missing(self._observer, now)):
            self._do_without(now, why)
        if self._observer is None and now >= self._ask_at and self._begin(now):
            return True
        if self._observer is None and now >= self._poll_at:
            self._poll_at = now + POLL_SECONDS
            return True
        return False

    def stop(self) -> None:
        """No more events."""
        observer, self._observer = self._observer, None
        if observer is not None:
            _end(observer)

    def _begin(self, now: float) -> bool:
        """Ask for events. Returns whether they come from now on."""
        if kind := remote_kind(self.root):
            self._do_without(now, f"the watched folder is on a network or shared file system ({kind})")
            return False
        try:
            self._observer = start_watching(self.root, self._queue)
        except OSError as error:
            self._do_without(now, why_no_events(error, self.root))
            return False
        self._said, self._pause, self._poll_at = "", RETRY_SECONDS, now + POLL_SECONDS
        return True

    def _why_missing(self, observer: BaseObserver, now: float) -> str:
        """Why events have ended, or do not come from folders that came later; '' while they come."""
        if not _is_alive(observer):
            return "the watch on the folder has ended"
        if now >= self._poll_at:
            self._poll_at = now + POLL_SECONDS
            try:
                ask_for_one_more(self.root)
            except OSError as error:
                return why_no_events(error, self.root)
        return ""

    def _do_without(self, now: float, why: str) -> None:
        self.stop()
        if why != self._said:
            logger.warning("%s; looking every %.0f s instead", why, POLL_SECONDS)
        self._said, self._ask_at, self._poll_at = why, now + self._pause, now
        self._pause = min(2 * self._pause, LONGEST_RETRY_SECONDS)


def start_watching(root: Path, queue: Queue[Path]) -> BaseObserver:
    """Puts each path that appears, changes or goes into `queue`. Raises OSError where the system refuses.

    The caller stops the observer, and rescans: events may be lost on the way, by any system."""
    observer = _observing(root, _IntoQueue(queue), recursive=True)
    try:
        ask_for_one_more(root)
    except OSError:
        _end(observer)
        raise
    return observer


def ask_for_one_more(root: Path) -> None:
    """Raises OSError when inotify's limit on watches is reached.

    Watchdog passes over each folder that it is refused (7: always, 6: those that come later) and raises for the topmost
    alone. So that one is asked for again: refused, others may have been. Not known: a limit that was free again by now.
    """
    if not _INOTIFY.exists():  # other systems have no such limit
        return
    try:
        _end(_observing(root, FileSystemEventHandler(), recursive=False))
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise


def identity(root: Path) -> tuple[int, int] | None:
    """Device and inode of a folder, to know whether it is the same one; None when there is none."""
    try:
        state = root.stat()
    except OSError:
        return None
    return (state.st_dev, state.st_ino) if stat.S_ISDIR(state.st_mode) else None


def remote_kind(root: Path) -> str:
    """The file system's type where others may write without an event here: of the root, or of a mount below it."""
    place = Path(os.path.realpath(root))
    over: tuple[int, str] = (0, "")
    below = ""
    for mount in psutil.disk_partitions(all=True):
        point, kind = Path(mount.mountpoint), mount.fstype.lower()
        if "remote" in mount.opts.split(","):  # Windows' word for a network drive
            kind = "smbfs"
        if place.is_relative_to(point) and len(point.parts) >= over[0]:
            over = (len(point.parts), kind)
        elif point.is_relative_to(place) and kind in REMOTE:
            below = kind
    return over[1] if over[1] in REMOTE else below


def why_no_events(error: OSError, root: Path, limits: Path = _INOTIFY) -> str:
    """What to tell the user when the system refuses to watch: inotify's own message speaks of a full disk."""
    if error.errno == errno.ENOSPC:
        folders = sum(1 for _ in os.walk(root))
        return _limit("too many folders to watch", limits / "max_user_watches", at_least=folders)
    if error.errno == errno.EMFILE:
        return _limit("too many programs watch folders", limits / "max_user_instances", at_least=64)
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


def _observing(root: Path, handler: FileSystemEventHandler, *, recursive: bool) -> BaseObserver:
    observer = Observer()
    try:
        observer.schedule(handler, os.fspath(root), recursive=recursive)
        observer.start()
    except OSError:
        observer.stop()  # it holds an inotify instance already, and there are few
        raise
    return observer


def _end(observer: BaseObserver) -> None:
    observer.stop()
    observer.join(timeout=5.0)


def _is_alive(observer: BaseObserver) -> bool:
    return observer.is_alive() and all(emitter.is_alive() for emitter in observer.emitters)


def _limit(what: str, file: Path, at_least: int) -> str:
    """The limit with its value, and one that is enough: other programs need what they have."""
    try:
        value = int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        value = 0
    enough = max(2 * value, value + 2 * at_least)
    name = f"fs.inotify.{file.name}"
    return f"{what}: the limit {name} is {value or 'unknown'} (enough would be: sudo sysctl {name}={enough})"


def _folders_between(root: Path, folder: Path) -> list[Path]:
    """The folders below the root that lead to this one, with it. Raises ValueError when it is outside."""
    depth = len(folder.relative_to(root).parts)
    if ".." in folder.parts:
        raise ValueError
    return [folder, *folder.parents][:depth]


def _scan(root: Path, folder: Path, on_unreadable: Callable[[str], None]) -> Iterator[FoundFile]:
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError:
        on_unreadable("" if folder == root else relative_key(root, folder))
        return
    for entry in entries:
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            if is_entered(path) and len(_folders_between(root, path)) <= DEEPEST:
                yield from _scan(root, path, on_unreadable)
        elif is_taken(entry.name) and (found := _listed(root, path, entry)):
            yield found


def _listed(root: Path, path: Path, entry: os.DirEntry[str]) -> FoundFile | None:
    try:
        return _found(root, path, profile_of(root, path), entry.stat(follow_symlinks=False))
    except OSError:  # gone since
        return None


def _found(root: Path, path: Path, profile: str, state: os.stat_result) -> FoundFile | None:
    """A FIFO or a device is nothing to read, and is never opened."""
    is_link = stat.S_ISLNK(state.st_mode)
    if not (stat.S_ISREG(state.st_mode) or is_link):
        return None
    changed_ns = max(state.st_mtime_ns, state.st_ctime_ns)  # a program may set the first; a change sets the second
    return FoundFile(path, relative_key(root, path), profile, state.st_size, changed_ns, is_link)


def _quoted(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # a byte that is no UTF-8, as os.fsdecode holds it
        return f"%{ord(character) - 0xDC00:02X}"
    if "\ud800" <= character <= "\udfff":  # Windows' unpaired surrogates: three bytes, as UTF-8 would have had them
        return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))
    if character == "%" or character < " " or character == "\x7f":  # a terminal would obey it
        return f"%{ord(character):02X}"
    return character


def _unquoted(digits: str) -> str:
    byte = int(digits, 16)
    return chr(byte) if byte < 0x80 else chr(0xDC00 + byte)
