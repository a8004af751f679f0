"""adapters: versions, verdicts, promoting by hand and rolling back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from dittod import adapters
from dittod.cli.terminal import day, out, print_json, print_table
from dittod.paths import home
from dittod.rows import StepRow
from dittod.store import Store
from dittod.types import Adapter


def list_adapters(profile: str | None, *, as_json: bool) -> None:
    """By profile and number."""
    store = _store()
    found = store.adapters(profile)
    store.close()
    if as_json:
        print_json({"adapters": [_described(each) for each in found]})
        return
    print_table(
        ("version", "id", "state", "made", "learnt from", "nats/token", "base's"),
        [
            (
                f"{each.profile}@{each.number}",
                each.id[:10],
                _state(each),
                day(each.created_at),
                len(each.demonstration_ids),
                _figure(each, "candidate_nats_per_token"),
                _figure(each, "base_nats_per_token"),
            )
            for each in found
        ],
        empty="no adapters yet: dittod update makes the first",
    )


def show_adapter(wanted: str, *, as_json: bool) -> None:
    """Everything the gate left behind, and how learning went."""
    store = _store()
    found = adapters.find(store, wanted)
    steps = store.steps(found.run_id)
    store.close()
    if as_json:
        print_json({**_described(found), "steps": [asdict(each) for each in steps]})
        return
    out.print(f"version  {found.profile}@{found.number} ({_state(found)})\nid       {found.id}", markup=False)
    out.print(f"base     {found.base_model}\nmade     {day(found.created_at)}\n", markup=False)
    out.print("verdict", style="bold")
    for reason in found.verdict.reasons:
        out.print(f"  {reason}", markup=False)
    print_table(("figure", "value"), [(k, f"{v:.4g}") for k, v in found.verdict.figures.items()], empty="")
    if steps:
        out.print("\nlearning", style="bold")
        print_table(("stage", "steps", "figure", "first", "last"), _course(steps), empty="")
    for number, text in enumerate(found.verdict.outputs, start=1):
        out.print(f"\nwritten for the gate, {number}", style="bold")
        out.print(text, markup=False, soft_wrap=True)


def promote_adapter(wanted: str) -> None:
    """By hand, over the gate's verdict."""
    store = _store()
    found = adapters.find(store, wanted)
    adapters.promote(store, found)
    store.close()
    out.print(f"{_alias(found.profile)} serves {found.profile}@{found.number} now", markup=False)


def pin_adapter(wanted: str, *, pinned: bool) -> None:
    """A pinned one keeps its weights, whatever room they take."""
    store = _store()
    found = adapters.find(store, wanted)
    store.pin(found.id, pinned=pinned)
    store.close()
    says = "stays until it is unpinned" if pinned else "may go when disk_budget asks for room"
    out.print(f"{found.profile}@{found.number} {says}", markup=False)


def roll_back(profile: str) -> None:
    """Instantly: the next request is answered by what was served before."""
    store = _store()
    before = adapters.roll_back(store, profile)
    store.close()
    out.print(f"{_alias(profile)} serves {f'{profile}@{before.number}' if before else 'base'} now", markup=False)


def _course(steps: Sequence[StepRow]) -> Iterator[tuple[str, ...]]:
    """Each figure of each stage, in its first step and in its last."""
    for phase in dict.fromkeys(each.phase for each in steps):
        taken = [each for each in steps if each.phase == phase]
        first, last = taken[0].figures, taken[-1].figures
        for name in last:
            yield phase, str(taken[-1].step), name, _number(first.get(name)), _number(last[name])


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _alias(profile: str) -> str:
    return "ditto" if profile == "default" else f"ditto/{profile}"


def _described(adapter: Adapter) -> dict[str, Any]:
    return asdict(adapter)


def _state(adapter: Adapter) -> str:
    return f"{adapter.state}, pinned" if adapter.pinned else adapter.state


def _figure(adapter: Adapter, name: str) -> str:
    value = adapter.verdict.figures.get(name)
    return "-" if value is None else f"{value:.3f}"


def _store() -> Store:
    place = home()
    place.create()
    return Store(place.store)
