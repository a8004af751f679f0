"""A small table of base models that learning works with: instruct models of the families that dittod knows.

Dimensions and numbers of parameters are those of the models' own files; the parameters follow from the dimensions to
the last one. Knows what a model is, and nothing of machines, downloads or what is on this disk.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from dittod.model.shape import ModelShape, shape_of
from dittod.starter import starter_path

STARTER = "starter"


@dataclass(frozen=True, slots=True)
class KnownModel:
    """One row."""

    name: str  # the hub's id, or 'starter'
    parameters: int
    licence: str  # by its SPDX identifier, where it has one
    accept: bool  # on the model's page, by a user of the hub, before anything can be downloaded
    shape: ModelShape

    @property
    def weights_bytes(self) -> int:
        """What the hub's files of weights take, but for their headers: all of them are in bf16."""
        return 2 * self.parameters


def starter() -> KnownModel:
    """The embedded model: there without a download."""
    shape = shape_of(json.loads((starter_path() / "config.json").read_text(encoding="utf-8")))
    norms = (2 * shape.layers + 1) * shape.hidden
    parameters = shape.linear_parameters + shape.embedding_parameters + norms
    return KnownModel(STARTER, parameters, "Apache-2.0", False, shape)


MODELS = (
    KnownModel(
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        134_515_008,
        "Apache-2.0",
        False,
        ModelShape(
            layers=30,
            hidden=576,
            intermediate=1536,
            query=576,
            key_value=192,
            heads=9,
            vocabulary=49152,
            tied=True,
            query_key_norms=False,
            context_tokens=8192,
        ),
    ),
    KnownModel(
        "Qwen/Qwen2.5-0.5B-Instruct",
        494_032_768,
        "Apache-2.0",
        False,
        ModelShape(
            layers=24,
            hidden=896,
            intermediate=4864,
            query=896,
            key_value=128,
            heads=14,
            vocabulary=151936,
            tied=True,
            query_key_norms=False,
            context_tokens=32768,
        ),
    ),
    KnownModel(
        "meta-llama/Llama-3.2-1B-Instruct",
        1_235_814_400,
        "Llama 3.2",
        True,
        ModelShape(
            layers=16,
            hidden=2048,
            intermediate=8192,
            query=2048,
            key_value=512,
            heads=32,
            vocabulary=128256,
            tied=True,
            query_key_norms=False,
            context_tokens=131072,
        ),
    ),
    KnownModel(
        "Qwen/Qwen2.5-1.5B-Instruct",
        1_543_714_304,
        "Apache-2.0",
        False,
        ModelShape(
            layers=28,
            hidden=1536,
            intermediate=8960,
            query=1536,
            key_value=256,
            heads=12,
            vocabulary=151936,
            tied=True,
            query_key_norms=False,
            context_tokens=32768,
        ),
    ),
    KnownModel(
        "google/gemma-2-2b-it",
        2_614_341_888,
        "Gemma",
        True,
        ModelShape(
            layers=26,
            hidden=2304,
            intermediate=9216,
            query=2048,
            key_value=1024,
            heads=8,
            vocabulary=256000,
            tied=True,
            query_key_norms=False,
            context_tokens=8192,
        ),
    ),
    KnownModel(
        "meta-llama/Llama-3.2-3B-Instruct",
        3_212_749_824,
        "Llama 3.2",
        True,
        ModelShape(
            layers=28,
            hidden=3072,
            intermediate=8192,
            query=3072,
            key_value=1024,
            heads=24,
            vocabulary=128256,
            tied=True,
            query_key_norms=False,
            context_tokens=131072,
        ),
    ),
    KnownModel(
        "Qwen/Qwen3-4B-Instruct-2507",
        4_022_468_096,
        "Apache-2.0",
        False,
        ModelShape(
            layers=36,
            hidden=2560,
            intermediate=9728,
            query=4096,
            key_value=1024,
            heads=32,
            vocabulary=151936,
            tied=True,
            query_key_norms=True,
            context_tokens=262144,
        ),
    ),
    KnownModel(
        "mistralai/Mistral-7B-Instruct-v0.3",
        7_248_023_552,
        "Apache-2.0",
        False,
        ModelShape(
            layers=32,
            hidden=4096,
            intermediate=14336,
            query=4096,
            key_value=1024,
            heads=32,
            vocabulary=32768,
            tied=False,
            query_key_norms=False,
            context_tokens=32768,
        ),
    ),
    KnownModel(
        "meta-llama/Llama-3.1-8B-Instruct",
        8_030_261_248,
        "Llama 3.1",
        True,
        ModelShape(
            layers=32,
            hidden=4096,
            intermediate=14336,
            query=4096,
            key_value=1024,
            heads=32,
            vocabulary=128256,
            tied=False,
            query_key_norms=False,
            context_tokens=131072,
        ),
    ),
)


def known(name: str) -> KnownModel | None:
    """The row of that name."""
    return next((each for each in (starter(), *MODELS) if each.name == name), None)
