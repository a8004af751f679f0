"""What versions wrote for the gate, by the prompt that was answered.

The prompts are those of held-out texts: looked up in the store as it is now, and not known where the text is gone or
its key cannot be had. Knows nothing of verdicts.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from dittod.errors import NotFound
from dittod.rows import DemonstrationRow
from dittod.sealing import NoKey
from dittod.store import Store
from dittod.types import Adapter, Written
from dittod.views.words import in_words, name_in_words

BY = ("base", "served")  # in this order, before the version's own


@dataclass(frozen=True, slots=True)
class Answered:
    """One prompt, and who wrote what."""

    prompt: str | None  # None: not known any more
    answers: tuple[tuple[str, str], ...]  # title and text of each


def answered(store: Store, profile: str, written: Iterable[tuple[str, Written]]) -> list[Answered]:
    """By prompt, in the order in which they come. `written`: each with the title to be shown over it."""
    prompts: dict[str, str | None] = {}
    answers: dict[str, list[tuple[str, str]]] = {}
    for title, each in written:
        row = demonstration(store, profile, each.demonstration_id)
        key = row.key if row else each.demonstration_id
        prompts[key] = row.demonstration.prompt if row else None
        answers.setdefault(key, []).append((title, each.text))
    return [Answered(prompts[key], tuple(answers[key])) for key in answers]


def written_for(store: Store, version: Adapter) -> list[Answered]:
    """By prompt: what base, what was served and what the version itself wrote."""
    order = {name: place for place, name in enumerate(BY)}
    outputs = sorted(version.verdict.outputs, key=lambda each: order.get(each.by, len(BY)))
    titles = {"": "answer", version.recipe.name: f"{version.name}: {in_words(version.recipe)}"}
    return answered(store, version.profile, ((titles.get(each.by) or name_in_words(each.by), each) for each in outputs))


def prompts_of(store: Store, version: Adapter) -> dict[str, str | None]:
    """By the demonstration's id, the prompts that its outputs answer."""
    rows = {each.demonstration_id: None for each in version.verdict.outputs}
    found = {id: demonstration(store, version.profile, id) for id in rows}
    return {id: row.demonstration.prompt if row else None for id, row in found.items()}


def demonstration(store: Store, profile: str, id: str) -> DemonstrationRow | None:
    """The one that has or had this id; None: it is gone, or cannot be read."""
    if id:
        with suppress(NotFound, NoKey):
            return store.demonstration(f"{profile}/{id}")
    return None
