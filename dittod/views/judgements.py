"""Which is yours? How often the user took the answer of one version for their own, beside that of another.

Kept are names of versions: an alias is what it serves at that moment. Knows nothing of the answers, nor of who asked.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from dittod import adapters
from dittod.config import Settings
from dittod.errors import NotFound, RequestError
from dittod.rows import Judgement
from dittod.store import Store
from dittod.types import DEFAULT_PROFILE
from dittod.views.profiles import check_known
from dittod.views.words import name_of

BASE = "base"
VOICE = "ditto"  # how names of models begin


def tally(store: Store) -> dict[str, Any]:
    """By profile and pair of versions, how often which was chosen."""
    given = store.judgements()
    counted = Counter((each.profile, each.chosen, each.other) for each in given)
    pairs = sorted({(each.profile, *sorted((each.chosen, each.other), key=_age)) for each in given})
    tallies = [
        {
            "profile": profile,
            "one": one,
            "other": other,
            "one_chosen": counted[profile, one, other],
            "other_chosen": counted[profile, other, one],
        }
        for profile, one, other in pairs
    ]
    return {"tallies": tallies, "total": len(given)}


def add(store: Store, settings: Settings, profile: str, chosen: str, other: str, now: float) -> dict[str, Any]:
    """The answer of `chosen` was taken for the user's, beside that of `other`: names of models, versions, or beginnings
    of their ids. Returns the tally. Raises NotFound for what there is not, and RequestError where both are the same."""
    check_known(store, profile)
    names = [_version(store, settings, each) for each in (chosen, other)]
    if names[0] == names[1]:
        raise RequestError(f"both answers are by {names[0]}", "compare two versions", param="other")
    store.add_judgement(Judgement(now, profile, *names))
    return tally(store)


def _version(store: Store, settings: Settings, name: str) -> str:
    """'base', or the version that such a name stands for now."""
    if name == BASE:
        return BASE
    alias, _, rest = name.partition("/")
    if alias == VOICE and "@" not in rest:
        served = adapters.promoted(store, rest or DEFAULT_PROFILE)
        if served is None and (rest or DEFAULT_PROFILE) not in {DEFAULT_PROFILE, *store.profiles()}:
            raise NotFound(f"there is no model {name!r}", "list them with: dittod status")
        fits = served is not None and adapters.fits(served, settings.base_model, None)
        return name_of(served) if served is not None and fits else BASE
    return name_of(adapters.find(store, name.removeprefix(f"{VOICE}/")))


def _age(name: str) -> tuple[str, int, bool]:
    """By profile and number, and base behind all."""
    profile, _, number = name.rpartition("@")
    return (profile or "\U0010ffff", int(number) if number.isdecimal() else 0, name == BASE)
