"""Files and demonstrations in the store: what was read, and what became of it."""

from __future__ import annotations

import json
import math
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any, Literal

from dittod import sealing
from dittod.errors import NotFound, RequestError
from dittod.rows import GONE, DemonstrationRow, FileRow, Receipt, as_demonstration, as_file, as_pair, json_values
from dittod.store.file import OPEN_RUNS
from dittod.store.receipts import KEPT_OUT, Receipts, TextKey, is_kept_out
from dittod.types import Demonstration, PromptSource, demonstration_id

_ROWS = (
    "SELECT *, (SELECT json_group_array(path) FROM origins WHERE origins.profile = demonstrations.profile"
    " AND origins.key = demonstrations.key) AS files FROM demonstrations"
)

_PAGE_ROWS = 500  # held in memory at once
_OWN = "origins.profile = demonstrations.profile AND origins.key = demonstrations.key"
_FROM_FILE = (
    "profile = (SELECT profile FROM files WHERE path = ?1) AND key IN (SELECT key FROM origins WHERE path = ?1)"
)
_IN_LATEST = (  # or in one that is under way
    f"SELECT 1 FROM origins JOIN files USING (path) WHERE {_OWN} AND reading >= read_at"
)
_STILL_CUT = (  # of what turned out not to be the user's, only the file is left
    "UPDATE origins SET reading = :reading WHERE path = :path AND NOT EXISTS (SELECT 1 FROM demonstrations"
    f" WHERE {_OWN})"
)
DELETED, CHANGED = "a file was deleted", "a file was changed"  # why texts go


class Texts(Receipts):
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
            new = self.record_reading(file, demonstrations)
            self._drop_unvouched(db, _drop_origins(db, file.path, but=file.read_at), CHANGED, file.read_at)
        return new

    def record_reading(self, file: FileRow, demonstrations: Iterable[Demonstration] = ()) -> int:
        """The same, but what only an earlier reading found is kept: see `outdated`."""
        with self._transaction() as db:
            seal, values = self._seal, {"path": file.path, "profile": file.profile, "reading": file.read_at}
            given = list(demonstrations)
            kept_out = not file.reason and any(is_kept_out(db, file.profile, each.id, each.source) for each in given)
            _put_file(db, seal, replace(file, reason=KEPT_OUT) if kept_out else file)
            new = sum(_add(db, seal, each, values) for each in given)
            db.execute(_STILL_CUT, values)
        return new

    def outdated(self, path: str | None = None) -> list[DemonstrationRow]:
        """Those that no file gave when it was read last; `path`: of those that this file gave before."""
        where, values = ("TRUE", ()) if path is None else (_FROM_FILE, (path,))  # an OR would read every row
        query = f"{_ROWS} WHERE {where} AND NOT EXISTS ({_IN_LATEST})"
        return [as_demonstration(row) for row in self._opened_rows("demonstrations", query, *values)]

    def new_in(self, path: str) -> list[DemonstrationRow]:
        """Those that only the latest reading of a file brought."""
        query = f"{_ROWS} WHERE {_FROM_FILE} AND EXISTS ({_IN_LATEST} AND path = ?1 AND added_at = reading)"
        return [as_demonstration(row) for row in self._opened_rows("demonstrations", query, path)]

    def succeed(self, profile: str, key: str, successor: str) -> None:
        """What was one text is another one now: whoever learnt from it has learnt from that."""
        with self._transaction() as db:
            found = _demonstration_at(db, profile, "key", key)
            if found is not None:
                row = dict(found)
                _note_former_id(db, row)
                _note_former_id(db, {**row, "id": key})
                db.execute("DELETE FROM origins WHERE profile = ? AND key = ?", (profile, key))
                _merge(db, {**row, "old": key, "key": successor})
                self._overwrite(1)

    def forget_outdated(self, cause: str, at: float) -> list[Receipt]:
        """What no file gave when it was read last is gone."""
        with self._transaction() as db:
            rows = db.execute(
                "DELETE FROM origins WHERE reading < (SELECT read_at FROM files WHERE files.path = origins.path)"
                " RETURNING profile, key"
            ).fetchall()
            return self._drop_unvouched(db, [(row["profile"], row["key"]) for row in rows], cause, at)

    def forget_files(self, paths: Iterable[str], at: float) -> list[Receipt]:
        """These files are gone: so are the demonstrations that came from nowhere else."""
        with self._transaction() as db:
            gone: list[TextKey] = []
            paths = list(paths)
            _follow_feedback(db, paths)
            for path in paths:
                db.execute("DELETE FROM files WHERE path = ?", (path,))
                gone += _drop_origins(db, path)
            return self._drop_unvouched(db, gone, DELETED, at)

    def forget_these(self, texts: Iterable[TextKey], cause: str, at: float) -> list[Receipt]:
        """Whatever files they stand in; what these give when they are read anew is another text."""
        with self._transaction() as db:
            gone = list(texts)
            db.executemany("DELETE FROM origins WHERE profile = ? AND key = ?", gone)
            return self._let_go(db, gone, cause, at)

    def texts_of(self, paths: Iterable[str]) -> list[TextKey]:
        """Profile and key of each demonstration that stands in one of these files."""
        query = "SELECT DISTINCT profile, key FROM origins WHERE path IN (SELECT value FROM json_each(?))"
        return [(row["profile"], row["key"]) for row in self._rows(query, json.dumps(list(paths)))]

    def only_in(self, paths: Iterable[str]) -> dict[str, int]:
        """By profile, how many demonstrations stand in these files and in no others."""
        given, listed = json.dumps(list(paths)), "(SELECT value FROM json_each(?))"
        others = self._rows(f"SELECT DISTINCT key FROM origins WHERE path NOT IN {listed}", given)
        query = (
            f"SELECT DISTINCT profile, key FROM origins JOIN demonstrations USING (profile, key) WHERE path IN {listed}"
        )
        elsewhere = {row["key"] for row in others}
        return dict(Counter(row["profile"] for row in self._rows(query, given) if row["key"] not in elsewhere))

    def _drop_unvouched(
        self, db: sqlite3.Connection, candidates: Iterable[TextKey], cause: str, at: float
    ) -> list[Receipt]:
        """Those of them that no file vouches for go, and every version that has learnt from them."""
        return self._let_go(db, [each for each in dict.fromkeys(candidates) if not _is_vouched(db, *each)], cause, at)

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

    def counts(self, until: float = math.inf) -> dict[str, int]:
        """How many each profile has that came in until then (POSIX seconds), excluded ones too."""
        query = "SELECT profile, count(*) AS count FROM demonstrations WHERE added_at <= ? GROUP BY profile"
        rows = self._rows(query, until)
        return {row["profile"]: row["count"] for row in rows}

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
                title = f"demonstration {new[:8]} has this prompt and completion already"
                raise RequestError(title, "exclude one", param="prompt")
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
            if not completion:  # its file goes on to vouch for its ids: whoever has learnt from it goes with the file
                db.execute("DELETE FROM demonstrations WHERE profile = :profile AND key = :old", values)
            elif values["key"] != key:
                _move(db, seal, values)
            self._overwrite(1)

    def profiles(self) -> list[str]:
        """Every profile that has files, texts, versions that are not gone, or an update that is open."""
        rows = self._rows(
            "SELECT profile FROM files UNION SELECT profile FROM demonstrations"
            f" UNION SELECT profile FROM adapters WHERE state NOT IN {GONE}"
            " UNION SELECT profile FROM runs WHERE state IN ('requested', 'running') ORDER BY profile"
        )
        return [row["profile"] for row in rows]


