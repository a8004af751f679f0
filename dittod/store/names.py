"""What things in the store are called, for a shell that completes a word: read at once or not at all.

Nothing is waited for, made or changed, and no text is opened: ids, names of profiles and files stand in the clear.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

MOST = 200  # of what begins alike; nobody reads more in a shell
PROFILES = "SELECT profile FROM files UNION SELECT profile FROM demonstrations UNION SELECT profile FROM adapters"
VERSIONS = "SELECT profile || '@' || number, state FROM adapters ORDER BY profile, number DESC"
VERSIONS_BY_ID = "SELECT id, profile || '@' || number FROM adapters"
DEMONSTRATIONS = "SELECT substr(id, 1, 8), profile FROM demonstrations ORDER BY written_at DESC"
FILES = "SELECT path, profile FROM files ORDER BY path"
RUNS = "SELECT id, state FROM runs ORDER BY requested_at DESC"
FEEDBACK = "SELECT substr(id, 1, 8), rating FROM feedback ORDER BY given_at DESC"
ANSWERS = "SELECT id, profile FROM interactions ORDER BY asked_at DESC"


def names(store: Path, query: str, beginning: str) -> list[tuple[str, ...]]:
    """The first column of one of the queries above where it begins so, with what follows it. Nothing where the file is
    not there, is busy, or is of another version of dittod."""
    if not store.is_file():
        return []
    # nobody has it open where there is no log of writes: else SQLite would make one, to read
    mode = "mode=ro" if store.with_name(f"{store.name}-wal").exists() else "immutable=1"
    try:
        with closing(sqlite3.connect(f"{store.as_uri()}?{mode}", uri=True, timeout=0.05)) as db:
            return [row for row in db.execute(query) if row[0].startswith(beginning)][:MOST]
    except sqlite3.Error:
        return []
