"""The daemon as the endpoint sees it: names of models resolved by the store, answers fetched from the engine.

An alias is looked up at each request, so that a promotion or rollback by any process counts from the next one on. The
examples of a version whose recipe has some are looked for when the engine is ready for the request: what was excluded
or forgotten until then is never shown again. Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import ParamSpec, TypeVar

from dittod import __version__, adapters
from dittod.config import Settings
from dittod.engine.client import ENDS, Engine
from dittod.engine.deaths import TROUBLE_SECONDS
from dittod.engine.protocol import (
    AnswerEvent,
    Detokenize,
    Detokenized,
    Embed,
    Embedded,
    Event,
    Failed,
    Generate,
    Ready,
    Request,
    Tokenize,
    Tokenized,
)
from dittod.errors import DittodError, EngineUnavailable, ModelError, NotFound, RequestError, place_of
from dittod.feedback import Desk
from dittod.in_use import InUse
from dittod.interactions import Interactions
from dittod.retrieval import Index
from dittod.rows import GONE
from dittod.serving import FeedbackDesk, ServedModel
from dittod.store import Store
from dittod.types import BASE, DEFAULT_PROFILE, VOICE, Adapter, Demonstration, alias_of, model_of

log = logging.getLogger("dittod")

MOST_TEXTS = 500  # of a profile, the newest: examples are looked for among them

P = ParamSpec("P")
T = TypeVar("T", Embedded, Tokenized, Detokenized)


class DaemonBackend:
    """`serving.Backend` over a store and an engine."""

    def __init__(self, store: Store, settings: Settings, engine: Engine) -> None:
        self._store = store
        self._settings = settings
        self._engine = engine
        self._in_use = InUse(store, settings)
        self._interactions = Interactions(store, settings)
        self.feedback: FeedbackDesk = Desk(store, settings, self._interactions.kept)
        self._indices: dict[str, Index] = {}  # by profile: its texts at the last request

    def models(self) -> list[ServedModel]:
        """Base, an alias per profile (the default one always), and every version by its number.

        Versions made for another base model cannot be asked for. An alias that serves one, or one that the engine died
        of, is answered by base.
        """
        found = [self._served(BASE, None, "")]
        made = self._store.adapters()
        fitting = [each for each in made if adapters.fits(each, self._settings.base_model, self._engine.ready)]
        for profile in dict.fromkeys([DEFAULT_PROFILE, *self._store.profiles()]):
            own = [each for each in fitting if each.profile == profile]
            usable = (each for each in own if each.state == "promoted" and each.id not in self._engine.set_aside)
            found.append(self._served(alias_of(profile), next(usable, None), profile))
            found += [self._served(model_of(each.name), each, profile) for each in own]
        return found

    def resolve(self, name: str) -> ServedModel:
        """Raises NotFound, with the names that exist."""
        models = self.models()
        wanted = VOICE if name == f"{VOICE}/{DEFAULT_PROFILE}" else name
        for each in models:
            if each.name == wanted:
                return replace(each, name=name)
        names = ", ".join(each.name for each in models)
        profile, _, number = name.removeprefix(f"{VOICE}/").rpartition("@")
        for adapter in self._store.adapters(profile):
            if str(adapter.number) == number and adapter.state in GONE:
                raise NotFound(
                    f"the model {name!r} was {adapter.state}: its weights are gone", f"choose one of: {names}"
                )
        raise NotFound(f"the model {name!r} does not exist", f"choose one of: {names}")

    async def answer(self, request: Generate) -> AsyncIterator[AnswerEvent]:
        """See `serving.Backend.answer`. Who listens is told of the request as the client asked it, without examples."""
        try:
            async with aclosing(self._events(request)) as events:
                async for event in events:
                    if isinstance(event, AnswerEvent):
                        _quietly(self._in_use.heard, request, event)
                        _quietly(self._interactions.heard, request, event)
                        yield event
        except DittodError as error:
            _quietly(self._in_use.failed, request, error, self._engine.set_aside)
            raise
        finally:
            _quietly(self._in_use.left, request)

    async def _prepared(self, request: Request) -> Request:
        """By the recipe: with its examples, which only a conversation has a place for, and its weights, if it has any.
        Nothing is awaited between the last look at the store and the end."""
        if not isinstance(request, Generate) or (version := request.adapter) is None:
            return request
        examples: Sequence[Demonstration] = ()
        if version.examples and request.messages is not None:
            said = next((each.content for each in reversed(request.messages) if each.role == "user"), "")
            examples = await self._examples(request.profile, said, version.examples)
        if self._is_withdrawn(version.id):
            raise EngineUnavailable("the version that was to answer has been forgotten meanwhile", "ask again")
        return replace(request, adapter=version if version.weights else None, examples=tuple(examples))

    async def _examples(self, profile: str, said: str, count: int) -> Sequence[Demonstration]:
        """Looking for them takes milliseconds, and after the texts have changed a tenth of a second, in which others
        may change. Where they cannot be read nobody answers: without them it is not the version that was judged."""
        try:
            while True:
                found = await asyncio.to_thread(self._nearest, profile, said, count)
                ids = {each.id for each in found}
                if ids == self._store.demonstrations_of(profile, ids).keys():
                    return found
        except DittodError as error:  # the keyring is locked
            title = f"the texts that this version shows as examples cannot be read: {error.title}"
            raise EngineUnavailable(title, error.hint) from error

    def _nearest(self, profile: str, said: str, count: int) -> Sequence[Demonstration]:
        texts = tuple(self._store.demonstrations(profile, newest=MOST_TEXTS))
        index = self._indices.get(profile)
        if index is None or index.demonstrations != texts:
            self._indices[profile] = index = Index(texts)
        return index.nearest(said, count)

    async def embed(self, command: Embed) -> Embedded:
        """See `serving.Backend.embed`."""
        return await self._reply(command, Embedded)

    async def tokenize(self, command: Tokenize) -> Tokenized:
        """See `serving.Backend.tokenize`."""
        return await self._reply(command, Tokenized)

    async def detokenize(self, command: Detokenize) -> Detokenized:
        """See `serving.Backend.detokenize`."""
        return await self._reply(command, Detokenized)

    async def ready(self) -> Ready:
        """See `serving.Backend.ready`. Waits without a thread, which would hold up the end of the process."""
        try:
            return await self._loaded()
        except ModelError as error:  # a later start may find the model, once it is back or the settings are right
            wait = self._engine.seconds_to_next_start
            raise EngineUnavailable(error.title, error.hint, retry_after_seconds=wait) from error

    async def _loaded(self) -> Ready:
        while not self._engine.begin():
            await asyncio.sleep(0.05)
        while (ready := self._engine.ready) is None:
            if self._engine.pid is None:
                raise self._engine.why_not()
            await asyncio.sleep(0.05)
        return ready

    async def _reply(self, command: Embed | Tokenize | Detokenize, kind: type[T]) -> T:
        """The one event that answers a command."""
        async with aclosing(self._events(command)) as events:
            async for event in events:
                assert isinstance(event, kind), f"{type(event).__name__} answers {type(command).__name__}"
                return event
        raise AssertionError("no event without an end")

    async def _events(self, command: Request) -> AsyncGenerator[Event, None]:
        """What the engine says to a command, up to the event that ends it; to close it early cancels the work."""
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Event | EngineUnavailable] = asyncio.Queue()

        def listen(event: Event | EngineUnavailable) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(events.put_nowait, event)

        try:
            with self._engine.expected():
                await self.ready()
                command = await self._prepared(command)
                self._refuse_what_kills(command)
                self._engine.submit(command, listen)
            while True:
                event = await events.get()
                if isinstance(event, EngineUnavailable):
                    raise event
                if isinstance(event, Failed):
                    raise _as_error(event)
                yield event
                if isinstance(event, ENDS):
                    return
        finally:
            self._engine.cancel(command.id)

    def _refuse_what_kills(self, command: Request) -> None:
        """An alias is answered by base instead; who asks for this very version is told why not."""
        adapter = command.adapter if isinstance(command, Generate) else None
        if adapter is not None and adapter.id in self._engine.set_aside:
            raise EngineUnavailable(
                "this version of the adapter is set aside: the engine died whenever it answered",
                "ask for another one, or for base; it is tried again when dittod is restarted",
                retry_after_seconds=TROUBLE_SECONDS,
            )

    def health(self) -> dict[str, object]:
        """Nothing private: /health needs no token."""
        trouble, learning = self._engine.trouble, {}
        try:
            learning = self._store.noted("learning")
        except DittodError:  # its title names the user's folder
            trouble = trouble or "the store cannot be read"
        return {
            "status": "degraded" if trouble else "ok",
            "version": __version__,
            "engine": self._engine.state,
            "trouble": trouble,
            "learning": {"state": learning.get("state"), "reason": learning.get("reason")},
        }

    def _served(self, name: str, adapter: Adapter | None, profile: str) -> ServedModel:
        ready = self._engine.ready
        return ServedModel(
            name=name,
            adapter=adapters.reference(adapter) if adapter else None,
            created_at=adapter.created_at if adapter else 0.0,
            root=self._settings.base_model,
            parent=None if name == BASE else BASE,
            context_tokens=ready.context_tokens if ready else None,
            profile=profile,
            is_withdrawn=partial(self._is_withdrawn_since, time.time(), adapter) if adapter else lambda: False,
        )

    def _is_withdrawn_since(self, asked_at: float, adapter: Adapter) -> bool:
        """Or has shown what is forgotten: with examples, an answer may quote any text of the profile."""
        receipts = self._store.receipts() if adapter.recipe.examples else ()
        may_quote = any(each.profile == adapter.profile and each.at >= asked_at for each in receipts)
        return may_quote or self._is_withdrawn(adapter.id)

    def _is_withdrawn(self, adapter_id: str) -> bool:
        return not any(each.id == adapter_id and each.state != "forgotten" for each in self._store.adapters())


def _quietly(tell: Callable[P, None], *values: P.args, **named: P.kwargs) -> None:
    """A fault of who listens costs nobody an answer. Its message may quote the user."""
    try:
        tell(*values, **named)
    except Exception as error:
        log.error("an answer went unheard: %s", place_of(error))


def _as_error(failed: Failed) -> DittodError:
    if failed.status == 400:
        return RequestError(failed.title, failed.hint, param=failed.param, code=failed.code)
    if failed.status == 503:
        return EngineUnavailable(failed.title, failed.hint)
    return DittodError(failed.title, failed.hint)
