"""A file that is gone from the watched folder, as the folder's thread tells the store."""

from __future__ import annotations

import time

from dittod.store import Store


def forget_file(store: Store, path: str) -> int:
    """How many demonstrations went with it."""
    before = sum(store.counts().values())
    store.forget_files([path], time.time())
    return before - sum(store.counts().values())
