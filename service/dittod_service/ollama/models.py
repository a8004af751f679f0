"""What ollama's clients ask about models: names with tags, sizes, capabilities. Pure.

Every name is listed with the tag `latest`, as ollama does: Open WebUI looks for it. What is not known before the model
has been loaded once is empty.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from pydantic import AliasChoices, Field
from typing_extensions import TypedDict

from dittod.engine.protocol import Ready
from dittod.serving import ServedModel
from dittod_service.ollama.answer import rfc3339
from dittod_service.openai.request import ModelName, ModelRequest

# The version whose API this is: 0.12.11 brought log-probs, and what came later is not here. VS Code's Copilot asks for
# 0.6.4 at least.
VERSION = "0.12.11"
TAG = ":latest"
NEVER = "9999-12-31T23:59:59.000000Z"  # when a loaded model leaves: the engine decides when nobody uses it


class ShowRequest(ModelRequest):
    model: ModelName = Field(validation_alias=AliasChoices("model", "name"))  # Continue asks in the older way


class Version(TypedDict):
    """Of ollama, whose API this is."""

    version: str


class Details(TypedDict):
    """What a model is made of."""

    parent_model: str
    format: str
    family: str
    families: list[str] | None
    parameter_size: str
    quantization_level: str


class Model(TypedDict):
    """What the lists say of a model."""

    name: str
    model: str
    size: int
    digest: str
    details: Details


class Listed(Model):
    """A model that can be asked for."""

    modified_at: str


class Loaded(Model):
    """A model in memory."""

    expires_at: str
    size_vram: int
    context_length: int


class Tags(TypedDict):
    """All models."""

    models: list[Listed]


class Processes(TypedDict):
    """All models in memory."""

    models: list[Loaded]


class Shown(TypedDict):
    """One model."""

    parameters: str
    template: str
    details: Details
    model_info: dict[str, object]
    capabilities: list[str]
    modified_at: str


def to_version() -> Version:
    """`/api/version`."""
    return {"version": VERSION}


def to_tags(models: Iterable[ServedModel], ready: Ready | None) -> Tags:
    """`/api/tags`: all models."""
    return {"models": [{**_model(each, ready), "modified_at": rfc3339(each.created_at)} for each in models]}


def to_loaded(models: Iterable[ServedModel], ready: Ready | None) -> Processes:
    """`/api/ps`: the models in memory, which are all of one base, or none."""
    if ready is None:
        return {"models": []}
    context = ready.context_tokens
    return {
        "models": [
            {**_model(each, ready), "expires_at": NEVER, "size_vram": 0, "context_length": context} for each in models
        ]
    }


def to_show(model: ServedModel, ready: Ready) -> Shown:
    """`/api/show`: one model."""
    architecture = ready.architecture or "unknown"
    return {
        "parameters": f"num_ctx                        {ready.context_tokens}",
        "template": "{{ .Prompt }}{{ .Suffix }}" if ready.fills_in else "",  # Continue looks for .Suffix in it
        "details": _details(model, ready),
        "model_info": {
            "general.architecture": architecture,
            "general.basename": model.name,
            "general.parameter_count": ready.parameters,
            f"{architecture}.context_length": ready.context_tokens,
            f"{architecture}.embedding_length": ready.embedding_size,
        },
        "capabilities": _capabilities(ready),
        "modified_at": rfc3339(model.created_at),
    }


def _model(model: ServedModel, ready: Ready | None) -> Model:
    answers = f"{model.root}\n{model.adapter.id if model.adapter else ''}"
    return {
        "name": model.name + TAG,
        "model": model.name + TAG,
        "size": ready.memory_bytes if ready else 0,
        "digest": hashlib.sha256(answers.encode()).hexdigest(),
        "details": _details(model, ready),
    }


def _details(model: ServedModel, ready: Ready | None) -> Details:
    family = ready.architecture if ready else ""
    return {
        "parent_model": model.parent or "",
        "format": "safetensors",
        "family": family,
        "families": [family] if family else None,
        "parameter_size": _rounded(ready.parameters) if ready else "",
        "quantization_level": "",
    }


def _capabilities(ready: Ready) -> list[str]:
    found = ["completion", "tools"]
    return found + ["insert"] * ready.fills_in + ["thinking"] * ready.reasons


def _rounded(parameters: int) -> str:
    """A number as ollama writes it: '8.0B'."""
    for unit, letter in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if parameters >= unit:
            return f"{parameters / unit:.1f}{letter}"
    return str(parameters)
