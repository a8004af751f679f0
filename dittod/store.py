"""The SQLite file: the only module with SQL. Rows in, values out; nothing here decides anything.

Every method is one transaction. Several processes may hold the store open: the daemon writes, the CLI reads and
promotes. Deleted text is overwritten (`secure_delete`). In a sealed store texts lie encrypted (`dittod.sealing`), and
the key is asked for when the first of them is needed.
"""

from __future__ import annotations

import json
import math
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from dittod import sealing
from dittod.errors import DittodError, NotFound
from dittod.migrations import MIGRATIONS
from dittod.paths import Home
from dittod.rows import (
    DemonstrationRow,
    FileRow,
    StepRow,
    as_adapter,
    as_demonstration,
    as_file,
    as_pair,
    as_run,
    json_values,
)
from dittod.types import Adapter, Demonstration, PromptSource, Run, RunState, Verdict, demonstration_id

_OPEN_RUNS = "SELECT * FROM runs WHERE profile = ? AND state IN ('requested', 'running')"
_ROWS = (
    "SELECT *, (SELECT json_group_array(path) FROM origins WHERE origins.profile = demonstrations.profile"
    " AND origins.key = demonstrations.key) AS files FROM demonstrations"
)

_PAGE_ROWS = 500  # held in memory at once
MOST_NOTES = 50  # of a run: one that is paused for weeks does not grow
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


