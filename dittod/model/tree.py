"""Prompts with their completions as one packed row, and the attention that keeps them apart in it.

    row        p p p p a a a b b q q c c c c        each distinct prompt once, its distinct completions after it
    position   0 1 2 3 4 5 6 4 5 0 1 2 3 4 5        a completion goes on where its prompt ends
    sees       p, and what came before in the same completion

Nothing is padded and no text stands in the row twice. A completion's last token is left out: nothing is predicted
from it. Attention runs segment by segment over what the segment may see, so it costs what separate rows would; a prompt
and its first completion are one segment. Knows transformers' attention interface; knows nothing of demonstrations,
adapters or losses.

Letters: T tokens of the row, C completion tokens, B completions asked for, H heads, S size of a head.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.bias import causal_lower_right
from torch.utils.checkpoint import checkpoint
from transformers import AttentionInterface
from transformers.modeling_layers import GradientCheckpointingLayer

TokenIds = Sequence[int]
NAME = "dittod_tree"  # of the attention below, among those that transformers knows


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of the row: a prompt with its first completion, or another completion."""

    start: int
    stop: int
    root: int = -1  # number of the segment whose prompt it sees; itself none: -1
    sees: int = 0  # tokens of that prompt

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """A micro-batch. `logps[i]` of what was asked for is the sum over the places whose owner is `distinct[i]`."""

    token_ids: Tensor  # (1, T) int64
    position_ids: Tensor  # (1, T) int64
    segments: tuple[Segment, ...]  # in the order of the row, without gaps
    places: Tensor  # (C,) int64 into T: where a completion's token is predicted
    targets: Tensor  # (C,) int64: that token
    owners: Tensor  # (C,) int64: the distinct completion it belongs to
    distinct: Tensor  # (B,) int64: which distinct completion each one asked for is
    completions: int  # distinct ones
    branches: tuple[tuple[slice, slice], ...]  # where prompt and completion lie, of each completion that is not empty
    windows: set[int | None] = field(default_factory=set[int | None])  # sliding windows that layers asked for
    _masks: dict[tuple[int | None, torch.dtype], Tensor] = field(default_factory=dict[Any, Tensor])

    def one_by_one(self) -> Iterator[tuple[Tensor, int]]:
        """The same as rows of their own: token ids (1, prompt + completion - 1), and the first place in each."""
        for prompt, completion in self.branches:
            yield (
                torch.cat((self.token_ids[:, prompt], self.token_ids[:, completion]), 1),
                prompt.stop - prompt.start - 1,
            )

    def mask(self, segment: Segment, window: int | None, like: Tensor) -> Tensor:
        """What a segment's queries add to their scores, (tokens, prompt's tokens + tokens): a view of one square.

        The square's middle is the segment's first token; to the left lies its prompt.
        """
        key = (window, like.dtype)
        if key not in self._masks:
            self._masks[key] = _square(max(map(len, self.segments)), window, like)
        middle = self._masks[key].shape[0]
        return self._masks[key][: len(segment), middle - segment.sees : middle + len(segment)]


