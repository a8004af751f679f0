"""A training state on disk, from which a killed update goes on to the same bits. Private: folders 0700, files 0600.

    <directory>/checkpoint-000020/   policy.safetensors reference.safetensors optimiser.pt state.json seal.json
    <directory>/.checkpoint-…        being written; never read

A checkpoint is written beside, synced and renamed; only then are its predecessors removed. `seal.json` holds the
SHA-256 of every other file and the fingerprint of the update: a checkpoint that is torn, damaged or another update's
is passed over. Randomness needs no place in here (see chance.py). Nothing is unpickled beyond plain tensors.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from dittod.types import Sample

_NAME = "checkpoint-"
_SEAL = "seal.json"
Tensors = dict[str, torch.Tensor]


@dataclass(slots=True)
class TrainingState:
    """Where the preference stage stands, beside the weights."""

    step: int = 0  # preference steps taken
    samples: dict[int, tuple[Sample, ...]] = field(default_factory=dict[int, tuple[Sample, ...]])  # by iteration
    reference_logps: dict[str, float] = field(default_factory=dict[str, float])  # of the demonstrations, by id
    steps_below: int = 0  # steps in a row with the demonstrations below the reference
    stopped: str | None = None  # why the stage ended early, a sentence
    figures: dict[str, float] = field(default_factory=dict[str, float])  # of the last step


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All of it."""

    state: TrainingState
    policy: Tensors
    reference: Tensors
    optimiser: dict[str, Any]  # torch's state_dict; {} before the first preference step


def save(directory: Path, fingerprint: str, checkpoint: Checkpoint) -> None:
    """Write it, then remove older ones. A kill at any moment leaves the newest complete one in place."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = checkpoint.state
    name = f"{_NAME}{state.step:06d}-{len(state.samples):03d}-{int(state.stopped is not None)}"
    unfinished = directory / f".{name}"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    optimiser = io.BytesIO()
    torch.save(checkpoint.optimiser, optimiser)
    contents = {
        "policy.safetensors": save_tensors(checkpoint.policy),
        "reference.safetensors": save_tensors(checkpoint.reference),
        "optimiser.pt": optimiser.getvalue(),
        "state.json": json.dumps(asdict(state)).encode(),
    }
    digests = {each: hashlib.sha256(content).hexdigest() for each, content in contents.items()}
    contents[_SEAL] = json.dumps({"fingerprint": fingerprint, "sha256": digests}).encode()
    for each, content in contents.items():
        write_private(unfinished / each, content)
    sync_folder(unfinished)
    shutil.rmtree(directory / name, ignore_errors=True)
    (unfinished).rename(directory / name)
    sync_folder(directory)
    for other in directory.glob(f"*{_NAME}*"):
        if other.name != name:
            shutil.rmtree(other, ignore_errors=True)


def load(directory: Path, fingerprint: str) -> Checkpoint | None:
    """The newest one that is whole and belongs to this update, if any."""
    for folder in sorted(directory.glob(f"{_NAME}*"), reverse=True):
        contents = _sealed(folder, fingerprint)
        if contents is not None:
            return Checkpoint(
                _state(json.loads(contents["state.json"])),
                load_tensors(contents["policy.safetensors"]),
                load_tensors(contents["reference.safetensors"]),
                torch.load(io.BytesIO(contents["optimiser.pt"]), weights_only=True),
            )
    return None


def write_private(path: Path, content: bytes) -> None:
    """A new file that only its owner may read, on the disk when this returns."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Put a folder's entries on the disk, where the system can (Windows cannot open folders)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sealed(folder: Path, fingerprint: str) -> dict[str, bytes] | None:
    try:
        seal = json.loads((folder / _SEAL).read_bytes())
        contents = {each: (folder / each).read_bytes() for each in seal["sha256"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    whole = all(hashlib.sha256(contents[each]).hexdigest() == digest for each, digest in seal["sha256"].items())
    return contents if whole and seal.get("fingerprint") == fingerprint else None


def _state(raw: dict[str, Any]) -> TrainingState:
    samples = {
        int(iteration): tuple(Sample(**{**each, "token_ids": tuple(each["token_ids"])}) for each in drawn)
        for iteration, drawn in raw.pop("samples").items()
    }
    return TrainingState(samples=samples, **raw)
