"""Texts as vectors: the base model's last hidden states, averaged over the tokens, of length 1.

Short texts are read side by side, a long one in pieces, so that whoever decodes beside it waits for one piece at most.
Knows nothing of requests, and no adapter: vectors of different days can be compared.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from dittod.model.load import BaseModel
from dittod.model.lora import LoraAdapters

CHUNK_TOKENS = 256  # read in one forward


def embed(base: BaseModel, adapters: LoraAdapters, texts: Sequence[Sequence[int]]) -> Generator[None, None, Tensor]:
    """Yields after each piece but the last; returns the vectors, (texts, hidden size) in float32 on the CPU.

    The beginning-of-text token is read, but does not count: it looks the same in front of every text. Shorter texts
    are filled up on the right, where no token before it looks.
    """
    token_ids, counted = _side_by_side(texts, base.tokenizer.bos_token_id)  # (texts, tokens)
    width = max(1, CHUNK_TOKENS // len(texts))
    cache, total = DynamicCache(), torch.zeros(len(texts), base.model.config.get_text_config().hidden_size)
    for start in range(0, token_ids.shape[1], width):
        if start:
            yield
        states = _states(base, adapters, token_ids[:, start : start + width], cache)  # (texts, width, hidden)
        total += torch.einsum("nth,nt->nh", states.float().cpu(), counted[:, start : start + width])
    return torch.nn.functional.normalize(total, dim=-1)


def _side_by_side(texts: Sequence[Sequence[int]], bos_token_id: int | None) -> tuple[Tensor, Tensor]:
    """The tokens, and 1.0 where they count."""
    longest = max(map(len, texts))
    token_ids, counted = torch.zeros(len(texts), longest, dtype=torch.long), torch.zeros(len(texts), longest)
    for row, text in enumerate(texts):
        begins = int(len(text) > 1 and text[0] == bos_token_id)
        token_ids[row, : len(text)] = torch.tensor(text)
        counted[row, begins : len(text)] = 1.0
    return token_ids, counted


@torch.no_grad()
def _states(base: BaseModel, adapters: LoraAdapters, token_ids: Tensor, cache: DynamicCache) -> Tensor:
    with adapters.active(None):
        out = base.model.base_model(input_ids=token_ids.to(base.device), past_key_values=cache, use_cache=True)
    states: Tensor = out[0]
    return states
