"""A training state on disk, from which a killed update goes on to the same bits. Private: folders 0700, files 0600.

    <directory>/checkpoint-000020-round/   policy.safetensors reference.safetensors optimiser.pt state.json seal.json
    <directory>/checkpoint-000021-step/    the same, between two steps
    <directory>/.checkpoint-…              being written; never read

A checkpoint is written beside, synced and renamed; only then are its predecessors removed: by one of a round all, by
one of a step those of steps. The number counts up. `seal.json` holds the SHA-256 of every other file, the format and
the fingerprint of the update: a checkpoint that is torn, damaged, another version's or another update's is passed
over. Randomness needs no place in here (see chance.py). Nothing is unpickled beyond plain tensors. With a key, all but
`seal.json` lies encrypted: its digests are of what lies there.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from dittod.errors import DittodError
from dittod.sealing import Cipher
from dittod.types import Sample

_NAME = "checkpoint-"
_SEAL = "seal.json"
_FORMAT = 2  # of state.json: counts up with TrainingState and Sample
Kind = Literal["round", "step"]
Tensors = dict[str, torch.Tensor]


@dataclass(slots=True)
class TrainingState:
    """Where an update stands, beside the weights."""

    stage: Literal["supervised", "preference"] = "supervised"
    step: int = 0  # steps taken in the stage
    seconds: float = 0.0  # of learning, both stages; work that was lost or started over is not in it
    optimiser: str = ""  # its class: another budget may choose another, which cannot read its state
    samples: dict[int, tuple[Sample, ...]] = field(default_factory=dict[int, tuple[Sample, ...]])  # by iteration
    reference_logps: dict[str, float] = field(default_factory=dict[str, float])  # of the demonstrations, by id
    steps_below: int = 0  # steps in a row with the demonstrations below the reference
    stopped: str | None = None  # why learning ended early, a sentence
    figures: dict[str, float] = field(default_factory=dict[str, float])  # of the last step


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All of it."""

    state: TrainingState
    policy: Tensors
    reference: Tensors  # {} in the supervised stage
    optimiser: dict[str, Any]  # torch's state_dict


def save(directory: Path, fingerprint: str, checkpoint: Checkpoint, kind: Kind, key: str = "") -> None:
    """Write it, sealed if there is a key (hexadecimal), then remove older ones. A kill at any moment leaves the newest
    complete one in place.

    One of a step leaves the latest of a round where it is: what a divergence goes back to must not depend on pauses.
    Raises OSError where the disk takes nothing; then all is as before.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    before = sorted(directory.glob(f"{_NAME}*"))
    number = 1 + max((int(each.name.split("-")[1]) for each in before), default=0)
    name = f"{_NAME}{number:06d}-{kind}"
    unfinished = directory / f".{name}"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    contents = _closed(name, _contents(checkpoint), key)
    try:
        for each, content in contents.items():
            write_private(unfinished / each, content)
        write_private(unfinished / _SEAL, _seal(fingerprint, contents, sealed=bool(key)))
    except OSError:  # what it took of a full disk, others need
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    sync_folder(unfinished)
    unfinished.rename(directory / name)
    sync_folder(directory)
    kept = [each for each in before if each.name.endswith("-round")][-1:] if kind == "step" else []
    for other in directory.glob(f"*{_NAME}*"):
        if other.name != name and other not in kept:
            shutil.rmtree(other, ignore_errors=True)


def load(directory: Path, fingerprint: str, kind: Kind | Literal["*"] = "*", key: str = "") -> Checkpoint | None:
    """The newest one (of a kind) that is whole, opens with this key and belongs to this update, if any."""
    for folder in sorted(directory.glob(f"{_NAME}*-{kind}"), reverse=True):
        contents = _opened(folder, _whole(folder, fingerprint, sealed=bool(key)), key)
        if contents is not None:
            return Checkpoint(
                _state(json.loads(contents["state.json"])),
                load_tensors(contents["policy.safetensors"]),
                load_tensors(contents["reference.safetensors"]),
                torch.load(io.BytesIO(contents["optimiser.pt"]), weights_only=True),
            )
    return None


def _contents(checkpoint: Checkpoint) -> dict[str, bytes]:
    """Every file of it but the seal."""
    optimiser = io.BytesIO()
    torch.save(checkpoint.optimiser, optimiser)
    return {
        "policy.safetensors": save_tensors(checkpoint.policy),
        "reference.safetensors": save_tensors(checkpoint.reference),
        "optimiser.pt": optimiser.getvalue(),
        "state.json": json.dumps(asdict(checkpoint.state)).encode(),
    }


def _closed(name: str, contents: dict[str, bytes], key: str) -> dict[str, bytes]:
    if not key:
        return contents
    cipher = Cipher(bytes.fromhex(key))
    return {each: cipher.close(content, f"{name}/{each}") for each, content in contents.items()}


def _seal(fingerprint: str, contents: Mapping[str, bytes], *, sealed: bool) -> bytes:
    digests = {each: hashlib.sha256(content).hexdigest() for each, content in contents.items()}
    return json.dumps({"format": _FORMAT, "fingerprint": fingerprint, "sealed": sealed, "sha256": digests}).encode()


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
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # a network drive that cannot
            raise
    finally:
        os.close(descriptor)


def _whole(folder: Path, fingerprint: str, *, sealed: bool) -> dict[str, bytes] | None:
    """Its files as they lie there, if they are those that were written."""
    try:
        seal = json.loads((folder / _SEAL).read_bytes())
        contents = {each: (folder / each).read_bytes() for each in seal["sha256"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    whole = all(hashlib.sha256(contents[each]).hexdigest() == digest for each, digest in seal["sha256"].items())
    made = (seal.get("format"), seal.get("fingerprint"), seal.get("sealed", False))
    return contents if whole and made == (_FORMAT, fingerprint, sealed) else None


def _opened(folder: Path, contents: dict[str, bytes] | None, key: str) -> dict[str, bytes] | None:
    if contents is None or not key:
        return contents
    try:
        cipher = Cipher(bytes.fromhex(key))
        return {each: cipher.open(content, f"{folder.name}/{each}") for each, content in contents.items()}
    except DittodError:  # sealed with another store's key
        return None


def _state(raw: dict[str, Any]) -> TrainingState:
    samples = {
        int(iteration): tuple(Sample(**{**each, "token_ids": tuple(each["token_ids"])}) for each in drawn)
        for iteration, drawn in raw.pop("samples").items()
    }
    return TrainingState(samples=samples, **raw)
