"""Small honest stand-ins. Nothing here writes English, learns fast or resembles a real model beyond its interface.

`make_tiny_model` writes a real Hugging Face model folder (two random Llama layers over bytes), so that the loading,
decoding, adapter and learning code under test is the product's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from dittod.model.load import BaseModel, load_base
from dittod.types import Demonstration, demonstration_id

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message.role }}|>{{ message.content | trim }}{{ eos_token }}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIALS = ["<|bos|>", "<|eos|>", "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>"]


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """256 byte tokens and six special ones; every text comes back as it was."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={char: i for i, char in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)  # type: ignore[assignment]
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    tokenizer.add_special_tokens(SPECIALS)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|bos|>",
        eos_token="<|eos|>",
        pad_token="<|pad|>",
        chat_template=CHAT_TEMPLATE,
        model_max_length=512,
    )


def make_tiny_model(folder: Path, *, seed: int = 0, config: Any = None) -> Path:
    """A random two-layer Llama with grouped queries and tied embeddings, saved as a model folder; returns it."""
    tokenizer = byte_tokenizer()
    config = config or LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
        with torch.no_grad():
            for value in model.parameters():
                if value.dim() == 2:
                    value.mul_(4.0)  # random weights this large make log-probs that differ visibly between tokens
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_base(folder: Path, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> BaseModel:
    """The tiny model, loaded by the product's own code and computed in `dtype` (float64 for exact gradients)."""
    from dataclasses import replace

    base = load_base(str(make_tiny_model(folder, seed=seed)), device="cpu")
    base.model.to(dtype)
    return replace(base, dtype=dtype)


def demonstration(prompt: str, completion: str, *, written_at: float = 0.0) -> Demonstration:
    """A demonstration whose source is nobody's document."""
    return Demonstration(demonstration_id(prompt, completion), prompt, completion, "0" * 64, written_at)
