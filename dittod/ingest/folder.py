"""The watched folder and the store, kept in step: new and changed files are read, what went is dropped.

Ties the pure parts of ingest to disk, clock and store. Knows nothing of learning. A file that cannot be read is set
aside with its reason and never stops the others.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from dittod.errors import FileSetAside, SettingsError, place_of
from dittod.ingest.demonstrations import demonstrations_of
from dittod.ingest.identity import address_of, is_sent_folder, likely_identities
from dittod.ingest.readers import read
from dittod.ingest.settle import Settler, is_taken
from dittod.ingest.watch import FoundFile, found_file, path_of_key, scan
from dittod.paths import MARKER
from dittod.store import FileRow, Store
from dittod.types import Demonstration

log = logging.getLogger("dittod")

OnRead = Callable[[int, int], None]  # files read so far, of how many


class Folder:
    """One watched folder. Used by one thread at a time."""

    def __init__(self, root: Path, store: Store, identities: tuple[str, ...], settle_seconds: float) -> None:
        self.root = root
        self._store = store
        self._given = identities
        self._settler = Settler(settle_seconds)
        self._known = store.files()
        self._forgetting_waits = False  # files are gone, and others settle: they may be the same, moved
        self._read_as: tuple[str, ...] | None = None  # the identities that everything known was read with

    def prepare(self) -> None:
        """Make the folder and its marker when it is first watched. Later, a missing marker means: not mounted."""
        if self._store.noted("watched").get("root") == str(self.root) or self._is_mounted():
            self._store.note("watched", {"root": str(self.root)})
            return
        self._store.note("watched", {"root": str(self.root)})
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self.root / MARKER).write_text(
                "dittod watches this folder. While this file is gone, nothing is forgotten.\n"
            )
        except OSError as error:
            raise SettingsError(
                f"the watched folder {self.root} cannot be made: {error.strerror}", "set watched_folder to another"
            ) from error

    def rescan(self, now: float) -> None:
        """Look at the whole folder: note what is new or changed, drop what is gone. Finds what events missed."""
        if not self._is_mounted():
            log.warning("the watched folder or its marker file %s is missing: nothing is read or forgotten", MARKER)
            return
        unreadable: list[str] = []
        present: set[str] = set()
        for file in scan(self.root, unreadable.append):
            present.add(file.relative)
            if self._is_news(file):
                self._settler.seen(file.relative, file.size, file.mtime_ns, now)
        for folder in unreadable:
            log.warning("a folder in the watched folder cannot be listed: what is in it is neither read nor forgotten")
            present.update(path for path in self._known if path.startswith(f"{folder}/") or not folder)
        gone = self._known.keys() - present
        self._forgetting_waits = bool(gone) and self.settling
        if gone and not self.settling and self._is_mounted():  # mounted still, after all that looking
            for path in gone:
                self._forget(path)

    def notice(self, paths: Iterable[Path], now: float) -> None:
        """Something happened to these paths. One that is no file now may be a folder that was moved: a rescan tells."""
        if not self._is_mounted():
            return
        paths = [path for path in paths if is_taken(path.name)]
        found = [found_file(self.root, path) for path in paths]
        for file in found:
            if file is not None and self._is_news(file):
                self._settler.seen(file.relative, file.size, file.mtime_ns, now)
        if None in found:
            self.rescan(now)

    def read_settled(self, now: float, on_read: OnRead = lambda done, of: None) -> int:
        """Read the files that stopped changing. Returns how many were read."""
        self._look_again(now)
        ready = [file for key in self._settler.ready(now) if (file := self._at(key))]
        if not ready and self._read_as is not None:
            return 0
        identities = self._given or self._likely_identities(ready)
        todo = [*ready, *self._read_as_others(identities, but={file.relative for file in ready})]
        for number, file in enumerate(todo, start=1):
            self._read(file, identities)
            on_read(number, len(todo))
        self._read_as = identities
        if self._forgetting_waits and not self.settling:
            self.rescan(now)
        return len(todo)

    def _look_again(self, now: float) -> None:
        """A file that still grows may give no further event."""
        for key in self._settler.waiting():
            file = self._at(key)
            if file is None:
                self._settler.gone(key)
            else:
                self._settler.seen(file.relative, file.size, file.mtime_ns, now)

    def _at(self, key: str) -> FoundFile | None:
        return found_file(self.root, self.root / path_of_key(key))

    @property
    def settling(self) -> bool:
        """Whether a file is waited for that has not been read yet."""
        return len(self._settler) > 0

    def _is_mounted(self) -> bool:
        return (self.root / MARKER).is_file()

    def _is_news(self, file: FoundFile) -> bool:
        known = self._known.get(file.relative)
        return known is None or (known.size_bytes, known.mtime_ns) != (file.size, file.mtime_ns)

    def _forget(self, path: str) -> None:
        dropped = self._store.forget_file(path)
        del self._known[path]
        self._settler.gone(path)
        log.info("a file is gone: %d demonstrations dropped", dropped)

    def _likely_identities(self, fresh: list[FoundFile]) -> tuple[str, ...]:
        """Whose folder it is, guessed from the senders of what is known and of what is about to be read."""
        total: Counter[str] = Counter()
        for file in fresh:
            with suppress(Exception):  # whatever is wrong with the file, reading it in earnest says so
                total.update(address for each in read(file.path) if (address := address_of(each.sender)))
        again = {file.relative for file in fresh}
        for row in self._known.values():
            if row.path not in again:
                total.update(row.senders)
        return likely_identities(total, is_sent_folder=is_sent_folder(self.root.name))

    def _read_as_others(self, identities: tuple[str, ...], but: set[str]) -> list[FoundFile]:
        """Mail that was read while somebody else was taken for the user."""
        outdated = [row for row in self._known.values() if row.senders and row.identities != identities]
        candidates = (self._at(row.path) for row in outdated if row.path not in but)
        return [file for file in candidates if file is not None]

    def _read(self, file: FoundFile, identities: tuple[str, ...]) -> None:
        senders: Counter[str] = Counter()
        try:
            demonstrations, reason = _demonstrations(file, identities, senders)
            state = "read"
        except FileSetAside as error:
            demonstrations, reason, state = [], f"{error.title}; {error.hint}", "set_aside"
        except Exception as error:  # a reader's fault on one file must not stop the others; the kind of fault is kept
            log.error("a reader failed: %s", place_of(error))
            demonstrations, reason, state = [], f"the reader failed ({type(error).__name__})", "set_aside"
        row = FileRow(
            path=file.relative,
            profile=file.profile,
            size_bytes=file.size,
            mtime_ns=file.mtime_ns,
            state="read" if state == "read" else "set_aside",
            reason=reason,
            identities=identities,
            senders=dict(senders),
            read_at=time.time(),
        )
        self._store.record_file(row, demonstrations)
        self._known[row.path] = row


def _demonstrations(
    file: FoundFile, identities: tuple[str, ...], senders: Counter[str]
) -> tuple[list[Demonstration], str]:
    """What a file gives, and in a few words why the rest of it gives nothing. Counts the mails of each sender."""
    found: list[Demonstration] = []
    reasons: Counter[str] = Counter()
    for document in read(file.path):
        senders.update(address for address in [address_of(document.sender)] if address)
        result = demonstrations_of(document, identities)
        found += result.demonstrations
        if result.reason:
            reasons[result.reason] += 1
    return found, ", ".join(_counted(reasons.most_common(5)))


def _counted(reasons: Iterable[tuple[str, int]]) -> list[str]:
    return [reason if count == 1 else f"{reason} ({count})" for reason, count in reasons]
