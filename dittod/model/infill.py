"""Prompts for filling in the middle: which tokens frame the text before and behind the gap, where the model has them.

Only looks at the vocabulary: a model may have such tokens and still be bad at it.
"""

from __future__ import annotations

from typing import Any

from dittod.model.chat import encode_text
from dittod.model.load import BaseModel

_FRAMES = (  # before the prefix, before the suffix, before the middle
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),  # Qwen 2.5 and later, CodeGemma
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),  # StarCoder, Granite
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),  # SantaCoder
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),  # DeepSeek
    ("▁<PRE>", "▁<SUF>", "▁<MID>"),  # Code Llama
)


def fills_in(base: BaseModel) -> bool:
    """Whether the vocabulary has such tokens."""
    return _frame(base.tokenizer) is not None


def encode_infill(base: BaseModel, prefix: str, suffix: str) -> list[int] | None:
    """The prompt after which the model writes what stands between; None where it cannot."""
    frame = _frame(base.tokenizer)
    if frame is None:
        return None
    before, behind, middle = frame
    begun = base.tokenizer("")["input_ids"]  # the BOS, where texts have one
    return [
        *begun,
        before,
        *encode_text(base, prefix, begun=False),
        behind,
        *encode_text(base, suffix, begun=False),
        middle,
    ]


def _frame(tokenizer: Any) -> tuple[int, int, int] | None:
    added = {str(each.content): int(token_id) for token_id, each in tokenizer.added_tokens_decoder.items()}
    for before, behind, middle in _FRAMES:
        if before in added and behind in added and middle in added:
            return added[before], added[behind], added[middle]
    return None
