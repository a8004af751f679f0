"""Versions on disk and their states: candidate → promoted → retired → pruned or forgotten. Which one an alias serves
is one row in the store; of one that is gone only the row is left. What a version does is its recipe: it may have no
weights of its own, and then its folder holds its manifest alone.

Knows folders and rows; knows nothing of weights, requests or how a verdict was reached.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from dittod.engine.protocol import AdapterRef, Ready, Updated
from dittod.errors import NotFound
from dittod.paths import not_written, write_private
from dittod.rows import GONE
from dittod.store import Store
from dittod.types import Adapter, Policy, Recipe, Run, Verdict

MANIFEST = "manifest.json"


def add(store: Store, run: Run, updated: Updated, base: Ready) -> Adapter:
    """Enter an update's result as a candidate, with its manifest beside the weights. Entering it twice is harmless."""
    folder = _folder(run, updated)
    candidate = Adapter(
        id=folder.name,
        profile=run.profile,
        number=0,  # given by the store
        state="candidate",
        path=str(folder),
        run_id=run.id,
        base_model=base.base_model,
        base_revision=base.base_revision,
        template_sha256=base.template_sha256,
        demonstration_ids=run.demonstration_ids,
        seed=run.seed,
        created_at=time.time(),
        promoted_at=None,
        verdict=updated.verdict,
        recipe=updated.recipe,
    )
    with store.together():  # on a full disk there is neither: the run is sent again
        adapter = store.add_adapter(candidate)
        _write_manifest(adapter)
    return adapter


def reference(adapter: Adapter) -> AdapterRef:
    """How engine and endpoint know it."""
    recipe = adapter.recipe
    return AdapterRef(adapter.id, adapter.path, weights=recipe.policy != "base", examples=recipe.examples)


def restore(store: Store, folder: Path) -> int:
    """Enter versions that lie in the folder and that the store does not know: it was lost, and they were not. As
    candidates: who wants one promotes it. Returns how many."""
    known = {each.id for each in store.adapters()}
    found = [made for each in folder.iterdir() if each.name not in known and (made := _from_manifest(each))]
    for each in sorted(found, key=lambda each: each.created_at):
        store.add_adapter(each)
    return len(found)


def is_unfinished(folder: Path) -> bool:
    """Whether a kill left it before it was a version: none is entered without a manifest. One whose manifest cannot be
    read was a version all the same."""
    return folder.name.startswith(".") or not (folder / MANIFEST).exists()


def promoted(store: Store, profile: str) -> Adapter | None:
    """What the profile's alias serves; None: base."""
    return store.promoted_adapter(profile)


def fits(adapter: Adapter, base_model: str, base: Ready | None) -> bool:
    """Whether it can answer: it is not gone, and made for this base model, on which alone its weights and its verdict
    mean something. Once loaded, `base` tells more."""
    if adapter.state in GONE:
        return False
    made_for = (adapter.base_revision, adapter.template_sha256)
    loaded = made_for if base is None else (base.base_revision, base.template_sha256)
    return adapter.base_model == base_model and made_for == loaded


def find(store: Store, wanted: str) -> Adapter:
    """By the beginning of its id, or as `<profile>@<number>`. Raises NotFound if none or several fit."""
    profile, at, number = wanted.rpartition("@")
    fitting = [
        each
        for each in store.adapters()
        if (at and each.profile == profile and str(each.number) == number)
        or (not at and wanted and each.id.startswith(wanted))
    ]
    if len(fitting) != 1:
        how_many = "several versions answer" if fitting else "no version answers"
        raise NotFound(f"{how_many} to {wanted!r}", "list them with: dittod adapters list")
    return fitting[0]


def promote(store: Store, adapter: Adapter) -> None:
    """From now on the profile's alias serves this adapter."""
    store.promote(adapter.profile, adapter.id, time.time())


def roll_back(store: Store, profile: str) -> Adapter | None:
    """The profile's alias serves what it served before: the adapter promoted earlier, or base (None).

    Raises NotFound when base is served already.
    """
    if promoted(store, profile) is None:
        raise NotFound(f"profile {profile!r} serves base already", "there is nothing to roll back")
    before = last_good(store.adapters(profile), profile)
    store.roll_back(profile, before.id if before else None)
    return store.adapter(before.id) if before else None


def last_good(made: Sequence[Adapter], profile: str) -> Adapter | None:
    """What a rollback of the profile would serve: of those that are not gone, the one promoted last before what is
    served now. None: base, or there is nothing to roll back."""
    own = [each for each in made if each.profile == profile and each.promoted_at is not None]
    current = next((each for each in own if each.state == "promoted"), None)
    if current is None:
        return None
    earlier = [each for each in own if each.state == "retired" and _promoted_at(each) < _promoted_at(current)]
    return max(earlier, key=_promoted_at, default=None)


def _promoted_at(adapter: Adapter) -> float:
    return adapter.promoted_at or 0.0


def _folder(run: Run, updated: Updated) -> Path:
    """Named by its content, as the engine made it. That of a version without weights is its recipe and texts, which
    another profile may have too: it gets a folder of its own."""
    path = Path(updated.adapter.path)
    if updated.adapter.weights:
        return path
    folder = path.with_name(hashlib.sha256(f"{run.profile}\n{updated.adapter.id}".encode()).hexdigest())
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise not_written("the version's folder", error) from error
    with suppress(OSError):  # else it is swept at the next start
        path.rmdir()
    return folder


def _write_manifest(adapter: Adapter) -> None:
    """Everything the store knows of it but the sampled texts, so that the folder explains itself."""
    values = asdict(adapter)
    for each in ("state", "promoted_at", "path", "pinned"):  # these change
        del values[each]
    values["verdict"] = {**asdict(adapter.verdict), "outputs": ()}
    write_private(Path(adapter.path) / MANIFEST, json.dumps(values, indent=2) + "\n")


def _from_manifest(folder: Path) -> Adapter | None:
    """What `_write_manifest` left, this dittod's or another's: without what only explains it, it is a version all the
    same. None where there is none, or not of this folder."""
    try:
        told = json.loads((folder / MANIFEST).read_bytes())
        if told["id"] != folder.name:
            return None
        return Adapter(
            id=folder.name,
            profile=str(told["profile"]),
            number=0,  # given by the store
            state="candidate",
            path=str(folder),
            run_id=str(told.get("run_id", "")),
            base_model=str(told["base_model"]),
            base_revision=str(told["base_revision"]),
            template_sha256=str(told["template_sha256"]),
            demonstration_ids=tuple(map(str, told.get("demonstration_ids", ()))),
            seed=int(told.get("seed", 0)),
            created_at=float(told.get("created_at", folder.stat().st_mtime)),
            promoted_at=None,
            verdict=_verdict(told.get("verdict", {})),
            recipe=_recipe(told.get("recipe", {})),
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _verdict(told: Mapping[str, Any]) -> Verdict:
    """One from before verdicts said so was passed by no gate that is known."""
    reasons, figures = told.get("reasons", ()), told.get("figures", {})
    return Verdict(told.get("promoted") is True, tuple(map(str, reasons)), dict(figures))


def _recipe(told: Mapping[str, Any]) -> Recipe:
    """One from before recipes is of DITTO's weights."""
    found = Recipe(told.get("policy", "ditto"), int(told.get("iteration", 0)), int(told.get("examples", 0)))
    if found.policy not in get_args(Policy):
        raise ValueError("a policy that nobody here knows")
    return found
