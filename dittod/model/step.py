"""One more token of every running row, through layers whose arithmetic is known here: Llama, Mistral, Qwen 2 and 3.

A decoding step of a small model is mostly the cost of calling, and transformers' forward makes three times as many
calls as the arithmetic needs. Here rows are vectors, not sequences of length one; the mask is made once; queries that
share keys are attended to as one, so that no keys are copied. Prompts, and every other kind of model, go through
transformers' forward. Knows the weights of a layer and the batch's buffers; knows nothing of rows, adapters or what
tokens mean.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from dittod.model.batch import Batch

_KNOWN = ("Llama", "Mistral", "Qwen2", "Qwen3")  # by name: importing all of them would cost every start


def is_known(model: Any) -> bool:
    """Whether `one_token` computes what this model computes. No windows: their masks differ from layer to layer."""
    config = model.config
    windows = getattr(config, "use_sliding_window", True) and getattr(config, "sliding_window", None)
    return not windows and any(_is_of(model, name) for name in _KNOWN)


def _is_of(model: Any, family: str) -> bool:
    places = f"transformers.models.{family.lower()}.modeling_{family.lower()}"
    if (type(model).__module__, type(model).__name__) != (places, f"{family}ForCausalLM"):
        return False
    return all(
        (type(each).__module__, type(each).__name__) == (places, f"{family}DecoderLayer") for each in model.model.layers
    )


def one_token(model: Any, batch: Batch, token_ids: Tensor, mask: Tensor | None, positions: Tensor) -> Tensor:
    """Logits (rows, vocabulary) after the latest tokens (rows,), whose keys and values are now in the batch.

    `mask` (rows, columns): which columns of the buffers each row sees; `positions` (rows, 1) of the tokens.
    """
    body = model.model
    hidden = _called(body.embed_tokens, token_ids)  # (rows, width)
    cos, sin = body.rotary_emb.forward(hidden, positions)  # (rows, 1, size) each
    turns = cos, torch.cat((-sin[..., : sin.shape[-1] // 2], sin[..., sin.shape[-1] // 2 :]), -1)
    bias = None if mask is None else _as_bias(mask, hidden.dtype)
    for number, layer in enumerate(body.layers):
        hidden = hidden + _attended(layer.self_attn, layer.input_layernorm.forward(hidden), turns, bias, batch, number)
        hidden = hidden + _transformed(layer.mlp, layer.post_attention_layernorm.forward(hidden))
    return _called(model.lm_head, body.norm.forward(hidden))


def _as_bias(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to scores, (rows, 1, 1, columns): attention would make it of a mask in every layer."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, -torch.inf)[:, None, None]


def _attended(
    attention: Any, x: Tensor, turns: tuple[Tensor, Tensor], bias: Tensor | None, batch: Batch, number: int
) -> Tensor:
    rows, size = len(x), attention.head_dim
    queries = _called(attention.q_proj, x).view(rows, -1, size)
    keys = _called(attention.k_proj, x).view(rows, -1, size)
    values = _called(attention.v_proj, x).view(rows, -1, size)
    if hasattr(attention, "q_norm"):
        queries, keys = attention.q_norm.forward(queries), attention.k_norm.forward(keys)
    heads = queries.shape[1]
    turned = _turned(torch.cat((queries, keys), 1), *turns)  # (rows, heads + key heads, size)
    known = batch.write(number, turned[:, heads:], values)
    grouped = turned[:, :heads].reshape(rows, keys.shape[1], -1, size)  # the queries of one key head, side by side
    out = scaled_dot_product_attention(grouped, known.keys, known.values, attn_mask=bias, scale=attention.scaling)
    return _called(attention.o_proj, out.reshape(rows, -1))


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions: x · cos + (−second half, first half) · sin, the signs being in `sin`."""
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin)


def _transformed(mlp: Any, x: Tensor) -> Tensor:
    return _called(mlp.down_proj, mlp.act_fn.forward(_called(mlp.gate_proj, x)).mul_(_called(mlp.up_proj, x)))


def _called(module: Any, x: Tensor) -> Tensor:
    """Past torch's calling of modules, which takes 7 µs, unless something waits for the call."""
    out: Tensor = module(x) if module._forward_pre_hooks else module.forward(x)
    return out
