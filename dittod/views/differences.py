"""Two versions side by side: what they were made of, their figures, what they wrote for the gate.

What both have learnt is told by the texts as the store calls them now: an edited prompt is no other text. Knows
nothing of files on disk; weights are not compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from dittod import adapters
from dittod.errors import DittodError, NotFound
from dittod.store import Store
from dittod.types import Adapter
from dittod.views.words import ABILITY, GUARDS, JUDGES, ability_of_weights, figures_of
from dittod.views.written import Answered, answered, demonstration

PANEL = "advantage"  # over what was served when it was judged
FIGURES = {**JUDGES, PANEL: "panel, against what was served then", **ABILITY, "outputs": "answers", **GUARDS}


@dataclass(frozen=True, slots=True)
class Learnt:
    """A text that one of them or both were made of."""

    id: str
    prompt: str | None  # None: the text is gone
    by: tuple[str, ...]  # names of the versions


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of both."""

    name: str
    one: float | None
    other: float | None

    @property
    def difference(self) -> float | None:
        """Of the other to the one."""
        return None if self.one is None or self.other is None else self.other - self.one


@dataclass(frozen=True, slots=True)
class Differences:
    """Of two versions, in the order in which they were named."""

    versions: tuple[Adapter, Adapter]
    learnt: tuple[Learnt, ...]
    figures: tuple[Figure, ...]
    judged_by_the_same_texts: bool  # else their figures cannot be compared at all
    written: tuple[Answered, ...]  # what each wrote itself, where both answered the same prompt

    def document(self) -> dict[str, Any]:
        """Ready to become JSON."""
        figures = [{**asdict(each), "difference": each.difference} for each in self.figures]
        return {**asdict(self), "figures": figures}


def differences(store: Store, one: str, other: str) -> Differences:
    """Raises NotFound for a version that there is not, and DittodError where both are the same."""
    pair = (adapters.find(store, one), adapters.find(store, other))
    if pair[0].id == pair[1].id:
        raise DittodError(f"both are the same version, {pair[0].name}", "name two: dittod adapters list")
    return Differences(
        pair,
        tuple(_learnt(store, pair)),
        tuple(_compared(pair)),
        _judged_by_the_same(store, pair),
        tuple(_written_by_both(store, pair)),
    )


def _learnt(store: Store, pair: Sequence[Adapter]) -> list[Learnt]:
    """Every text that one of them has learnt from."""
    found: dict[str, Learnt] = {}
    for adapter in pair:
        for id in adapter.demonstration_ids:
            row = demonstration(store, adapter.profile, id)
            new = Learnt(row.demonstration.id, row.demonstration.prompt, ()) if row else Learnt(id, None, ())
            known = found.get(row.key if row else id, new)
            found[row.key if row else id] = replace(known, by=(*known.by, adapter.name))
    return list(found.values())


def _compared(pair: tuple[Adapter, Adapter]) -> list[Figure]:
    """What the gate measured of both, or of one."""
    one, other = (_own_figures(each) for each in pair)
    return [Figure(name, one.get(name), other.get(name)) for name in FIGURES if name in {**one, **other}]


def _judged_by_the_same(store: Store, pair: Sequence[Adapter]) -> bool:
    one, other = (_held_out(store, each) for each in pair)
    return bool(one) and one == other


def _written_by_both(store: Store, pair: Sequence[Adapter]) -> list[Answered]:
    titled = [
        (adapter.name, each)
        for adapter in pair
        for each in adapter.verdict.outputs
        if each.by == adapter.recipe.name and each.demonstration_id
    ]
    names = {each.name for each in pair}
    found = answered(store, pair[0].profile, titled)
    return [each for each in found if {title for title, _ in each.answers} == names]


def _own_figures(adapter: Adapter) -> dict[str, float]:
    """Its advantage is its panel's mean: the one may be there without the other."""
    figures = adapter.verdict.figures
    own = ability_of_weights(figures, adapter.recipe.name) | figures_of(figures, adapter.recipe.name)
    return {PANEL: figures["panel_mean"], **own} if "panel_mean" in figures else own


def _held_out(store: Store, adapter: Adapter) -> frozenset[str]:
    try:
        ids = store.run(adapter.run_id).held_out_ids
    except NotFound:  # a version that was restored from its folder
        return frozenset()
    rows = [(each, demonstration(store, adapter.profile, each)) for each in ids]
    return frozenset(row.key if row else each for each, row in rows)
