"""Forgetting in the store: texts go, with them every version that has learnt from them, and a receipt says so.

All of it is one transaction: from its end on nobody is given such a version, whoever asks. What lies elsewhere, weights
and samples and what the engine holds, is for `dittod.forgetting`; until that has gone too, a receipt is unfinished.
Knows which ids a text has or had; does not know files on the disk, and not why anybody wants a text gone.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, field, replace

from dittod.rows import Receipt, as_adapter, as_receipt, json_values
from dittod.store.file import StoreFile
from dittod.types import BASE, Adapter, Written, version_name

BY_HAND = "by hand"
KEPT_OUT = "forgotten by you; it is learnt from again once its text changes"  # why a file gives nothing
TextKey = tuple[str, str]  # profile and key of a demonstration


@dataclass(slots=True)
class _Lost:
    """What goes at once."""

    texts: dict[str, int] = field(default_factory=dict[str, int])  # by profile, how many
    kept_by: dict[str, frozenset[str]] = field(
        default_factory=dict[str, frozenset[str]]
    )  # by id, profiles that have it

    def concerns(self, adapter: Adapter) -> bool:
        """Whether it has learnt from any of it. A version without weights has learnt nothing."""
        if adapter.recipe.policy == "base":
            return False
        return any(
            adapter.profile not in self.kept_by.get(each, {adapter.profile}) for each in adapter.demonstration_ids
        )


class Receipts(StoreFile):
    """Receipts by their id, and what writes them."""

    def receipts(self) -> list[Receipt]:
        """All, oldest first."""
        return [as_receipt(dict(row)) for row in self._rows("SELECT * FROM receipts ORDER BY at, rowid")]

    def unfinished_receipts(self) -> list[Receipt]:
        """Those of which something may lie about still."""
        return [
            as_receipt(dict(row)) for row in self._rows("SELECT * FROM receipts WHERE NOT finished ORDER BY at, rowid")
        ]

    def finish_receipt(self, receipt_id: str, run_id: str | None) -> None:
        """Everything is gone, and this update was asked for."""
        with self._transaction() as db:
            db.execute("UPDATE receipts SET finished = 1, run_id = ? WHERE id = ?", (run_id, receipt_id))

    def forget_texts(self, profile: str, keys: Iterable[str], cause: str, at: float) -> list[Receipt]:
        """These demonstrations of the profile go, whatever files they stand in. By hand: no file gives them again."""
        with self._transaction() as db:
            meant = [(profile, key) for key in keys]
            copies = {each for found in self._copies(db, meant).values() for each in found}
            keys = [key for _, key in dict.fromkeys([*meant, *(each for each in copies if each[0] == profile)])]
            for key in keys if cause == BY_HAND else ():
                _keep_out(db, profile, key)
            for key in keys:
                db.execute("DELETE FROM origins WHERE profile = ? AND key = ?", (profile, key))
            return self._let_go(db, [(profile, key) for key in keys], cause, at, kept_elsewhere=False)

    def forget_profile(self, profile: str, at: float) -> list[Receipt]:
        """All that the profile was made of and all that was made of it: texts, versions, what was said and answered."""
        with self._transaction() as db:
            for table in ("interactions", "feedback"):
                db.execute(f"DELETE FROM {table} WHERE profile = ?", (profile,))
            own = "rtrim({}, '0123456789') = ?1 || '@'"  # whichever of the two is a version of the profile
            db.execute(f"DELETE FROM judgements WHERE {own.format('chosen')} OR {own.format('other')}", (profile,))
            keys = [row["key"] for row in db.execute("SELECT DISTINCT key FROM origins WHERE profile = ?", (profile,))]
            receipts = self.forget_texts(profile, keys, BY_HAND, at)
            left = [each for each in self._opened_versions(db) if each.profile == profile]
            if not left:
                return receipts
            return [*receipts, self._withdraw(db, profile, 0, left, BY_HAND, at)]

    def _let_go(
        self, db: sqlite3.Connection, gone: Collection[TextKey], cause: str, at: float, *, kept_elsewhere: bool = True
    ) -> list[Receipt]:
        """No file vouches for these any more. Where another profile has the same text, it was moved there, or copied:
        with `kept_elsewhere`, nothing has forgotten it then."""
        lost = self._take_out(db, gone, kept_elsewhere=kept_elsewhere)
        if not lost.texts and not lost.kept_by:
            return []
        versions = self._opened_versions(db)
        hit = [each for each in versions if lost.concerns(each)]
        receipts = [
            self._withdraw(db, profile, lost.texts.get(profile, 0), own, cause, at)
            for profile in sorted({*lost.texts, *(each.profile for each in hit)})
            for own in [[each for each in hit if each.profile == profile]]
        ]
        for each in versions:
            if each not in hit:
                self._trim(db, each, lost.kept_by, may_quote=each.profile in {one.profile for one in receipts})
        self._overwrite(1)
        return receipts

    def _take_out(self, db: sqlite3.Connection, gone: Collection[TextKey], *, kept_elsewhere: bool) -> _Lost:
        """Their rows, and what is known of their ids, which goes along to their copies."""
        lost, copies = _Lost(), self._copies(db, gone)
        for profile, key in gone:
            ids = _ids(db, profile, key)
            there = db.execute("DELETE FROM demonstrations WHERE profile = ? AND key = ?", (profile, key)).rowcount
            db.execute("DELETE FROM former_ids WHERE profile = ? AND key = ?", (profile, key))
            keepers = copies.get((profile, key), set())
            for keeper, its_key in keepers:
                values = [(keeper, each, its_key) for each in ids]
                db.executemany("INSERT OR IGNORE INTO former_ids VALUES (?, ?, ?)", values)
            if keepers and kept_elsewhere:
                continue
            lost.kept_by.update((each, frozenset(keeper for keeper, _ in keepers)) for each in ids)
            if there:
                lost.texts[profile] = lost.texts.get(profile, 0) + 1
        return lost

    def _copies(self, db: sqlite3.Connection, gone: Collection[TextKey]) -> dict[TextKey, set[TextKey]]:
        """Of each of these, the others that are the same: in another profile, or of the same document under another
        name, from which a prompt was made."""
        going, sources = set(gone), dict[TextKey, str]()
        same = defaultdict[str, set[TextKey]](set)
        for profile, key, source in db.execute("SELECT profile, key, source FROM demonstrations") if going else ():
            sources[profile, key] = source
            if (profile, key) not in going:
                same[key].add((profile, key))
                same[source].add((profile, key))
        found: dict[TextKey, set[TextKey]] = {}
        for each in going:
            near = same.get(sources.get(each, ""), set())
            words = self._completion(db, each) if near else ""
            found[each] = same.get(each[1], set()) | {one for one in near if self._completion(db, one) == words}
        return found

    def _completion(self, db: sqlite3.Connection, text: TextKey) -> str:
        row = db.execute("SELECT * FROM demonstrations WHERE profile = ? AND key = ?", text).fetchone()
        return str(self._seal.opened("demonstrations", dict(row))["completion"])

    def _withdraw(
        self, db: sqlite3.Connection, profile: str, texts: int, versions: list[Adapter], cause: str, at: float
    ) -> Receipt:
        """Versions of one profile leave its history for good; the newest clean one is served, or base."""
        for each in versions:
            self._put_verdict(db, each, ())
            db.execute(
                "UPDATE adapters SET state = 'forgotten', promoted_at = NULL, pinned = 0 WHERE id = ?", (each.id,)
            )
            db.execute("DELETE FROM interactions WHERE adapter_id = ?", (each.id,))
        receipt = Receipt(
            id=secrets.token_hex(4),
            at=at,
            profile=profile,
            cause=cause,
            demonstrations=texts,
            adapters=tuple(each.name for each in versions),
            replaced_by=_serve_the_newest(db, profile) if versions else "",
        )
        db.execute(
            "INSERT INTO receipts VALUES (:id, :at, :profile, :cause, :demonstrations, :adapters, :replaced_by,"
            " :run_id, :finished)",
            json_values(asdict(receipt)),
        )
        self._overwrite(1)
        return receipt

    def trim_versions(self, profile: str) -> None:
        """What versions of the profile wrote with examples before them goes: such a text may quote any."""
        with self._transaction() as db:
            for each in self._opened_versions(db):
                if each.profile == profile:
                    self._trim(db, each, (), may_quote=True)

    def _trim(self, db: sqlite3.Connection, version: Adapter, lost: Collection[str], *, may_quote: bool) -> None:
        """Of a version that stays: answers to a lost text's prompt go, and those that may quote one."""
        outputs = version.verdict.outputs
        kept = [each for each in outputs if each.demonstration_id not in lost and not (may_quote and _quotes(each))]
        if len(kept) < len(outputs):
            self._put_verdict(db, version, tuple(kept))
            self._overwrite(1)
        if may_quote and version.recipe.examples:
            db.execute("DELETE FROM interactions WHERE adapter_id = ?", (version.id,))

    def _put_verdict(self, db: sqlite3.Connection, version: Adapter, outputs: tuple[Written, ...]) -> None:
        values = json_values({"id": version.id, "verdict": asdict(replace(version.verdict, outputs=outputs))})
        db.execute("UPDATE adapters SET verdict = :verdict WHERE id = :id", self._seal.closed("adapters", values))

    def _opened_versions(self, db: sqlite3.Connection) -> list[Adapter]:
        """Those that are not forgotten."""
        rows, seal = db.execute("SELECT * FROM adapters WHERE state != 'forgotten'").fetchall(), self._seal
        return [as_adapter(seal.opened("adapters", dict(row)), self._adapters) for row in rows]


