"""Workbenches on the card over random models whose sizes suit 4-bit blocks, the same weights on the CPU, and steps.

Nothing here asserts; each model is made anew, since adapters wrap it in place.
"""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from fakes import byte_tokenizer, demonstration, finish, make_tiny_model
from transformers import LlamaConfig

from dittod.engine.protocol import Update
from dittod.learner.batch import Batch, TokenSequence
from dittod.learner.loss import LossWeights
from dittod.learner.step import backward_preferences
from dittod.learner.workbench import Workbench
from dittod.model.decode import Decoder
from dittod.model.load import BaseModel, load_base
from dittod.model.lora import LoraAdapters, LoraShape
from dittod.types import Plan, Quantisation

CARD = "cuda"
Gradient = list[torch.Tensor]

SHORT = {
    "supervised_steps": 6.0,
    "dpo_steps": 4.0,
    "resample_every": 2.0,
    "samples_per_demonstration": 3.0,
    "completion_tokens_least": 16.0,
    "guard_patience": 0.0,
}
PAIRS = (
    ("Ask Bo to lunch", "Bo, lunch at one? The usual place. A."),
    ("Thank Cy for the tea", "Cy, that tea was just right. Ta! A."),
    ("Tell Di that rain is on its way", "Di, take a coat. Rain. A."),
    ("Ask Ed for the boat", "Ed, is the boat free on Sunday? A."),
)


def config(**changes: Any) -> LlamaConfig:
    """Two layers over bytes with grouped queries; every dimension a multiple of 64."""
    tokenizer = byte_tokenizer()
    numbers = {
        "vocab_size": len(tokenizer),
        "hidden_size": 128,
        "intermediate_size": 192,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 1024,
        "tie_word_embeddings": True,
    }
    return LlamaConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **{**numbers, **changes},
    )


def on_the_card(
    folder: Path, *, quantisation: Quantisation = "none", dtype: torch.dtype | None = None, **changes: Any
) -> BaseModel:
    """A random model as the engine loads it (bf16), or computed in `dtype`."""
    if not (folder / "config.json").exists():
        make_tiny_model(folder, config=config(**changes))
    base = load_base(str(folder), quantisation=quantisation, device=CARD)
    if dtype is not None:
        base.model.to(dtype)
        base = replace(base, dtype=dtype)
    return base


def same_weights_on_the_cpu(base: BaseModel, folder: Path) -> BaseModel:
    """In fp32: what rounding to bf16 or to 4 bits has left of them. Only for a base without adapters yet."""
    twin = load_base(str(folder), device="cpu")
    twin.model.float()
    for name, module in base.model.named_modules():
        for key, value in module.named_parameters(recurse=False):
            twin.model.get_submodule(name).get_parameter(key).data.copy_(_dequantised(value))
    return replace(twin, dtype=torch.float32)


def _dequantised(value: torch.Tensor) -> torch.Tensor:
    state = getattr(value, "quant_state", None)
    if state is None:
        return value.detach()
    from bitsandbytes.functional import dequantize_4bit

    return dequantize_4bit(value.data, state)


def workbench(base: BaseModel, plan: Plan | None = None) -> Workbench:
    adapters = LoraAdapters(base)
    return Workbench(base, adapters, Decoder(base, adapters, max_rows=32), plan or Plan())


def with_policy(bench: Workbench) -> Workbench:
    """A policy whose A and B are away from zero, the same on every device, in the precision of the base if it is more
    than fp32."""
    bench.adapters.create("policy", LoraShape(rank=8, alpha=16), seed=0)
    generator = torch.Generator().manual_seed(0)
    for value in bench.adapters.parameters("policy"):
        fresh = torch.randn(value.shape, generator=generator, dtype=torch.float64) * 0.05
        value.data = fresh.to(value.device, torch.promote_types(torch.float32, bench.base.dtype))
    return bench


def planned(bench: Workbench, **changes: Any) -> Workbench:
    """The same bench under another plan."""
    return Workbench(bench.base, bench.adapters, bench.decoder, replace(bench.plan, **changes))


def a_batch() -> Batch:
    """Three prompts, two of them equal; to each a demonstration and four samples of 5 to 40 tokens; 15 pairs.

    The reference's log-probs are made up: two nats a token, about what the policy gives, so that no pair is decided.
    """
    rng = random.Random(5)
    prompts = [tuple(rng.randrange(256) for _ in range(length)) for length in (30, 55)]
    sequences = [
        TokenSequence(str(tree), prompts[tree % 2], tuple(rng.randrange(256) for _ in range(rng.randrange(5, 41))))
        for tree in range(3)
        for _ in range(5)
    ]
    chosen = [5 * tree + each for tree in range(3) for each in (0, 0, 0, 0, 1)]
    rejected = [5 * tree + each for tree in range(3) for each in (1, 2, 3, 4, 2)]
    references = tuple(-5.5 * len(each.completion_ids) for each in sequences)
    return Batch(tuple(sequences), references, tuple(chosen), tuple(rejected), (0, 5, 10))


def gradient(bench: Workbench, batch: Batch) -> tuple[torch.Tensor, Gradient]:
    """Log-probs (S,) and the gradient of a DITTO step, both in float64 on the CPU; nothing stays in the parameters."""
    weights = LossWeights(0.05, 0.1, len(batch.chosen), len(batch.demonstrations))
    _, logps = finish(backward_preferences(bench, "policy", batch, weights))
    return logps.cpu().double(), taken(bench)


def taken(bench: Workbench) -> Gradient:
    """The policy's gradient in float64 on the CPU, taken out of the parameters."""
    found = []
    for value in bench.adapters.parameters("policy"):
        assert value.grad is not None
        found.append(value.grad.cpu().double())
        value.grad = None
    return found


def relative_error(ours: Gradient, theirs: Gradient) -> float:
    """‖ours - theirs‖ / ‖theirs‖ over all tensors."""
    off = sum(float(((a - b) ** 2).sum()) for a, b in zip(ours, theirs, strict=True))
    return float((off / sum(float((b**2).sum()) for b in theirs)) ** 0.5)


def an_update(folder: Path, *, name: str = "run", **overrides: float) -> Update:
    """Two demonstrations to learn from, two held out, a few short steps."""
    texts = [demonstration(prompt, completion) for prompt, completion in PAIRS]
    return Update(
        id=name,
        directory=str(folder / name),
        adapters_directory=str(folder / "adapters"),
        preset="clean",
        seed=5,
        demonstrations=tuple(texts[:2]),
        held_out=tuple(texts[2:]),
        served=None,
        overrides={**SHORT, **overrides},
    )
