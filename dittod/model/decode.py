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
from dittod.model.allowance import UNBOUNDED, lone_bytes, longest, token_bytes
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
    number: int = 0  # counts up in the order in which rows came
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

    `most_bytes` bounds all keys and values, and with them the longest text; `room_bytes` is what they may take now. A
    prompt is begun when there is room; where running rows grow out of it, earlier conversations are dropped first, then
    the row that came last goes back into the line, to be read again with what it has said (the one case in which a
    seed in 16 bits may give another text). One row alone goes on whatever it takes: `exceeds` says so.
    """

    def __init__(
        self,
        base: BaseModel,
        adapters: LoraAdapters,
        *,
        max_rows: int,
        prefix_bytes: int = 0,
        reproducible: bool = False,
        most_bytes: int = UNBOUNDED,
    ) -> None:
        self.room_bytes = most_bytes
        self.longest = longest(base, most_bytes)  # tokens of a text that fits
        self._token_bytes = token_bytes(base)
        self._submitted = 0
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

    @property
    def reads(self) -> bool:
        """Whether somebody waits for a first token who need not wait for others to end."""
        return bool(self._waiting) and self._room_for(self._waiting[0]) > 0

    @property
    def held_bytes(self) -> int:
        """Of all keys and values, those of earlier conversations included."""
        tokens = sum(batch.held_tokens for batch in self._batches()) + sum(prompt.done for prompt in self._waiting)
        return tokens * self._token_bytes + self.prefixes.size_bytes

    @property
    def exceeds(self) -> bool:
        """Whether the next step takes more than its room though only one answer is in hand."""
        if self._batches():
            batch = self._batches()[0]
            least = min(batch.least_tokens, batch.tokens_with(0, 0))
            return self._running() == 1 and least * self._token_bytes > self.room_bytes
        return bool(self._waiting) and lone_bytes(self._base, len(self._waiting[0].token_ids)) > self.room_bytes

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
        room = self.longest - len(prompt_ids)
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
                self._submitted + i,
                None if constraint is None else constraint.copy(),
            )
            for i in range(n)
        ]
        self._submitted += n
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
        if self.reads:
            prompt = self._waiting[0]
            if prompt.logits is None and not (self._just_read and running):
                self._read(prompt)
                self._just_read = True
                return self._start(prompt) if prompt.logits is not None else []
            if prompt.logits is not None:
                return self._start(prompt)
        self._just_read = False
        self._let_grow()
        return [row for batch in self._batches() for row in self._advance(batch)]

    def _read(self, prompt: _Prompt) -> None:
        """Compute the next chunk of a prompt, all of it where it is short."""
        if prompt.done == 0 and not prompt.scored and not self._is_alone(prompt.rows[0]):
            prompt.done, prompt.layers = self.prefixes.find(prompt.adapter, prompt.token_ids[:-1])
            for row in (row for row in prompt.rows if not row.token_ids):
                row.cached_prompt_tokens = prompt.done
        self._spare_for(self._bytes_of(prompt, 1))
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
        room = self._room_for(prompt)
        if not room:  # it turned out to be less than when the prompt was begun
            return []
        self._spare_for(self._bytes_of(prompt, room))
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
            batch = self._spacious(len(going_on), prompt)
            if batch is None:
                self._shared.append(self._begun(going_on, prompt))
            else:
                batch.join(going_on, prompt.layers, prompt.done)
        return rows

    def _spacious(self, rows: int, prompt: _Prompt) -> Batch | None:
        """A batch that so many rows of a computed prompt can join."""
        return next((each for each in self._shared if each.takes(rows, prompt.layers, prompt.done)), None)

    def _room_for(self, prompt: _Prompt) -> int:
        """How many rows of a prompt can run beside those that do. If none does, one can."""
        running = self._running()
        most = min(len(prompt.rows), self._max_rows - running)
        if self.room_bytes == UNBOUNDED:
            return most
        fitting = next((rows for rows in range(most, 0, -1) if self._fits(self._bytes_of(prompt, rows))), 0)
        return fitting or int(not running)

    def _bytes_of(self, prompt: _Prompt, rows: int) -> int:
        """What so many rows of a prompt take more than is held already: until they have started, and with the columns
        that they will be given."""
        tokens = len(prompt.token_ids)
        if self._is_alone(prompt.rows[0]):
            held = rows * self._begun([], prompt).tokens_with(1, tokens)
        else:
            batch = self._spacious(rows, prompt) if prompt.done else None
            batch = batch or self._begun([], prompt)
            held = batch.tokens_with(rows, tokens) - batch.held_tokens
        return (tokens - prompt.done + held) * self._token_bytes

    def _fits(self, more_bytes: int) -> bool:
        """Whether so much more is within the room. Nothing is dropped for it yet."""
        return self.held_bytes - self.prefixes.size_bytes + more_bytes <= self.room_bytes

    def _let_grow(self) -> None:
        """See to it that the running rows' next columns are within the room."""
        if self.room_bytes == UNBOUNDED:
            return
        growth = sum(batch.tokens_with(0, 0) - batch.held_tokens for batch in self._batches()) * self._token_bytes
        if self._fits(growth) or not (growth or self._running() > 1):
            self._spare_for(growth)
            return
        self._spare_for(self.room_bytes)
        for batch in self._batches():
            batch.compact()
        while self._running() > 1 and not self._fits(0):
            self._put_back(max((row for batch in self._batches() for row in batch.rows), key=lambda row: row.number))

    def _spare_for(self, more_bytes: int) -> None:
        self.prefixes.spare(self.held_bytes + more_bytes - self.room_bytes)

    def _put_back(self, row: Row) -> None:
        """Into the line, before all others: its keys and values are computed again when there is room."""
        batch = next(each for each in self._batches() if row in each.rows)
        batch.leave([row])
        if batch.rows:
            batch.compact()
        self._drop_empty()
        self._wait_again([row])

    def _wait_again(self, rows: list[Row]) -> None:
        for waiting in self._waiting:  # what is read of others would be held for nothing meanwhile
            if not waiting.scored:
                waiting.done, waiting.layers, waiting.logits = 0, [], None
        for row in sorted(rows, key=lambda row: -row.number):
            self._waiting.appendleft(_Prompt((*row.prompt_ids, *row.token_ids), row.adapter, [row], scored=False))

    def begin_again(self) -> None:
        """After a step that failed, for want of memory say: forget all keys and values, and whatever the step has left
        half done. Every row goes on after the tokens that it has. Prompts that are scored are begun anew."""
        rows = [row for batch in self._batches() for row in batch.rows]
        self._shared, self._alone = [], []
        self.prefixes = PrefixCache(self.prefixes.limit_bytes)
        for row in rows:
            _rewind(row)
        for prompt in self._waiting:
            prompt.done, prompt.layers, prompt.logits = 0, [], None
            for row in prompt.rows:
                _rewind(row)
                row.prompt_logps, row.prompt_alternatives = [], []
        self._wait_again(rows)

    def _begun(self, rows: list[Row], prompt: _Prompt) -> Batch:
        batch = Batch(self._max_rows, margin=int(self._base.device.type == "cpu"))
        if rows:
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
        self._drop_empty()

    def _drop_empty(self) -> None:
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
        if self.longest < len(prompt_ids) + (sampling.max_tokens != 0) <= context:
            raise RequestError(
                f"the prompt is too long for the memory budget: it has {len(prompt_ids)} tokens, and "
                f"{self.longest} fit, the answer's among them",
                "raise memory_budget, or reduce the length of the messages",
                param="prompt",
                code="context_length_exceeded",
            )
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


def _rewind(row: Row) -> None:
    """To its last whole token: a step that failed may have noted more, and drawn from its generator."""
    whole = len(row.token_ids)
    del row.logps[whole:], row.alternatives[whole if row.sampling.logprobs is not None else 0 :]
    row.generator.manual_seed(row.generator.initial_seed())
    if row.sampling.temperature and whole:
        torch.rand(whole, generator=row.generator, dtype=torch.float64)


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
