"""Adapters on disk and their states: candidate → promoted → retired. Which one an alias serves is one row in the store.

Knows folders and rows; knows nothing of weights, requests or how a verdict was reached.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path

from dittod.engine.protocol import Ready, Updated
from dittod.errors import NotFound
from dittod.store import Store
from dittod.types import Adapter, Run

MANIFEST = "manifest.json"


def add(store: Store, run: Run, updated: Updated, base: Ready) -> Adapter:
    """Enter an update's result as a candidate, with its manifest beside the weights. Entering it twice is harmless."""
    candidate = Adapter(
        id=updated.adapter.id,
        profile=run.profile,
        number=0,  # given by the store
        state="candidate",
        path=updated.adapter.path,
        run_id=run.id,
        base_model=base.base_model,
        base_revision=base.base_revision,
        template_sha256=base.template_sha256,
        demonstration_ids=run.demonstration_ids,
        seed=run.seed,
        created_at=time.time(),
        promoted_at=None,
        verdict=updated.verdict,
    )
    adapter = store.add_adapter(candidate)
    _write_manifest(adapter)
    return adapter


def promoted(store: Store, profile: str) -> Adapter | None:
    """What the profile's alias serves; None: base."""
    return next((each for each in store.adapters(profile) if each.state == "promoted"), None)


def fits(adapter: Adapter, base_model: str, base: Ready | None) -> bool:
    """Whether it was made for this base model: its weights mean nothing on another. Once loaded, `base` tells more."""
    made_for = (adapter.base_revision, adapter.template_sha256)
    loaded = made_for if base is None else (base.base_revision, base.template_sha256)
    return adapter.base_model == base_model and made_for == loaded


def find(store: Store, wanted: str) -> Adapter:
    """By the beginning of its id, or as `<profile>@<number>`. Raises NotFound if none or several fit."""
    profile, at, number = wanted.rpartition("@")
    fitting = [
        each
        for each in store.adapters()
        if (at and each.profile == profile and str(each.number) == number) or (not at and each.id.startswith(wanted))
    ]
    if len(fitting) != 1:
        raise NotFound(f"{len(fitting)} adapters answer to {wanted!r}", "list them with: dittod adapters list")
    return fitting[0]


def promote(store: Store, adapter: Adapter) -> None:
    """From now on the profile's alias serves this adapter."""
    store.promote(adapter.profile, adapter.id, time.time())


def roll_back(store: Store, profile: str) -> Adapter | None:
    """The profile's alias serves what it served before: the adapter promoted earlier, or base (None).

    Raises NotFound when base is served already.
    """
    current = promoted(store, profile)
    if current is None or current.promoted_at is None:
        raise NotFound(f"profile {profile!r} serves base already", "there is nothing to roll back")
    earlier = [
        each
        for each in store.adapters(profile)
        if each.state == "retired" and each.promoted_at is not None and each.promoted_at < current.promoted_at
    ]
    before = max(earlier, key=lambda each: each.promoted_at or 0.0, default=None)
    store.roll_back(profile, before.id if before else None)
    return store.adapter(before.id) if before else None


def _write_manifest(adapter: Adapter) -> None:
    """Everything the store knows of it but the sampled texts, so that the folder explains itself."""
    values = asdict(adapter)
    del values["state"], values["promoted_at"], values["path"]
    values["verdict"] = {"reasons": adapter.verdict.reasons, "figures": dict(adapter.verdict.figures)}
    target = Path(adapter.path) / MANIFEST
    beside = target.with_suffix(".tmp")
    beside.write_text(json.dumps(values, indent=2) + "\n")
    beside.chmod(0o600)
    beside.replace(target)
