"""Which profiles there are, for commands that are given the name of one. Knows nothing of what a profile holds."""

from __future__ import annotations

from collections.abc import Iterable

from dittod.errors import NotFound
from dittod.store import Store
from dittod.types import DEFAULT_PROFILE


def check_known(store: Store, profile: str, *, also: Iterable[str] = ()) -> None:
    """Raises NotFound, with those that there are: those of the store, the default one always, and `also`."""
    known = list(dict.fromkeys([DEFAULT_PROFILE, *store.profiles(), *also]))
    if profile not in known:
        raise NotFound(f"the profile {profile!r} does not exist", f"choose one of: {', '.join(known)}")
