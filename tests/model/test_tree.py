"""A packed row gives what its sequences give one by one: hidden states, log-probs and gradients, family by family."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import make_tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from dittod.model.load import BaseModel, load_base
from dittod.model.logprobs import CompletionScorer
from dittod.model.tree import attending_by_tree, pack

SHAPE: dict[str, Any] = {
    "vocab_size": 90,
    "hidden_size": 32,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
PROMPT = tuple(range(10, 22))
SEQUENCES = [
    (PROMPT, (30, 31, 32, 33, 34, 35, 36, 37, 2)),
    ((5, 6), (40, 41)),
    (PROMPT, (50, 2)),
    (PROMPT, ()),
    ((5, 6), (60,)),
    (PROMPT, (50, 2)),
]


def llama() -> Any:
    return LlamaForCausalLM(LlamaConfig(**SHAPE))


def mistral() -> Any:
    """Every layer sees 4 tokens back."""
    return MistralForCausalLM(MistralConfig(**SHAPE, sliding_window=4))


def qwen2() -> Any:
    """One layer sees everything, two see 5 tokens back; biases on q, k and v."""
    return Qwen2ForCausalLM(Qwen2Config(**SHAPE, use_sliding_window=True, sliding_window=5, max_window_layers=1))


def qwen3() -> Any:
    return Qwen3ForCausalLM(Qwen3Config(**SHAPE))


def gemma2() -> Any:
    """Windows of 4 in turn, scores capped at 2, logits capped at 3."""
    config = Gemma2Config(
        **SHAPE, sliding_window=4, attn_logit_softcapping=2.0, final_logit_softcapping=3.0, query_pre_attn_scalar=8
    )
    config._attn_implementation = "eager"
    return Gemma2ForCausalLM(config)


def opt() -> Any:
    """Drops out a tenth in training mode, which nothing here may switch on."""
    config = OPTConfig(
        vocab_size=90, hidden_size=32, ffn_dim=24, num_hidden_layers=3, num_attention_heads=4, word_embed_proj_dim=32
    )
    return OPTForCausalLM(config)


class MaskOnly(LlamaForCausalLM):
    """Hands nothing on to its attention that it does not know: no row can be packed for it."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        inner = self.model.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            kwargs.pop("tree", None)
            return inner(*args, **kwargs)

        self.model.forward = forward  # type: ignore[method-assign, assignment]


def base_around(model: Any, tmp_path: Path) -> BaseModel:
    model.double().eval().requires_grad_(False)
    for value in model.parameters():
        if value.dim() == 2:
            value.data.mul_(6)
    return replace(load_base(str(make_tiny_model(tmp_path / "tiny")), device="cpu"), model=model, dtype=torch.float64)


def first_value_weight(base: BaseModel) -> torch.Tensor:
    weights = base.model.named_parameters()
    return next(value for name, value in weights if "layers.0.self_attn.v_proj.weight" in name).requires_grad_(True)


