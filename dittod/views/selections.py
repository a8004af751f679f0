"""What the next update would do with each text of a profile, chosen anew only when texts or versions change: choosing
among two thousand takes seconds.

While files are being read, or the user goes from text to text, something changes all the time: what was chosen last
stands until that is over. Keeps ids and reasons, and no text.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

from dittod import runs
from dittod.config import Settings
from dittod.store import Store
from dittod.store.changes import Mark
from dittod.views.remembered import amended, remembered

QUIET_SECONDS = 3.0  # after the latest edit it counts as the last one
clock = time.monotonic


@dataclass(frozen=True, slots=True)
class Chosen:
    """How many are learnt from and held out, and why: by demonstration id, of each that was considered."""

    learn: int
    held_out: int
    reasons: Mapping[str, str]


_edited_at: WeakKeyDictionary[Store, float] = WeakKeyDictionary()  # where what was chosen before stands


def chosen(store: Store, settings: Settings, profile: str) -> Chosen:
    """As of now, or of when reading or editing began. Raises NoKey."""

    def mark() -> Mark:
        return settings.demonstrations, store.mark_of_texts(), store.mark_of_versions()

    def choose() -> Chosen:
        selection = runs.next_selection(store, settings, profile)
        return Chosen(len(selection.learn), len(selection.held_out), selection.reasons)

    return remembered(store, _name(profile), mark, choose, stands=is_reading(store) or is_being_edited(store))


def edited(store: Store, profile: str, before: str, now: str) -> None:
    """The user has changed a text, whose id was `before`. Whatever it was chosen for, it is until all is chosen
    anew."""

    def renamed(known: Chosen) -> Chosen:
        reasons = known.reasons
        return replace(known, reasons={**reasons, now: reasons[before]}) if before in reasons else known

    if amended(store, _name(profile), renamed):
        _edited_at[store] = clock()


def is_being_edited(store: Store) -> bool:
    """Whether the user has just edited texts here, and what was chosen before that stands."""
    return clock() - _edited_at.get(store, -QUIET_SECONDS) < QUIET_SECONDS


def _name(profile: str) -> str:
    return f"chosen of {profile}"


def is_reading(store: Store) -> bool:
    """Whether files are being read."""
    return bool(store.noted("reading").get("busy"))
