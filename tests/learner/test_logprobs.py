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
from dittod.learner.batch import TokenSequence, pad
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


@pytest.mark.parametrize("make", [llama, gemma, cohere, granite, phi, surprising])
def test_log_probs_are_those_of_the_models_own_logits(
    make: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so are gradients, through a weight below the head. Chunks of 16 positions."""
    monkeypatch.setattr(logprobs, "CHUNK_ELEMENTS", 1)
    torch.manual_seed(0)
    base = around(make(), tmp_path)
    scorer = CompletionScorer(base)
    assert scorer.knows_the_head == (make is not surprising)
    weight = next(value for key, value in base.model.named_parameters() if "v_proj.weight" in key)
    weight.requires_grad_(True)
    slopes = torch.tensor([1.0, -0.5, 7.0, 2.0])

    ours = scorer.logps(pad(SEQUENCES, torch.device("cpu")))
    (gradient,) = torch.autograd.grad((ours * slopes).sum(), weight)
    theirs = torch.stack([by_full_logits(base.model, each) for each in SEQUENCES])
    (expected,) = torch.autograd.grad((theirs * slopes).sum(), weight)

    assert ours.tolist() == pytest.approx(theirs.tolist(), rel=1e-5)
    assert ours[2] == 0
    assert torch.linalg.norm(gradient - expected) < 1e-5 * torch.linalg.norm(expected)


def test_chunks_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = CompletionScorer(around(llama(), tmp_path))
    sequences = [TokenSequence("a", (1,), tuple(range(3, 60)))]
    whole = scorer.logps(pad(sequences, torch.device("cpu")))
    monkeypatch.setattr(logprobs, "CHUNK_ELEMENTS", 1)
    assert scorer.logps(pad(sequences, torch.device("cpu"))).tolist() == pytest.approx(whole.tolist(), rel=1e-6)


def test_nothing_of_size_tokens_by_vocabulary_is_kept_for_the_backward_pass(tmp_path: Path) -> None:
    base = around(llama(), tmp_path)
    base.model.model.layers[0].self_attn.v_proj.weight.requires_grad_(True)
    kept: list[int] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel())
        return tensor

    sequences = [TokenSequence("a", (1,), tuple(range(3, 60)))]
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        CompletionScorer(base).logps(pad(sequences, torch.device("cpu")))
    assert max(kept) < 57 * SHAPE["vocab_size"]
