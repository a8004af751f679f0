"""Files and demonstrations in the store: what was read, and what became of it."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any, Literal

from dittod import sealing
from dittod.errors import DittodError, NotFound
from dittod.rows import DemonstrationRow, FileRow, as_demonstration, as_file, as_pair, json_values
from dittod.store.file import OPEN_RUNS, StoreFile
from dittod.types import Demonstration, PromptSource, demonstration_id

_ROWS = (
    "SELECT *, (SELECT json_group_array(path) FROM origins WHERE origins.profile = demonstrations.profile"
    " AND origins.key = demonstrations.key) AS files FROM demonstrations"
)

_PAGE_ROWS = 500  # held in memory at once


class Texts(StoreFile):
    """Files by their path, demonstrations by profile and key."""

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
            if prompt_by == "model" and db.execute(OPEN_RUNS, (profile,)).fetchone():
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
