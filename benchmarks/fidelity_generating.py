"""The expensive half of the fidelity benchmark: learn, write, score; results lie in a folder and are never made twice.

    WORK/<corpus>/<author>/<variant>-<seed>/   result.json  <policy>.safetensors

An item is one run of the method for one author, with everything that is written by what came of it. It is written
beside and renamed, so that whatever is there is whole. Knows the learner; knows no judge. The folder holds texts that
the models wrote in the manner of real people: it is private and belongs outside the repository.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from fidelity_corpora import Author, Sizes
from fidelity_methods import MAIN, VARIANTS, Prompts
from fidelity_preferences import learn_from_preferences
from fidelity_writing import Desk, Policy
from safetensors.torch import save_file

from dittod.engine.protocol import Update
from dittod.engine.room import Room
from dittod.learner.ditto import run
from dittod.learner.preset import CLEAN
from dittod.learner.task import POLICY, REFERENCE
from dittod.learner.workbench import Workbench
from dittod.model.load import BaseModel, load_base
from dittod.model.lora import LoraAdapters, LoraShape

WITH_ITERATES = (MAIN, "iterations_6")  # the policy after each iteration writes too

Policies = dict[str, Policy]


@dataclass(frozen=True, slots=True)
class Settings:
    """What all items of a folder have in common."""

    model: str
    sizes: Sizes
    numbers: Mapping[str, float]  # of the main run, over those of the preset


@dataclass(frozen=True, slots=True)
class Item:
    """One run for one author."""

    author: Author
    variant: str
    seed: int

    def folder(self, work: Path) -> Path:
        """Where its result is, once it is there."""
        return work / self.author.corpus / self.author.name / f"{self.variant}-{self.seed}"


@dataclass(frozen=True, slots=True)
class Engine:
    """One process's model."""

    base: BaseModel
    adapters: LoraAdapters
    room: Room


def claim(work: Path, settings: Settings) -> None:
    """Make the folder, or see that what lies there was made with the same settings."""
    work.mkdir(mode=0o700, parents=True, exist_ok=True)
    note, wanted = work / "settings.json", json.loads(json.dumps(asdict(settings)))
    if not note.exists():
        note.write_text(json.dumps(wanted))
    if json.loads(note.read_text()) != wanted:
        sys.exit(f"{work} was made with other settings: give another --work, or the settings that {note} names")


def generate(items: Sequence[Item], work: Path, settings: Settings, processes: int) -> None:
    """Make what is not there yet, in the order given."""
    left = [each for each in items if not each.folder(work).exists()]
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawned, initializer=_begin, initargs=(settings,)) as pool:
        waiting: dict[Future[float], Item] = {pool.submit(_make, each, work, settings): each for each in left}
        for done, finished in enumerate(as_completed(waiting), start=1):
            item, seconds = waiting[finished], finished.result()
            where = f"{item.author.corpus} {item.author.name} {item.variant} {item.seed}"
            print(f"{done} of {len(left)}: {where}, {seconds:.0f} s", file=sys.stderr, flush=True)


_engines: list[Engine] = []  # of this process: one


def _begin(settings: Settings) -> None:
    torch.set_num_threads(1)
    room = Room.of(settings.model, None)
    base = load_base(settings.model, quantisation=room.quantisation("auto", CLEAN))
    _engines.append(Engine(base, LoraAdapters(base), room))


def _make(item: Item, work: Path, settings: Settings) -> float:
    begun, final = time.monotonic(), item.folder(work)
    with tempfile.TemporaryDirectory(prefix=".run-", dir=work) as folder:
        result, policies = _run(_engines[0], item, settings, Path(folder))
        seconds = time.monotonic() - begun
        unfinished = Path(folder) / "result"
        unfinished.mkdir()
        (unfinished / "result.json").write_text(json.dumps({**result, "seconds": seconds}))
        for name, tensors in policies.items():
            save_file(tensors, unfinished / f"{name}.safetensors")
        final.parent.mkdir(parents=True, exist_ok=True)
        unfinished.rename(final)
    return seconds


