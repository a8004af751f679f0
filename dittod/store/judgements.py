"""Which answer the user took for their own, in the store. Names of versions only; nothing of the answers."""

from __future__ import annotations

from dataclasses import asdict

from dittod.rows import Judgement
from dittod.store.file import StoreFile


class Judgements(StoreFile):
    """In the order in which they were given."""

    def add_judgement(self, judgement: Judgement) -> None:
        """One more."""
        with self._transaction() as db:
            db.execute("INSERT INTO judgements VALUES (:at, :profile, :chosen, :other)", asdict(judgement))

    def judgements(self) -> list[Judgement]:
        """All, the oldest first."""
        return [Judgement(**dict(row)) for row in self._rows("SELECT * FROM judgements ORDER BY at, rowid")]
