"""Dimensions from config.json of the families that people use, each written down here as its hub page has it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import QWEN3_06B, tiny_base

from dittod.engine.room import read_shape
from dittod.errors import ModelError
from dittod.model.shape import ModelShape, shape_of

QWEN3_8B = QWEN3_06B | {
    "hidden_size": 4096,
    "intermediate_size": 12288,
    "num_attention_heads": 32,
    "num_hidden_layers": 36,
    "tie_word_embeddings": False,
}
LLAMA32_1B = {
    "model_type": "llama",
    "head_dim": 64,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "max_position_embeddings": 131072,
    "num_attention_heads": 32,
    "num_hidden_layers": 16,
    "num_key_value_heads": 8,
    "tie_word_embeddings": True,
    "vocab_size": 128256,
}
MISTRAL_7B = {
    "model_type": "mistral",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 32768,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "tie_word_embeddings": False,
    "vocab_size": 32768,
}
GEMMA2_2B = {
    "model_type": "gemma2",
    "head_dim": 256,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "max_position_embeddings": 8192,
    "num_attention_heads": 8,
    "num_hidden_layers": 26,
    "num_key_value_heads": 4,
    "vocab_size": 256000,
}


@pytest.mark.parametrize(
    ("config", "linear_millions", "embedding_millions"),
    [
        (QWEN3_06B, 440.4, 155.6),
        (QWEN3_8B, 6945.8, 1244.7),
        (LLAMA32_1B, 973.1, 262.7),
        (MISTRAL_7B, 6979.3, 268.4),
        (GEMMA2_2B, 2024.3, 589.8),
    ],
)
def test_parameters_are_those_of_the_published_models(
    config: dict[str, Any], linear_millions: float, embedding_millions: float
) -> None:
    """Qwen3-0.6B: 28 layers of 2·1024·2048 + 2·1024·1024 + 3·1024·3072 = 15.7M; embedding 151936·1024."""
    shape = shape_of(config)
    assert shape.linear_parameters / 1e6 == pytest.approx(linear_millions, abs=0.1)
    assert shape.embedding_parameters / 1e6 == pytest.approx(embedding_millions, abs=0.1)


def test_what_a_config_leaves_out_has_the_families_defaults() -> None:
    assert shape_of(GEMMA2_2B).tied, "Gemma's config does not say that its head is the embedding"
    assert not shape_of({**LLAMA32_1B, "tie_word_embeddings": False}).tied
    mistral = shape_of(MISTRAL_7B)
    assert (mistral.query, mistral.key_value) == (4096, 1024), "heads share the hidden size where head_dim is not given"
    without_groups = {key: value for key, value in MISTRAL_7B.items() if key != "num_key_value_heads"}
    assert shape_of(without_groups).key_value == 4096


def test_only_families_that_normalise_queries_count_those_norms() -> None:
    assert shape_of(QWEN3_06B).query_key_norms
    assert not shape_of(LLAMA32_1B).query_key_norms


def test_a_model_of_text_and_pictures_has_its_text_half_counted(tmp_path: Path) -> None:
    """What its config.json leaves out, transformers fills in: Gemma 3 names no heads, and no vocabulary."""
    sparse = {"hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34, "model_type": "gemma3_text"}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gemma3", "text_config": sparse}))
    shape = read_shape(str(tmp_path))
    assert (shape.layers, shape.hidden, shape.tied, shape.query_key_norms) == (34, 2560, True, True)
    assert shape.heads == 8 and shape.vocabulary > 262_000


def test_experts_are_refused_by_number() -> None:
    with pytest.raises(ModelError, match="128 experts"):
        shape_of({**QWEN3_06B, "model_type": "qwen3_moe", "num_experts": 128})


def test_the_shape_of_a_folder_agrees_with_the_model_in_it(tmp_path: Path) -> None:
    base = tiny_base(tmp_path / "model")
    shape = read_shape(str(tmp_path / "model"))
    linears = [m for m in base.model.model.modules() if isinstance(m, torch.nn.Linear)]
    assert shape.linear_parameters == sum(each.weight.numel() for each in linears)
    assert shape.embedding_parameters == base.model.get_input_embeddings().weight.numel()
    assert shape.context_tokens == base.context_tokens


def test_the_starter_has_a_shape() -> None:
    assert read_shape("starter") == ModelShape(6, 256, 576, 256, 128, 4, 4096, True, False, 1024)


@pytest.mark.parametrize("name", ["nobody/nothing", "no such folder/with/many parts", ""])
def test_a_model_that_is_not_here_is_an_error_that_says_how_to_get_it(name: str) -> None:
    with pytest.raises(ModelError) as caught:
        read_shape(name)
    assert "dittod init --model ID" in caught.value.hint


def test_a_downloaded_model_is_found_by_its_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = tmp_path / "models--org--small" / "snapshots" / "c0ffee"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text(json.dumps(QWEN3_06B))
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("c0ffee")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert read_shape("org/small").layers == 28


@pytest.mark.parametrize("content", ["{", '{"hidden_size": 8}'])
def test_a_config_that_cannot_be_used_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ModelError, match="cannot be read"):
        read_shape(str(tmp_path))
