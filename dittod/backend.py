"""The daemon as the endpoint sees it: names of models resolved by the store, answers fetched from the engine.

An alias is looked up at each request, so that a promotion or rollback by any process counts from the next one on.
Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

from dittod import __version__, adapters
from dittod.config import Settings
from dittod.engine.client import Engine
from dittod.engine.protocol import AdapterRef, Delta, Done, Event, Failed, Finished, Generate
from dittod.errors import DittodError, EngineUnavailable, NotFound, RequestError
from dittod.serving import ServedModel
from dittod.store import Store
from dittod.types import DEFAULT_PROFILE, Adapter


class DaemonBackend:
    """`serving.Backend` over a store and an engine."""

    def __init__(self, store: Store, settings: Settings, engine: Engine) -> None:
        self._store = store
        self._settings = settings
        self._engine = engine

    def models(self) -> list[ServedModel]:
        """Base, an alias per profile (the default one always), and every version by its number.

        Versions made for another base model cannot be asked for; an alias that serves one is answered by base.
        """
        found = [self._served("base", None)]
        made = self._store.adapters()
        usable = [each for each in made if adapters.fits(each, self._settings.base_model, self._engine.ready)]
        for profile in dict.fromkeys([DEFAULT_PROFILE, *self._store.profiles()]):
            own = [each for each in usable if each.profile == profile]
            alias = "ditto" if profile == DEFAULT_PROFILE else f"ditto/{profile}"
            found.append(self._served(alias, next((each for each in own if each.state == "promoted"), None)))
            found += [self._served(f"ditto/{profile}@{each.number}", each) for each in own]
        return found

    def resolve(self, name: str) -> ServedModel:
        """Raises NotFound, with the names that exist."""
        models = self.models()
        wanted = "ditto" if name == f"ditto/{DEFAULT_PROFILE}" else name
        for each in models:
            if each.name == wanted:
                return replace(each, name=name)
        names = ", ".join(each.name for each in models if "@" not in each.name)
        raise NotFound(f"the model {name!r} does not exist", f"choose one of: {names}")

    async def answer(self, request: Generate) -> AsyncIterator[Delta | Finished | Done]:
        """See `serving.Backend.answer`."""
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Event | EngineUnavailable] = asyncio.Queue()

        def listen(event: Event | EngineUnavailable) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(events.put_nowait, event)

        await self._started()
        try:
            self._engine.submit(request, listen)
            while True:
                event = await events.get()
                if isinstance(event, (Delta, Finished, Done)):
                    yield event
                if isinstance(event, Done):
                    return
                if isinstance(event, EngineUnavailable):
                    raise event
                if isinstance(event, Failed):
                    raise _as_error(event)
        finally:
            self._engine.cancel(request.id)

    async def _started(self) -> None:
        """Waits without a thread, which would hold up the end of the process."""
        self._engine.begin()
        while self._engine.ready is None:
            if self._engine.pid is None:
                raise self._engine.why_not()
            await asyncio.sleep(0.05)

    def health(self) -> dict[str, object]:
        """Nothing private: /health needs no token."""
        return {"status": "ok", "version": __version__, "engine": self._engine.state}

    def _served(self, name: str, adapter: Adapter | None) -> ServedModel:
        ready = self._engine.ready
        return ServedModel(
            name=name,
            adapter=AdapterRef(adapter.id, adapter.path) if adapter else None,
            created_at=adapter.created_at if adapter else 0.0,
            root=self._settings.base_model,
            parent=None if name == "base" else "base",
            context_tokens=ready.context_tokens if ready else None,
        )


def _as_error(failed: Failed) -> DittodError:
    if failed.status == 400:
        return RequestError(failed.title, failed.hint, param=failed.param, code=failed.code)
    return DittodError(failed.title, failed.hint)
