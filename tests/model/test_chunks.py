"""A prompt read in chunks, or gone on with from an earlier conversation, is read right by every family of models.

Tiny random ones, with windows of eight tokens, shorter than a chunk and longer than another.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from families import FAMILIES, family

from dittod.engine.protocol import Sampling
from dittod.model import decode
from dittod.model.decode import Decoder, Row
from dittod.model.load import BaseModel
from dittod.model.lora import LoraAdapters


def finished(decoder: Decoder, prompt_ids: list[int], seed: int) -> Row:
    row = decoder.submit(prompt_ids, Sampling(seed=seed, max_tokens=20), score_prompt=seed == 0)[0]
    while decoder.busy:
        decoder.step()
    return row


def full_forward(base: BaseModel, row: Row) -> torch.Tensor:
    """Log-probs of all tokens of prompt and answer but the first, by one forward without a cache."""
    ids = torch.tensor([[*row.prompt_ids, *row.token_ids]])
    with torch.no_grad():
        logps = base.model(ids, use_cache=False).logits[0, :-1].log_softmax(-1)
    return logps.gather(-1, ids[0, 1:, None])[:, 0]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("chunk", [5, 21])
def test_what_a_prompt_leads_to_does_not_depend_on_its_chunks(
    name: str, chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = family(tmp_path, FAMILIES[name])
    monkeypatch.setattr(decode, "_CHUNK_TOKENS", chunk)
    decoder = Decoder(base, LoraAdapters(base), max_rows=2)
    ids = torch.randint(0, 256, (64,), generator=torch.Generator().manual_seed(1)).tolist()
    row = finished(decoder, ids, 0)
    found = torch.tensor([*row.prompt_logps, *row.logps])
    torch.testing.assert_close(found, full_forward(base, row), atol=5e-5, rtol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_conversation_that_goes_on_is_what_it_would_be_from_its_beginning(name: str, tmp_path: Path) -> None:
    base = family(tmp_path, FAMILIES[name])
    decoder = Decoder(base, LoraAdapters(base), max_rows=2, prefix_bytes=10**9)
    generator = torch.Generator().manual_seed(2)
    ids: list[int] = []
    for turn in range(1, 4):
        ids += torch.randint(0, 256, (3 + 9 * turn,), generator=generator).tolist()
        row = finished(decoder, ids, turn)
        assert (row.cached_prompt_tokens > 0) == (turn > 1)
        expected = full_forward(base, row)[len(ids) - 1 :]
        torch.testing.assert_close(torch.tensor(row.logps), expected, atol=5e-5, rtol=1e-5)
        ids += row.token_ids
