"""What is told of the base model to those who ask: its kind, its size, what it can do."""

from __future__ import annotations

from typing import Any

from dittod.model.chat import dialect_for
from dittod.model.infill import fills_in
from dittod.model.load import BaseModel


def facts(base: BaseModel) -> dict[str, Any]:
    """The fields of Ready that nobody else knows."""
    config = base.model.config.get_text_config()
    return {
        "architecture": str(config.model_type),
        "parameters": int(base.model.num_parameters()),
        "embedding_size": int(config.hidden_size),
        "reasons": dialect_for(base).reasons,
        "fills_in": fills_in(base),
    }