def _put_file(db: sqlite3.Connection, seal: sealing.Seal, file: FileRow) -> None:
    db.execute(
        "INSERT OR REPLACE INTO files VALUES (:path, :profile, :size_bytes, :mtime_ns, :state, :reason,"
        " :identities, :senders, :read_at, :tails, :masked, :removed, :reasons, :content_sha256)",
        seal.closed("files", json_values(asdict(file))),
    )


def _add(db: sqlite3.Connection, seal: sealing.Seal, demonstration: Demonstration, values: Mapping[str, Any]) -> int:
    """1 when it is new. One that is there keeps the prompt that it has by now; one that the user has forgotten by hand
    does not come back."""
    row = {**asdict(demonstration), **values, "key": demonstration.id, "template": demonstration.prompt}
    if is_kept_out(db, row["profile"], demonstration.id, demonstration.source):
        return 0
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
    if there is not None:
        _merge(db, {**values, "key": there["key"]})
        return
    for table in ("origins", "former_ids"):
        db.execute(f"UPDATE OR REPLACE {table} SET key = :key WHERE profile = :profile AND key = :old", values)
    db.execute(
        "UPDATE demonstrations SET key = :key, id = :id, prompt = :prompt, prompt_by = :prompt_by,"
        " completion = :completion, template = :template WHERE profile = :profile AND key = :old",
        seal.closed("demonstrations", values),
    )


def _merge(db: sqlite3.Connection, values: Mapping[str, Any]) -> None:
    """The demonstration at `old` becomes a part of the one at `key`."""
    for table in ("origins", "former_ids"):
        db.execute(f"UPDATE OR REPLACE {table} SET key = :key WHERE profile = :profile AND key = :old", values)
    db.execute(
        "UPDATE demonstrations SET excluded = max(excluded, :excluded) WHERE profile = :profile AND key = :key", values
    )
    db.execute("DELETE FROM demonstrations WHERE profile = :profile AND key = :old", values)


def _drop_origins(db: sqlite3.Connection, path: str, but: float = math.inf) -> list[tuple[str, str]]:
    """The file vouches for nothing that another reading (POSIX seconds) found. Returns profile and key of each."""
    rows = db.execute(
        "DELETE FROM origins WHERE path = ? AND reading != ? RETURNING profile, key", (path, but)
    ).fetchall()
    return [(row["profile"], row["key"]) for row in rows]


def _follow_feedback(db: sqlite3.Connection, gone: list[str]) -> None:
    """Feedback whose file was moved goes along. Not into a file that holds more: it would go with the feedback."""
    db.execute(
        "UPDATE feedback SET path = there.path FROM origins AS was JOIN origins AS there USING (profile, key)"
        " WHERE was.path = feedback.path AND was.profile = feedback.profile"
        " AND was.path IN (SELECT value FROM json_each(?1)) AND there.path NOT IN (SELECT value FROM json_each(?1))"
        " AND (SELECT count(*) FROM origins WHERE path = there.path) = 1",
        (json.dumps(gone),),
    )


def _is_vouched(db: sqlite3.Connection, profile: str, key: str) -> bool:
    query = "SELECT 1 FROM origins WHERE profile = ? AND key = ?"
    return db.execute(query, (profile, key)).fetchone() is not None


def _note_former_id(db: sqlite3.Connection, row: Mapping[str, Any]) -> None:
    db.execute("INSERT OR REPLACE INTO former_ids VALUES (:profile, :id, :key)", row)
