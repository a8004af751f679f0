"""Batched decoding with a cache of keys and values: rows join and leave between any two steps.

One `step()` is one unit of work: a prompt (computed once, however many answers it gets), or one token for every running
row. Rows of different adapters never share a forward: there is one batch per adapter, and a step advances them all.
Knows nothing of text, requests or learning. Whoever changes the weights of an adapter must let its rows end first:
keys and values of the old weights are not computed anew.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache

from dittod.engine.protocol import Sampling
from dittod.errors import ModelError, RequestError
from dittod.model.load import BaseModel
from dittod.model.lora import LoraAdapters
from dittod.model.sampling import History, choose
from dittod.types import FinishReason

_SPARE_COLUMNS = 64  # the least by which buffers grow, so that a token rarely means a copy of the cache


@dataclass(eq=False, slots=True)
class Row:
    """One answer being decoded. The Decoder owns it; others read it."""

    prompt_ids: tuple[int, ...]
    adapter: str | None  # None: the base model
    sampling: Sampling
    limit: int  # the most tokens it can get: max_tokens, or what is left of the context
    generator: torch.Generator  # its own: the same seed draws the same in any company
    token_ids: list[int] = field(default_factory=list[int])  # with the stop token when it ended by itself
    logps: list[float] = field(default_factory=list[float])  # nats, of the model itself: before temperature and cuts
    alternatives: list[tuple[tuple[int, float], ...]] = field(default_factory=list[tuple[tuple[int, float], ...]])
    finish_reason: FinishReason | None = None  # 'length': `limit` was reached

    @property
    def cached_tokens(self) -> int:
        """Tokens whose keys and values are known: all but the latest."""
        return len(self.prompt_ids) + len(self.token_ids) - 1


class _States(NamedTuple):
    """Keys and values of one layer, (rows, heads, tokens, size) each."""

    keys: Tensor
    values: Tensor


class _Prefill(NamedTuple):
    """A computed prompt, from which any number of rows can start."""

    layers: list[_States | None]  # one row each; None: the layer keeps none
    logits: Tensor  # (1, vocabulary) after the last token


@dataclass(eq=False, slots=True)
class _Prompt:
    """A prompt with the rows that still wait for it."""

    rows: list[Row]
    prefill: _Prefill | None = None


class Decoder:
    """Decodes any number of rows, at most `max_rows` at a time, the rest in the order in which they came."""

    def __init__(self, base: BaseModel, adapters: LoraAdapters, *, max_rows: int) -> None:
        self._base = base
        self._adapters = adapters
        self._max_rows = max_rows
        self._vocabulary = int(base.model.get_input_embeddings().weight.shape[0])
        self._waiting: deque[_Prompt] = deque()
        self._batches: dict[str | None, _Batch] = {}
        self._just_prefilled = False

    @property
    def busy(self) -> bool:
        """Whether a step has anything to do."""
        return bool(self._waiting or self._batches)

    def submit(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, adapter: str | None = None, n: int = 1
    ) -> list[Row]:
        """Queue n answers to a prompt; nothing is computed yet. Seeds are seed, seed + 1, … or drawn from the system.

        Raises RequestError where the prompt leaves no room for one token or a parameter cannot be used."""
        self._check(prompt_ids, sampling, adapter)
        room = self._base.context_tokens - len(prompt_ids)
        limit = room if sampling.max_tokens is None else min(room, sampling.max_tokens)
        first_seed = int.from_bytes(os.urandom(7)) if sampling.seed is None else sampling.seed
        prompt = tuple(int(token_id) for token_id in prompt_ids)
        rows = [Row(prompt, adapter, sampling, limit, _generator(first_seed + i)) for i in range(n)]
        if rows:
            self._waiting.append(_Prompt(list(rows)))
        return rows

    def cancel(self, row: Row) -> None:
        """Forget a row, waiting or running; no later step touches it. Nothing happens to one that has ended."""
        batch = self._batches.get(row.adapter)
        if batch is not None and row in batch.rows:
            batch.leave([row])
            self._forget_empty()
            return
        for prompt in self._waiting:
            if row in prompt.rows:
                prompt.rows.remove(row)
        self._waiting = deque(prompt for prompt in self._waiting if prompt.rows)

    @torch.no_grad()  # not inference_mode: a tensor that the model keeps from it would break learning later
    def step(self) -> list[Row]:
        """Compute one prompt or one token for every running row; the rows that got a token, some now with a
        finish_reason. Prompts come first where there is room, but never two without a token between for running rows.
        """
        room = self._max_rows - sum(len(batch.rows) for batch in self._batches.values())
        must_advance = self._just_prefilled and bool(self._batches)
        if self._waiting and room > 0 and (self._waiting[0].prefill or not must_advance):
            return self._start(self._waiting[0], room)
        self._just_prefilled = False
        advanced = [row for batch in list(self._batches.values()) for row in self._advance(batch)]
        self._forget_empty()
        return advanced

    def _start(self, prompt: _Prompt, room: int) -> list[Row]:
        """First tokens for as many rows of the prompt as there is room for; the others start later, from the same
        prefill."""
        if prompt.prefill is None:
            prompt.prefill = self._prefill(prompt.rows[0])
            self._just_prefilled = True
        rows, prompt.rows = prompt.rows[:room], prompt.rows[room:]
        if not prompt.rows:
            self._waiting.popleft()
        self._give_tokens(rows, prompt.prefill.logits.expand(len(rows), -1))
        going_on = [row for row in rows if row.finish_reason is None]
        if going_on:
            batch = self._batches.setdefault(
                rows[0].adapter, _Batch(self._max_rows, margin=int(self._base.device.type == "cpu"))
            )
            batch.join(going_on, prompt.prefill)
        return rows

    def _prefill(self, row: Row) -> _Prefill:
        cache = DynamicCache()  # without a config: every layer keeps every position, sliding windows by mask
        logits = self._forward(row.adapter, torch.tensor([row.prompt_ids]), cache)
        return _Prefill([_states(layer) for layer in cache.layers], logits)

    def _advance(self, batch: _Batch) -> list[Row]:
        rows = list(batch.rows)
        latest = torch.tensor([[row.token_ids[-1]] for row in rows])  # (rows, 1)
        mask, positions = batch.mask_and_positions()
        logits = self._forward(rows[0].adapter, latest, batch.cache, attention_mask=mask, position_ids=positions)
        batch.end += 1
        self._give_tokens(rows, logits)
        batch.leave([row for row in rows if row.finish_reason is not None])
        return rows

    def _forward(self, adapter: str | None, token_ids: Tensor, cache: Cache, **places: Tensor | None) -> Tensor:
        """Logits after the last token of each row, (rows, vocabulary) in float32; the cache has grown by the tokens."""
        device = self._base.device
        places = {key: None if value is None else value.to(device) for key, value in places.items()}
        with self._adapters.active(adapter):
            out = self._base.model(
                input_ids=token_ids.to(device), past_key_values=cache, use_cache=True, logits_to_keep=1, **places
            )
        logits: Tensor = out.logits[:, -1]
        return logits.float()

    def _give_tokens(self, rows: list[Row], logits: Tensor) -> None:
        """Draw one token for each row from `logits` (rows, vocabulary), and note what has to be known about it."""
        uniforms = torch.stack([torch.rand((), generator=row.generator, dtype=torch.float64) for row in rows])
        histories = [History(row.prompt_ids, row.token_ids) for row in rows]
        token_ids = choose(logits, [row.sampling for row in rows], histories, uniforms.to(logits.device))
        logps = torch.log_softmax(logits, -1)  # (rows, vocabulary)
        chosen = zip(rows, token_ids.tolist(), logps.gather(-1, token_ids[:, None])[:, 0].tolist(), strict=True)
        for index, (row, token_id, logp) in enumerate(chosen):
            row.token_ids.append(token_id)
            row.logps.append(logp)
            if row.sampling.logprobs is not None:
                row.alternatives.append(_likeliest(logps[index], row.sampling.logprobs))
            if token_id in self._base.stop_token_ids:
                row.finish_reason = "stop"
            elif len(row.token_ids) >= row.limit:
                row.finish_reason = "length"

    def _forget_empty(self) -> None:
        self._batches = {name: batch for name, batch in self._batches.items() if batch.rows}

    def _check(self, prompt_ids: Sequence[int], sampling: Sampling, adapter: str | None) -> None:
        context = self._base.context_tokens
        if len(prompt_ids) >= context:
            raise RequestError(
                f"the prompt has {len(prompt_ids)} tokens; this model's context of {context} leaves none for an answer",
                "shorten the conversation",
                param="messages",
                code="context_length_exceeded",
            )
        if not prompt_ids or not all(0 <= token_id < self._vocabulary for token_id in prompt_ids):
            raise RequestError(
                f"a prompt is one or more token ids below {self._vocabulary}", "send text instead", param="prompt"
            )
        if not all(0 <= token_id < self._vocabulary for token_id in sampling.logit_bias):
            raise RequestError(
                f"logit_bias names a token that this model has not: its ids end at {self._vocabulary - 1}",
                "leave it out, or give ids of this model's tokenizer",
                param="logit_bias",
            )
        if sampling.max_tokens is not None and sampling.max_tokens < 1:
            raise RequestError(f"max_tokens is {sampling.max_tokens}; it must be at least 1", param="max_tokens")
        if adapter is not None and adapter not in self._adapters:
            raise ModelError(f"adapter {adapter} is not loaded", "load it before decoding with it")


class _Batch:
    """The running rows of one adapter, and where their keys and values lie.

    Every layer has one buffer for keys and one for values, (slots, heads, columns, size). Row i lies in slot i, its
    latest token in column end - 1, its first `cached_tokens` columns earlier; what is left of that is masked. So a
    token is written in place into one column, and a row that leaves is replaced by the last one. `margin` columns at
    the left are masked for every row: without any mask, transformers takes a way through grouped-query attention that
    is 2 to 6 times slower on CPU (0.35 against 2.4 ms a layer for 16 rows in bf16).

        slot 0   · · a a a a a|
        slot 1   b b b b b b b|        columns start … end
        slot 2   · · · · · c c|
    """

    def __init__(self, max_rows: int, *, margin: int) -> None:
        self.rows: list[Row] = []
        self.start = 0
        self.end = 0
        self._buffers: list[_Buffer] = []
        self.cache = Cache(layers=self._buffers)  # type: ignore[arg-type]  # a list that we fill, and it reads
        self._max_rows = max_rows
        self._margin = margin
        self._slots = 0
        self._columns = 0

    def join(self, rows: list[Row], prefill: _Prefill) -> None:
        """Let rows run that start from the same computed prompt."""
        if not self._buffers:
            self._buffers.extend(_Buffer(self, states) for states in prefill.layers)
        tokens = len(rows[0].prompt_ids)
        first, behind = len(self.rows), len(self.rows) + len(rows)
        self._make_room(slots=behind, width=max(tokens + self._margin, self.end - self.start))
        self.start = min(self.start, self.end - tokens - self._margin)
        self.rows.extend(rows)
        for buffer, states in zip(self._buffers, prefill.layers, strict=True):
            buffer.fill(slice(first, behind), states, tokens)

    def leave(self, rows: list[Row]) -> None:
        """Take rows out, and drop the columns that only they needed."""
        for row in rows:
            slot, last = self.rows.index(row), len(self.rows) - 1
            moved = self.rows.pop()
            if slot != last:
                self.rows[slot] = moved
                for buffer in self._buffers:
                    buffer.move_slot(last, slot)
        if rows and self.rows:
            self.start = self.end - max(row.cached_tokens for row in self.rows) - self._margin

    def mask_and_positions(self) -> tuple[Tensor | None, Tensor]:
        """What the model must know before the next token: mask (rows, columns + 1) or None when nothing is masked,
        and positions (rows, 1). Makes sure that there is a free column."""
        self._make_room(slots=len(self.rows), width=self.end - self.start)
        cached = torch.tensor([[row.cached_tokens] for row in self.rows])  # (rows, 1)
        width = self.end - self.start
        if int(cached.min()) == width:
            return None, cached
        return torch.arange(width + 1) >= width - cached, cached

    def _make_room(self, *, slots: int, width: int) -> None:
        """Copy the buffers into larger ones, or to another place in them, unless `width` columns up to `end`, one
        more behind it, and `slots` rows fit as it is."""
        if slots <= self._slots and width <= self.end < self._columns:
            return
        if slots > self._slots:
            self._slots = min(self._max_rows, max(slots, 2 * self._slots))
        self._columns = width + max(_SPARE_COLUMNS, width // 2)
        for buffer in self._buffers:
            buffer.move_all(self._slots, self._columns, width)
        self.start, self.end = width - (self.end - self.start), width


class _Buffer(CacheLayerMixin):  # type: ignore[no-untyped-call]
    """One layer's keys and values for a batch: what the model's attention writes to and reads."""

    def __init__(self, batch: _Batch, states: _States | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._batch = batch
        self.is_initialized = states is not None
        self.stored = states and _States(*(state.new_empty(0, state.shape[1], 0, state.shape[3]) for state in states))

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write the latest token of each row, (rows, heads, 1, size), and return all columns in use."""
        at = self._batch
        rows = len(at.rows)
        assert self.stored is not None, "a layer that kept nothing of the prompt now keeps a token"
        self.stored.keys[:rows, :, at.end] = key_states[:, :, 0]
        self.stored.values[:rows, :, at.end] = value_states[:, :, 0]
        seen = slice(at.start, at.end + 1)
        return self.stored.keys[:rows, :, seen], self.stored.values[:rows, :, seen]

    def fill(self, slots: slice, states: _States | None, tokens: int) -> None:
        """Put a computed prompt, (1, heads, tokens, size), into the slots, its last token before `end`."""
        at = self._batch
        for buffer, state in zip(self.stored or (), states or (), strict=True):
            buffer[slots, :, at.end - tokens : at.end] = state

    def move_slot(self, source: int, target: int) -> None:
        """Overwrite one slot with another."""
        used = slice(self._batch.start, self._batch.end)
        for buffer in self.stored or ():
            buffer[target, :, used] = buffer[source, :, used]

    def move_all(self, slots: int, columns: int, end: int) -> None:
        """Into new buffers, so that the columns in use stop before `end`."""
        self.stored = self.stored and _States(*(self._moved(old, slots, columns, end) for old in self.stored))

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


def _states(layer: Any) -> _States | None:
    return _States(layer.keys, layer.values) if layer.is_initialized else None


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed % 2**63)


def _likeliest(logps: Tensor, count: int) -> tuple[tuple[int, float], ...]:
    """The `count` likeliest tokens with their log-probs, the likeliest first. `logps` (vocabulary,)."""
    top = logps.topk(min(count, logps.shape[-1]))
    return tuple(zip(top.indices.tolist(), top.values.tolist(), strict=True))
