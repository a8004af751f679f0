"""Adapters in the store: versions, their states, and which one a profile serves."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict, replace
from typing import Any

from dittod import sealing
from dittod.errors import NotFound
from dittod.rows import GONE, as_adapter, json_values
from dittod.store.file import StoreFile
from dittod.types import Adapter, AdapterState, Verdict, version_name


class AdapterRows(StoreFile):
    """Adapters by their id."""

    def add_adapter(self, adapter: Adapter) -> Adapter:
        """A candidate gets the next number of its profile. Adding it again changes nothing. Where another run came to
        the same result, its verdict counts, unless the version is served; one that was gone or rolled back from is a
        candidate again."""
        with self._transaction() as db:
            highest = db.execute("SELECT max(number) FROM adapters WHERE profile = ?", (adapter.profile,)).fetchone()[0]
            row = self._seal.closed("adapters", json_values({**asdict(adapter), "number": (highest or 0) + 1}))
            db.execute(
                "INSERT INTO adapters VALUES (:id, :profile, :number, :state, :run_id, :base_model,"
                " :base_revision, :template_sha256, :demonstration_ids, :seed, :created_at, :promoted_at, :verdict,"
                " :pinned, :recipe) ON CONFLICT (id) DO UPDATE SET run_id = :run_id, seed = :seed, verdict = :verdict,"
                " demonstration_ids = :demonstration_ids,"
                " state = iif(state = 'retired' AND promoted_at IS NOT NULL, state, :state)"
                " WHERE run_id != :run_id AND state != 'promoted'",
                row,
            )
            self._overwrite(1)  # what was written for an earlier verdict
        return self.adapter(adapter.id)

    def adapters(self, profile: str | None = None) -> list[Adapter]:
        """All, or those of a profile, by profile and number."""
        query = "SELECT * FROM adapters WHERE ? IS NULL OR profile = ? ORDER BY profile, number"
        return self._opened_adapters(query, profile, profile)

    def adapters_in_short(self) -> dict[str, tuple[str, AdapterState]]:
        """By id, what each is called and its state: opens nothing, for who asks often."""
        rows = self._rows("SELECT id, profile, number, state FROM adapters")
        return {row["id"]: (version_name(row["profile"], row["number"]), row["state"]) for row in rows}

    def promoted_adapter(self, profile: str) -> Adapter | None:
        """What the profile serves; None: base."""
        query = "SELECT * FROM adapters WHERE profile = ? AND state = 'promoted'"
        return next(iter(self._opened_adapters(query, profile)), None)

    def passed_the_gate(self) -> dict[str, bool]:
        """By id, whether its verdict was for it, whatever became of it then. Raises NoKey."""
        with self._snapshot():
            rows, marker = self._rows("SELECT id, verdict FROM adapters"), self.noted("sealed")
        seal = self._seal_of(marker) if rows else sealing.Seal()
        opened = [seal.opened("adapters", dict(row)) for row in rows]
        return {row["id"]: bool(json.loads(row["verdict"])["promoted"]) for row in opened}

    def adapter(self, adapter_id: str) -> Adapter:
        """Raises NotFound."""
        found = self._opened_adapters("SELECT * FROM adapters WHERE id = ?", adapter_id)
        if not found:
            raise NotFound(f"there is no adapter {adapter_id}", "list them with: dittod adapters list")
        return found[0]

    def promote(self, profile: str, adapter_id: str, promoted_at: float) -> None:
        """In one UPDATE: this adapter is the profile's promoted one, and the one before is retired. Raises NotFound
        where it is gone."""
        with self._transaction() as db:
            _refuse_gone(db, adapter_id)
            db.execute(
                "UPDATE adapters SET"
                " state = CASE WHEN id = :id THEN 'promoted' WHEN state = 'promoted' THEN 'retired' ELSE state END,"
                " promoted_at = CASE WHEN id = :id THEN :at ELSE promoted_at END"
                " WHERE profile = :profile",
                {"id": adapter_id, "at": promoted_at, "profile": profile},
            )

    def roll_back(self, profile: str, adapter_id: str | None) -> None:
        """In one UPDATE: this earlier adapter (None: base) is served again. What was served leaves the history:
        no later rollback comes back to it. Raises NotFound where the earlier one is gone."""
        with self._transaction() as db:
            _refuse_gone(db, adapter_id)
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
            _refuse_gone(db, adapter_id)
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


def _refuse_gone(db: sqlite3.Connection, adapter_id: str | None) -> None:
    row = db.execute("SELECT profile, number, state FROM adapters WHERE id = ?", (adapter_id,)).fetchone()
    if row is not None and row["state"] in GONE:
        raise NotFound(
            f"version {version_name(row['profile'], row['number'])} was {row['state']}: its weights are gone",
            "choose another; list them with: dittod adapters list",
        )
