"""Versions: what each is and how the gate judged it, what is served, and serving another one.

Reads the store; knows nothing of weights, nor of the base model that is set: a version made for another one is listed
and promoted like any.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from dittod import adapters
from dittod.errors import HasChanged, NotFound
from dittod.rows import GONE, Receipt, StepRow
from dittod.signals import ROLLED_BACK
from dittod.store import Store
from dittod.types import BASE, Adapter, model_of
from dittod.views.figures import finite
from dittod.views.profiles import check_known
from dittod.views.words import guards, in_words, judges, panel, tripped_guards
from dittod.views.written import prompts_of, written_for

DATE = "%Y-%m-%d"


def versions(store: Store) -> dict[str, Any]:
    """Every version, the newest first, without its outputs; what each profile serves; what was forgotten."""
    made = sorted(store.adapters(), key=lambda each: (each.created_at, each.number), reverse=True)
    served = {each.profile: each.name for each in made if each.state == "promoted"}
    short = [replace(each, verdict=replace(each.verdict, outputs=())) for each in made]
    return {
        "versions": described(store, short),
        "served": {name: served.get(name, BASE) for name in sorted({*store.profiles(), *served})},
        "receipts": [asdict(each) for each in store.receipts()],
    }


def described(store: Store, made: Sequence[Adapter]) -> list[dict[str, Any]]:
    """Each as a document, with what there is to say of it in words."""
    receipts = {version: receipt for receipt in store.receipts() for version in receipt.adapters}
    notes = store.noted(ROLLED_BACK)
    return [_described(each, receipts.get(each.name), notes.get(each.profile, {})) for each in made]


def version(store: Store, wanted: str) -> dict[str, Any]:
    """One, with everything that the gate left behind, and how learning went."""
    found = adapters.find(store, wanted)
    (told,) = described(store, [found])
    steps = store.steps(found.run_id)
    return {
        **told,
        "reasons": list(found.verdict.reasons),
        "judges": asdict(judges(found)),
        "guards": asdict(guards(found)),
        "prompts": prompts_of(store, found),
        "written": [
            {"prompt": each.prompt, "answers": [{"title": title, "text": text} for title, text in each.answers]}
            for each in written_for(store, found)
        ],
        "course": list(course(steps)),
        "steps": [{**asdict(each), "figures": finite(each.figures)} for each in steps],
    }


def promote(store: Store, wanted: str) -> dict[str, Any]:
    """Serve it from now on, whatever the gate said; `against` has what spoke against it. Raises NotFound."""
    if wanted == BASE:
        raise NotFound("base is no version that is promoted", "go back to it with: dittod adapters rollback")
    found = adapters.find(store, wanted)
    adapters.promote(store, found)
    return _now(store, found)


def roll_back(store: Store, profile: str, shown: str | None = None) -> dict[str, Any] | None:
    """Serve what was served before, from the next request on. Returns that; None: base. `shown`: what was said to be
    served when somebody confirmed it; None: nobody was asked. Raises NotFound, and HasChanged where another version is
    served."""
    check_profile(store, profile)
    with store.together():
        served = adapters.promoted(store, profile)
        if shown is not None and served is not None and served.name != shown:
            raise HasChanged(
                f"by now {served.name} is served, and not {shown}: nothing was rolled back",
                "look again at what is served",
            )
        before = adapters.roll_back(store, profile)
    return _now(store, before) if before else None


def pin(store: Store, wanted: str, pinned: bool) -> dict[str, Any]:
    """Keep its weights, whatever room they take; or no longer. Raises NotFound."""
    found = adapters.find(store, wanted)
    store.pin(found.id, pinned=pinned)
    return _now(store, found)


def check_profile(store: Store, profile: str) -> None:
    """One of which only versions are left that are gone is known here. Raises NotFound."""
    check_known(store, profile, also=sorted({each.profile for each in store.adapters()}))


def against(version: Adapter, rolled_back: Mapping[str, Any]) -> list[str]:
    """What speaks against serving it, the gravest first. `rolled_back`: the profile's note of that."""
    tripped = tripped_guards(version)
    kept = next(iter(version.verdict.reasons), "kept, without a reason")
    passed = version.verdict.promoted
    return [*_was_rolled_back(version, rolled_back), *tripped, *([] if tripped or passed else [f"its verdict: {kept}"])]


def course(steps: Sequence[StepRow]) -> Iterator[dict[str, Any]]:
    """Each figure of each stage, in its first step and in its last."""
    for phase in dict.fromkeys(each.phase for each in steps):
        taken = [each for each in steps if each.phase == phase]
        first, last = finite(taken[0].figures), finite(taken[-1].figures)
        for name in last:
            yield {
                "phase": phase,
                "steps": taken[-1].step,
                "figure": name,
                "first": first.get(name),
                "last": last[name],
            }


def _described(version: Adapter, receipt: Receipt | None, rolled_back: Mapping[str, Any]) -> dict[str, Any]:
    verdict = {**asdict(version.verdict), "figures": finite(version.verdict.figures)}
    return {
        **asdict(version),
        "verdict": verdict,
        "name": version.name,
        "model": model_of(version.name),
        "recipe_in_words": in_words(version.recipe),
        "state_in_words": _state(version, receipt),
        "texts": len(version.demonstration_ids),
        "promoted": version.verdict.promoted,
        "panel": panel(version.verdict),
        "first_reason": next(iter(version.verdict.reasons), ""),
        "tripped": tripped_guards(version),
        "against": against(version, rolled_back),
        "gone": version.state in GONE,
        "served": version.state == "promoted",
        "receipt": asdict(receipt) if receipt else None,
    }


def _state(version: Adapter, receipt: Receipt | None) -> str:
    if receipt is not None:
        return f"forgotten {time.strftime(DATE, time.localtime(receipt.at))}"
    return f"{version.state}, pinned" if version.pinned else version.state


def _was_rolled_back(version: Adapter, note: Mapping[str, Any]) -> list[str]:
    """By itself. Of the profile's latest the sentence is known."""
    if note.get("version") == version.name:
        return [f"it was rolled back before: {note['sentence']}"]
    return ["it was rolled back before, by itself"] if version.name in note.get("versions", ()) else []


def _now(store: Store, changed: Adapter) -> dict[str, Any]:
    (told,) = described(store, [store.adapter(changed.id)])
    return told