def _run(engine: Engine, item: Item, settings: Settings, folder: Path) -> tuple[dict[str, Any], Policies]:
    update = _update(item, settings, folder / "run")
    bench = engine.room.workbench(engine.base, engine.adapters, update)
    try:
        if VARIANTS[item.variant].warm:
            half = item.author.learnt[: len(item.author.learnt) // 2]
            before, _ = learn(bench, replace(update, demonstrations=half, directory=str(folder / "before")), MAIN)
            bench.adapters = WarmAdapters(engine.adapters, before[MAIN])  # type: ignore[assignment]
        if pairs := VARIANTS[item.variant].preferences:
            policies, stopped = {item.variant: learn_from_preferences(bench, update, pairs)}, None
        else:
            policies, stopped = learn(bench, update, item.variant)
        desk = Desk(bench, item.author, item.seed)
        methods = {name: desk.write(name, *writing) for name, writing in _writings(desk, item, policies).items()}
    finally:
        for name in engine.adapters.names():
            engine.adapters.drop(name)
    return {"methods": methods, "stopped": stopped, "tests": [each.id for each in item.author.tests]}, policies


def _update(item: Item, settings: Settings, directory: Path) -> Update:
    variant, learnt = VARIANTS[item.variant], item.author.learnt
    return Update(
        id=item.variant,
        directory=str(directory),
        adapters_directory="",
        preset="clean",
        seed=item.seed,
        demonstrations=learnt if variant.learnt is None else learnt[-variant.learnt :],
        held_out=(),
        served=None,
        overrides=variant.overrides(settings.numbers),
    )


def learn(bench: Workbench, update: Update, variant: str) -> tuple[Policies, str | None]:
    """Run it to its end: its policies by name, and why it ended early, if it did."""
    every = int(update.overrides["resample_every"])
    policies: Policies = {}
    work = run(bench, update)
    while _wanted():
        try:
            step = next(work)
        except StopIteration as end:
            outcome = end.value
            break
        whole = step.phase == "dpo" and step.completed_step and step.completed_step % every == 0
        if whole and step.done < step.of and variant in WITH_ITERATES:
            policies[f"{variant}_{step.completed_step // every}"] = bench.adapters.state(POLICY)
    if variant == MAIN:
        policies["sft"] = bench.adapters.state(REFERENCE)
    policies[variant] = bench.adapters.state(POLICY)
    return policies, outcome.stopped


def _wanted() -> bool:
    """Ends this process where the one that started it is gone: killed, it cannot say so."""
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        sys.exit(1)
    return True


class WarmAdapters:
    """The adapters, but a fresh one begins as another has ended."""

    def __init__(self, adapters: LoraAdapters, weights: Policy) -> None:
        self._adapters = adapters
        self._weights = weights

    def __getattr__(self, name: str) -> Any:
        return getattr(self._adapters, name)

    def create(self, name: str, shape: LoraShape, *, seed: int) -> None:
        """Not from the base."""
        self._adapters.create(name, shape, seed=seed)
        self._adapters.load_state(name, self._weights)


def _writings(desk: Desk, item: Item, policies: Policies) -> dict[str, tuple[Policy | None, Prompts]]:
    """Whose weights write after which prompts. What needs no learning is written beside the main run."""
    found: dict[str, tuple[Policy | None, Prompts]] = {
        name: (weights, desk.prompter.plain) for name, weights in policies.items()
    }
    if item.variant == MAIN:
        prompter = desk.prompter
        manner = desk.manner()
        found |= {
            "zero_shot": (None, prompter.plain),
            "few_shot": (None, prompter.few_shot),
            "self_prompt": (None, lambda task: prompter.described(task, manner)),
            "sft_few_shot": (policies["sft"], prompter.few_shot),
            "ditto_few_shot": (policies[MAIN], prompter.few_shot),
        }
    return found
