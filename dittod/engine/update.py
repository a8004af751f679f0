"""One update from end to end: learn, judge, keep the candidate on disk. Can be left alone after any micro-step.

What is on disk decides where a killed update goes on: learning at its checkpoint, judging from the start (it is short
and seeded), saving under the name of the content, which is the same again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Generator
from pathlib import Path

from dittod.engine.protocol import AdapterRef, Progress, Update, Updated
from dittod.judge.candidates import LENT
from dittod.judge.gate import Judgement, judge
from dittod.learner.checkpoint import sync_folder
from dittod.learner.ditto import run
from dittod.learner.task import POLICY, REFERENCE
from dittod.learner.workbench import Workbench
from dittod.model.load import BaseModel


def update(workbench: Workbench, update: Update) -> Generator[Progress, None, Updated]:
    """Yields after each micro-step; returns the candidate's place on disk with the gate's verdict."""
    try:
        outcome = yield from run(workbench, update)
        judgement = yield from judge(workbench, update, outcome)
        yield Progress(update.id, "saving", 0, 1)
        adapter = keep(workbench, update, judgement)
        yield Progress(update.id, "saving", 1, 1)
        return Updated(update.id, adapter, judgement.verdict, judgement.recipe)
    finally:
        for name in (POLICY, REFERENCE, LENT):
            if name in workbench.adapters:
                workbench.adapters.drop(name)


def keep(workbench: Workbench, update: Update, judgement: Judgement) -> AdapterRef:
    """Make the version's folder, named by its content: weights in PEFT's format, or none, and the recipe where examples
    belong to it. Nothing happens where it is there already."""
    directory = Path(update.adapters_directory)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = directory / f".{update.id}"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    try:
        if judgement.adapter is not None:
            workbench.adapters.save(judgement.adapter, unfinished)
    except Exception:  # what it took of a full disk, others need
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    digest = hashlib.sha256(_beside_weights(workbench.base, update, judgement))
    for path in sorted(unfinished.iterdir()):
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
        path.chmod(0o600)
        _sync_file(path)
    sync_folder(unfinished)
    final = directory / digest.hexdigest()
    if final.exists():
        shutil.rmtree(unfinished)
    else:
        unfinished.rename(final)
        sync_folder(directory)
    return AdapterRef(final.name, str(final), judgement.adapter is not None, judgement.recipe.examples)


def _beside_weights(base: BaseModel, update: Update, judgement: Judgement) -> bytes:
    """What makes a version another one beside its weights. Without any, the model they would be on does, and the texts
    that its examples were chosen from."""
    recipe: dict[str, object] = {"examples": judgement.recipe.examples} if judgement.recipe.examples else {}
    if judgement.adapter is None:
        pool = sorted(each.id for each in update.pool)
        recipe |= {"base": [base.name, base.revision, base.template_sha256], "pool": pool}
    return json.dumps(recipe, sort_keys=True).encode() if recipe else b""


def _sync_file(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
