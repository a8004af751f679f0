"""The SQLite file: the only module with SQL. Rows in, values out; nothing here decides anything.

Every method is one transaction. Several processes may hold the store open: the daemon writes, the CLI reads and
promotes. Deleted text is overwritten (`secure_delete`).
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from dittod.errors import DittodError, NotFound
from dittod.types import Adapter, Demonstration, Run, RunState, Verdict

MIGRATIONS = (
    """
    CREATE TABLE files (
        path TEXT PRIMARY KEY, profile TEXT NOT NULL, size_bytes INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
        state TEXT NOT NULL, reason TEXT NOT NULL, identities TEXT NOT NULL, senders TEXT NOT NULL,
        read_at REAL NOT NULL
    ) STRICT;
    CREATE TABLE demonstrations (
        profile TEXT NOT NULL, id TEXT NOT NULL, prompt TEXT NOT NULL, completion TEXT NOT NULL,
        source TEXT NOT NULL, written_at REAL NOT NULL, added_at REAL NOT NULL, PRIMARY KEY (profile, id)
    ) STRICT;
    CREATE TABLE origins (
        path TEXT NOT NULL, profile TEXT NOT NULL, demonstration_id TEXT NOT NULL,
        PRIMARY KEY (path, profile, demonstration_id)
    ) STRICT;
    CREATE INDEX origins_of_demonstration ON origins (profile, demonstration_id);
    CREATE TABLE runs (
        id TEXT PRIMARY KEY, profile TEXT NOT NULL, state TEXT NOT NULL, seed INTEGER NOT NULL,
        preset TEXT NOT NULL, requested_at REAL NOT NULL, finished_at REAL, demonstration_ids TEXT NOT NULL,
        held_out_ids TEXT NOT NULL, adapter_id TEXT, error TEXT, progress TEXT NOT NULL
    ) STRICT;
    CREATE TABLE adapters (
        id TEXT PRIMARY KEY, profile TEXT NOT NULL, number INTEGER NOT NULL, state TEXT NOT NULL, path TEXT NOT NULL,
        run_id TEXT NOT NULL, base_model TEXT NOT NULL, base_revision TEXT NOT NULL, template_sha256 TEXT NOT NULL,
        demonstration_ids TEXT NOT NULL, seed INTEGER NOT NULL, created_at REAL NOT NULL, promoted_at REAL,
        verdict TEXT NOT NULL, UNIQUE (profile, number)
    ) STRICT;
    CREATE TABLE daemon (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    """,
    """
    CREATE TABLE steps (
        place INTEGER PRIMARY KEY, run_id TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE, phase TEXT NOT NULL,
        step INTEGER NOT NULL, iteration INTEGER NOT NULL, figures TEXT NOT NULL, UNIQUE (run_id, phase, step)
    ) STRICT;
    """,
)

FileState = Literal["read", "set_aside"]


@dataclass(frozen=True, slots=True)
class FileRow:
    """What became of one watched file."""

    path: str  # relative to the watched folder
    profile: str
    size_bytes: int
    mtime_ns: int
    state: FileState
    reason: str  # why it is set aside, or gave no demonstration; never the user's text
    identities: tuple[str, ...]  # the user's addresses it was read with: when they change, it is read again
    senders: Mapping[str, int]  # how many of its mails came from which address
    read_at: float


@dataclass(frozen=True, slots=True)
class StepRow:
    """The figures of one completed step of a run, or of one round of samples. Numbers only."""

    phase: str  # supervised, sampling, dpo
    step: int  # of the phase, from 1
    iteration: int  # t of algorithm 1, from 0
    figures: Mapping[str, float]


class Store:
    """One connection, usable from several threads."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        fresh = not path.exists()
        try:
            self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10.0)
            if fresh:
                path.chmod(0o600)  # SQLite gives its -wal and -shm files the same mode
            self._connection.row_factory = sqlite3.Row
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON", "foreign_keys = ON"):
                self._connection.execute(f"PRAGMA {pragma}")
            self._migrate(path)
        except sqlite3.Error as error:
            raise DittodError(f"{path} cannot be used: {error}", "make room, or put a backup in its place") from error

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

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
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk ends it by itself
                    self._connection.execute("ROLLBACK")
                raise

    def _rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    # --- files and demonstrations ---

    def files(self) -> dict[str, FileRow]:
        """Every file that was looked at, by path."""
        return {row["path"]: _file(row) for row in self._rows("SELECT * FROM files ORDER BY path")}

    def record_file(self, file: FileRow, demonstrations: Iterable[Demonstration]) -> int:
        """What a file holds now replaces what it held before. Returns how many demonstrations are new."""
        with self._transaction() as db:
            before = _drop_origins(db, file.path)
            new = 0
            db.execute(
                "INSERT OR REPLACE INTO files VALUES (:path, :profile, :size_bytes, :mtime_ns, :state, :reason,"
                " :identities, :senders, :read_at)",
                _json_row(asdict(file)),
            )
            for each in demonstrations:
                row = {**asdict(each), "profile": file.profile, "path": file.path, "added_at": file.read_at}
                new += db.execute(
                    "INSERT OR IGNORE INTO demonstrations VALUES (:profile, :id, :prompt, :completion, :source,"
                    " :written_at, :added_at)",
                    row,
                ).rowcount
                db.execute("INSERT OR IGNORE INTO origins VALUES (:path, :profile, :id)", row)
            dropped = _drop_orphans(db, before)
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
        if dropped:
            self._rows("PRAGMA wal_checkpoint(TRUNCATE)")

    def demonstrations(self, profile: str) -> list[Demonstration]:
        """Those of a profile, oldest first."""
        rows = self._rows(
            "SELECT id, prompt, completion, source, written_at FROM demonstrations WHERE profile = ?"
            " ORDER BY written_at, id",
            profile,
        )
        return [Demonstration(**row) for row in rows]

    def count_demonstrations(self, profile: str, *, since: float = 0.0) -> int:
        """How many a profile has that came in after this time (POSIX seconds)."""
        query = "SELECT count(*) FROM demonstrations WHERE profile = ? AND added_at > ?"
        return int(self._rows(query, profile, since)[0][0])

    def demonstration(self, id_prefix: str) -> tuple[str, Demonstration]:
        """The profile and demonstration whose id begins so. Raises NotFound if none or several do."""
        rows = self._rows(
            "SELECT min(profile) AS profile, id, prompt, completion, source, written_at FROM demonstrations"
            " WHERE substr(id, 1, ?) = ? GROUP BY id",
            len(id_prefix),
            id_prefix,
        )
        if len(rows) != 1:
            raise NotFound(f"{len(rows)} demonstrations begin with {id_prefix!r}", "list them with: dittod demos list")
        values = dict(rows[0])
        return values.pop("profile"), Demonstration(**values)

    def profiles(self) -> list[str]:
        """Every profile that has files, runs or adapters."""
        rows = self._rows(
            "SELECT profile FROM files UNION SELECT profile FROM adapters UNION SELECT profile FROM runs"
            " ORDER BY profile"
        )
        return [row["profile"] for row in rows]

    # --- runs ---

    def request_run(self, run: Run) -> Run:
        """Enter a new run, unless one of the profile is open already: then that one is returned."""
        with self._transaction() as db:
            query = "SELECT * FROM runs WHERE profile = ? AND state IN ('requested', 'running')"
            if open_run := db.execute(query, (run.profile,)).fetchone():
                return _run(open_run)
            db.execute(
                "INSERT INTO runs VALUES (:id, :profile, :state, :seed, :preset, :requested_at, :finished_at,"
                " :demonstration_ids, :held_out_ids, :adapter_id, :error, :progress)",
                _json_row(asdict(run)),
            )
            return run

    def change_run(self, run_id: str, **changes: Any) -> None:
        """Set some fields of a run."""
        row = _json_row(changes)
        with self._transaction() as db:
            assignments = ", ".join(f"{key} = :{key}" for key in row)
            db.execute(f"UPDATE runs SET {assignments} WHERE id = :run_id", {**row, "run_id": run_id})

    def runs(self, *states: RunState, profile: str | None = None) -> list[Run]:
        """Runs in these states (all, if none is named), oldest first."""
        rows = self._rows("SELECT * FROM runs ORDER BY requested_at, rowid")
        found = [_run(row) for row in rows if profile is None or row["profile"] == profile]
        return [run for run in found if not states or run.state in states]

    def run(self, run_id: str) -> Run:
        """Raises NotFound."""
        rows = self._rows("SELECT * FROM runs WHERE id = ?", run_id)
        if not rows:
            raise NotFound(f"there is no run {run_id}")
        return _run(rows[0])

    def record_step(self, run_id: str, step: StepRow) -> None:
        """Add it to the run's course. Where the run took it before, a kill has led back to it: what followed goes."""
        row = {**_json_row(asdict(step)), "run_id": run_id}
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
            row = _json_row({**asdict(adapter), "number": (highest or 0) + 1})
            db.execute(
                "INSERT OR IGNORE INTO adapters VALUES (:id, :profile, :number, :state, :path, :run_id, :base_model,"
                " :base_revision, :template_sha256, :demonstration_ids, :seed, :created_at, :promoted_at, :verdict)",
                row,
            )
        return self.adapter(adapter.id)

    def adapters(self, profile: str | None = None) -> list[Adapter]:
        """All, or those of a profile, by profile and number."""
        rows = self._rows("SELECT * FROM adapters ORDER BY profile, number")
        return [_adapter(row) for row in rows if profile is None or row["profile"] == profile]

    def adapter(self, adapter_id: str) -> Adapter:
        """Raises NotFound."""
        rows = self._rows("SELECT * FROM adapters WHERE id = ?", adapter_id)
        if not rows:
            raise NotFound(f"there is no adapter {adapter_id}", "list them with: dittod adapters list")
        return _adapter(rows[0])

    def promote(self, profile: str, adapter_id: str, promoted_at: float) -> None:
        """In one UPDATE: this adapter is the profile's promoted one, and the one before is retired."""
        with self._transaction() as db:
            db.execute(
                "UPDATE adapters SET"
                " state = CASE WHEN id = :id THEN 'promoted' WHEN state = 'promoted' THEN 'retired' ELSE state END,"
                " promoted_at = CASE WHEN id = :id THEN :at ELSE promoted_at END"
                " WHERE profile = :profile",
                {"id": adapter_id, "at": promoted_at, "profile": profile},
            )

    def roll_back(self, profile: str, adapter_id: str | None) -> None:
        """In one UPDATE: this earlier adapter (None: base) is served again. What was served leaves the history:
        no later rollback comes back to it."""
        with self._transaction() as db:
            db.execute(
                "UPDATE adapters SET"
                " promoted_at = CASE WHEN state = 'promoted' THEN NULL ELSE promoted_at END,"
                " state = CASE WHEN id IS :id THEN 'promoted' WHEN state = 'promoted' THEN 'retired' ELSE state END"
                " WHERE profile = :profile",
                {"id": adapter_id, "profile": profile},
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


def _drop_origins(db: sqlite3.Connection, path: str) -> list[tuple[str, str]]:
    """The file vouches for nothing any more. Returns what it vouched for: profile and demonstration id."""
    rows = db.execute("DELETE FROM origins WHERE path = ? RETURNING profile, demonstration_id", (path,)).fetchall()
    return [(row["profile"], row["demonstration_id"]) for row in rows]


def _drop_orphans(db: sqlite3.Connection, candidates: list[tuple[str, str]]) -> int:
    """Those of them that no file vouches for go. Returns how many."""
    return sum(
        db.execute(
            "DELETE FROM demonstrations WHERE profile = :profile AND id = :id AND NOT EXISTS"
            " (SELECT 1 FROM origins WHERE profile = :profile AND demonstration_id = :id)",
            {"profile": profile, "id": demonstration_id},
        ).rowcount
        for profile, demonstration_id in candidates
    )


def _is_json(value: object) -> bool:
    return isinstance(value, (tuple, list, Mapping))


def _json_row(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: json.dumps(value) if _is_json(value) else value for key, value in values.items()}


def _file(row: sqlite3.Row) -> FileRow:
    values = dict(row)
    values["identities"] = tuple(json.loads(values["identities"]))
    values["senders"] = json.loads(values["senders"])
    return FileRow(**values)


def _run(row: sqlite3.Row) -> Run:
    values = dict(row)
    for key in ("demonstration_ids", "held_out_ids"):
        values[key] = tuple(json.loads(values[key]))
    values["progress"] = json.loads(values["progress"])
    return Run(**values)


def _adapter(row: sqlite3.Row) -> Adapter:
    values = dict(row)
    verdict = json.loads(values["verdict"])
    for key in ("reasons", "outputs"):
        verdict[key] = tuple(verdict[key])
    values["verdict"] = Verdict(**verdict)
    values["demonstration_ids"] = tuple(json.loads(values["demonstration_ids"]))
    return Adapter(**values)
