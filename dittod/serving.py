"""What the endpoint may ask of the daemon: the models it can name, and their answers. No HTTP in here.

The daemon implements `Backend`; `dittod_service` knows nothing else of it, and tests give it a fake.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

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
from dittod.types import Message

Rating = Literal["edited", "up", "down"]
Outcome = Literal["demonstration", "rejected", "noted"]  # what a piece of feedback has become


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model name that requests can give, and what answers them."""

    name: str  # 'base', 'ditto', 'ditto/<profile>' or 'ditto/<profile>@<number>'
    adapter: AdapterRef | None  # the version, maybe one without weights of its own; None: the base model answers, also
    # for an alias that has nothing promoted yet
    created_at: float  # POSIX seconds
    root: str  # the base model's name
    parent: str | None  # 'base' for adapters
    context_tokens: int | None  # None until the engine has been loaded once
    profile: str = ""  # whose voice it is, also where base answers for it; '': nobody's
    # asked at any later time: whether what the version has learnt from, or may have shown, has been forgotten since
    is_withdrawn: Callable[[], bool] = field(default=lambda: False, compare=False)


@dataclass(frozen=True, slots=True)
class Remark:
    """What somebody says of an answer: of one that is kept, or of one that they bring along with what was asked."""

    answer_id: str = ""  # of a kept one
    profile: str = ""  # else: whose voice it was,
    messages: tuple[Message, ...] = ()  # what was asked,
    answer: str = ""  # and what was answered
    edited: str | None = None  # what it should have been
    rating: Literal["up", "down"] | None = None  # None: it was edited


@dataclass(frozen=True, slots=True)
class Feedback:
    """What became of a remark. Nothing of the texts."""

    id: str
    profile: str
    rating: Rating
    outcome: Outcome
    created_at: float  # POSIX seconds


class FeedbackDesk(Protocol):
    """Where remarks are taken down. Its methods wait for the disk: they belong in a thread."""

    def take(self, remark: Remark) -> Feedback:
        """What is said of the same answer takes the place of what was said before. Raises NotFound for an answer that
        is not kept, and RequestError."""
        ...

    def all(self) -> list[Feedback]:
        """What was said so far, the oldest first."""
        ...

    def take_back(self, id: str) -> None:
        """As if it had never been said. Raises NotFound."""
        ...


class Backend(Protocol):
    """The daemon, as the endpoint sees it."""

    @property
    def feedback(self) -> FeedbackDesk:
        """Where feedback goes."""
        ...

    def models(self) -> list[ServedModel]:
        """Every name that can be asked for: base, the aliases, the pinned versions."""
        ...

    def resolve(self, name: str) -> ServedModel:
        """The model of that name. Raises NotFound with the names that exist in its hint."""
        ...

    def answer(self, request: Generate) -> AsyncIterator[AnswerEvent]:
        """The answer as it comes. Ends after Done. Closing the iterator early cancels the work in the engine. Examples
        are the backend's to add: those that the version's recipe asks for, of `request.profile`.

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
