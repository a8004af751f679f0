"""What takes long to find out, kept as long as nothing changes that it was found from: a page that is open asks again
and again. Knows nothing of what it keeps; none of it may be a text that the user wrote, and all
of it is gone with the process.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar, cast
from weakref import WeakKeyDictionary

from dittod.store import Store
from dittod.store.changes import Mark

T = TypeVar("T")


@dataclass(slots=True)
class _Shelf:
    """What was found in one store."""

    found: dict[str, tuple[Mark, object]] = field(default_factory=dict[str, tuple[Mark, object]])
    locks: defaultdict[str, threading.Lock] = field(default_factory=lambda: defaultdict(threading.Lock))


_shelves: WeakKeyDictionary[Store, _Shelf] = WeakKeyDictionary()
_lock = threading.Lock()  # of the shelves, for a moment


def remembered(store: Store, name: str, mark: Callable[[], Mark], find: Callable[[], T], *, stands: bool = False) -> T:
    """What was found under this name when the store had this mark, or what is found now. `stands`: what was found
    before counts, whatever has changed since."""
    with _lock:
        shelf = _shelves.setdefault(store, _Shelf())
        if stands and name in shelf.found:
            return cast(T, shelf.found[name][1])
        looking = shelf.locks[name]
    with looking:  # while one looks, others who want to know the same wait for it
        found, current = shelf.found, mark()  # the mark first: what changes from here on is news
        if name not in found or (found[name][0] != current and not stands):
            found[name] = current, find()
        return cast(T, found[name][1])


def amended(store: Store, name: str, change: Callable[[T], T]) -> bool:
    """What is remembered under this name is changed, and counts as found when it was. False: there is nothing."""
    with _lock:
        found = _shelves.setdefault(store, _Shelf()).found
        if name not in found:
            return False
        mark, value = found[name]
        found[name] = mark, change(cast(T, value))
        return True
