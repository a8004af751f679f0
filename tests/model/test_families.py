"""Decoding is right for the families of models that people use: tiny random ones, with windows of eight tokens.

Gemma 2 caps its scores and logits, Gemma 2 and 3 alternate window and full layers, Mistral has a window everywhere,
Qwen 3 normalises queries and keys. The reference is again transformers' own `generate`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
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

from dittod.engine.protocol import Sampling
from dittod.model.decode import Decoder, Row
from dittod.model.load import BaseModel, load_base
from dittod.model.lora import LoraAdapters, LoraShape

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


def decoded_in_company(base: BaseModel, adapters: LoraAdapters, sampling: Sampling) -> list[Row]:
    """Prompts shorter and longer than the window; each joins a running batch, and they leave at different times."""
    adapters.create("voice", LoraShape(rank=4), seed=0)
    generator = torch.Generator().manual_seed(1)
    for value in adapters.parameters("voice"):
        value.data.copy_(torch.randn(value.shape, generator=generator) * 0.2)
    decoder = Decoder(base, adapters, max_rows=4)
    rows = []
    for tokens, adapter, length in [(3, None, 40), (30, None, 12), (17, "voice", 20), (60, None, 24)]:
        ids = torch.randint(0, 256, (tokens,), generator=generator).tolist()
        rows += decoder.submit(ids, replace(sampling, max_tokens=length), adapter=adapter)
        for _ in range(4):
            decoder.step()
    while decoder.busy:
        decoder.step()
    return rows


@pytest.mark.parametrize("name", FAMILIES)
def test_the_likeliest_tokens_are_those_of_generate(name: str, tmp_path: Path) -> None:
    base = family(tmp_path, FAMILIES[name])
    adapters = LoraAdapters(base)
    for row in decoded_in_company(base, adapters, Sampling(temperature=0)):
        with adapters.active(row.adapter), torch.no_grad():
            whole = base.model.generate(
                torch.tensor([row.prompt_ids]),
                attention_mask=torch.ones(1, len(row.prompt_ids), dtype=torch.long),
                do_sample=False,
                max_new_tokens=row.limit,
            )
        assert row.token_ids == whole[0, len(row.prompt_ids) :].tolist()


@pytest.mark.parametrize("name", FAMILIES)
def test_log_probabilities_of_drawn_tokens_are_those_of_a_forward_without_any_cache(name: str, tmp_path: Path) -> None:
    """Greedy answers of random models soon repeat themselves; drawn ones do not, and show every wrong mask."""
    base = family(tmp_path, FAMILIES[name])
    adapters = LoraAdapters(base)
    for row in decoded_in_company(base, adapters, Sampling(seed=7)):
        assert len(set(row.token_ids)) > 8
        ids = torch.tensor([[*row.prompt_ids, *row.token_ids]])
        with adapters.active(row.adapter), torch.no_grad():
            logits = base.model(ids, use_cache=False).logits[0, len(row.prompt_ids) - 1 : -1]  # (tokens, vocabulary)
        expected = logits.log_softmax(-1).gather(-1, torch.tensor(row.token_ids)[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(row.logps), expected, atol=5e-5, rtol=1e-5)
