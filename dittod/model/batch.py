"""The running rows of a decoder, and where their keys and values lie: rows join and leave between any two tokens.

Knows nothing of models, adapters, sampling or what a row is: it is handed rows, computed prompts, and keys and values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache, DynamicLayer

if TYPE_CHECKING:
    from dittod.model.decode import Row

_SPARE_COLUMNS = 64  # the least by which buffers grow, so that a token rarely means a copy of the cache
_MOST_WASTE = 4  # columns that rows hold, over those that they fill: each holds as many as the longest
_SMALL_BYTES = 64 << 20  # of buffers in which waste does not matter


class States(NamedTuple):
    """Keys and values of one layer, (rows, heads, tokens, size) each."""

    keys: Tensor
    values: Tensor


Layers = list[States | None]  # of a whole model; None: the layer keeps none


def cache_of(layers: Layers) -> DynamicCache:
    """What the model reads these from and adds to, as new tensors: the given ones stay as they are."""
    cache = DynamicCache()  # without a config: every layer keeps every position, sliding windows by mask
    cache.layers = [_dynamic_layer(states) for states in layers]
    return cache


def layers_of(cache: DynamicCache) -> Layers:
    """What the model has left in a cache."""
    return [_states(layer) for layer in cache.layers]


class Batch:
    """Every layer has one buffer for keys and one for values, (slots, heads, columns, size). Row i lies in slot i, its
    latest token in column end - 1, its first `cached[i]` columns before `end`; what is left of that is masked. So a
    token is written in place into one column, and a row that leaves is replaced by the last one. `margin` columns at
    the left are masked for every row: without any mask, transformers takes a way through grouped-query attention that
    is 2 to 6 times slower on CPU (0.35 against 2.4 ms a layer for 16 rows in bf16).

        slot 0   · · a a a a a|
        slot 1   b b b b b b b|        columns start … end
        slot 2   · · · · · c c|
    """

    def __init__(self, max_rows: int, *, margin: int) -> None:
        self.rows: list[Row] = []
        self.cached: list[int] = []  # of each row: tokens whose keys and values are known, all but the latest
        self.start = 0
        self.end = 0
        self._buffers: list[_Buffer] = []
        self.cache = Cache(layers=self._buffers)  # type: ignore[arg-type]  # a list that we fill, and it reads
        self._max_rows = max_rows
        self._margin = margin
        self._slots = 0
        self._columns = 0

    @property
    def held_tokens(self) -> int:
        """For how many tokens there is memory in the buffers, in use or not."""
        return self._slots * self._columns

    @property
    def least_tokens(self) -> int:
        """The same with no more room than the rows need."""
        return len(self.rows) * (self.end - self.start + _SPARE_COLUMNS)

    def tokens_with(self, rows: int, tokens: int) -> int:
        """The same once so many rows more run, from a prompt of so many tokens. For none: before the next token."""
        slots, columns = self._grown(len(self.rows) + rows, max(tokens + self._margin, self.end - self.start))
        return slots * columns

    def takes(self, rows: int, layers: Layers, tokens: int) -> bool:
        """Whether so many rows with a prompt of so many tokens can join without much room being held for nothing."""
        held = (len(self.rows) + rows) * max([tokens, *self.cached])
        filled = sum(self.cached) + rows * tokens
        return held <= _MOST_WASTE * filled or held * _column_bytes(layers, tokens) <= _SMALL_BYTES

    def join(self, rows: list[Row], layers: Layers, tokens: int) -> None:
        """Let rows run that start from the same computed prompt of so many tokens."""
        if not self._buffers:
            self._buffers.extend(_Buffer(self, states) for states in layers)
        first, behind = len(self.rows), len(self.rows) + len(rows)
        self._make_room(slots=behind, width=max(tokens + self._margin, self.end - self.start))
        self.start = min(self.start, self.end - tokens - self._margin)
        self.rows.extend(rows)
        self.cached.extend([tokens] * len(rows))
        for buffer, states in zip(self._buffers, layers, strict=True):
            buffer.fill(slice(first, behind), states, tokens)

    def write(self, layer: int, keys: Tensor, values: Tensor) -> States:
        """Put one layer's keys and values of the latest tokens, (rows, heads, size), into the free column; returns all
        columns in use, (rows, heads, columns, size)."""
        return self._buffers[layer].write(keys, values)

    def advanced(self) -> None:
        """The model has computed one more token of every row."""
        self.end += 1
        self.cached = [tokens + 1 for tokens in self.cached]

    def known(self, row: Row) -> tuple[int, Layers]:
        """How many of a row's tokens are computed, and their keys and values where they lie, (1, heads, tokens, size):
        to be copied before the next token."""
        slot = self.rows.index(row)
        return self.cached[slot], [buffer.of_slot(slot, self.cached[slot]) for buffer in self._buffers]

    def leave(self, rows: list[Row]) -> None:
        """Take rows out, and drop the columns that only they needed."""
        for row in rows:
            slot, last = self.rows.index(row), len(self.rows) - 1
            moved, tokens = self.rows.pop(), self.cached.pop()
            if slot != last:
                self.rows[slot], self.cached[slot] = moved, tokens
                for buffer in self._buffers:
                    buffer.move_slot(last, slot)
        if rows and self.rows:
            self.start = self.end - max(self.cached) - self._margin
            self._shrink()

    def mask_and_positions(self) -> tuple[Tensor | None, Tensor]:
        """What the model must know before the next token: mask (rows, columns + 1) or None when nothing is masked,
        and positions (rows, 1). Makes sure that there is a free column."""
        self._make_room(slots=len(self.rows), width=self.end - self.start)
        cached = torch.tensor(self.cached)[:, None]  # (rows, 1)
        width = self.end - self.start
        if min(self.cached) == width:
            return None, cached
        return torch.arange(width + 1) >= width - cached, cached

    def compact(self) -> None:
        """Hold no more than the rows take, and some columns for their next tokens."""
        self._move(len(self.rows), self.end - self.start, spare=_SPARE_COLUMNS)

    def _shrink(self) -> None:
        """Give room back that those who left have needed."""
        width = self.end - self.start
        held_bytes = sum(state.nbytes for buffer in self._buffers for state in buffer.stored or ())
        too_much = self._slots * self._columns > 2 * _MOST_WASTE * len(self.rows) * width
        if too_much and held_bytes > _SMALL_BYTES:
            self._move(len(self.rows), width, spare=_spare(width))

    def _make_room(self, *, slots: int, width: int) -> None:
        """Copy the buffers into larger ones, or to another place in them, unless `width` columns up to `end`, one
        more behind it, and `slots` rows fit as it is."""
        if not self._has_room(slots, width):
            self._move(self._grown(slots, width)[0], width, spare=_spare(width))

    def _has_room(self, slots: int, width: int) -> bool:
        return slots <= self._slots and width <= self.end < self._columns

    def _grown(self, slots: int, width: int) -> tuple[int, int]:
        """Slots and columns of the buffers once there is room for these."""
        if self._has_room(slots, width):
            return self._slots, self._columns
        doubled = min(self._max_rows, max(slots, 2 * self._slots))
        return (doubled if slots > self._slots else self._slots), width + _spare(width)

    def _move(self, slots: int, width: int, *, spare: int) -> None:
        self._slots, self._columns = slots, width + spare
        for buffer in self._buffers:
            buffer.move_all(self._slots, self._columns, width)
        self.start, self.end = width - (self.end - self.start), width


class _Buffer(CacheLayerMixin):  # type: ignore[no-untyped-call]
    """One layer's keys and values for a batch: what the model's attention writes to and reads."""

    def __init__(self, batch: Batch, states: States | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._batch = batch
        self.is_initialized = states is not None
        self.stored = states and States(*(state.new_empty(0, state.shape[1], 0, state.shape[3]) for state in states))

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """What transformers' layers call, with states (rows, heads, 1, size)."""
        return self.write(key_states[:, :, 0], value_states[:, :, 0])

    def write(self, keys: Tensor, values: Tensor) -> States:
        """Put in the latest token of each row, (rows, heads, size), and return all columns in use."""
        at = self._batch
        rows = len(at.rows)
        assert self.stored is not None, "a layer that kept nothing of the prompt now keeps a token"
        self.stored.keys[:rows, :, at.end] = keys
        self.stored.values[:rows, :, at.end] = values
        seen = slice(at.start, at.end + 1)
        return States(self.stored.keys[:rows, :, seen], self.stored.values[:rows, :, seen])

    def fill(self, slots: slice, states: States | None, tokens: int) -> None:
        """Put a computed prompt, (1, heads, tokens, size), into the slots, its last token before `end`."""
        at = self._batch
        for buffer, state in zip(self.stored or (), states or (), strict=True):
            buffer[slots, :, at.end - tokens : at.end] = state

    def of_slot(self, slot: int, tokens: int) -> States | None:
        """A view of the last `tokens` columns of one slot, (1, heads, tokens, size)."""
        columns = slice(self._batch.end - tokens, self._batch.end)
        return self.stored and States(*(buffer[slot : slot + 1, :, columns] for buffer in self.stored))

    def move_slot(self, source: int, target: int) -> None:
        """Overwrite one slot with another."""
        used = slice(self._batch.start, self._batch.end)
        for buffer in self.stored or ():
            buffer[target, :, used] = buffer[source, :, used]

    def move_all(self, slots: int, columns: int, end: int) -> None:
        """Into new buffers, so that the columns in use stop before `end`."""
        self.stored = self.stored and States(*(self._moved(old, slots, columns, end) for old in self.stored))

    def _moved(self, old: Tensor, slots: int, columns: int, end: int) -> Tensor:
        at = self._batch
        rows, width = min(len(at.rows), old.shape[0]), at.end - at.start
        new = old.new_zeros(slots, old.shape[1], columns, old.shape[3])  # zeros: 0 · NaN is NaN behind any mask
        new[:rows, :, end - width : end] = old[:rows, :, at.start : at.end]
        return new

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Columns that the next attention sees, and where they begin: window masks count from here."""
        return self.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        """Columns in use."""
        return self._batch.end - self._batch.start

    def get_max_length(self) -> int:
        """No limit."""
        return -1

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing: the prompt has shown the shapes."""


def _spare(width: int) -> int:
    return max(_SPARE_COLUMNS, width // 2)


def _column_bytes(layers: Layers, tokens: int) -> int:
    """Of one token in all layers."""
    return sum(state.nbytes for states in layers for state in states or ()) // tokens


def _states(layer: Any) -> States | None:
    return States(layer.keys, layer.values) if layer.is_initialized else None


def _dynamic_layer(states: States | None) -> DynamicLayer:
    layer = DynamicLayer()  # type: ignore[no-untyped-call]
    if states is not None:
        layer.keys, layer.values = states
        layer.dtype, layer.device, layer.is_initialized = states.keys.dtype, states.keys.device, True
    return layer