def is_kept_out(db: sqlite3.Connection, profile: str, *keys: str) -> bool:
    """Whether the user has forgotten such a text, or the document that it was cut from, by hand: in the profile, or in
    another while this one did not have it. A folder that is renamed is another profile."""
    given = "(SELECT value FROM json_each(?2))"
    query = (
        f"SELECT 1 FROM forgotten WHERE key IN {given} AND (profile = ?1 OR NOT EXISTS (SELECT 1 FROM demonstrations"
        f" WHERE demonstrations.profile = ?1 AND (demonstrations.key IN {given} OR source IN {given})))"
    )
    return db.execute(query, (profile, json.dumps(keys))).fetchone() is not None


def _keep_out(db: sqlite3.Connection, profile: str, key: str) -> None:
    """The text as it is, and its document, from which a later reading may cut it otherwise. Its file says why it gives
    nothing."""
    db.execute("INSERT OR IGNORE INTO forgotten VALUES (?, ?)", (profile, key))
    db.execute(
        "INSERT OR IGNORE INTO forgotten SELECT profile, source FROM demonstrations WHERE profile = ? AND key = ?",
        (profile, key),
    )
    db.execute(
        "UPDATE files SET reason = ? WHERE reason = ''"
        " AND path IN (SELECT path FROM origins WHERE profile = ? AND key = ?)",
        (KEPT_OUT, profile, key),
    )


