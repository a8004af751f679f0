"""Tiny random models of the families that people use, with windows of eight tokens.

Gemma 2 caps its scores and logits, Gemma 2 and 3 alternate window and full layers, Mistral has a window everywhere,
Qwen 3 normalises queries and keys.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from fakes import byte_tokenizer, make_tiny_model
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

from dittod.model.load import BaseModel, load_base

COMMON: dict[str, Any] = {
    "vocab_size": len(byte_tokenizer()),
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "bos_token_id": 256,
    "eos_token_id": 257,
    "pad_token_id": 258,
}
ALTERNATING = {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"] * 2}
FAMILIES: dict[str, Any] = {
    "llama without grouped queries": LlamaConfig(**COMMON | {"num_key_value_heads": 4}),
    "qwen2 with windows": Qwen2Config(**COMMON, **ALTERNATING, use_sliding_window=True),
    "qwen3": Qwen3Config(**COMMON),
    "mistral with a window": MistralConfig(**COMMON, sliding_window=8),
    "gemma2": Gemma2Config(
        **COMMON, **ALTERNATING, query_pre_attn_scalar=8, attn_logit_softcapping=3.0, final_logit_softcapping=4.0
    ),
    "gemma3": Gemma3TextConfig(**COMMON, **ALTERNATING, query_pre_attn_scalar=8),
}


def family(folder: Path, config: Any) -> BaseModel:
    """A random model of this family, loaded by the product's own code, that never ends an answer by itself."""
    make_tiny_model(folder)  # for the tokenizer; the model is written over
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
        with torch.no_grad():
            for value in model.parameters():
                if value.dim() == 2:
                    value.mul_(4.0)
    model.save_pretrained(folder)
    base = load_base(str(folder), device="cpu")
    base.model.to(torch.float32)
    base.model.generation_config.eos_token_id = None
    return replace(base, dtype=torch.float32, stop_token_ids=frozenset())
