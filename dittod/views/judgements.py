"""Which is yours? How often the user took the answer of one version for their own, beside that of another.

Kept are names of versions. No alias is taken for one: what it serves when somebody says which is theirs need not be
what had answered. Knows nothing of the answers, nor of who asked.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from dittod import adapters
from dittod.errors import RequestError
from dittod.rows import Judgement
from dittod.store import Store
from dittod.types import BASE


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


def add(store: Store, chosen: str, other: str, now: float) -> dict[str, Any]:
    """The answer of `chosen` was taken for the user's, beside that of `other`: who answered, as versions, beginnings of
    their ids, or 'base'. Returns the tally. Raises NotFound for what there is not, and RequestError where both are the
    same. It counts for the voice of the chosen one; base has none."""
    pair = [None if each == BASE else adapters.find(store, each) for each in (chosen, other)]
    names = [each.name if each else BASE for each in pair]
    if names[0] == names[1]:
        raise RequestError(f"both answers are by {names[0]}", "compare two versions", param="other")
    profile = next(each.profile for each in pair if each)
    store.add_judgement(Judgement(now, profile, *names))
    return tally(store)


def _age(name: str) -> tuple[str, int, bool]:
    """By profile and number, and base behind all."""
    profile, _, number = name.rpartition("@")
    return (profile or "\U0010ffff", int(number) if number.isdecimal() else 0, name == BASE)
