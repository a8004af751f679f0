"""DPO the plain way, in the manner of DITTO's released code: rows padded, logits of every position, a live reference.

Knows a transformers model and token ids; knows nothing of ours.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.nn.functional as F
from stage import END

Rows = list[tuple[tuple[int, ...], tuple[int, ...]]]  # prompts with their completions


def naive_loss(model: Any, rows: Rows, beta: float, reference: AbstractContextManager[Any]) -> torch.Tensor:
    """Mean over pairs; `rows` are all chosen ones, then all rejected ones. Inside `reference`, it is what computes."""
    with torch.no_grad(), reference:
        reference_logps = full_logits_logps(model, rows)
    chosen, rejected = (full_logits_logps(model, rows) - reference_logps).chunk(2)
    return -F.logsigmoid(beta * (chosen - rejected)).mean()


def full_logits_logps(model: Any, rows: Rows) -> torch.Tensor:
    """Summed log-probabilities of the completions (B,), from logits of every position."""
    token_ids, mask, labels = padded(rows, model.device)
    logits = model(input_ids=token_ids, attention_mask=mask, use_cache=False).logits[:, :-1]  # (B, T - 1, V)
    wanted = logits.float().log_softmax(-1).gather(-1, labels[:, 1:].clamp(min=0)[..., None])[..., 0]  # (B, T - 1)
    return (wanted * (labels[:, 1:] >= 0)).sum(-1)


def padded(rows: Rows, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Token ids, attention mask and labels (-100 outside completions), (B, T) each, padded on the right."""
    width = max(len(prompt) + len(completion) for prompt, completion in rows)
    token_ids = torch.full((len(rows), width), END)
    mask, labels = torch.zeros_like(token_ids), torch.full_like(token_ids, -100)
    for row, (prompt, completion) in enumerate(rows):
        end = len(prompt) + len(completion)
        token_ids[row, :end] = torch.tensor(prompt + completion)
        mask[row, :end] = 1
        labels[row, len(prompt) : end] = torch.tensor(completion)
    return token_ids.to(device), mask.to(device), labels.to(device)