def pack(sequences: Sequence[tuple[TokenIds, TokenIds]], device: torch.device) -> Row:
    """One row of prompts and completions; equal prompts share a segment, and so do equal completions of a prompt."""
    builder = _Builder()
    distinct = [builder.add(tuple(prompt), tuple(completion)) for prompt, completion in sequences]
    builder.lay_out()

    def on_device(values: list[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64, device=device)

    return Row(
        on_device(builder.token_ids)[None],
        on_device(builder.position_ids)[None],
        tuple(builder.segments),
        on_device(builder.places),
        on_device(builder.targets),
        on_device(builder.owners),
        on_device(distinct),
        builder.completions,
        tuple(builder.branches),
    )


class _Builder:
    """A row in the making."""

    def __init__(self) -> None:
        self.token_ids: list[int] = []
        self.position_ids: list[int] = []
        self.segments: list[Segment] = []
        self.places: list[int] = []
        self.targets: list[int] = []
        self.owners: list[int] = []
        self.branches: list[tuple[slice, slice]] = []
        self.completions = 0
        self._trees: dict[tuple[int, ...], dict[tuple[int, ...], int]] = {}  # prompt → completion → its number

    def add(self, prompt: tuple[int, ...], completion: tuple[int, ...]) -> int:
        """Number of the completion among the distinct ones."""
        assert prompt, "the first token of a completion needs one before it"
        number = self._trees.setdefault(prompt, {}).setdefault(completion, self.completions)
        self.completions += number == self.completions
        return number

    def lay_out(self) -> None:
        """All trees, in the order in which their prompts came."""
        for prompt, completions in self._trees.items():
            root, start = len(self.segments), len(self.token_ids)
            self._extend(prompt, 0)
            stem = slice(start, start + len(prompt))
            first = True
            for completion, number in completions.items():
                inner = self._complete(stem, completion, number)
                if first:
                    self.segments.append(Segment(start, inner.stop))
                elif inner.start < inner.stop:
                    self.segments.append(Segment(inner.start, inner.stop, root, len(prompt)))
                first = False

    def _complete(self, prompt: slice, completion: tuple[int, ...], number: int) -> slice:
        """Append a completion; returns where it lies."""
        inner = slice(len(self.token_ids), len(self.token_ids) + max(0, len(completion) - 1))
        if completion:
            self._extend(completion[:-1], prompt.stop - prompt.start)
            self.branches.append((prompt, inner))
            self.places.append(prompt.stop - 1)  # the first token is predicted by the prompt's last
            self.places.extend(range(inner.start, inner.stop))
            self.targets.extend(completion)
            self.owners.extend([number] * len(completion))
        return inner

    def _extend(self, token_ids: tuple[int, ...], first_position: int) -> None:
        self.token_ids.extend(token_ids)
        self.position_ids.extend(range(first_position, first_position + len(token_ids)))


@contextmanager
def attending_by_tree(model: Any) -> Iterator[None]:
    """Inside the block the model takes `tree=Row` and attends by it. The backward pass may compute layers anew, so it
    belongs inside as well."""
    config = model.config.get_text_config()
    before = config._attn_implementation
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before


@contextmanager
def checkpointing(model: Any) -> Iterator[None]:
    """Inside the block every decoder layer keeps only its input, and is computed anew in the backward pass."""
    layers: list[Any] = [each for each in model.modules() if isinstance(each, GradientCheckpointingLayer)]
    for (
        layer
    ) in layers:  # not by transformers' own switch: it works in training mode only, which drops out in some models
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward  # the class's shows again


def attend(  # noqa: PLR0913  # transformers' interface
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    tree: Row,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention over a packed row: query (1, H, T, S), key and value (1, H or fewer, T, S) → (1, T, H, S)."""
    tree.windows.add(sliding_window)
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    lengths = [len(each) for each in tree.segments]
    queries, keys, values = (torch.split(each, lengths, 2) for each in (query, key, value))
    results = []
    for segment, own_query, own_key, own_value in zip(tree.segments, queries, keys, values, strict=True):
        if segment.sees:
            own_key = torch.cat((keys[segment.root][:, :, : segment.sees], own_key), 2)
            own_value = torch.cat((values[segment.root][:, :, : segment.sees], own_value), 2)
        window = sliding_window if sliding_window is not None and sliding_window < own_key.shape[2] else None
        if softcap is not None:
            mask = tree.mask(segment, window, query)
            results.append(_attend_capped(own_query, own_key, own_value, mask, scaling, softcap))
        elif not segment.sees and window is None:
            results.append(F.scaled_dot_product_attention(own_query, own_key, own_value, is_causal=True, scale=scaling))
        else:
            bias = _bias(tree, segment, window, own_query, own_key)
            results.append(F.scaled_dot_product_attention(own_query, own_key, own_value, attn_mask=bias, scale=scaling))
    return torch.cat(results, 2).transpose(1, 2).contiguous(), None


def _bias(tree: Row, segment: Segment, window: int | None, query: Tensor, key: Tensor) -> Tensor:
    """CUDA's flash attention knows this pattern by itself; elsewhere it is a mask."""
    if query.is_cuda and window is None:
        bias: Tensor = causal_lower_right(query.shape[2], key.shape[2])
        return bias
    mask = tree.mask(segment, window, query)
    return mask.contiguous() if query.is_cuda else mask  # kernels there want it aligned


def _attend_capped(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float | None, cap: float
) -> Tensor:
    """softmax(cap · tanh(s / cap) + mask) V with s = Q Kᵀ · scaling, as Gemma 2 has it (arXiv:2408.00118)."""
    scores = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    scores = cap * torch.tanh(scores / cap) + mask
    weights = scores.softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32))
    return weights.to(value.dtype) @ value


def _square(size: int, window: int | None, like: Tensor) -> Tensor:
    """(size, 2 · size): 0 where the query of row i sees column j, which lies j - size behind its segment's first."""
    distance = torch.arange(size, device=like.device)[:, None] + size - torch.arange(2 * size, device=like.device)
    hidden = distance < 0 if window is None else (distance < 0) | (distance >= window)
    return torch.zeros(size, 2 * size, dtype=like.dtype, device=like.device).masked_fill_(hidden, float("-inf"))


AttentionInterface.register(NAME, attend)
