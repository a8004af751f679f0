"""adapters diff: two versions side by side: what they were made of, their figures, what they wrote for the gate.

What both have learnt is told by the texts as the store calls them now: an edited prompt is no other text. Knows
nothing of files on disk; weights are not compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from dittod import adapters
from dittod.cli.adapters import name_of, opened_store
from dittod.cli.side_by_side import printable
from dittod.cli.terminal import day, one_line, out, print_json, print_table
from dittod.cli.verdict import ABILITY, GUARDS, JUDGES, ability_of_weights, figures_of, in_words, number
from dittod.cli.written import Answered, answered, demonstration, print_answered
from dittod.errors import DittodError, NotFound
from dittod.store import Store
from dittod.types import Adapter

PANEL = "advantage"  # over what was served when it was judged
FIGURES = {**JUDGES, PANEL: "panel, against what was served then", **ABILITY, "outputs": "answers", **GUARDS}
GONE = "(gone)"


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


def diff_adapters(one: str, other: str, *, as_json: bool) -> None:
    """In the order in which they were named."""
    store = opened_store()
    pair = (adapters.find(store, one), adapters.find(store, other))
    if pair[0].id == pair[1].id:
        raise DittodError(f"both are the same version, {name_of(pair[0])}", "name two: dittod adapters list")
    texts, written, same = learnt(store, pair), written_by_both(store, pair), judged_by_the_same(store, pair)
    store.close()
    figures = compared(pair)
    if as_json:
        print_json(
            {
                "versions": [asdict(each) for each in pair],
                "learnt": [asdict(each) for each in texts],
                "figures": [{**asdict(each), "difference": each.difference} for each in figures],
                "judged_by_the_same_texts": same,
                "written": [asdict(each) for each in written],
            }
        )
        return
    _show_makings(pair)
    _show_learnt(pair, texts)
    _show_figures(pair, figures, same=same)
    out.print("\nwritten for the gate, to the same prompts", style="bold")
    print_answered(written) if written else out.print("nothing that both answered")


def learnt(store: Store, pair: Sequence[Adapter]) -> list[Learnt]:
    """Every text that one of them has learnt from."""
    found: dict[str, Learnt] = {}
    for adapter in pair:
        for id in adapter.demonstration_ids:
            row = demonstration(store, adapter.profile, id)
            new = Learnt(row.demonstration.id, row.demonstration.prompt, ()) if row else Learnt(id, None, ())
            known = found.get(row.key if row else id, new)
            found[row.key if row else id] = replace(known, by=(*known.by, name_of(adapter)))
    return list(found.values())


def compared(pair: tuple[Adapter, Adapter]) -> list[Figure]:
    """What the gate measured of both, or of one."""
    one, other = (_own_figures(each) for each in pair)
    return [Figure(name, one.get(name), other.get(name)) for name in FIGURES if name in {**one, **other}]


def judged_by_the_same(store: Store, pair: Sequence[Adapter]) -> bool:
    """Whether their figures can be compared at all."""
    one, other = (_held_out(store, each) for each in pair)
    return bool(one) and one == other


def written_by_both(store: Store, pair: Sequence[Adapter]) -> list[Answered]:
    """What each wrote itself, where both answered the same prompt."""
    titled = [
        (name_of(adapter), each)
        for adapter in pair
        for each in adapter.verdict.outputs
        if each.by == adapter.recipe.name and each.demonstration_id
    ]
    names = {name_of(each) for each in pair}
    found = answered(store, pair[0].profile, titled)
    return [each for each in found if {title for title, _ in each.answers} == names]


def _own_figures(adapter: Adapter) -> dict[str, float]:
    """Its advantage is its panel's mean: the one may be there without the other."""
    figures = adapter.verdict.figures
    own = ability_of_weights(figures, adapter.recipe.name) | figures_of(figures, adapter.recipe.name)
    return {PANEL: figures["panel_mean"], **own} if "panel_mean" in figures else own


def _signed(difference: float) -> str:
    return f"{'-' if difference < 0 else '+'}{number(abs(difference))}"


def _held_out(store: Store, adapter: Adapter) -> frozenset[str]:
    try:
        ids = store.run(adapter.run_id).held_out_ids
    except NotFound:  # a version that was restored from its folder
        return frozenset()
    rows = [(each, demonstration(store, adapter.profile, each)) for each in ids]
    return frozenset(row.key if row else each for each, row in rows)


def _show_makings(pair: Sequence[Adapter]) -> None:
    rows: dict[str, list[str]] = {
        "state": [f"{each.state}, pinned" if each.pinned else each.state for each in pair],
        "recipe": [in_words(each.recipe) for each in pair],
        "base": [each.base_model for each in pair],
        "seed": [str(each.seed) for each in pair],
        "made": [day(each.created_at) for each in pair],
        "texts": [str(len(each.demonstration_ids)) for each in pair],
    }
    print_table(("", *map(name_of, pair)), [(name, *values) for name, values in rows.items()], empty="")


def _show_learnt(pair: Sequence[Adapter], texts: Sequence[Learnt]) -> None:
    one, other = map(name_of, pair)
    out.print("\nlearnt from", style="bold")
    for title, by in ((f"only {one}", {one}), (f"only {other}", {other}), ("both", {one, other})):
        found = [each for each in texts if set(each.by) == by]
        out.print(f"{title}: {len(found)}", markup=False)
        for each in found:
            prompt = one_line(printable(each.prompt), max(20, out.width - 12)) if each.prompt else GONE
            out.print(f"  {each.id[:8]}  {prompt}", markup=False, no_wrap=True, overflow="ellipsis")


def _show_figures(pair: Sequence[Adapter], figures: Sequence[Figure], *, same: bool) -> None:
    held = "judged by the same texts" if same else "judged by other texts each: do not compare too closely"
    out.print(f"\nfigures, {held}", style="bold", markup=False)
    print_table(
        ("", *map(name_of, pair), "difference"),
        [
            (
                FIGURES[each.name],
                number(each.one),
                number(each.other),
                "" if each.difference is None else _signed(each.difference),
            )
            for each in figures
        ],
        empty="the gate left none",
    )