class Store:
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
            self._dropped = not self._empty_the_log()
            return not self._dropped

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

    def _opened_adapters(self, query: str, *values: Any) -> list[Adapter]:
        """Which versions there are, and which one is served, is known without the key: then none has a verdict."""
        with self._snapshot():
            rows, marker = self._rows(query, *values), self.noted("sealed")
        try:
            seal = self._seal_of(marker) if rows else sealing.Seal()
            opened = [seal.opened("adapters", dict(row)) for row in rows]
        except sealing.NoKey as error:
            unread = asdict(Verdict(False, (f"the verdict cannot be read: {error.title}",), {}))
            opened = [{**dict(row), "verdict": json.dumps(unread)} for row in rows]
        return [as_adapter(row, self._adapters) for row in opened]

    # --- files and demonstrations ---

    def files(self) -> dict[str, FileRow]:
        """Every file that was looked at, by path."""
        return {row["path"]: as_file(row) for row in self._opened_rows("files", "SELECT * FROM files ORDER BY path")}

    def note_file(self, file: FileRow) -> None:
        """What is said of a file changes; what it holds stays."""
        with self._transaction() as db:
            _put_file(db, self._seal, file)

    def add_demonstrations(
        self, path: str, profile: str, demonstrations: Iterable[Demonstration], reading: float
    ) -> int:
        """A part of what a file holds, while it is being read: `reading` is when that began (POSIX seconds). Returns
        how many are new. Until `record_file`, the file counts as one that was not read."""
        with self._transaction() as db:
            seal, values = self._seal, {"path": path, "profile": profile, "reading": reading}
            if not db.execute("SELECT 1 FROM files WHERE path = ?", (path,)).fetchone():
                _put_file(db, seal, FileRow(path, profile, -1, 0, "read", "is being read", (), {}, reading))
            return sum(_add(db, seal, each, values) for each in demonstrations)

    def record_file(self, file: FileRow, demonstrations: Iterable[Demonstration] = ()) -> int:
        """The file has been read, and these are the rest of what it holds: what an earlier reading found and this one
        did not is gone. `file.read_at` is when reading began. Returns how many of the rest are new."""
        with self._transaction() as db:
            seal, values = self._seal, {"path": file.path, "profile": file.profile, "reading": file.read_at}
            new = sum(_add(db, seal, each, values) for each in demonstrations)
            _put_file(db, seal, file)
            dropped = _drop_orphans(db, _drop_origins(db, file.path, but=file.read_at))
            self._overwrite(dropped)
        return new

    def forget_file(self, path: str) -> int:
        """The file is gone: so are the demonstrations that came from nowhere else. Returns how many."""
        with self._transaction() as db:
            db.execute("DELETE FROM files WHERE path = ?", (path,))
            dropped = _drop_orphans(db, _drop_origins(db, path))
            self._overwrite(dropped)
        return dropped

    def _overwrite(self, dropped: int) -> None:
        """Empty the write-ahead log after text was dropped: it holds pages as they were before."""
        self._dropped = self._dropped or bool(dropped)

    def demonstrations(self, profile: str, *, newest: int | None = None) -> list[Demonstration]:
        """Those of a profile that the user has not excluded, oldest first; `newest`: only so many of the latest."""
        rows = self._opened_rows(
            "demonstrations",
            "SELECT * FROM demonstrations WHERE profile = ? AND NOT excluded ORDER BY written_at DESC, id DESC LIMIT ?",
            profile,
            -1 if newest is None else newest,
        )
        return [as_pair(row) for row in reversed(rows)]

    def demonstrations_of(self, profile: str, ids: Iterable[str]) -> dict[str, Demonstration]:
        """By id, those of them that are there and not excluded."""
        rows = self._opened_rows(
            "demonstrations",
            "SELECT * FROM demonstrations WHERE profile = ? AND NOT excluded"
            " AND id IN (SELECT value FROM json_each(?))",
            profile,
            json.dumps(list(ids)),
        )
        return {row["id"]: as_pair(row) for row in rows}

    def now_called(self, profile: str, ids: Iterable[str]) -> set[str]:
        """These ids, and those that demonstrations of these ids have by now: an edited prompt makes another id."""
        rows = self._rows(
            "SELECT demonstrations.id FROM former_ids JOIN demonstrations USING (profile, key)"
            " WHERE profile = ? AND former_ids.id IN (SELECT value FROM json_each(?))",
            profile,
            json.dumps(given := list(ids)),
        )
        return {*given, *(row["id"] for row in rows)}

    def count_demonstrations(self, profile: str, *, since: float = 0.0, most: int = -1) -> int:
        """How many a profile has that came in after this time (POSIX seconds); counting ends at `most`."""
        query = "SELECT 1 FROM demonstrations WHERE profile = ? AND added_at > ? AND NOT excluded LIMIT ?"
        return int(self._rows(f"SELECT count(*) FROM ({query})", profile, since, most)[0][0])

    def demonstration_rows(self, profile: str) -> Iterator[DemonstrationRow]:
        """Every one of a profile, excluded ones too, oldest first. Held in pages: there may be many."""
        query = f"{_ROWS} WHERE profile = ? AND (written_at, key) > (?, ?) ORDER BY written_at, key LIMIT {_PAGE_ROWS}"
        after = (-math.inf, "")
        while rows := self._opened_rows("demonstrations", query, profile, *after):
            yield from map(as_demonstration, rows)
            after = (rows[-1]["written_at"], rows[-1]["key"])

    def demonstration(self, name: str) -> DemonstrationRow:
        """The one whose id begins so, or one of its former ids; 'profile/id' where several profiles have it. Raises
        NotFound if none or several do."""
        profile, _, id_prefix = name.rpartition("/")
        values = (profile, id_prefix, len(id_prefix))
        query = f"{_ROWS} WHERE ?1 IN ('', profile) AND substr(id, 1, ?3) = ?2 LIMIT 2"
        former = (
            f"{_ROWS} WHERE ?1 IN ('', profile) AND EXISTS (SELECT 1 FROM former_ids WHERE former_ids.key ="
            " demonstrations.key AND former_ids.profile = demonstrations.profile"
            " AND substr(former_ids.id, 1, ?3) = ?2) LIMIT 2"
        )
        rows = self._opened_rows("demonstrations", query, *values)
        rows = rows or self._opened_rows("demonstrations", former, *values)
        if len(rows) != 1:
            raise NotFound(
                f"{'several demonstrations begin' if rows else 'no demonstration begins'} with {name!r}",
                "list them with: dittod demos list (PROFILE/ID names one of several profiles)",
            )
        return as_demonstration(rows[0])

    def untried_prompts(self, profile: str, base_model: str) -> set[str]:
        """Ids of the demonstrations whose prompt is the template's and that this model has not tried to improve."""
        query = "SELECT id FROM demonstrations WHERE profile = ? AND prompt_by = 'template' AND tried_by != ?"
        return {row["id"] for row in self._rows(query, profile, base_model)}

    def note_tried(self, profile: str, demonstration_id: str, base_model: str) -> None:
        """This model has tried the prompt, and the template's stays."""
        with self._transaction() as db:
            db.execute(
                "UPDATE demonstrations SET tried_by = ? WHERE profile = ? AND id = ?",
                (base_model, profile, demonstration_id),
            )

    def set_prompt(self, profile: str, id: str, prompt: str, prompt_by: PromptSource) -> str:
        """Another prompt for a completion. Returns the pair's new id: it is a hash of both. Raises NotFound.

        While an update is open, only the user may: what it learns from was chosen with the prompts as they are."""
        with self._transaction() as db:
            if prompt_by == "model" and db.execute(_OPEN_RUNS, (profile,)).fetchone():
                return id
            found = _demonstration_at(db, profile, "id", id)
            if found is None:
                raise NotFound(f"there is no demonstration {id} any more", "list them with: dittod demos list")
            row = (seal := self._seal).opened("demonstrations", dict(found))
            new = demonstration_id(prompt, row["completion"])
            if new != id and _demonstration_at(db, profile, "id", new):
                raise DittodError(f"demonstration {new[:8]} has this prompt and completion already", "exclude one")
            db.execute(
                "UPDATE demonstrations SET id = :id, prompt = :prompt, prompt_by = :prompt_by"
                " WHERE profile = :profile AND key = :key",
                seal.closed("demonstrations", {**row, "id": new, "prompt": prompt, "prompt_by": prompt_by}),
            )
            _note_former_id(db, row)
            self._overwrite(new != id)
        return new

    def exclude(self, profile: str, demonstration_id: str, *, excluded: bool) -> None:
        """Whether updates leave it aside."""
        with self._transaction() as db:
            db.execute(
                "UPDATE demonstrations SET excluded = ? WHERE profile = ? AND id = ?",
                (int(excluded), profile, demonstration_id),
            )

    def rewrite(self, profile: str, key: str, completion: str) -> None:
        """Another completion in place of what was read: more of it turned out not to be the user's. Where that is there
        already, it stands for both; where an edited prompt would make two pairs the same, this one loses its edit.
        Empty: nothing of it was the user's, and the demonstration goes."""
        with self._transaction() as db:
            found = _demonstration_at(db, profile, "key", key)
            if found is None:
                return
            row = (seal := self._seal).opened("demonstrations", dict(found))
            values = {**row, "old": key, "completion": completion}
            values |= {"key": demonstration_id(row["template"], completion)}
            values |= {"id": demonstration_id(row["prompt"], completion)}
            if (other := _demonstration_at(db, profile, "id", values["id"])) and other["key"] != key:
                values |= {"id": values["key"], "prompt": row["template"], "prompt_by": "template"}
            _note_former_id(db, row)
            if not completion:
                for table in ("origins", "former_ids", "demonstrations"):
                    db.execute(f"DELETE FROM {table} WHERE profile = :profile AND key = :old", values)
            elif values["key"] != key:
                _move(db, seal, values)
            self._overwrite(1)

    def profiles(self) -> list[str]:
        """Every profile that has files, runs or adapters."""
        rows = self._rows(
            "SELECT profile FROM files UNION SELECT profile FROM adapters UNION SELECT profile FROM runs"
            " ORDER BY profile"
        )
        return [row["profile"] for row in rows]

    # --- runs ---

    def request_run(self, run: Run) -> Run:
        """Enter a new run, unless one of the profile is open already: that one is returned, by hand if either is."""
        with self._transaction() as db:
            if open_run := db.execute(_OPEN_RUNS, (run.profile,)).fetchone():
                by_hand = bool(open_run["by_hand"]) or run.by_hand
                db.execute("UPDATE runs SET by_hand = ? WHERE id = ?", (int(by_hand), open_run["id"]))
                return replace(as_run(open_run), by_hand=by_hand)
            db.execute(
                "INSERT INTO runs VALUES (:id, :profile, :state, :seed, :preset, :requested_at, :finished_at,"
                " :demonstration_ids, :held_out_ids, :adapter_id, :error, :progress, :by_hand, :notes)",
                json_values(asdict(run)),
            )
            return run

    def change_run(self, run_id: str, **changes: Any) -> bool:
        """Set some fields of an open run. False: it has ended, and stays as it is."""
        row = json_values(changes)
        with self._transaction() as db:
            assignments = ", ".join(f"{key} = :{key}" for key in row)
            query = f"UPDATE runs SET {assignments} WHERE id = :run_id AND state IN ('requested', 'running')"
            return db.execute(query, {**row, "run_id": run_id}).rowcount > 0

    def stop_run(self, profile: str, now: float) -> Run | None:
        """Give the open run of a profile up, at this time (POSIX seconds). None: there is none."""
        with self._transaction() as db:
            row = db.execute(_OPEN_RUNS, (profile,)).fetchone()
            if row is None or not self.change_run(row["id"], state="stopped", finished_at=now):
                return None
            return self.run(row["id"])

    def add_note(self, run_id: str, sentence: str) -> None:
        """Add a sentence to a run's notes, of which the latest are kept."""
        with self._transaction() as db:
            notes = (*self.run(run_id).notes, sentence)[-MOST_NOTES:]
            db.execute("UPDATE runs SET notes = ? WHERE id = ?", (json.dumps(notes), run_id))

    def set_clock_back(self, now: float) -> None:
        """What was noted for after this time (POSIX seconds) has happened just now, in the same order: the clock was
        wrong then, or is now."""
        columns = (("runs", "requested_at"), ("runs", "finished_at"), ("demonstrations", "added_at"))
        with self._transaction() as db:
            latest = [
                db.execute(f"SELECT max({column}) FROM {table}").fetchone()[0] or 0.0 for table, column in columns
            ]
            for table, column in columns if max(latest) > now else ():
                db.execute(
                    f"UPDATE {table} SET {column} = :now - (:latest - {column}) * 1e-6 WHERE {column} > :now",
                    {"now": now, "latest": max(latest)},
                )

    def runs(self, *states: RunState, profile: str | None = None) -> list[Run]:
        """Runs in these states (all, if none is named), oldest first."""
        in_states = f" AND state IN ({', '.join('?' * len(states))})" if states else ""
        query = f"SELECT * FROM runs WHERE (? IS NULL OR profile = ?){in_states} ORDER BY requested_at, rowid"
        return [as_run(row) for row in self._rows(query, profile, profile, *states)]

    def latest_run(self, profile: str, *states: RunState) -> Run | None:
        """The profile's latest in one of these states."""
        rows = self._rows(
            f"SELECT * FROM runs WHERE profile = ? AND state IN ({', '.join('?' * len(states))})"
            " ORDER BY requested_at DESC, rowid DESC LIMIT 1",
            profile,
            *states,
        )
        return as_run(rows[0]) if rows else None

    def run(self, run_id: str) -> Run:
        """Raises NotFound."""
        rows = self._rows("SELECT * FROM runs WHERE id = ?", run_id)
        if not rows:
            raise NotFound(f"there is no run {run_id}")
        return as_run(rows[0])

    def record_step(self, run_id: str, step: StepRow) -> None:
        """Add it to the run's course. Where the run took it before, a kill has led back to it: what followed goes."""
        row = {**json_values(asdict(step)), "run_id": run_id}
        with self._transaction() as db:
            db.execute(
                "DELETE FROM steps WHERE run_id = :run_id AND place >="
                " (SELECT place FROM steps WHERE run_id = :run_id AND phase = :phase AND step = :step)",
                row,
            )
            db.execute(
                "INSERT INTO steps (run_id, phase, step, iteration, figures)"
                " VALUES (:run_id, :phase, :step, :iteration, :figures)",
                row,
            )

    def steps(self, run_id: str) -> list[StepRow]:
        """A run's course so far, in the order in which it was taken."""
        rows = self._rows("SELECT phase, step, iteration, figures FROM steps WHERE run_id = ? ORDER BY place", run_id)
        return [StepRow(**{**dict(row), "figures": json.loads(row["figures"])}) for row in rows]

    # --- adapters ---

    def add_adapter(self, adapter: Adapter) -> Adapter:
        """A candidate gets the next number of its profile. Adding the same adapter again changes nothing."""
        with self._transaction() as db:
            highest = db.execute("SELECT max(number) FROM adapters WHERE profile = ?", (adapter.profile,)).fetchone()[0]
            row = self._seal.closed("adapters", json_values({**asdict(adapter), "number": (highest or 0) + 1}))
            db.execute(
                "INSERT OR IGNORE INTO adapters VALUES (:id, :profile, :number, :state, :run_id, :base_model,"
                " :base_revision, :template_sha256, :demonstration_ids, :seed, :created_at, :promoted_at, :verdict,"
                " :pinned)",
                row,
            )
        return self.adapter(adapter.id)

    def adapters(self, profile: str | None = None) -> list[Adapter]:
        """All, or those of a profile, by profile and number."""
        query = "SELECT * FROM adapters WHERE ? IS NULL OR profile = ? ORDER BY profile, number"
        return self._opened_adapters(query, profile, profile)

    def adapter(self, adapter_id: str) -> Adapter:
        """Raises NotFound."""
        found = self._opened_adapters("SELECT * FROM adapters WHERE id = ?", adapter_id)
        if not found:
            raise NotFound(f"there is no adapter {adapter_id}", "list them with: dittod adapters list")
        return found[0]

    def promote(self, profile: str, adapter_id: str, promoted_at: float) -> None:
        """In one UPDATE: this adapter is the profile's promoted one, and the one before is retired. Raises NotFound
        where its weights are gone."""
        with self._transaction() as db:
            _refuse_pruned(db, adapter_id)
            db.execute(
                "UPDATE adapters SET"
                " state = CASE WHEN id = :id THEN 'promoted' WHEN state = 'promoted' THEN 'retired' ELSE state END,"
                " promoted_at = CASE WHEN id = :id THEN :at ELSE promoted_at END"
                " WHERE profile = :profile",
                {"id": adapter_id, "at": promoted_at, "profile": profile},
            )

    def roll_back(self, profile: str, adapter_id: str | None) -> None:
        """In one UPDATE: this earlier adapter (None: base) is served again. What was served leaves the history:
        no later rollback comes back to it. Raises NotFound where its weights are gone."""
        with self._transaction() as db:
            _refuse_pruned(db, adapter_id)
            db.execute(
                "UPDATE adapters SET"
                " promoted_at = CASE WHEN state = 'promoted' THEN NULL ELSE promoted_at END,"
                " state = CASE WHEN id IS :id THEN 'promoted' WHEN state = 'promoted' THEN 'retired' ELSE state END"
                " WHERE profile = :profile",
                {"id": adapter_id, "profile": profile},
            )

    def pin(self, adapter_id: str, *, pinned: bool) -> None:
        """Whether its weights stay, whatever room they take. Raises NotFound where they are gone."""
        with self._transaction() as db:
            _refuse_pruned(db, adapter_id)
            db.execute("UPDATE adapters SET pinned = ? WHERE id = ?", (int(pinned), adapter_id))

    def prune(self, adapter_id: str) -> bool:
        """From now on nobody is given its weights; what it wrote for the gate goes, its figures and reasons stay.
        False: it has been promoted or pinned, or its profile has begun to learn, since somebody looked."""
        with self._transaction() as db:
            row = db.execute(
                "SELECT * FROM adapters WHERE id = ? AND state IN ('candidate', 'retired') AND NOT pinned"
                " AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.profile = adapters.profile AND runs.state = 'running')",
                (adapter_id,),
            ).fetchone()
            if row is not None:
                opened = self._seal.opened("adapters", dict(row))
                verdict = replace(as_adapter(opened, self._adapters).verdict, outputs=())
                plain = json_values({"id": adapter_id, "verdict": asdict(verdict)})
                values = self._seal.closed("adapters", plain)
                db.execute("UPDATE adapters SET state = 'pruned', verdict = :verdict WHERE id = :id", values)
                self._overwrite(1)
        return row is not None

    def forget_courses(self, *, keep: int) -> None:
        """Of all runs that have ended but the latest `keep`, the steps go; the runs stay."""
        with self._transaction() as db:
            db.execute(
                "DELETE FROM steps WHERE run_id IN (SELECT id FROM runs WHERE state NOT IN ('requested', 'running')"
                " ORDER BY requested_at DESC LIMIT -1 OFFSET ?)",
                (keep,),
            )

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


