"""Whether anything has changed since somebody looked: numbers and names from every table, and not a word of a text.

What is said of a table is another value after every change that is worth showing; it means nothing by itself. Asked for
every second, so that it opens nothing that is sealed and reads no column that texts stand in. Numbers of rows tell
little alone: what comes after the last one went has its number.
"""

from __future__ import annotations

from dittod.store.file import StoreFile

Mark = tuple[object, ...]

_TEXTS = (  # a row that is written anew has another number
    *(
        f"SELECT (SELECT count(*) FROM {table}), (SELECT max(rowid) FROM {table})"
        for table in ("demonstrations", "former_ids", "origins", "files")
    ),
    "SELECT count(*), total(rowid) FROM demonstrations WHERE excluded",
    "SELECT (SELECT total(added_at) FROM demonstrations), (SELECT total(read_at) FROM files)",
)
_RUNS = (
    "SELECT id, state, by_hand, requested_at, finished_at, adapter_id, progress, length(notes) FROM runs"
    " WHERE state IN ('requested', 'running')",
    "SELECT state, count(*), max(requested_at), max(finished_at) FROM runs GROUP BY state",
    "SELECT max(place) FROM steps",
)
_VERSIONS = ("SELECT id, state, run_id, promoted_at, pinned FROM adapters",)
_RECEIPTS = ("SELECT count(*), total(finished), max(at) FROM receipts",)


class Marks(StoreFile):
    """Marks, one for each kind of thing that is shown."""

    def mark_of_texts(self) -> Mark:
        """Demonstrations and the files they stand in."""
        return self._marks(*_TEXTS)

    def mark_of_runs(self) -> Mark:
        """Updates, with how far the open ones are."""
        return self._marks(*_RUNS)

    def mark_of_versions(self) -> Mark:
        """Versions, and which ones are served."""
        return self._marks(*_VERSIONS)

    def mark_of_receipts(self) -> Mark:
        """What was forgotten."""
        return self._marks(*_RECEIPTS)

    def mark_of_notes(self) -> Mark:
        """What the daemon says of itself."""
        return self._marks("SELECT key, value FROM daemon ORDER BY key")

    def _marks(self, *queries: str) -> Mark:
        return tuple(tuple(row) for query in queries for row in self._rows(query))
