"""A token of every row through known layers is what transformers' own forward gives."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from families import COMMON, FAMILIES, family
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, MistralConfig, Qwen2Config

from dittod.engine.protocol import Sampling
from dittod.model import decode
from dittod.model.decode import Decoder, Row
from dittod.model.load import BaseModel
from dittod.model.lora import LoraAdapters, LoraShape
from dittod.model.step import is_known

KNOWN = {
    "llama": LlamaConfig(**COMMON),
    "llama without grouped queries": FAMILIES["llama without grouped queries"],
    "llama with biases": LlamaConfig(**COMMON, attention_bias=True, mlp_bias=True),
    "llama with scaled positions": LlamaConfig(
        **COMMON, rope_parameters={"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}
    ),
    "mistral": MistralConfig(**COMMON, sliding_window=None),
    "qwen2": Qwen2Config(**COMMON),
    "qwen3": FAMILIES["qwen3"],
}


def decoded(base: BaseModel, adapters: LoraAdapters) -> list[Row]:
    """Rows of two adapters and of none that join and leave, by chance and by the likeliest token."""
    decoder = Decoder(base, adapters, max_rows=4)
    rows: list[Row] = []
    for number, adapter in enumerate([None, "one", "two", "one", None, "two"]):
        sampling = Sampling(temperature=float(number % 2), max_tokens=10 + 7 * number, seed=number)
        rows += decoder.submit([40 + number] * (3 + 9 * number), sampling, adapter=adapter)
        for _ in range(3):
            decoder.step()
    while decoder.busy:
        decoder.step()
    return rows


@pytest.mark.parametrize("name", KNOWN)
def test_answers_are_those_of_transformers_own_forward(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = family(tmp_path, KNOWN[name])
    assert is_known(base.model)
    adapters = LoraAdapters(base)
    for seed, adapter in enumerate(("one", "two")):
        adapters.create(adapter, LoraShape(4, 8), seed=seed)
        for weight in adapters.parameters(adapter):
            torch.nn.init.normal_(weight, std=0.2)
    ours = decoded(base, adapters)
    monkeypatch.setattr(decode, "is_known", lambda _: False)
    theirs = decoded(base, adapters)
    assert [row.token_ids for row in ours] == [row.token_ids for row in theirs]
    for our, their in zip(ours, theirs, strict=True):
        assert our.logps == pytest.approx(their.logps, abs=1e-4)


@pytest.mark.parametrize("name", sorted(FAMILIES.keys() - KNOWN.keys()))
def test_layers_with_windows_or_of_another_kind_are_left_to_transformers(name: str, tmp_path: Path) -> None:
    assert not is_known(family(tmp_path, FAMILIES[name]).model)


def test_a_model_that_only_derives_from_a_known_one_is_left_to_transformers() -> None:
    class Other(LlamaForCausalLM):
        pass

    small = COMMON | {"num_hidden_layers": 1}
    assert is_known(LlamaForCausalLM(LlamaConfig(**small)))
    assert not is_known(Other(LlamaConfig(**small)))
    assert not is_known(GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=64, bos_token_id=0)))
