"""`/v1/models`: the names that requests can give. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from typing_extensions import TypedDict

from dittod.serving import ServedModel


class ModelObject(TypedDict):
    """One model. The last three are vLLM's."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    root: str  # the base model's name
    parent: str | None  # 'base' for adapters
    max_model_len: int | None  # null until the base model has been loaded once


class ModelList(TypedDict):
    """All models."""

    object: Literal["list"]
    data: list[ModelObject]


def to_list(models: Iterable[ServedModel]) -> ModelList:
    """All models."""
    return {"object": "list", "data": [to_model(model) for model in models]}


def to_model(model: ServedModel) -> ModelObject:
    """One model."""
    return {
        "id": model.name,
        "object": "model",
        "created": int(model.created_at),
        "owned_by": "dittod",
        "root": model.root,
        "parent": model.parent,
        "max_model_len": model.context_tokens,
    }
