"""Which profiles there are, for whoever is given the name of one. Knows nothing of what a profile holds."""

from __future__ import annotations

from collections.abc import Iterable

from dittod.errors import NotFound
from dittod.store import Store
from dittod.types import DEFAULT_PROFILE


def known_profiles(store: Store) -> list[str]:
    """Those of the store; the default one always, and first."""
    return list(dict.fromkeys([DEFAULT_PROFILE, *store.profiles()]))


def check_known(store: Store, profile: str, *, also: Iterable[str] = ()) -> None:
    """Raises NotFound, with those that there are, and `also`."""
    known = list(dict.fromkeys([*known_profiles(store), *also]))
    if profile not in known:
        raise NotFound(f"the profile {profile!r} does not exist", f"choose one of: {', '.join(known)}")
