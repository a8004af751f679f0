"""The SQLite file itself: connections, transactions, faults in words, encryption at rest, small notes.

Every method is one transaction. Several processes may hold the store open: the daemon writes, the CLI reads and
promotes. Deleted text is overwritten (`secure_delete`). In a sealed store texts lie encrypted (`dittod.sealing`), and
the key is asked for when the first of them is needed. Knows no table but its own notes.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dittod import sealing
from dittod.errors import DittodError
from dittod.migrations import MIGRATIONS
from dittod.paths import Home

OPEN_RUNS = "SELECT * FROM runs WHERE profile = ? AND state IN ('requested', 'running')"
_LEAST_FREE_BYTES = 128 * 2**10  # on the disk; with less, the files beside the store may find no room
_LARGEST_LOG_BYTES = 16 * 2**20  # of writes: what a large change took beyond that goes back to the disk
PATIENCE_SECONDS = 10.0  # with another process that writes
_POLL_SECONDS = 0.01  # between two looks whether it still does
_EMPTYING_SECONDS = 5.0  # until a log that somebody reads is emptied again: that waits for the disk, and is in vain
_CLOSE_SECONDS = 0.5  # for a thread that still reads or writes at the end
clock = time.monotonic

_REPLACE = (
    "put a backup in its place, or move it away with the files beside it that are called the same and -wal or -shm:"
    " then your texts are read again, and what was learnt is listed again"
)
_DAMAGED = ("it is damaged", _REPLACE)
_LOCKED = ("another program has locked it", "end that program, a database browser say; it is tried again")
_TROUBLES = {  # by SQLite's result code: what is wrong with the file or its disk, and what to do
    sqlite3.SQLITE_FULL: ("the disk is full", "make room on it; dittod goes on by itself"),
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_READONLY: ("it is read-only", "give it and its disk back to be written by you"),
    sqlite3.SQLITE_IOERR: ("the disk fails, or is full", "make room on it, or look after it"),
    sqlite3.SQLITE_CANTOPEN: ("it cannot be opened", "give it and its folder back to be read and written by you"),
    sqlite3.SQLITE_PERM: ("it cannot be opened", "give it and its folder back to be read and written by you"),
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
}


class StoreFile:
    """Usable from several threads: who reads does not wait for who writes, but for the disk and others that read."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()  # of what writes; who has it may take one of the others, and never the reverse
        self._read_lock = threading.RLock()
        self._seal_lock = threading.RLock()
        self._writer = 0  # the thread whose transaction is open: it reads what it has written
        self.patience_seconds = PATIENCE_SECONDS  # with another process that writes; with 0 what waits for it fails
        self._path = path
        self._adapters = Home(path.parent).adapters
        self._dropped = False  # text, and the log of writes may still hold it
        self._empty_at = 0.0  # not before, in monotonic seconds
        self._marker: dict[str, str] = {}  # of the seal that was found last
        self._found_seal = sealing.Seal()
        fresh = not path.exists()
        self._connection = self._connect()
        try:
            if fresh:
                path.chmod(0o600)  # SQLite gives its -wal and -shm files the same mode
            self._prepare()
            self._migrate(path)
            self._reading = self._connect()
            self._reading.execute("PRAGMA query_only = ON")
        except BaseException:
            self._connection.close()
            raise

    def _connect(self) -> sqlite3.Connection:
        with self._in_words():
            made = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None, timeout=PATIENCE_SECONDS)
            made.row_factory = sqlite3.Row
            made.execute("PRAGMA temp_store = MEMORY")  # no text in a file outside of the home
        return made

    def _prepare(self) -> None:
        with self._in_words():
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON", "foreign_keys = ON"):
                self._connection.execute(f"PRAGMA {pragma}")
            self._connection.execute(f"PRAGMA journal_size_limit = {_LARGEST_LOG_BYTES}")
            self._connection.execute("PRAGMA busy_timeout = 0")  # from here on by `_patiently`

    def close(self) -> None:
        """Let go of the file. What a thread has not finished writing is lost as a whole, as by a kill."""
        for lock, connection in ((self._read_lock, self._reading), (self._lock, self._connection)):
            if lock.acquire(timeout=_CLOSE_SECONDS):
                try:
                    connection.close()
                finally:
                    lock.release()

    def _migrate(self, path: Path) -> None:
        with self._transaction() as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version > len(MIGRATIONS):
                raise DittodError(f"{path} was written by a newer dittod (schema {version})", "upgrade dittod")
            for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
                for statement in filter(str.strip, script.split(";")):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {number}")

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is written inside is one transaction: many small changes wait for the disk once."""
        with self._transaction():
            yield

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._connection.in_transaction:  # the one that `together` opened, in this thread: it holds the lock
                yield self._connection
                return
            with self._in_words():
                try:
                    self._patiently("BEGIN IMMEDIATE")
                    self._writer = threading.get_ident()
                    yield self._connection
                    self._patiently("COMMIT")
                except BaseException:
                    if self._connection.in_transaction:  # a full disk ends it by itself
                        self._connection.execute("ROLLBACK")
                    raise
                finally:
                    self._writer = 0
            if self._dropped and clock() >= self._empty_at:
                self._dropped = not self._empty_the_log()

    def _patiently(self, statement: str) -> None:
        """Waits for another process that writes. SQLite's own wait could not be cut short by `patience_seconds`."""
        begun = clock()
        while True:
            try:
                self._connection.execute(statement)
                return
            except sqlite3.OperationalError as error:
                if _code_of(error) != sqlite3.SQLITE_BUSY or clock() - begun >= self.patience_seconds:
                    raise
            time.sleep(_POLL_SECONDS)

    def empty_log(self) -> bool:
        """Of text that was dropped, here or by another process, the log of writes holds nothing any more. False:
        somebody reads it still, or writes; it is to be tried again."""
        with self._lock:
            self._dropped = not self._empty_the_log()
            return not self._dropped

    def _empty_the_log(self) -> bool:
        """What was written is safe where this fails, on a full disk or beside a reader of another process, for whom it
        does not wait: a change tries again, some seconds later."""
        with self._read_lock:  # our own readers are over soon
            try:
                busy = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()["busy"]
            except sqlite3.OperationalError:
                busy = 1
        self._empty_at = clock() + _EMPTYING_SECONDS if busy else 0.0
        return not busy

    def _rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        if self._writer == threading.get_ident():
            with self._in_words():
                return self._connection.execute(query, values).fetchall()
        with self._read_lock, self._in_words():
            return self._reading.execute(query, values).fetchall()

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        """What is wrong with the file or its disk becomes a sentence that names no value; other faults stay."""
        try:
            yield
        except sqlite3.Error as error:
            code = _code_of(error)
            if code not in _TROUBLES:
                raise
            if code == sqlite3.SQLITE_IOERR and shutil.disk_usage(self._path.parent).free < _LEAST_FREE_BYTES:
                code = sqlite3.SQLITE_FULL  # the files beside the store found no room
            reason, hint = _TROUBLES[code]
            raise DittodError(f"{self._path} cannot be used: {reason}", hint) from error

    # --- encryption at rest ---

    @property
    def is_sealed(self) -> bool:
        """Whether texts lie encrypted in the file."""
        return bool(self.noted("sealed"))

    def key_of(self, run_id: str) -> str:
        """What the engine seals a run's checkpoints with; '' where the store is not sealed."""
        return self._seal.key_of(run_id)

    def seal(self, wanted: bool, clear: Callable[[], None] = lambda: None) -> None:
        """From now on texts lie encrypted in the file, or in the open; what is there is converted in one transaction.
        `clear` then removes what lies elsewhere as it was before.

        Raises DittodError where there is no keyring, or not the key. The next call heals what a kill has left."""
        before = self._seal  # also where nothing is to be done: the key must be there
        if self.is_sealed != wanted:
            marker = self.noted("sealed") or sealing.make_marker()
            try:
                after = sealing.seal_of(marker) if wanted else sealing.Seal()
                with self._transaction() as db:
                    _convert(db, before, after)
                    self.note("sealed", marker if wanted else {})
                    self.note("scrub", {"due": True, "key": {} if wanted else marker})
            except BaseException:
                if wanted and self.noted("sealed") != marker:  # a Ctrl-C may come when it is written already
                    sealing.forget_key(marker)
                raise
        if scrub := self.noted("scrub"):
            if not scrub.get("cleared"):
                clear()
                self.note("scrub", {**scrub, "cleared": True})
            if self._scrub():
                if scrub["key"]:
                    sealing.forget_key(scrub["key"])
                self.note("scrub", {})

    def _scrub(self) -> bool:
        """Write the whole file anew, so that nothing of what was in it before is left in the file. False: another
        program reads what was there before; changes, and the next start, try again."""
        with self._lock, self._in_words():
            self._patiently("VACUUM")
            return self.empty_log()

    @property
    def _seal(self) -> sealing.Seal:
        """As the file is now: another process may have converted it since."""
        return self._seal_of(self.noted("sealed"))

    def _seal_of(self, marker: dict[str, str]) -> sealing.Seal:
        with self._seal_lock:
            if marker != self._marker:
                self._found_seal, self._marker = sealing.seal_of(marker), marker
            return self._found_seal

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        """What is read inside is of one moment."""
        if self._writer == threading.get_ident():
            yield
            return
        with self._read_lock:
            try:
                with self._in_words():
                    self._reading.execute("BEGIN")
                yield
            finally:
                if self._reading.in_transaction:
                    self._reading.execute("ROLLBACK")

    def _opened_rows(self, table: str, query: str, *values: Any) -> list[dict[str, Any]]:
        """Rows with texts. Rows and seal belong together: another process may convert the store meanwhile."""
        with self._snapshot():
            rows, marker = self._rows(query, *values), self.noted("sealed")
        seal = self._seal_of(marker) if rows else sealing.Seal()
        return [seal.opened(table, dict(row)) for row in rows]

    def _overwrite(self, dropped: int) -> None:
        """Empty the write-ahead log after text was dropped: it holds pages as they were before."""
        self._dropped = self._dropped or bool(dropped)

    # --- what the running daemon says of itself ---

    def note(self, key: str, value: Mapping[str, Any]) -> None:
        """Keep a small fact for `dittod status`."""
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO daemon VALUES (?, ?)", (key, json.dumps(value)))

    def noted(self, key: str) -> dict[str, Any]:
        """A fact kept by `note`; empty if there is none."""
        rows = self._rows("SELECT value FROM daemon WHERE key = ?", key)
        return dict(json.loads(rows[0]["value"])) if rows else {}


def _code_of(error: sqlite3.Error) -> int:
    """SQLite's result code, without what extended codes add."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _convert(db: sqlite3.Connection, before: sealing.Seal, after: sealing.Seal) -> None:
    """Every sealed column of every table, a row at a time: opened with the one seal, closed with the other."""
    for table, (identity, columns) in sealing.SEALED.items():
        names = ", ".join((*identity, *columns))
        assignments = ", ".join(f"{each} = :{each}" for each in columns)
        place = " AND ".join(f"{each} = :{each}" for each in identity)
        for key in db.execute(f"SELECT {', '.join(identity)} FROM {table}").fetchall():
            row = db.execute(f"SELECT {names} FROM {table} WHERE {place}", dict(key)).fetchone()
            values = after.closed(table, before.opened(table, row))
            db.execute(f"UPDATE {table} SET {assignments} WHERE {place}", values)
