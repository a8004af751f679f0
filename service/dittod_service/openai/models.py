"""`/v1/models`: the names that requests can give. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from dittod.serving import ServedModel
from dittod_service.openai.errors import JsonObject


def to_list(models: Iterable[ServedModel]) -> JsonObject:
    """All models."""
    return {"object": "list", "data": [to_model(model) for model in models]}


def to_model(model: ServedModel) -> JsonObject:
    """One model; `root`, `parent` and `max_model_len` as vLLM names them."""
    return {
        "id": model.name,
        "object": "model",
        "created": int(model.created_at),
        "owned_by": "dittod",
        "root": model.root,
        "parent": model.parent,
        "max_model_len": model.context_tokens,
    }
