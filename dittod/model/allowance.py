"""How many tokens' keys and values fit where they are held: for one text alone, and as a number of bytes.

    read        the prompt's own, as it is computed
    decoded     those in the buffers of the running rows: half as many columns again as are in use, 64 at least

Both are there at once when the first token is drawn. Knows dimensions; knows nothing of budgets, which the engine sets.
"""

from __future__ import annotations

from dittod.model.load import BaseModel

LONE_FACTOR = 2.5  # tokens held for each token of a text that is alone: 1 as it was read, 1.5 in the buffers
LONE_TOKENS = 64  # and for however short a text
UNBOUNDED = 1 << 62


def token_bytes(base: BaseModel) -> int:
    """Of the keys and values of one token in all layers. Layers that keep none are counted as if they did."""
    text = base.model.config.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return int(2 * text.num_hidden_layers * heads * width * base.dtype.itemsize)


def lone_bytes(base: BaseModel, tokens: int) -> int:
    """What a text of so many tokens takes at most while no other is decoded."""
    return int((LONE_FACTOR * tokens + LONE_TOKENS) * token_bytes(base))


def longest(base: BaseModel, most_bytes: int) -> int:
    """Tokens of the longest text that fits alone, no more than the model's context."""
    fitting = (most_bytes / token_bytes(base) - LONE_TOKENS) / LONE_FACTOR
    return max(0, min(base.context_tokens, int(fitting)))