def logps_and_gradient(
    base: BaseModel, scorer: CompletionScorer, sequences: Any, *, checkpointed: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Of the sequences in one row; the gradient is that of a weight of the first layer."""
    weight = first_value_weight(base)
    slopes = torch.arange(1.0, 1.0 + len(sequences), dtype=torch.float64).cos()
    with scorer.open(gradients=True, checkpointed=checkpointed):
        logps = scorer.logps(pack(sequences, torch.device("cpu")))
        (gradient,) = torch.autograd.grad((logps * slopes).sum(), weight)
    return logps.detach(), gradient


def one_by_one(base: BaseModel) -> tuple[torch.Tensor, torch.Tensor]:
    """The same by the model's own forward and log_softmax."""
    weight = first_value_weight(base)
    found = []
    for prompt, completion in SEQUENCES:
        logps = base.model(input_ids=torch.tensor([[*prompt, *completion]])).logits[0].double().log_softmax(-1)
        places = torch.arange(len(completion)) + len(prompt) - 1
        found.append(logps[places, torch.tensor(completion, dtype=torch.int64)].sum())
    slopes = torch.arange(1.0, 1.0 + len(SEQUENCES), dtype=torch.float64).cos()
    (gradient,) = torch.autograd.grad((torch.stack(found) * slopes).sum(), weight)
    return torch.stack(found).detach(), gradient


def assert_equal_but_for_float32(
    ours: tuple[torch.Tensor, torch.Tensor], theirs: tuple[torch.Tensor, torch.Tensor]
) -> None:
    """Norms and rotations are computed in float32 whatever the model's type."""
    for a, b in zip(ours, theirs, strict=True):
        assert torch.linalg.norm(a - b) <= 1e-6 * torch.linalg.norm(b)


@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize("make", [llama, mistral, qwen2, qwen3, gemma2, opt])
def test_a_packed_row_is_its_sequences(make: Callable[[], Any], checkpointed: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    base = base_around(make(), tmp_path)
    scorer = CompletionScorer(base)
    assert scorer.packs
    ours = logps_and_gradient(base, scorer, SEQUENCES, checkpointed=checkpointed)
    theirs = one_by_one(base)
    assert_equal_but_for_float32(ours, theirs)
    assert ours[1].abs().max() > 1e-6


def test_a_window_is_seen_by_the_test_above(tmp_path: Path) -> None:
    """Without its window, the same model finds other likelihoods."""
    torch.manual_seed(0)
    base = base_around(mistral(), tmp_path)
    with_window = one_by_one(base)[0]
    base.model.config.sliding_window = None
    assert (one_by_one(base)[0] - with_window).abs().max() > 1e-3


def test_a_model_that_takes_no_packed_row_is_forwarded_one_by_one_and_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    base = base_around(MaskOnly(LlamaConfig(**SHAPE)), tmp_path)
    scorer = CompletionScorer(base)
    assert not scorer.packs
    assert "one by one" in caplog.text
    ours = logps_and_gradient(base, scorer, SEQUENCES, checkpointed=False)
    theirs = one_by_one(base)
    assert_equal_but_for_float32(ours, theirs)


def test_windows_that_exist_only_in_a_mask_are_not_packed(tmp_path: Path) -> None:
    """The probe is shorter than the window, so the config's word has to do."""
    torch.manual_seed(0)
    base = base_around(llama(), tmp_path)
    base.model.config.layer_types = ["sliding_attention", "full_attention", "full_attention"]
    assert not CompletionScorer(base).packs


def test_the_model_is_left_as_it_was(tmp_path: Path) -> None:
    base = base_around(llama(), tmp_path)
    scorer = CompletionScorer(base)
    logps_and_gradient(base, scorer, SEQUENCES, checkpointed=True)
    assert base.model.config._attn_implementation == "sdpa"
    assert not any(module.training or "forward" in vars(module) for module in base.model.modules())
    with pytest.raises(ZeroDivisionError), attending_by_tree(base.model):
        raise ZeroDivisionError
    assert base.model.config._attn_implementation == "sdpa"


def test_checkpointing_keeps_one_tensor_a_layer(tmp_path: Path) -> None:
    """Of at least the row's size: T x 32 numbers of 8 bytes. Without checkpointing, a layer keeps a dozen of them."""
    base = base_around(llama(), tmp_path)
    scorer = CompletionScorer(base)
    row = pack(SEQUENCES, torch.device("cpu"))
    base.model.model.embed_tokens.weight.requires_grad_(True)
    kept: dict[bool, int] = {}
    for checkpointed in (False, True):
        sizes: list[int] = []
        hooks = torch.autograd.graph.saved_tensors_hooks(
            lambda x, sizes=sizes: sizes.append(x.numel()) or x, lambda x: x
        )
        with scorer.open(gradients=True, checkpointed=checkpointed), hooks:
            scorer.logps(row)
        kept[checkpointed] = sum(size >= row.token_ids.numel() * 32 for size in sizes)
    assert kept[True] <= 6
    assert kept[False] >= 24


def test_a_row_is_laid_out_as_the_drawing_says() -> None:
    """Prompt 1 2 with 3 4 5 and 6; prompt 9 with 8 7. The last token of each completion is left out."""
    row = pack([((1, 2), (3, 4, 5)), ((9,), (8, 7)), ((1, 2), (6,))], torch.device("cpu"))
    assert row.token_ids.tolist() == [[1, 2, 3, 4, 9, 8]]
    assert row.position_ids.tolist() == [[0, 1, 2, 3, 0, 1]]
    assert [(each.start, each.stop, each.sees) for each in row.segments] == [
        (0, 4, 0),
        (4, 6, 0),
    ]
    assert row.places.tolist() == [1, 2, 3, 1, 4, 5]
    assert row.targets.tolist() == [3, 4, 5, 6, 8, 7]
    assert row.distinct.tolist() == [0, 1, 2]
    assert row.owners.tolist() == [0, 0, 0, 2, 1, 1]


texts = st.lists(st.integers(0, 2), max_size=4)


@settings(deadline=None)
@given(st.lists(st.tuples(texts.filter(bool), texts), min_size=1, max_size=8))
def test_packing_loses_and_doubles_nothing(sequences: list[tuple[list[int], list[int]]]) -> None:
    row = pack(sequences, torch.device("cpu"))
    distinct = {(tuple(prompt), tuple(completion)) for prompt, completion in sequences}
    prompts = {prompt for prompt, _ in distinct}
    inner = sum(max(0, len(completion) - 1) for _, completion in distinct)
    assert row.token_ids.numel() == sum(map(len, prompts)) + inner
    assert row.completions == len(distinct)
    for (_, completion), number in zip(sequences, row.distinct.tolist(), strict=True):
        assert row.targets[row.owners == number].tolist() == list(completion)
    apart = [ids.flatten().tolist() for ids, _ in row.one_by_one()]
    assert sorted(apart) == sorted([*prompt, *completion[:-1]] for prompt, completion in distinct if completion)
