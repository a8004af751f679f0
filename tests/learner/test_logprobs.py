"""Of dittod/model/logprobs.py: against the model's own full logits, for heads of every kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import make_tiny_model
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PhiConfig,
    PhiForCausalLM,
)

import dittod.model.logprobs as logprobs
from dittod.learner.batch import TokenSequence, row_of
from dittod.model.load import BaseModel, load_base
from dittod.model.logprobs import CompletionScorer

SHAPE: dict[str, Any] = {
    "vocab_size": 90,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
SEQUENCES = [
    TokenSequence("a", (5, 6, 7), (8, 9, 2)),
    TokenSequence("b", (5,), (80, 81, 82, 83, 2)),
    TokenSequence("c", (5, 9), ()),
    TokenSequence("d", (11, 12, 13, 14), (40,)),
]


class Surprising(LlamaForCausalLM):
    """A head that does something nobody can read from the config."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        result = super().forward(*args, **kwargs)
        result.logits = result.logits * 3.0
        return result


def llama() -> Any:
    return LlamaForCausalLM(LlamaConfig(**SHAPE, tie_word_embeddings=True))


def gemma() -> Any:
    """A cap of 3 on logits whose embeddings are large, so that it bites; sliding windows of 4."""
    model = Gemma2ForCausalLM(Gemma2Config(**SHAPE, head_dim=8, final_logit_softcapping=3.0, sliding_window=4))
    model.lm_head.weight.data.mul_(30)
    return model


def cohere() -> Any:
    return CohereForCausalLM(CohereConfig(**SHAPE, logit_scale=0.5))


def granite() -> Any:
    return GraniteForCausalLM(GraniteConfig(**SHAPE, logits_scaling=4.0))


def phi() -> Any:
    model = PhiForCausalLM(PhiConfig(**SHAPE))
    torch.nn.init.normal_(model.lm_head.bias)
    return model


def surprising() -> Any:
    return Surprising(LlamaConfig(**SHAPE))


def around(model: Any, tmp_path: Path) -> BaseModel:
    from dataclasses import replace

    model.eval().requires_grad_(False)
    for value in model.parameters():
        if value.dim() == 2:
            value.data.mul_(8)
    return replace(load_base(str(make_tiny_model(tmp_path / "tiny"))), model=model)


def by_full_logits(model: Any, sequence: TokenSequence) -> torch.Tensor:
    token_ids = torch.tensor([[*sequence.prompt_ids, *sequence.completion_ids]])
    log_probs = model(input_ids=token_ids).logits[0].double().log_softmax(-1)
    start = len(sequence.prompt_ids) - 1
    places = range(start, start + len(sequence.completion_ids))
    return sum(
        (log_probs[at, token] for at, token in zip(places, sequence.completion_ids, strict=True)), torch.zeros(())
    )


def logps_of(scorer: CompletionScorer, sequences: list[TokenSequence]) -> torch.Tensor:
    with scorer.open(gradients=True):
        return scorer.logps(row_of(sequences, torch.device("cpu")))


@pytest.mark.parametrize("make", [llama, gemma, cohere, granite, phi, surprising])
def test_log_probs_are_those_of_the_models_own_logits(
    make: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so are gradients, through a weight below the head. Tiles of 2 places."""
    monkeypatch.setattr(logprobs, "TILE_ROWS", 2)
    torch.manual_seed(0)
    base = around(make(), tmp_path)
    scorer = CompletionScorer(base)
    assert scorer.knows_the_head == (make is not surprising)
    weight = next(value for key, value in base.model.named_parameters() if "v_proj.weight" in key)
    weight.requires_grad_(True)
    slopes = torch.tensor([1.0, -0.5, 7.0, 2.0])

    ours = logps_of(scorer, SEQUENCES)
    (gradient,) = torch.autograd.grad((ours * slopes).sum(), weight)
    theirs = torch.stack([by_full_logits(base.model, each) for each in SEQUENCES])
    (expected,) = torch.autograd.grad((theirs * slopes).sum(), weight)

    assert ours.tolist() == pytest.approx(theirs.tolist(), rel=1e-5)
    assert ours[2] == 0
    assert torch.linalg.norm(gradient - expected) < 1e-5 * torch.linalg.norm(expected)


@pytest.mark.parametrize("tile", [1, 300, 2048])
def test_tiles_do_not_show(tile: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A vocabulary of 700 against the plain formula, in one tile, in several, and in the smallest there are."""
    monkeypatch.setattr(logprobs, "TILE_TOKENS", tile)
    monkeypatch.setattr(logprobs, "TILE_ROWS", 7)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(20, 16, generator=generator, dtype=torch.float64).requires_grad_()
    weight = torch.randn(700, 16, generator=generator, dtype=torch.float64) * 3
    targets = torch.randint(700, (20,), generator=generator)
    slopes = torch.randn(20, generator=generator, dtype=torch.float64)
    ours = logprobs._TargetLogps.apply(hidden, targets, logprobs.Head(weight, None, 1.0, None))
    theirs = (hidden @ weight.T).log_softmax(-1).gather(1, targets[:, None])[:, 0]
    torch.testing.assert_close(ours, theirs)
    gradients = [torch.autograd.grad((each * slopes).sum(), hidden)[0] for each in (ours, theirs)]
    torch.testing.assert_close(*gradients)


def test_a_likelihood_near_one_is_not_rounded_above_it() -> None:
    """In bf16 a logit of 60 is off by up to 0.125: the sum of all and the target's own must be off alike."""
    weight = torch.eye(300, 300, dtype=torch.bfloat16)
    hidden = torch.zeros(4, 300, dtype=torch.bfloat16)
    hidden[range(4), range(4)] = torch.tensor([59.9, 60.1, 61.3, 62.7], dtype=torch.bfloat16)
    logps = logprobs._TargetLogps.apply(hidden, torch.arange(4), logprobs.Head(weight, None, 1.0, None))
    assert logps.abs().max() < 1e-6


def test_nothing_of_size_tokens_by_vocabulary_is_kept_for_the_backward_pass(tmp_path: Path) -> None:
    base = around(llama(), tmp_path)
    base.model.model.layers[0].self_attn.v_proj.weight.requires_grad_(True)
    kept: list[int] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel())
        return tensor

    sequences = [TokenSequence("a", (1,), tuple(range(3, 60)))]
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        logps_of(CompletionScorer(base), sequences)
    assert max(kept) < 57 * SHAPE["vocab_size"]