def _put_file(db: sqlite3.Connection, seal: sealing.Seal, file: FileRow) -> None:
    db.execute(
        "INSERT OR REPLACE INTO files VALUES (:path, :profile, :size_bytes, :mtime_ns, :state, :reason,"
        " :identities, :senders, :read_at, :tails, :masked, :removed, :reasons, :content_sha256)",
        seal.closed("files", json_values(asdict(file))),
    )


def _add(db: sqlite3.Connection, seal: sealing.Seal, demonstration: Demonstration, values: Mapping[str, Any]) -> int:
    """1 when it is new. One that is there keeps the prompt that it has by now."""
    row = {**asdict(demonstration), **values, "key": demonstration.id, "template": demonstration.prompt}
    new = db.execute(
        "INSERT OR IGNORE INTO demonstrations VALUES (:profile, :key, :id, :prompt, :completion, :source, :written_at,"
        " :reading, :kind, :prompt_by, :template, '', 0)",
        seal.closed("demonstrations", row),
    ).rowcount
    if not new and _demonstration_at(db, row["profile"], "key", row["key"]) is None:
        holder = _demonstration_at(db, row["profile"], "id", row["id"])
        assert holder is not None, "an id or a key was taken"
        row["key"] = holder["key"]
    db.execute("INSERT OR REPLACE INTO origins VALUES (:path, :profile, :key, :reading)", row)
    return new


