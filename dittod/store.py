"""The SQLite file: the only module with SQL. Rows in, values out; nothing here decides anything.

Every method is one transaction. Several processes may hold the store open: the daemon writes, the CLI reads and
promotes. Deleted text is overwritten (`secure_delete`).
"""

from __future__ import annotations

import json
import math
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from dittod.errors import DittodError, NotFound
from dittod.migrations import MIGRATIONS
from dittod.rows import (
    DemonstrationRow,
    FileRow,
    StepRow,
    as_adapter,
    as_demonstration,
    as_file,
    as_run,
    json_values,
)
from dittod.types import Adapter, Demonstration, PromptSource, Run, RunState, demonstration_id

_FIELDS = "id, prompt, completion, source, written_at, kind, prompt_by"  # of a Demonstration
_OPEN_RUNS = "SELECT * FROM runs WHERE profile = ? AND state IN ('requested', 'running')"
_ROWS = (
    "SELECT *, (SELECT json_group_array(path) FROM origins WHERE origins.profile = demonstrations.profile"
    " AND origins.key = demonstrations.key) AS files FROM demonstrations"
)

_PAGE_ROWS = 500  # held in memory at once


class Store:
    """One connection, usable from several threads."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._dropped = False  # text, in the transaction that is open
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
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException as error:
                if self._connection.in_transaction:  # a full disk ends it by itself
                    self._connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.OperationalError):  # its message names no value: full, locked, read-only
                    raise DittodError(f"the store cannot be written: {error}", "make room on the disk") from error
                raise
            if self._dropped:
                self._dropped = False
                self._rows("PRAGMA wal_checkpoint(TRUNCATE)")

    def _rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    # --- files and demonstrations ---

    def files(self) -> dict[str, FileRow]:
        """Every file that was looked at, by path."""
        return {row["path"]: as_file(row) for row in self._rows("SELECT * FROM files ORDER BY path")}

    def note_file(self, file: FileRow) -> None:
        """What is said of a file changes; what it holds stays."""
        with self._transaction() as db:
            _put_file(db, file)

    def add_demonstrations(
        self, path: str, profile: str, demonstrations: Iterable[Demonstration], reading: float
    ) -> int:
        """A part of what a file holds, while it is being read: `reading` is when that began (POSIX seconds). Returns
        how many are new. Until `record_file`, the file counts as one that was not read."""
        with self._transaction() as db:
            values = {"path": path, "profile": profile, "reading": reading}
            db.execute(
                "INSERT OR IGNORE INTO files (path, profile, size_bytes, mtime_ns, state, reason, identities, senders,"
                " read_at) VALUES (:path, :profile, -1, 0, 'read', 'is being read', '[]', '{}', :reading)",
                values,
            )
            return sum(_add(db, each, values) for each in demonstrations)

    def record_file(self, file: FileRow, demonstrations: Iterable[Demonstration] = ()) -> int:
        """The file has been read, and these are the rest of what it holds: what an earlier reading found and this one
        did not is gone. `file.read_at` is when reading began. Returns how many of the rest are new."""
        with self._transaction() as db:
            values = {"path": file.path, "profile": file.profile, "reading": file.read_at}
            new = sum(_add(db, each, values) for each in demonstrations)
            _put_file(db, file)
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
        rows = self._rows(
            f"SELECT {_FIELDS} FROM demonstrations WHERE profile = ? AND NOT excluded"
            " ORDER BY written_at DESC, id DESC LIMIT ?",
            profile,
            -1 if newest is None else newest,
        )
        return [Demonstration(**row) for row in reversed(rows)]

    def demonstrations_of(self, profile: str, ids: Iterable[str]) -> dict[str, Demonstration]:
        """By id, those of them that are there and not excluded."""
        rows = self._rows(
            f"SELECT {_FIELDS} FROM demonstrations WHERE profile = ? AND NOT excluded"
            " AND id IN (SELECT value FROM json_each(?))",
            profile,
            json.dumps(list(ids)),
        )
        return {row["id"]: Demonstration(**row) for row in rows}

    def now_called(self, profile: str, ids: Iterable[str]) -> set[str]:
        """These ids, and those that demonstrations of these ids have by now: an edited prompt makes another id."""
        rows = self._rows(
            "SELECT demonstrations.id FROM former_ids JOIN demonstrations USING (profile, key)"
            " WHERE profile = ? AND former_ids.id IN (SELECT value FROM json_each(?))",
            profile,
            json.dumps(given := list(ids)),
        )
        return {*given, *(row["id"] for row in rows)}

    def count_demonstrations(self, profile: str, *, since: float = 0.0) -> int:
        """How many a profile has that came in after this time (POSIX seconds)."""
        query = "SELECT count(*) FROM demonstrations WHERE profile = ? AND added_at > ? AND NOT excluded"
        return int(self._rows(query, profile, since)[0][0])

    def demonstration_rows(self, profile: str) -> Iterator[DemonstrationRow]:
        """Every one of a profile, excluded ones too, oldest first. Held in pages: there may be many."""
        query = f"{_ROWS} WHERE profile = ? AND (written_at, key) > (?, ?) ORDER BY written_at, key LIMIT {_PAGE_ROWS}"
        after = (-math.inf, "")
        while rows := self._rows(query, profile, *after):
            yield from map(as_demonstration, rows)
            after = (rows[-1]["written_at"], rows[-1]["key"])

    def demonstration(self, name: str) -> DemonstrationRow:
        """The one whose id begins so, or one of its former ids; 'profile/id' where several profiles have it. Raises
        NotFound if none or several do."""
        profile, _, id_prefix = name.rpartition("/")
        values = {"profile": profile, "prefix": id_prefix, "length": len(id_prefix)}
        query = f"{_ROWS} WHERE :profile IN ('', profile) AND substr(id, 1, :length) = :prefix LIMIT 2"
        former = (
            f"{_ROWS} WHERE :profile IN ('', profile) AND EXISTS (SELECT 1 FROM former_ids WHERE former_ids.key ="
            " demonstrations.key AND former_ids.profile = demonstrations.profile"
            " AND substr(former_ids.id, 1, :length) = :prefix) LIMIT 2"
        )
        with self._lock:
            rows = self._connection.execute(query, values).fetchall()
            rows = rows or self._connection.execute(former, values).fetchall()
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
            row = _demonstration_at(db, profile, "id", id)
            if row is None:
                raise NotFound(f"there is no demonstration {id} any more", "list them with: dittod demos list")
            new = demonstration_id(prompt, row["completion"])
            if new != id and _demonstration_at(db, profile, "id", new):
                raise DittodError(f"demonstration {new[:8]} has this prompt and completion already", "exclude one")
            db.execute(
                "UPDATE demonstrations SET id = ?, prompt = ?, prompt_by = ? WHERE profile = ? AND key = ?",
                (new, prompt, prompt_by, profile, row["key"]),
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
            row = _demonstration_at(db, profile, "key", key)
            if row is None:
                return
            values = {**dict(row), "old": key, "completion": completion}
            values |= {"key": demonstration_id(row["template"], completion)}
            values |= {"id": demonstration_id(row["prompt"], completion)}
            if (other := _demonstration_at(db, profile, "id", values["id"])) and other["key"] != key:
                values |= {"id": values["key"], "prompt": row["template"], "prompt_by": "template"}
            _note_former_id(db, row)
            if not completion:
                for table in ("origins", "former_ids", "demonstrations"):
                    db.execute(f"DELETE FROM {table} WHERE profile = :profile AND key = :old", values)
            elif values["key"] != key:
                _move(db, values)
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
        """Enter a new run, unless one of the profile is open already: then that one is returned."""
        with self._transaction() as db:
            if open_run := db.execute(_OPEN_RUNS, (run.profile,)).fetchone():
                return as_run(open_run)
            db.execute(
                "INSERT INTO runs VALUES (:id, :profile, :state, :seed, :preset, :requested_at, :finished_at,"
                " :demonstration_ids, :held_out_ids, :adapter_id, :error, :progress)",
                json_values(asdict(run)),
            )
            return run

    def change_run(self, run_id: str, **changes: Any) -> None:
        """Set some fields of a run."""
        row = json_values(changes)
        with self._transaction() as db:
            assignments = ", ".join(f"{key} = :{key}" for key in row)
            db.execute(f"UPDATE runs SET {assignments} WHERE id = :run_id", {**row, "run_id": run_id})

    def runs(self, *states: RunState, profile: str | None = None) -> list[Run]:
        """Runs in these states (all, if none is named), oldest first."""
        rows = self._rows("SELECT * FROM runs ORDER BY requested_at, rowid")
        found = [as_run(row) for row in rows if profile is None or row["profile"] == profile]
        return [run for run in found if not states or run.state in states]

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
            row = json_values({**asdict(adapter), "number": (highest or 0) + 1})
            db.execute(
                "INSERT OR IGNORE INTO adapters VALUES (:id, :profile, :number, :state, :path, :run_id, :base_model,"
                " :base_revision, :template_sha256, :demonstration_ids, :seed, :created_at, :promoted_at, :verdict)",
                row,
            )
        return self.adapter(adapter.id)

    def adapters(self, profile: str | None = None) -> list[Adapter]:
        """All, or those of a profile, by profile and number."""
        rows = self._rows("SELECT * FROM adapters ORDER BY profile, number")
        return [as_adapter(row) for row in rows if profile is None or row["profile"] == profile]

    def adapter(self, adapter_id: str) -> Adapter:
        """Raises NotFound."""
        rows = self._rows("SELECT * FROM adapters WHERE id = ?", adapter_id)
        if not rows:
            raise NotFound(f"there is no adapter {adapter_id}", "list them with: dittod adapters list")
        return as_adapter(rows[0])

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


def _put_file(db: sqlite3.Connection, file: FileRow) -> None:
    db.execute(
        "INSERT OR REPLACE INTO files VALUES (:path, :profile, :size_bytes, :mtime_ns, :state, :reason,"
        " :identities, :senders, :read_at, :tails, :masked, :removed, :reasons, :content_sha256)",
        json_values(asdict(file)),
    )


def _add(db: sqlite3.Connection, demonstration: Demonstration, values: Mapping[str, Any]) -> int:
    """1 when it is new. One that is there keeps the prompt that it has by now."""
    row = {**asdict(demonstration), **values, "key": demonstration.id}
    new = db.execute(
        "INSERT OR IGNORE INTO demonstrations VALUES (:profile, :key, :id, :prompt, :completion, :source, :written_at,"
        " :reading, :kind, :prompt_by, :prompt, '', 0)",
        row,
    ).rowcount
    if not new and _demonstration_at(db, row["profile"], "key", row["key"]) is None:
        holder = _demonstration_at(db, row["profile"], "id", row["id"])
        assert holder is not None, "an id or a key was taken"
        row["key"] = holder["key"]
    db.execute("INSERT OR REPLACE INTO origins VALUES (:path, :profile, :key, :reading)", row)
    return new


def _demonstration_at(
    db: sqlite3.Connection, profile: str, column: Literal["key", "id"], value: str
) -> sqlite3.Row | None:
    query = f"SELECT * FROM demonstrations WHERE profile = ? AND {column} = ?"
    found: sqlite3.Row | None = db.execute(query, (profile, value)).fetchone()
    return found


def _move(db: sqlite3.Connection, values: Mapping[str, Any]) -> None:
    """The demonstration at `old` becomes these values, or a part of the one that is at their key or id already."""
    there = _demonstration_at(db, values["profile"], "key", values["key"])
    there = there or _demonstration_at(db, values["profile"], "id", values["id"])
    target = {**values, "key": there["key"] if there else values["key"]}
    for table in ("origins", "former_ids"):
        db.execute(f"UPDATE OR REPLACE {table} SET key = :key WHERE profile = :profile AND key = :old", target)
    if there is None:
        db.execute(
            "UPDATE demonstrations SET key = :key, id = :id, prompt = :prompt, prompt_by = :prompt_by,"
            " completion = :completion WHERE profile = :profile AND key = :old",
            target,
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


def _note_former_id(db: sqlite3.Connection, row: sqlite3.Row) -> None:
    db.execute("INSERT OR REPLACE INTO former_ids VALUES (:profile, :id, :key)", dict(row))
