"""adapters: versions, verdicts, promoting by hand and rolling back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from rich.cells import cell_len

from dittod import adapters
from dittod.cli.profiles import check_known
from dittod.cli.terminal import day, err, out, print_json, print_table
from dittod.cli.verdict import (
    in_words,
    name_in_words,
    number,
    panel,
    print_guards,
    print_judges,
    print_reasons,
    tripped_guards,
)
from dittod.cli.written import Answered, answered, demonstration, print_answered
from dittod.config import load_settings
from dittod.errors import NotFound
from dittod.in_use import NOTE as ROLLED_BACK
from dittod.paths import home
from dittod.rows import Receipt, StepRow
from dittod.store import Store
from dittod.types import Adapter

LEFT_OUT = ("nats", "panel", "texts", "made")  # columns of the list, in this order, where the terminal is narrow
GAP = 2  # between two columns
BY = ("base", "served")  # in this order, before the version's own
DATE = 10  # characters of a time that are the day


def list_adapters(profile: str | None, *, as_json: bool) -> None:
    """By profile and number."""
    store = opened_store()
    if profile is not None:
        _check_profile(store, profile)
    found, forgotten = store.adapters(profile), _forgotten(store)
    store.close()
    if as_json:
        print_json({"adapters": [asdict(each) for each in found]})
        return
    rows = [_row(each, forgotten) for each in found]
    columns = _columns_that_fit(rows)
    lines = [[row[column] for column in columns] for row in rows]
    print_table(columns, lines, empty="no adapters yet: dittod update makes the first")
    if left_out := [each for each in LEFT_OUT if rows and each not in columns]:
        err.print(f"in a wider terminal, or with --json: {', '.join(left_out)}", style="dim", soft_wrap=True)


def show_adapter(wanted: str, *, as_json: bool) -> None:
    """Everything the gate left behind, and how learning went."""
    store = opened_store()
    found = adapters.find(store, wanted)
    steps, forgotten, written = store.steps(found.run_id), _forgotten(store), written_for(store, found)
    prompts = {each.demonstration_id: _prompt(store, found, each.demonstration_id) for each in found.verdict.outputs}
    store.close()
    if as_json:
        print_json({**asdict(found), "prompts": prompts, "steps": [asdict(each) for each in steps]})
        return
    out.print(f"version  {name_of(found)} ({_state(found, forgotten)})\nid       {found.id}", markup=False)
    if receipt := forgotten.get(name_of(found)):
        out.print(f"         {receipt.cause}, at {day(receipt.at)}: receipt {receipt.id}", markup=False, soft_wrap=True)
    out.print(f"recipe   {in_words(found.recipe)}, over {found.base_model}", markup=False, soft_wrap=True)
    out.print(f"made     {day(found.created_at)}, of {_texts(len(found.demonstration_ids))}\n", markup=False)
    print_verdict(found)
    if steps:
        out.print("\nlearning", style="bold")
        print_table(("stage", "steps", "figure", "first", "last"), _course(steps), empty="")
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


def written_for(store: Store, found: Adapter) -> list[Answered]:
    """By prompt: what base, what was served and what the version itself wrote."""
    order = {name: place for place, name in enumerate(BY)}
    outputs = sorted(found.verdict.outputs, key=lambda each: order.get(each.by, len(BY)))
    titles = {"": "answer", found.recipe.name: f"{name_of(found)}: {in_words(found.recipe)}"}
    return answered(store, found.profile, ((titles.get(each.by) or name_in_words(each.by), each) for each in outputs))


def promote_adapter(wanted: str) -> None:
    """By hand, over the gate's verdict; what spoke against it is said."""
    store = opened_store()
    if wanted == "base":
        raise NotFound("base is no version that is promoted", "go back to it with: dittod adapters rollback")
    found = adapters.find(store, wanted)
    adapters.promote(store, found)
    back = store.noted(ROLLED_BACK).get(found.profile, {})
    store.close()
    _say_served(found.profile, found)
    if back.get("version") == name_of(found):
        _warn(f"it was rolled back before: {back['sentence']}")
    if tripped := tripped_guards(found):
        for sentence in tripped:
            _warn(sentence)
    elif not found.verdict.promoted:
        _warn(f"its verdict: {next(iter(found.verdict.reasons), 'kept, without a reason')}")


def pin_adapter(wanted: str, *, pinned: bool) -> None:
    """A pinned one keeps its weights, whatever room they take."""
    store = opened_store()
    found = adapters.find(store, wanted)
    store.pin(found.id, pinned=pinned)
    store.close()
    says = "stays until it is unpinned" if pinned else "may go when disk_budget asks for room"
    out.print(f"{name_of(found)} {says}", markup=False)


def roll_back(profile: str) -> None:
    """Instantly: the next request is answered by what was served before."""
    store = opened_store()
    _check_profile(store, profile)
    before = adapters.roll_back(store, profile)
    store.close()
    _say_served(profile, before)


def opened_store() -> Store:
    """This home's."""
    place = home()
    place.create()
    return Store(place.store)


def name_of(adapter: Adapter) -> str:
    """As commands take it."""
    return f"{adapter.profile}@{adapter.number}"


def _check_profile(store: Store, profile: str) -> None:
    """One of which only versions are left that are gone is known here."""
    check_known(store, profile, also=sorted({each.profile for each in store.adapters()}))


def _row(adapter: Adapter, forgotten: dict[str, Receipt]) -> dict[str, str]:
    """By column."""
    return {
        "version": name_of(adapter),
        "state": _state(adapter, forgotten),
        "recipe": in_words(adapter.recipe),
        "made": day(adapter.created_at)[:DATE],
        "texts": str(len(adapter.demonstration_ids)),
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


def _say_served(profile: str, served: Adapter | None) -> None:
    alias = "ditto" if profile == "default" else f"ditto/{profile}"
    what = f"{name_of(served)} now: {in_words(served.recipe)}" if served else "base now"
    out.print(f"{alias} serves {what}", markup=False, soft_wrap=True)
    if served and not adapters.fits(served, load_settings(home()).base_model, None):
        _warn(f"it was made for the base model {served.base_model}: until that is set, base answers")


def _warn(sentence: str) -> None:
    err.print(f"warning: {sentence}", markup=False, soft_wrap=True)


def _prompt(store: Store, found: Adapter, demonstration_id: str) -> str | None:
    row = demonstration(store, found.profile, demonstration_id)
    return row.demonstration.prompt if row else None


def _course(steps: Sequence[StepRow]) -> Iterator[tuple[str, ...]]:
    """Each figure of each stage, in its first step and in its last."""
    for phase in dict.fromkeys(each.phase for each in steps):
        taken = [each for each in steps if each.phase == phase]
        first, last = taken[0].figures, taken[-1].figures
        for name in last:
            yield phase, str(taken[-1].step), name, _short(first.get(name)), _short(last[name])


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _texts(count: int) -> str:
    return "1 text" if count == 1 else f"{count} texts"


def _forgotten(store: Store) -> dict[str, Receipt]:
    """By the versions that had learnt from what was forgotten."""
    return {version: receipt for receipt in store.receipts() for version in receipt.adapters}


def _state(adapter: Adapter, forgotten: dict[str, Receipt]) -> str:
    if receipt := forgotten.get(name_of(adapter)):
        return f"forgotten {day(receipt.at)[:DATE]}"
    return f"{adapter.state}, pinned" if adapter.pinned else adapter.state
