"""adapters: versions, verdicts, promoting by hand and rolling back, as tables and sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.cells import cell_len

from dittod import adapters
from dittod.cli.opened import opened
from dittod.cli.runs import print_course
from dittod.cli.terminal import date, day, err, out, print_json, print_table
from dittod.cli.verdict import print_guards, print_judges, print_reasons
from dittod.cli.written import print_answered
from dittod.config import Settings
from dittod.types import Adapter, alias_of
from dittod.views import versions
from dittod.views.words import in_words, number, panel
from dittod.views.written import written_for

LEFT_OUT = ("nats", "panel", "texts", "made")  # columns of the list, in this order, where the terminal is narrow
GAP = 2  # between two columns


def list_adapters(profile: str | None, *, as_json: bool) -> None:
    """By profile and number."""
    with opened() as (_, _, store):
        if profile is not None:
            versions.check_profile(store, profile)
        found = store.adapters(profile)
        told = versions.described(store, found)
    if as_json:
        print_json({"adapters": told})
        return
    rows = [_row(adapter, each) for adapter, each in zip(found, told, strict=True)]
    columns = _columns_that_fit(rows)
    lines = [[row[column] for column in columns] for row in rows]
    print_table(columns, lines, empty="no adapters yet: dittod update makes the first")
    if left_out := [each for each in LEFT_OUT if rows and each not in columns]:
        err.print(f"in a wider terminal, or with --json: {', '.join(left_out)}", style="dim", soft_wrap=True)


def show_adapter(wanted: str, *, as_json: bool) -> None:
    """Everything the gate left behind, and how learning went."""
    with opened() as (_, _, store):
        found = adapters.find(store, wanted)
        told, written = versions.version(store, found.id), written_for(store, found)
    if as_json:
        print_json(told)
        return
    _print_head(told)
    print_verdict(found)
    if told["course"]:
        out.print("\nlearning", style="bold")
        print_course(told["course"])
    if written:
        out.print("\nwritten for the gate, to prompts of held-out texts", style="bold")
        print_answered(written)


def print_verdict(found: Adapter) -> None:
    """Reasons, judges and guards."""
    figures = found.verdict.figures
    out.print("verdict: " + ("better than what was served" if found.verdict.promoted else "kept"), style="bold")
    print_reasons(found.verdict.reasons)
    if "panel_mean" in figures:
        out.print(f"\npanel    {panel(found.verdict)} against what was served, in its units", markup=False)
    if held_out := figures.get("held_out_texts"):
        out.print(f"judged   by {_texts(int(held_out))} that {'was' if held_out == 1 else 'were'} held out")
    print_judges(found, title="\njudges")
    print_guards(found)


def promote_adapter(wanted: str) -> None:
    """By hand, over the gate's verdict; what spoke against it is said."""
    with opened() as (_, settings, store):
        told = versions.promote(store, wanted)
        found = store.adapter(told["id"])
    _say_served(settings, found.profile, found)
    for sentence in told["against"]:
        _warn(sentence)


def pin_adapter(wanted: str, *, pinned: bool) -> None:
    """A pinned one keeps its weights, whatever room they take."""
    with opened() as (_, _, store):
        told = versions.pin(store, wanted, pinned)
    says = "stays until it is unpinned" if pinned else "may go when disk_budget asks for room"
    out.print(f"{told['name']} {says}", markup=False)


def roll_back(profile: str) -> None:
    """Instantly: the next request is answered by what was served before."""
    with opened() as (_, settings, store):
        told = versions.roll_back(store, profile)
        before = store.adapter(told["id"]) if told else None
    _say_served(settings, profile, before)


def _print_head(told: Mapping[str, Any]) -> None:
    out.print(f"version  {told['name']} ({told['state_in_words']})\nid       {told['id']}", markup=False)
    if receipt := told["receipt"]:
        forgotten = f"{receipt['cause']}, at {day(receipt['at'])}: receipt {receipt['id']}"
        out.print(f"         {forgotten}", markup=False, soft_wrap=True)
    out.print(f"recipe   {told['recipe_in_words']}, over {told['base_model']}", markup=False, soft_wrap=True)
    out.print(f"made     {day(told['created_at'])}, of {_texts(told['texts'])}\n", markup=False)


def _row(adapter: Adapter, told: Mapping[str, Any]) -> dict[str, str]:
    """By column."""
    return {
        "version": told["name"],
        "state": told["state_in_words"],
        "recipe": told["recipe_in_words"],
        "made": date(told["created_at"]),
        "texts": str(told["texts"]),
        "panel": panel(adapter.verdict, digits=1),
        "nats": number(adapter.verdict.figures.get("candidate_nats_per_token")),
    }


def _columns_that_fit(rows: Sequence[dict[str, str]]) -> list[str]:
    """Figures go first: what a version is called and does can be read everywhere."""
    widths = {each: max(map(cell_len, (each, *(row[each] for row in rows)))) for each in (rows[0] if rows else ())}
    for column in LEFT_OUT:
        if sum(widths.values()) + GAP * (len(widths) - 1) > out.width:
            widths.pop(column, None)
    return list(widths)


def _say_served(settings: Settings, profile: str, served: Adapter | None) -> None:
    what = f"{served.name} now: {in_words(served.recipe)}" if served else "base now"
    out.print(f"{alias_of(profile)} serves {what}", markup=False, soft_wrap=True)
    if served and not adapters.fits(served, settings.base_model, None):
        _warn(f"it was made for the base model {served.base_model}: until that is set, base answers")


def _warn(sentence: str) -> None:
    err.print(f"warning: {sentence}", markup=False, soft_wrap=True)


def _texts(count: int) -> str:
    return "1 text" if count == 1 else f"{count} texts"
