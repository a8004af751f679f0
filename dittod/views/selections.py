"""What the next update would do with each text of a profile, chosen anew only when texts or versions change: choosing
among two thousand takes a second.

While files are being read something changes all the time: what was chosen last stands until that is over. Keeps ids and
reasons, and no text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dittod import runs
from dittod.config import Settings
from dittod.store import Store
from dittod.store.changes import Mark
from dittod.views.remembered import remembered


@dataclass(frozen=True, slots=True)
class Chosen:
    """How many are learnt from and held out, and why: by demonstration id, of each that was considered."""

    learn: int
    held_out: int
    reasons: Mapping[str, str]


def chosen(store: Store, settings: Settings, profile: str) -> Chosen:
    """As of now, or of when reading began. Raises NoKey."""

    def mark() -> Mark:
        return settings.demonstrations, store.mark_of_texts(), store.mark_of_versions()

    def choose() -> Chosen:
        selection = runs.next_selection(store, settings, profile)
        return Chosen(len(selection.learn), len(selection.held_out), selection.reasons)

    return remembered(store, f"chosen of {profile}", mark, choose, stands=is_reading(store))


def is_reading(store: Store) -> bool:
    """Whether files are being read."""
    return bool(store.noted("reading").get("busy"))