def _refuse_pruned(db: sqlite3.Connection, adapter_id: str | None) -> None:
    row = db.execute("SELECT profile, number FROM adapters WHERE id = ? AND state = 'pruned'", (adapter_id,)).fetchone()
    if row is not None:
        raise NotFound(
            f"version {row['profile']}@{row['number']} was pruned: its weights are gone",
            "choose another; list them with: dittod adapters list",
        )


def _demonstration_at(
    db: sqlite3.Connection, profile: str, column: Literal["key", "id"], value: str
) -> sqlite3.Row | None:
    query = f"SELECT * FROM demonstrations WHERE profile = ? AND {column} = ?"
    found: sqlite3.Row | None = db.execute(query, (profile, value)).fetchone()
    return found


def _move(db: sqlite3.Connection, seal: sealing.Seal, values: Mapping[str, Any]) -> None:
    """The demonstration at `old` becomes these values, or a part of the one that is at their key or id already."""
    there = _demonstration_at(db, values["profile"], "key", values["key"])
    there = there or _demonstration_at(db, values["profile"], "id", values["id"])
    target = {**values, "key": there["key"] if there else values["key"]}
    for table in ("origins", "former_ids"):
        db.execute(f"UPDATE OR REPLACE {table} SET key = :key WHERE profile = :profile AND key = :old", target)
    if there is None:
        db.execute(
            "UPDATE demonstrations SET key = :key, id = :id, prompt = :prompt, prompt_by = :prompt_by,"
            " completion = :completion, template = :template WHERE profile = :profile AND key = :old",
            seal.closed("demonstrations", target),
        )
        return
    db.execute(
        "UPDATE demonstrations SET excluded = max(excluded, :excluded) WHERE profile = :profile AND key = :key", target
    )
    db.execute("DELETE FROM demonstrations WHERE profile = :profile AND key = :old", target)


