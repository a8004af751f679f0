"""What takes long to find out, kept as long as nothing changes that it was found from: a page that is open asks again
and again. Knows nothing of what it keeps; none of it may be a text.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar, cast
from weakref import WeakKeyDictionary

from dittod.store import Store
from dittod.store.changes import Mark

T = TypeVar("T")

_found: WeakKeyDictionary[Store, dict[str, tuple[Mark, object]]] = WeakKeyDictionary()
_lock = threading.Lock()  # while one looks, others wait for it: they want to know the same


def remembered(store: Store, name: str, mark: Callable[[], Mark], find: Callable[[], T], *, stands: bool = False) -> T:
    """What was found under this name when the store had this mark, or what is found now. `stands`: what was found
    before counts, whatever has changed since."""
    with _lock:
        known, current = _found.setdefault(store, {}), mark()  # the mark first: what changes from here on is news
        if name not in known or (known[name][0] != current and not stands):
            known[name] = current, find()
        return cast(T, known[name][1])
