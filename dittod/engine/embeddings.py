"""Texts being turned into vectors, in the engine: from an Embed to its Embedded, one piece of a text at a time.

Knows the model; knows nothing of the pipe, of HTTP or of learning.
"""

from __future__ import annotations

import base64
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from torch import Tensor

from dittod.engine.prompts import CHARACTERS_PER_TOKEN_MOST, known_ids
from dittod.engine.protocol import Embed, Embedded
from dittod.errors import RequestError
from dittod.model.chat import encode_text
from dittod.model.embed import embed
from dittod.model.load import BaseModel
from dittod.model.lora import LoraAdapters

TOGETHER_TOKENS = 1024  # of texts that are read side by side
TOGETHER_CHARACTERS = 8192  # of texts that are made into tokens in one step, a longer one by itself: some 10 ms


@dataclass(eq=False, slots=True)
class _Pending:
    """One request: the texts that are tokens already, the vectors so far, and the texts that are being read."""

    command: Embed
    texts: list[list[int]] = field(default_factory=list[list[int]])
    vectors: list[str] = field(default_factory=list[str])
    reading: Generator[None, None, Tensor] | None = None


class Embeddings:
    """Everything that is being turned into vectors now, in the order in which it came."""

    def __init__(self, base: BaseModel, adapters: LoraAdapters) -> None:
        self._base = base
        self._adapters = adapters
        self._pending: dict[str, _Pending] = {}

    @property
    def busy(self) -> bool:
        """Whether a step has anything to do."""
        return bool(self._pending)

    @property
    def oldest(self) -> str:
        """The request that the next step is for."""
        return next(iter(self._pending))

    def start(self, command: Embed) -> None:
        """Queue a request; nothing is computed yet."""
        self._pending[command.id] = _Pending(command)

    def cancel(self, request_id: str) -> None:
        """Drop a request; one that has ended already is not missed."""
        self._pending.pop(request_id, None)

    def step(self) -> list[Embedded]:
        """Make some texts of the oldest request into tokens, or read one piece of them. Raises RequestError where one
        does not fit the model."""
        pending = self._pending[self.oldest]
        if len(pending.texts) < len(pending.command.inputs):
            self._tokenise(pending)
            return []
        reading, pending.reading = pending.reading, None  # what fails is begun again, if there is another step
        if reading is None:
            together = _together(pending.texts[len(pending.vectors) :])
            reading = embed(self._base, self._adapters, together)
        try:
            next(reading)
            pending.reading = reading
        except StopIteration as end:
            pending.vectors += map(_encoded, end.value)
        if len(pending.vectors) < len(pending.texts):
            return []
        del self._pending[pending.command.id]
        return [Embedded(pending.command.id, tuple(pending.vectors), sum(map(len, pending.texts)))]

    def _tokenise(self, pending: _Pending) -> None:
        characters = 0
        for number, given in islice(enumerate(pending.command.inputs), len(pending.texts), None):
            characters += len(given)
            if characters > TOGETHER_CHARACTERS and characters > len(given):
                return
            pending.texts.append(self._token_ids(given, f"input[{number}]"))

    def _token_ids(self, given: str | Sequence[int], at: str) -> list[int]:
        context = self._base.context_tokens
        if isinstance(given, str) and len(given) > CHARACTERS_PER_TOKEN_MOST * context:
            raise _too_long(at, f"{len(given)} characters", context)
        encoded = encode_text(self._base, given) if isinstance(given, str) else given
        ids = known_ids(self._base, encoded, at, param="input")
        if len(ids) > context:
            raise _too_long(at, f"{len(ids)} tokens", context)
        return ids


def _too_long(at: str, length: str, context: int) -> RequestError:
    return RequestError(
        f"{at} is too long: this model's maximum context length is {context} tokens, and it has {length}",
        "give shorter texts",
        param="input",
        code="context_length_exceeded",
    )


def _together(texts: Sequence[list[int]]) -> list[list[int]]:
    """The first texts, as many as are few tokens side by side, where each takes as much room as the longest."""
    longest = 0
    for count, text in enumerate(texts):
        longest = max(longest, len(text))
        if count and (count + 1) * longest > TOGETHER_TOKENS:
            return list(texts[:count])
    return list(texts)


def _encoded(vector: Tensor) -> str:
    return base64.b64encode(vector.numpy().astype("<f4").tobytes()).decode()