def _drop_origins(db: sqlite3.Connection, path: str, but: float = math.inf) -> list[tuple[str, str]]:
    """The file vouches for nothing that another reading (POSIX seconds) found. Returns profile and key of each."""
    rows = db.execute(
        "DELETE FROM origins WHERE path = ? AND reading != ? RETURNING profile, key", (path, but)
    ).fetchall()
    return [(row["profile"], row["key"]) for row in rows]


def _drop_orphans(db: sqlite3.Connection, candidates: list[tuple[str, str]]) -> int:
    """Those of them that no file vouches for go. Returns how many."""
    dropped = sum(
        db.execute(
            "DELETE FROM demonstrations WHERE profile = :profile AND key = :key AND NOT EXISTS"
            " (SELECT 1 FROM origins WHERE profile = :profile AND key = :key)",
            {"profile": profile, "key": key},
        ).rowcount
        for profile, key in candidates
    )
    if dropped:
        db.execute(
            "DELETE FROM former_ids WHERE NOT EXISTS (SELECT 1 FROM demonstrations"
            " WHERE profile = former_ids.profile AND key = former_ids.key)"
        )
    return dropped


def _note_former_id(db: sqlite3.Connection, row: Mapping[str, Any]) -> None:
    db.execute("INSERT OR REPLACE INTO former_ids VALUES (:profile, :id, :key)", row)
