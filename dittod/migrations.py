"""The tables of the store, as the steps that led to them. Only ever added to: the store applies what a file lacks."""

from __future__ import annotations

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
    """
    ALTER TABLE files ADD COLUMN tails TEXT NOT NULL DEFAULT '{}';
    ALTER TABLE files ADD COLUMN masked TEXT NOT NULL DEFAULT '{}';
    ALTER TABLE files ADD COLUMN removed TEXT NOT NULL DEFAULT '{}';
    ALTER TABLE files ADD COLUMN reasons TEXT NOT NULL DEFAULT '{}';
    ALTER TABLE files ADD COLUMN content_sha256 TEXT NOT NULL DEFAULT '';
    CREATE TABLE demonstrations_3 (
        profile TEXT NOT NULL, key TEXT NOT NULL, id TEXT NOT NULL, prompt TEXT NOT NULL, completion TEXT NOT NULL,
        source TEXT NOT NULL, written_at REAL NOT NULL, added_at REAL NOT NULL, kind TEXT NOT NULL,
        prompt_by TEXT NOT NULL, template TEXT NOT NULL, tried_by TEXT NOT NULL, excluded INTEGER NOT NULL,
        PRIMARY KEY (profile, key), UNIQUE (profile, id)
    ) STRICT;
    INSERT INTO demonstrations_3 SELECT profile, id, id, prompt, completion, source, written_at, added_at,
        CASE WHEN prompt LIKE 'Write a reply%' THEN 'reply' WHEN prompt LIKE 'Write an e-mail%' THEN 'mail'
        ELSE 'text' END, 'template', prompt, '', 0 FROM demonstrations;
    DROP TABLE demonstrations;
    ALTER TABLE demonstrations_3 RENAME TO demonstrations;
    CREATE TABLE former_ids (
        profile TEXT NOT NULL, id TEXT NOT NULL, key TEXT NOT NULL, PRIMARY KEY (profile, id)
    ) STRICT;
    CREATE INDEX newest_demonstrations ON demonstrations (profile, written_at);
    ALTER TABLE origins RENAME COLUMN demonstration_id TO key;
    ALTER TABLE origins ADD COLUMN reading REAL NOT NULL DEFAULT 0;
    UPDATE origins SET reading = (SELECT read_at FROM files WHERE files.path = origins.path)
        WHERE path IN (SELECT path FROM files);
    """,
    """
    ALTER TABLE runs ADD COLUMN by_hand INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE runs ADD COLUMN notes TEXT NOT NULL DEFAULT '[]';
    CREATE INDEX added_demonstrations ON demonstrations (profile, added_at, excluded);
    CREATE INDEX runs_in_state ON runs (state, profile, requested_at);
    ALTER TABLE adapters DROP COLUMN path;
    ALTER TABLE adapters ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0;
    """,
    """
    ALTER TABLE adapters ADD COLUMN recipe TEXT NOT NULL DEFAULT '{}';
    CREATE TABLE receipts (
        id TEXT PRIMARY KEY, at REAL NOT NULL, profile TEXT NOT NULL, cause TEXT NOT NULL,
        demonstrations INTEGER NOT NULL, adapters TEXT NOT NULL, replaced_by TEXT NOT NULL, run_id TEXT,
        finished INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE forgotten (profile TEXT NOT NULL, key TEXT NOT NULL, PRIMARY KEY (profile, key)) STRICT;
    CREATE TABLE interactions (
        id TEXT PRIMARY KEY, profile TEXT NOT NULL, asked_at REAL NOT NULL, adapter_id TEXT, messages TEXT NOT NULL,
        answer TEXT NOT NULL
    ) STRICT;
    CREATE TABLE feedback (
        id TEXT PRIMARY KEY, profile TEXT NOT NULL, given_at REAL NOT NULL, rating TEXT NOT NULL, prompt TEXT NOT NULL,
        given TEXT NOT NULL, path TEXT NOT NULL
    ) STRICT;
    """,
    """
    CREATE TABLE judgements (
        at REAL NOT NULL, profile TEXT NOT NULL, chosen TEXT NOT NULL, other TEXT NOT NULL
    ) STRICT;
    """,
)
