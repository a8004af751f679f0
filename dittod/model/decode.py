"""Batched decoding with a cache of keys and values: rows join and leave between any two steps.

One `step()` is one unit of work: a chunk of a prompt (computed once, however many answers it gets), or one token for
every running row, whichever adapter each runs on. Knows nothing of text, requests or learning. Whoever changes the
weights of an adapter must let its rows end first and have `prefixes` forget it: keys and values of the old weights are
not computed anew.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from dittod.engine.protocol import Sampling
from dittod.errors import ModelError, RequestError
from dittod.model.batch import Batch, Layers, cache_of, layers_of
from dittod.model.load import BaseModel
from dittod.model.lora import LoraAdapters
from dittod.model.prefix import PrefixCache
from dittod.model.sampling import History, choose
from dittod.model.step import is_known, one_token
from dittod.types import FinishReason

_CHUNK_TOKENS = 256  # of a prompt at once: 900 took 139 ms by 128, 130 by 256, 121 by 512, 109 undivided (starter, CPU)
_SCORED_LOGITS_BYTES = 64 << 20  # the largest (tokens, vocabulary) tensor of float32 while a prompt is scored

Alternatives = tuple[tuple[int, float], ...]  # token ids with their log-probs, the likeliest first


class Constraint(Protocol):
    """What an answer may say, token by token."""

    @property
    def failed(self) -> bool:
        """Whether it can go no further though the answer is not complete: then no token is allowed."""

    def copy(self) -> Constraint:
        """For another row, from where this one is."""

    def mask(self) -> Tensor | None:
        """Which tokens may come next: (vocabulary,) of bool on the CPU. None: all of them."""

    def accept(self, token_id: int) -> None:
        """This token was drawn."""


@dataclass(eq=False, slots=True)
class Row:
    """One answer being decoded. The Decoder owns it; others read it."""

    prompt_ids: tuple[int, ...]
    adapter: str | None  # None: the base model
    sampling: Sampling
    limit: int  # the most tokens it can get: max_tokens, or what is left of the context
    generator: torch.Generator  # its own
    constraint: Constraint | None = None
    cached_prompt_tokens: int = 0  # of the prompt: known from an earlier conversation
    prompt_logps: list[float] = field(default_factory=list[float])  # of its second token and on, if asked for
    prompt_alternatives: list[Alternatives] = field(default_factory=list[Alternatives])
    token_ids: list[int] = field(default_factory=list[int])  # with the stop token when it ended by itself
    logps: list[float] = field(default_factory=list[float])  # nats, of the model itself: before temperature and cuts
    alternatives: list[Alternatives] = field(default_factory=list[Alternatives])
    finish_reason: FinishReason | None = None  # 'length': `limit` was reached, or one of its constraint's


@dataclass(eq=False, slots=True)
class _Prompt:
    """A prompt with the rows that still wait for it, and what is computed of it."""

    token_ids: tuple[int, ...]
    adapter: str | None
    rows: list[Row]
    scored: bool  # whether log-probs of its own tokens are wanted
    layers: Layers = field(default_factory=list)  # keys and values of its first `done` tokens
    done: int = 0
    logits: Tensor | None = None  # (1, vocabulary) in float32 after the last token, once that is computed


class Decoder:
    """Decodes any number of rows, at most `max_rows` at a time, the rest in the order in which they came.

    `prefix_bytes` bounds what is kept of earlier conversations; 0 where adapters change. `reproducible`: who gives a
    seed gets the same text again, whatever else is being decoded. In 16 bits, the shape of a product decides how it is
    rounded, and rounding which token is drawn; so such rows are computed by themselves, and their prompts from the
    beginning.
    """

    def __init__(
        self,
        base: BaseModel,
        adapters: LoraAdapters,
        *,
        max_rows: int,
        prefix_bytes: int = 0,
        reproducible: bool = False,
    ) -> None:
        self._base = base
        self._adapters = adapters
        self._max_rows = max_rows
        self._vocabulary = int(base.model.get_input_embeddings().weight.shape[0])
        self._waiting: deque[_Prompt] = deque()
        self._shared: list[Batch] = []  # more than one only where rows of very different lengths run
        self._alone: list[Batch] = []  # of one row each
        self._seeds_are_alone = reproducible and base.dtype.itemsize < 4
        self.prefixes = PrefixCache(prefix_bytes)
        self._just_read = False
        self._short_cut = is_known(base.model)

    @property
    def busy(self) -> bool:
        """Whether a step has anything to do."""
        return bool(self._waiting or self._batches())

    def submit(
        self,
        prompt_ids: Sequence[int],
        sampling: Sampling,
        *,
        adapter: str | None = None,
        n: int = 1,
        constraint: Constraint | None = None,
        score_prompt: bool = False,
    ) -> list[Row]:
        """Queue n answers to a prompt; nothing is computed yet. Seeds are seed, seed + 1, … or drawn from the system.

        With `score_prompt`, rows also get log-probs of the prompt's tokens. Raises RequestError as `check` does."""
        self.check(prompt_ids, sampling)
        if adapter is not None and adapter not in self._adapters:
            raise ModelError(f"adapter {adapter} is not loaded", "load it before decoding with it")
        room = self._base.context_tokens - len(prompt_ids)
        limit = room if sampling.max_tokens is None else min(room, sampling.max_tokens)
        first_seed = int.from_bytes(os.urandom(7)) if sampling.seed is None else sampling.seed
        prompt = tuple(int(token_id) for token_id in prompt_ids)
        rows = [
            Row(
                prompt,
                adapter,
                sampling,
                limit,
                _generator(first_seed + i),
                None if constraint is None else constraint.copy(),
            )
            for i in range(n)
        ]
        if rows:
            self._waiting.append(_Prompt(prompt, adapter, list(rows), score_prompt))
        return rows

    def cancel(self, row: Row) -> None:
        """Forget a row, waiting or running; no later step touches it. Nothing happens to one that has ended."""
        for batch in self._batches():
            if row in batch.rows:
                self._leave(batch, [row])
                return
        for prompt in self._waiting:
            if row in prompt.rows:
                prompt.rows.remove(row)
                if not prompt.rows:
                    self.prefixes.keep(prompt.adapter, prompt.token_ids[: prompt.done], prompt.layers)
        self._waiting = deque(prompt for prompt in self._waiting if prompt.rows)

    @torch.no_grad()  # not inference_mode: a tensor that the model keeps from it would break learning later
    def step(self) -> list[Row]:
        """Compute a chunk of one prompt, or one token for every running row; the rows that got a token or ended, which
        their finish_reason tells. Prompts come first where there is room, but never two chunks without a token between
        for running rows."""
        running = self._running()
        if self._waiting and running < self._max_rows:
            prompt = self._waiting[0]
            if prompt.logits is None and not (self._just_read and running):
                self._read(prompt)
                self._just_read = True
                return self._start(prompt) if prompt.logits is not None else []
            if prompt.logits is not None:
                return self._start(prompt)
        self._just_read = False
        return [row for batch in self._batches() for row in self._advance(batch)]

    def _read(self, prompt: _Prompt) -> None:
        """Compute the next chunk of a prompt, all of it where it is short."""
        if prompt.done == 0 and not prompt.scored and not self._is_alone(prompt.rows[0]):
            prompt.done, prompt.layers = self.prefixes.find(prompt.adapter, prompt.token_ids[:-1])
            for row in prompt.rows:
                row.cached_prompt_tokens = prompt.done
        end = min(prompt.done + self._chunk_tokens(prompt), len(prompt.token_ids))
        cache = cache_of(prompt.layers)
        with self._adapters.active(prompt.adapter):
            token_ids = torch.tensor([prompt.token_ids[prompt.done : end]])
            logits = self._forward(token_ids, cache, logits_to_keep=0 if prompt.scored else 1)
        if prompt.scored:
            _score(prompt.rows, logits[0], prompt.token_ids[prompt.done + 1 : end + 1])
        prompt.layers, prompt.done = layers_of(cache), end
        if end == len(prompt.token_ids):
            prompt.logits = logits[:, -1].float()
            self.prefixes.keep(prompt.adapter, prompt.token_ids, prompt.layers)

    def _chunk_tokens(self, prompt: _Prompt) -> int:
        if not prompt.scored:
            return _CHUNK_TOKENS
        return max(1, min(_CHUNK_TOKENS, _SCORED_LOGITS_BYTES // (4 * self._vocabulary)))

    def _start(self, prompt: _Prompt) -> list[Row]:
        """First tokens for as many rows of a computed prompt as there is room for; the others start later."""
        assert prompt.logits is not None
        room = self._max_rows - self._running()
        rows, prompt.rows = prompt.rows[:room], prompt.rows[room:]
        if not prompt.rows:
            self._waiting.popleft()
        if rows[0].limit == 0:
            for row in rows:
                row.finish_reason = "length"
            return rows
        self._give_tokens(rows, prompt.logits.expand(len(rows), -1))
        going_on = [row for row in rows if row.finish_reason is None]
        if going_on and self._is_alone(rows[0]):
            self._alone += [self._begun([row], prompt) for row in going_on]
        elif going_on:
            spacious = (each for each in self._shared if each.takes(len(going_on), prompt.layers, prompt.done))
            batch = next(spacious, None)
            if batch is None:
                self._shared.append(self._begun(going_on, prompt))
            else:
                batch.join(going_on, prompt.layers, prompt.done)
        return rows

    def _begun(self, rows: list[Row], prompt: _Prompt) -> Batch:
        batch = Batch(self._max_rows, margin=int(self._base.device.type == "cpu"))
        batch.join(rows, prompt.layers, prompt.done)
        return batch

    def _is_alone(self, row: Row) -> bool:
        return self._seeds_are_alone and row.sampling.seed is not None

    def _batches(self) -> list[Batch]:
        return [*self._shared, *self._alone]

    def _running(self) -> int:
        return sum(len(batch.rows) for batch in self._batches())

    def _advance(self, batch: Batch) -> list[Row]:
        rows = list(batch.rows)
        latest = torch.tensor([[row.token_ids[-1]] for row in rows])  # (rows, 1)
        mask, positions = batch.mask_and_positions()
        with self._adapters.active_rows([row.adapter for row in rows]):
            if self._short_cut:
                logits = one_token(self._base.model, batch, *self._here(latest[:, 0], mask, positions))
            else:
                places = {"attention_mask": mask, "position_ids": positions}
                logits = self._forward(latest, batch.cache, logits_to_keep=1, **places)[:, -1]
        batch.advanced()
        self._give_tokens(rows, logits.float())
        self._leave(batch, [row for row in rows if row.finish_reason is not None])
        return rows

    def _forward(self, token_ids: Tensor, cache: Cache, *, logits_to_keep: int, **places: Tensor | None) -> Tensor:
        """Logits of the last tokens of each row, (rows, tokens, vocabulary), of all for 0; the cache has grown."""
        given = {"input_ids": token_ids, **places}
        here = dict(zip(given, self._here(*given.values()), strict=True))
        logits: Tensor = self._base.model(
            **here, past_key_values=cache, use_cache=True, logits_to_keep=logits_to_keep
        ).logits
        return logits

    def _here(self, *tensors: Tensor | None) -> list[Any]:
        """On the model's device."""
        return [None if tensor is None else tensor.to(self._base.device) for tensor in tensors]

    def _leave(self, batch: Batch, rows: list[Row]) -> None:
        """Take running rows out of the batch; what they said may go on later."""
        for row in rows:
            tokens, layers = batch.known(row)
            self.prefixes.keep(row.adapter, (*row.prompt_ids, *row.token_ids)[:tokens], layers)
        batch.leave(rows)
        self._shared = [each for each in self._shared if each.rows]
        self._alone = [each for each in self._alone if each.rows]

    def _give_tokens(self, rows: list[Row], logits: Tensor) -> None:
        """Draw one token for each row from `logits` (rows, vocabulary), and note what has to be known about it. A row
        whose constraint allows none ends."""
        masks = [None if row.constraint is None else row.constraint.mask() for row in rows]
        stuck = [mask is not None and not bool(mask.any()) for mask in masks]
        if any(stuck):
            for row in compress(rows, stuck):
                row.finish_reason = "length" if row.constraint and row.constraint.failed else "stop"
            free = [not each for each in stuck]
            rows, masks, logits = list(compress(rows, free)), list(compress(masks, free)), logits[torch.tensor(free)]
        if not rows:
            return
        samplings = [row.sampling for row in rows]
        histories = [History(row.prompt_ids, row.token_ids) for row in rows]
        token_ids = choose(logits, samplings, histories, _uniforms(rows).to(logits.device), masks)
        logps = torch.log_softmax(logits, -1)  # (rows, vocabulary); on CPU in half the time of logsumexp
        chosen = zip(rows, token_ids.tolist(), logps.gather(-1, token_ids[:, None])[:, 0].tolist(), strict=True)
        for index, (row, token_id, logp) in enumerate(chosen):
            row.logps.append(logp)
            if row.sampling.logprobs is not None:
                row.alternatives += _likeliest(logps[index : index + 1], row.sampling.logprobs)
            self._give(row, token_id)

    def _give(self, row: Row, token_id: int) -> None:
        row.token_ids.append(token_id)
        if row.constraint is not None:
            row.constraint.accept(token_id)
        if token_id in self._base.stop_token_ids:
            row.finish_reason = "stop"
        elif len(row.token_ids) >= row.limit:
            row.finish_reason = "length"

    def check(self, prompt_ids: Sequence[int], sampling: Sampling) -> None:
        """Raises RequestError where the prompt leaves no room for one token or a parameter cannot be used."""
        context = self._base.context_tokens
        if len(prompt_ids) + (sampling.max_tokens != 0) > context:
            raise RequestError(  # clients that then shorten the conversation themselves know it by these words
                f"the prompt is too long: this model's maximum context length is {context} tokens, "
                f"the answer's among them, and the prompt has {len(prompt_ids)}",
                "reduce the length of the messages",
                param="prompt",
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
        if sampling.max_tokens is not None and sampling.max_tokens < 0:
            raise RequestError(f"max_tokens is {sampling.max_tokens}; it must be at least 0", param="max_tokens")


def _score(rows: Sequence[Row], logits: Tensor, following: Sequence[int]) -> None:
    """Note for the rows how likely the prompt's tokens were that follow on the first of `logits` (tokens, vocabulary).
    Of the prompt's last token, nothing follows yet."""
    logps = torch.log_softmax(logits[: len(following)].float(), -1)
    of_tokens = logps.gather(-1, torch.tensor(following, device=logps.device, dtype=torch.long)[:, None])[:, 0].tolist()
    count = rows[0].sampling.logprobs
    likeliest = [] if count is None else _likeliest(logps, count)
    for row in rows:
        row.prompt_logps += of_tokens
        row.prompt_alternatives += likeliest


def _likeliest(logps: Tensor, count: int) -> list[Alternatives]:
    """The `count` likeliest tokens at every place with their log-probs, the likeliest first. `logps` (places,
    vocabulary)."""
    top = logps.topk(min(count, logps.shape[-1]))
    pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
    return [tuple(zip(indices, values, strict=True)) for indices, values in pairs]


def _uniforms(rows: Sequence[Row]) -> Tensor:
    """A number in [0, 1) for each row, (rows,), from its own generator; greedy rows need none."""
    none = torch.zeros(1, dtype=torch.float64)
    return torch.cat(
        [
            torch.rand(1, generator=row.generator, dtype=torch.float64) if row.sampling.temperature else none
            for row in rows
        ]
    )


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed % 2**63)
