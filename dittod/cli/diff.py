"""adapters diff: two versions side by side in the terminal. What differs is `dittod.views.differences`'s."""

from __future__ import annotations

from collections.abc import Sequence

from dittod.cli.opened import opened
from dittod.cli.side_by_side import printable
from dittod.cli.terminal import day, one_line, out, print_json, print_table
from dittod.cli.written import print_answered
from dittod.types import Adapter
from dittod.views.differences import FIGURES, Differences, Learnt, differences
from dittod.views.words import in_words, number

GONE = "(gone)"


def diff_adapters(one: str, other: str, *, as_json: bool) -> None:
    """In the order in which they were named."""
    with opened() as (_, _, store):
        found = differences(store, one, other)
    if as_json:
        print_json(found.document())
        return
    _show_makings(found.versions)
    _show_learnt(found.versions, found.learnt)
    _show_figures(found)
    out.print("\nwritten for the gate, to the same prompts", style="bold")
    print_answered(found.written) if found.written else out.print("nothing that both answered")


def _show_makings(pair: Sequence[Adapter]) -> None:
    rows: dict[str, list[str]] = {
        "state": [f"{each.state}, pinned" if each.pinned else each.state for each in pair],
        "recipe": [in_words(each.recipe) for each in pair],
        "base": [each.base_model for each in pair],
        "seed": [str(each.seed) for each in pair],
        "made": [day(each.created_at) for each in pair],
        "texts": [str(len(each.demonstration_ids)) for each in pair],
    }
    print_table(("", *(each.name for each in pair)), [(name, *values) for name, values in rows.items()], empty="")


def _show_learnt(pair: Sequence[Adapter], texts: Sequence[Learnt]) -> None:
    one, other = (each.name for each in pair)
    out.print("\nlearnt from", style="bold")
    for title, by in ((f"only {one}", {one}), (f"only {other}", {other}), ("both", {one, other})):
        found = [each for each in texts if set(each.by) == by]
        out.print(f"{title}: {len(found)}", markup=False)
        for each in found:
            prompt = one_line(printable(each.prompt), max(20, out.width - 12)) if each.prompt else GONE
            out.print(f"  {each.id[:8]}  {prompt}", markup=False, no_wrap=True, overflow="ellipsis")


def _show_figures(found: Differences) -> None:
    same = found.judged_by_the_same_texts
    held = "judged by the same texts" if same else "judged by other texts each: do not compare too closely"
    out.print(f"\nfigures, {held}", style="bold", markup=False)
    print_table(
        ("", *(each.name for each in found.versions), "difference"),
        [
            (
                FIGURES[each.name],
                number(each.one),
                number(each.other),
                "" if each.difference is None else _signed(each.difference),
            )
            for each in found.figures
        ],
        empty="the gate left none",
    )


def _signed(difference: float) -> str:
    return f"{'-' if difference < 0 else '+'}{number(abs(difference))}"
