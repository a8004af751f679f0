"""What versions wrote for the gate, by the prompt that was answered, side by side.

The prompts are those of held-out texts: looked up in the store as it is now, and not known where the text is gone or
its key cannot be had. Knows nothing of verdicts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from dittod.cli.side_by_side import print_side_by_side, printable
from dittod.cli.terminal import out
from dittod.errors import NotFound
from dittod.rows import DemonstrationRow
from dittod.sealing import NoKey
from dittod.store import Store
from dittod.types import Written

UNKNOWN = "(the prompt is not known any more)"


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


def print_answered(found: Sequence[Answered]) -> None:
    """Each prompt with its answers under it."""
    for each in found:
        out.print(f"\n> {printable(each.prompt or UNKNOWN)}", style="bold", markup=False, soft_wrap=True)
        print_side_by_side(each.answers)


def demonstration(store: Store, profile: str, id: str) -> DemonstrationRow | None:
    """The one that has or had this id; None: it is gone, or cannot be read."""
    if id:
        with suppress(NotFound, NoKey):
            return store.demonstration(f"{profile}/{id}")
    return None
