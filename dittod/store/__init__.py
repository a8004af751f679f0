"""The SQLite file: the only package with SQL. Rows in, values out; nothing here decides anything."""

from __future__ import annotations

from dittod.store.adapters import AdapterRows
from dittod.store.changes import Marks
from dittod.store.file import PATIENCE_SECONDS as PATIENCE_SECONDS
from dittod.store.interactions import InteractionRows
from dittod.store.judgements import Judgements
from dittod.store.receipts import BY_HAND as BY_HAND
from dittod.store.runs import MOST_NOTES as MOST_NOTES
from dittod.store.runs import RunRows
from dittod.store.texts import CHANGED as CHANGED
from dittod.store.texts import Texts


class Store(Texts, RunRows, AdapterRows, InteractionRows, Judgements, Marks):
    """Usable from several threads: who reads does not wait for who writes, but for the disk and others that read."""
