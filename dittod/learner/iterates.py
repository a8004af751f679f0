"""DITTO's policy after each round but the last, on disk until the gate has judged: the last is not always the best.

    <directory>/iterate-000002    after two rounds: a digest, then safetensors; with a key, all of it encrypted
    <directory>/.iterate-000002   being written; never read

One file each, private, since a checkpoint that held them all would be written again and again. A file that is torn,
damaged or of another update is passed over. Knows files and weights, nothing of the method.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from dittod.errors import DittodError
from dittod.learner.checkpoint import sync_folder, write_private
from dittod.sealing import Cipher

_NAME = "iterate-"
_DIGEST_BYTES = 32


def save(directory: Path, fingerprint: str, number: int, weights: dict[str, torch.Tensor], key: str = "") -> None:
    """Write one beside and rename it. Raises OSError where the disk takes nothing."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / f"{_NAME}{number:06d}"
    content = save_tensors(weights)
    content = _digest(fingerprint, path.name, content) + content
    if key:
        content = Cipher(bytes.fromhex(key)).close(content, path.name)
    unfinished = directory / f".{path.name}"
    try:
        write_private(unfinished, content)
    except OSError:  # what it took of a full disk, others need
        unfinished.unlink(missing_ok=True)
        raise
    unfinished.rename(path)
    sync_folder(directory)


def load(directory: Path, fingerprint: str, number: int, key: str = "") -> dict[str, torch.Tensor] | None:
    """One that is whole, opens with this key and belongs to this update; else None."""
    path = directory / f"{_NAME}{number:06d}"
    try:
        content = path.read_bytes()
        if key:
            content = Cipher(bytes.fromhex(key)).open(content, path.name)
    except (OSError, DittodError):
        return None
    digest, weights = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    return load_tensors(weights) if digest == _digest(fingerprint, path.name, weights) else None


def _digest(fingerprint: str, name: str, weights: bytes) -> bytes:
    return hashlib.sha256(f"{fingerprint} {name} ".encode() + weights).digest()
