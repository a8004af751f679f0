"""What a kill has left behind in a home, cleared away at the next start. Knows folders and rows, and runs none."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import psutil

from dittod import adapters
from dittod.paths import Home
from dittod.runs import OPEN
from dittod.store import Store

log = logging.getLogger("dittod")


def sweep(home: Home, store: Store) -> None:
    """Folders of runs that ended, half-written adapters, edited prompts."""
    open_runs = {run.id for run in store.runs(*OPEN)}
    if not open_runs and (count := adapters.restore(store, home.adapters)):
        log.warning("%d versions that the store did not know are listed again, as candidates", count)
    known = {Path(each.path).name for each in store.adapters()}
    for folder in home.runs.iterdir():
        if folder.name not in open_runs:
            shutil.rmtree(folder, ignore_errors=True)
    editing = home.root / "editing"
    if not any(map(_is_edited, editing.glob("prompt-*.md"))):
        shutil.rmtree(editing, ignore_errors=True)  # with what the editor keeps besides
    if not open_runs:
        for folder in home.adapters.iterdir():
            if folder.name not in known and adapters.is_unfinished(folder):
                shutil.rmtree(folder, ignore_errors=True)
            elif folder.name not in known:
                log.warning("a version in the folder adapters stays unlisted: its manifest cannot be read")


def _is_edited(prompt: Path) -> bool:
    """Whether the `dittod demos edit` that made it lives. A process that began later has only got the same number."""
    try:
        began = psutil.Process(int(prompt.stem.removeprefix("prompt-"))).create_time()
        return began < prompt.stat().st_mtime + 1.0
    except (OSError, ValueError, psutil.Error):
        return False
