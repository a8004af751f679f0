"""What an update is made of, as the store has it now: the texts of its run, what may stand in prompts, texts of others,
the answers that the user did not want.

Knows the store and a run's folder; knows neither the engine nor what is done with any of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

from dittod import adapters
from dittod.config import Settings
from dittod.engine.protocol import Update
from dittod.ingest.select import once_each, unlike
from dittod.paths import Home, write_private
from dittod.store import Store
from dittod.types import Adapter, Demonstration, Rejected, Run, demonstration_id

MOST_IN_POOL = 200  # texts of the profile, the newest, that may stand in a prompt
MOST_IMPOSTORS = 40  # texts of other profiles
MOST_CHARACTERS = 2 * 2**20  # of each of the two together
_REJECTED = "rejected.json"  # in the run's folder: which answers it began with


class TextsChanged(Exception):
    """What a run was to learn from is not there any more as it was."""


@dataclass(frozen=True, slots=True)
class Learnt:
    """What a run learns from and is judged by."""

    demonstrations: tuple[Demonstration, ...]
    held_out: tuple[Demonstration, ...]
    rejected: tuple[Rejected, ...]


def update_of(home: Home, store: Store, settings: Settings, run: Run, served: Adapter | None) -> Update:
    """The command for a run. Raises TextsChanged."""
    learnt = learnt_by(home, store, run)
    pool = pool_of(store, run.profile, learnt.held_out)
    return Update(
        id=run.id,
        directory=str(home.runs / run.id),
        adapters_directory=str(home.adapters),
        preset=run.preset,
        seed=run.seed,
        demonstrations=learnt.demonstrations,
        held_out=learnt.held_out,
        served=adapters.reference(served) if served else None,
        pool=pool,
        impostors=impostors_of(store, run.profile, (*pool, *learnt.held_out)),
        rejected=learnt.rejected,
        secrets=settings.secrets,
        examples=settings.examples,
        confidence=settings.confidence,
        max_ability_loss=settings.max_ability_loss,
        overrides=settings.learner,
        key=store.key_of(run.id),
    )


def learnt_by(home: Home, store: Store, run: Run) -> Learnt:
    """Raises TextsChanged when a text of the run was deleted, edited or excluded meanwhile, or a word on an answer was
    taken back."""
    by_id = store.demonstrations_of(run.profile, (*run.demonstration_ids, *run.held_out_ids))
    return Learnt(
        _all_of(by_id, run.demonstration_ids),
        _all_of(by_id, run.held_out_ids),
        _rejected(home.runs / run.id, store.rejected(run.profile)),
    )


def pool_of(store: Store, profile: str, held_out: Sequence[Demonstration]) -> tuple[Demonstration, ...]:
    """Oldest first. Nothing that gives away a held-out text, and none twice: what stands in several texts counts as the
    person's own formula."""
    newest = store.demonstrations(profile, newest=MOST_IN_POOL + len(held_out))
    found = unlike(once_each(newest), held_out)[-MOST_IN_POOL:]
    return tuple(reversed(_as_fit(reversed(found))))


def impostors_of(store: Store, profile: str, own: Sequence[Demonstration]) -> tuple[str, ...]:
    """Of the other profiles in turns, the newest first. Not what stands in this one too."""
    others = [each for each in store.profiles() if each != profile]
    newest_first = (reversed(store.demonstrations(each, newest=MOST_IMPOSTORS)) for each in others)
    in_turns = (each for each in chain.from_iterable(zip_longest(*newest_first)) if each is not None)
    return tuple(each.completion for each in _as_fit(unlike(in_turns, own)[:MOST_IMPOSTORS]))


def _all_of(by_id: dict[str, Demonstration], ids: tuple[str, ...]) -> tuple[Demonstration, ...]:
    if any(each not in by_id for each in ids):
        raise TextsChanged
    return tuple(by_id[each] for each in ids)


def _rejected(folder: Path, now: Iterable[Rejected]) -> tuple[Rejected, ...]:
    """Those that the run began with: what was said since is for the next one, and must not cost it its checkpoint."""
    by_id = {demonstration_id(each.prompt, each.completion): each for each in now}
    noted = folder / _REJECTED
    if not noted.exists():
        folder.mkdir(mode=0o700, exist_ok=True)
        write_private(noted, json.dumps(list(by_id)))
    ids = json.loads(noted.read_bytes())
    if any(each not in by_id for each in ids):
        raise TextsChanged
    return tuple(by_id[each] for each in ids)


def _as_fit(demonstrations: Iterable[Demonstration]) -> list[Demonstration]:
    """As many of them, in their order, as the pipe to the engine should take."""
    left, found = MOST_CHARACTERS, []
    for each in demonstrations:
        left -= len(each.prompt) + len(each.completion)
        if left >= 0:
            found.append(each)
    return found
