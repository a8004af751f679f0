"""What the endpoint may ask of the daemon: the models it can name, and their answers. No HTTP in here.

The daemon implements `Backend`; `dittod_service` knows nothing else of it, and tests give it a fake.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from dittod.engine.protocol import (
    AdapterRef,
    AnswerEvent,
    Detokenize,
    Detokenized,
    Embed,
    Embedded,
    Generate,
    Ready,
    Tokenize,
    Tokenized,
)


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model name that requests can give, and what answers them."""

    name: str  # 'base', 'ditto', 'ditto/<profile>' or 'ditto/<profile>@<number>'
    adapter: AdapterRef | None  # None: the base model answers, also for an alias that has nothing promoted yet
    created_at: float  # POSIX seconds
    root: str  # the base model's name
    parent: str | None  # 'base' for adapters
    context_tokens: int | None  # None until the engine has been loaded once


class Backend(Protocol):
    """The daemon, as the endpoint sees it."""

    def models(self) -> list[ServedModel]:
        """Every name that can be asked for: base, the aliases, the pinned versions."""
        ...

    def resolve(self, name: str) -> ServedModel:
        """The model of that name. Raises NotFound with the names that exist in its hint."""
        ...

    def answer(self, request: Generate) -> AsyncIterator[AnswerEvent]:
        """The answer as it comes. Ends after Done. Closing the iterator early cancels the work in the engine.

        Raises RequestError (a 400: overflow has code 'context_length_exceeded') and EngineUnavailable (a 503).
        """
        ...

    async def embed(self, command: Embed) -> Embedded:
        """Vectors. Raises as `answer` does; cancelling it cancels the work in the engine."""
        ...

    async def tokenize(self, command: Tokenize) -> Tokenized:
        """Token ids. Raises as `answer` does."""
        ...

    async def detokenize(self, command: Detokenize) -> Detokenized:
        """Text. Raises as `answer` does."""
        ...

    async def ready(self) -> Ready:
        """What is known of the base model, once the engine is loaded: this starts it if need be. Raises
        EngineUnavailable, or ModelError where it cannot be loaded."""
        ...

    def health(self) -> dict[str, object]:
        """State of daemon and engine, without anything private: served without a token."""
        ...
