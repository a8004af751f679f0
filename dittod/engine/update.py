"""One update from end to end: learn, judge, keep the candidate on disk. Can be left alone after any micro-step.

What is on disk decides where a killed update goes on: learning at its checkpoint, judging from the start (it is short
and seeded), saving under the name of the content, which is the same again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Generator
from pathlib import Path

from dittod.engine.protocol import AdapterRef, Progress, Update, Updated
from dittod.judge.gate import judge
from dittod.learner.checkpoint import sync_folder
from dittod.learner.ditto import run
from dittod.learner.task import POLICY, REFERENCE
from dittod.learner.workbench import Workbench
from dittod.model.lora import LoraAdapters


def update(workbench: Workbench, update: Update) -> Generator[Progress, None, Updated]:
    """Yields after each micro-step; returns the candidate's place on disk with the gate's verdict."""
    try:
        outcome = yield from run(workbench, update)
        judgement = yield from judge(workbench, update, outcome)
        yield Progress(update.id, "saving", 0, 1)
        adapter = keep(workbench.adapters, judgement.adapter, Path(update.adapters_directory), update.id)
        yield Progress(update.id, "saving", 1, 1)
        return Updated(update.id, adapter, judgement.verdict)
    finally:
        for name in (POLICY, REFERENCE):
            if name in workbench.adapters:
                workbench.adapters.drop(name)


def keep(adapters: LoraAdapters, name: str, directory: Path, run_id: str) -> AdapterRef:
    """Save an adapter in PEFT's format in a folder named by its content. Nothing happens where it is there already."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = directory / f".{run_id}"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    try:
        adapters.save(name, unfinished)
    except Exception:  # what it took of a full disk, others need
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    files = sorted(unfinished.iterdir())
    digest = hashlib.sha256()
    for path in files:
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
    return AdapterRef(final.name, str(final))


def _sync_file(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
