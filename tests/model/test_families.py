"""Decoding is right for the families of models that people use. The reference is again transformers' own `generate`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from families import FAMILIES, family

from dittod.engine.protocol import Sampling
from dittod.model.decode import Decoder, Row
from dittod.model.load import BaseModel
from dittod.model.lora import LoraAdapters, LoraShape


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
