"""The home with its settings and its store, for the length of a command. Knows no command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dittod.config import Settings, load_settings
from dittod.paths import Home, home
from dittod.store import Store


@contextmanager
def opened() -> Iterator[tuple[Home, Settings, Store]]:
    """Of this user, or of DITTOD_HOME. Raises SettingsError."""
    place = home()
    place.create()
    store = Store(place.store)
    try:
        yield place, load_settings(place), store
    finally:
        store.close()
