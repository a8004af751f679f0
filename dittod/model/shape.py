"""A model's dimensions, from its config.json: no weights, no network, no torch.

Knows decoders of dense layers (attention with four projections, an MLP with three) as Llama, Qwen, Mistral and Gemma
are; an MLP of two matrices is counted as three, so its weights come out larger than they are. Knows nothing of memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError

from dittod.errors import ModelError
from dittod.starter import starter_path

EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")  # as Qwen, Mixtral and DeepSeek call them


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What decides how much memory a model takes. Widths are numbers of features."""

    layers: int
    hidden: int
    intermediate: int  # width of the MLP
    query: int  # width of all query heads together
    key_value: int  # width of all key heads together; that of the value heads is the same
    heads: int
    vocabulary: int
    tied: bool  # the head is the embedding
    query_key_norms: bool  # queries and keys are normalised per head, as Qwen 3 and Gemma 3 do
    context_tokens: int

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """The linear layers of one block, by name: features in, features out."""
        d, f, q, kv = self.hidden, self.intermediate, self.query, self.key_value
        attention = {"q_proj": (d, q), "k_proj": (d, kv), "v_proj": (d, kv), "o_proj": (q, d)}
        return attention | {"gate_proj": (d, f), "up_proj": (d, f), "down_proj": (f, d)}

    @property
    def linear_parameters(self) -> int:
        """Of all linear layers but the head: what quantisation makes smaller."""
        return self.layers * sum(wide * high for wide, high in self.linears.values())

    @property
    def embedding_parameters(self) -> int:
        """Of the embedding, and of the head where it is another matrix."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2)


def shape_of(text: Mapping[str, Any]) -> ModelShape:
    """The dimensions in a config as transformers fills it up. Raises KeyError for one that is missing, ModelError for
    experts."""
    if experts := next((text[name] for name in EXPERTS if text.get(name)), 0):
        raise ModelError(f"the base model mixes {experts} experts", "choose a dense model: this one cannot be planned")
    heads = int(text["num_attention_heads"])
    head_width = int(text.get("head_dim") or text["hidden_size"] // heads)
    family = str(text.get("model_type", ""))
    return ModelShape(
        layers=int(text["num_hidden_layers"]),
        hidden=int(text["hidden_size"]),
        intermediate=int(text["intermediate_size"]),
        query=heads * head_width,
        key_value=int(text.get("num_key_value_heads") or heads) * head_width,
        heads=heads,
        vocabulary=int(text["vocab_size"]),
        tied=bool(text.get("tie_word_embeddings", family.startswith("gemma"))),  # Gemma's default is the other one
        query_key_norms=family.startswith(("qwen3", "gemma3")),
        context_tokens=int(text.get("max_position_embeddings", 2048)),  # as model.load assumes too
    )


def config_path(name: str) -> Path:
    """Where the config.json of a model lies that is given as the settings give it. Raises ModelError."""
    folder = starter_path() if name == "starter" else Path(name).expanduser()
    try:
        is_folder = folder.is_dir()
        found = folder / "config.json" if is_folder else _in_hub_cache(name)
        if found is not None and found.is_file():
            return found
    except OSError as error:
        raise ModelError(
            f"base model {name!r} cannot be read: {error.strerror}", "give base_model a folder that you can read"
        ) from error
    raise ModelError(
        f"there is no config.json in {name}"
        if is_folder
        else f"base model {name!r} is no folder, and no model of that name was downloaded",
        "give base_model a folder, 'starter', or a hub id after: dittod init --model ID",
    )


def _in_hub_cache(name: str) -> Path | None:
    try:
        found = try_to_load_from_cache(name, "config.json")
    except HFValidationError:  # neither a folder nor a possible hub id
        return None
    return Path(found) if isinstance(found, str) else None
