"""What the endpoint may ask of the daemon: the models it can name, and their answers. No HTTP in here.

The daemon implements `Backend`; `dittod_service` knows nothing else of it, and tests give it a fake.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

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
Document = dict[str, Any]  # ready to become JSON


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


class Dashboard(Protocol):
    """What a person sees of their home, and does to it. `dittod.views` makes the documents, for the command line too.

    All of it may hold the user's texts. Its methods wait for the disk: they belong in a thread. They raise DittodError:
    NotFound for what there is not, RequestError for what cannot be done.
    """

    def now(self) -> Document:
        """What is served, what is being learnt, and if nothing, why: `dittod status --json`, with first steps."""
        ...

    def voices(self) -> Document:
        """Every profile with its counts."""
        ...

    def voice(self, profile: str, search: str) -> Document:
        """The profile's demonstrations in which all words of `search` stand, the newest first, and its files."""
        ...

    def demonstration(self, profile: str, id: str) -> Document:
        """One demonstration."""
        ...

    def set_prompt(self, profile: str, id: str, prompt: str | None) -> Document:
        """Another prompt; None: the one that the template made. Returns the demonstration, whose id is another one."""
        ...

    def exclude(self, profile: str, id: str, excluded: bool) -> Document:
        """Leave it aside from the next update on, or take it back. Returns the demonstration."""
        ...

    def runs(self) -> Document:
        """Updates, the newest first."""
        ...

    def run(self, id: str, after: int) -> Document:
        """One update with its steps behind the place `after`, and what the policy writes while it is under way."""
        ...

    def update(self, profile: str) -> Document:
        """Ask for an update by hand. Returns it."""
        ...

    def stop_update(self, profile: str) -> None:
        """Give the open update up."""
        ...

    def pause(self, seconds: float | None) -> None:
        """Learn nothing for so long; None: until `resume`."""
        ...

    def resume(self) -> None:
        """End a pause."""
        ...

    def versions(self) -> Document:
        """Every version, the newest first, and what each profile serves."""
        ...

    def version(self, wanted: str) -> Document:
        """One version with its verdict and what it wrote for the gate. `wanted`: the beginning of its id, or
        profile@number."""
        ...

    def promote(self, wanted: str) -> Document:
        """Serve it from now on, whatever the gate said. Returns it."""
        ...

    def roll_back(self, profile: str, shown: str) -> None:
        """Serve what was served before `shown`, a version's name. Raises HasChanged where that is not what is
        served."""
        ...

    def pin(self, wanted: str, pinned: bool) -> Document:
        """Keep its weights whatever room they take, or no longer. Returns it."""
        ...

    def rehearse_forgetting(self, targets: list[str], profile: str | None) -> Document:
        """What `forget` would do, as receipts; nothing is done."""
        ...

    def forget(self, targets: list[str], profile: str | None, texts: int) -> Document:
        """Forget files (by their keys), demonstrations (beginnings of ids), or all of a profile; of neither, what has
        gone from the folder and waits for a word. Every version that learnt from them goes. Raises HasChanged where it
        is not so many texts as a rehearsal has shown."""
        ...

    def receipts(self) -> Document:
        """What was forgotten."""
        ...

    def judgements(self) -> Document:
        """How often which version was taken for the user."""
        ...

    def judge(self, chosen: str, other: str) -> Document:
        """The user took the answer of `chosen` for their own, beside that of `other`: who answered, as ids of versions,
        profile@number, or 'base'. Raises RequestError where both are the same."""
        ...

    def clients(self, url: str) -> Document:
        """Ready settings for each client that is to reach the endpoint at `url` (without '/v1'), without the token."""
        ...

    def digest(self) -> dict[str, str]:
        """By view (now, voices, runs, versions, receipts) a value that changes when the view does. Cheap: asked for
        every second."""
        ...
