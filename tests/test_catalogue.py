"""The table of models: its numbers agree with each other, with the starter's file, and with the documentation."""

from __future__ import annotations

from pathlib import Path

import pytest

from dittod.catalogue import MODELS, STARTER, KnownModel, known, starter
from dittod.download import is_hub_id
from dittod.starter import starter_path

PAGE = (Path(__file__).parent.parent / "docs" / "models.md").read_text(encoding="utf-8")
ALL = [starter(), *MODELS]


def besides_matrices(model: KnownModel) -> int:
    """Norms, and Qwen 2's biases of queries, keys and values."""
    shape = model.shape
    norms = (4 if "gemma" in model.name else 2) * shape.hidden
    head_width = shape.query // shape.heads
    of_heads = 2 * head_width if shape.query_key_norms else 0
    biases = shape.query + 2 * shape.key_value if "Qwen2.5" in model.name else 0
    return shape.layers * (norms + of_heads + biases) + shape.hidden


@pytest.mark.parametrize("model", ALL, ids=lambda model: model.name)
def test_the_parameters_follow_from_the_dimensions(model: KnownModel) -> None:
    shape = model.shape
    assert shape.linear_parameters + shape.embedding_parameters + besides_matrices(model) == model.parameters


@pytest.mark.parametrize("model", ALL, ids=lambda model: model.name)
def test_heads_divide_what_they_share(model: KnownModel) -> None:
    shape = model.shape
    assert shape.query % shape.heads == 0 and shape.key_value % (shape.query // shape.heads) == 0
    assert shape.context_tokens % 1024 == 0


def test_the_starters_row_is_that_of_its_file() -> None:
    size = (starter_path() / "model.safetensors").stat().st_size
    assert 0 <= size - starter().weights_bytes < 20_000  # the header


def test_models_stand_in_the_order_of_their_size_and_once() -> None:
    sizes = [model.parameters for model in ALL]
    assert sizes == sorted(sizes) and len({model.name for model in ALL}) == len(ALL)


def test_every_model_is_one_that_can_be_downloaded() -> None:
    assert all(is_hub_id(model.name) for model in MODELS)


def test_a_model_is_found_by_its_whole_name() -> None:
    assert known(MODELS[0].name) == MODELS[0] and known(STARTER) == starter()
    assert known("Qwen") is None


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_the_documentation_has_the_same_table(model: KnownModel) -> None:
    (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{model.name}`")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1] == f"{model.parameters / 1e9:.2f}" and cells[2] == f"{model.weights_bytes / 1e9:.1f} GB"
    assert cells[3] == f"{model.shape.context_tokens:,}"
    assert cells[4] == model.licence + (", to accept" if model.accept else "")