def _ids(db: sqlite3.Connection, profile: str, key: str) -> set[str]:
    """That the text has or ever had."""
    rows = db.execute(
        "SELECT id FROM demonstrations WHERE profile = ?1 AND key = ?2"
        " UNION SELECT id FROM former_ids WHERE profile = ?1 AND key = ?2",
        (profile, key),
    )
    return {key, *(row["id"] for row in rows)}


def _serve_the_newest(db: sqlite3.Connection, profile: str) -> str:
    """Of the versions that were served before and still are whole, the one promoted last takes a place that is empty.
    Returns what is served now."""
    db.execute(
        "UPDATE adapters SET state = 'promoted' WHERE id = (SELECT id FROM adapters WHERE profile = ?1"
        " AND state = 'retired' AND promoted_at IS NOT NULL ORDER BY promoted_at DESC LIMIT 1)"
        " AND NOT EXISTS (SELECT 1 FROM adapters WHERE profile = ?1 AND state = 'promoted')",
        (profile,),
    )
    row = db.execute("SELECT number FROM adapters WHERE profile = ? AND state = 'promoted'", (profile,)).fetchone()
    return version_name(profile, row["number"]) if row else BASE


def _quotes(written: Written) -> bool:
    """Perhaps: other texts may have stood before its prompt, or nobody knows who wrote it."""
    return written.by in ("", "served") or written.by.endswith("few_shot")
