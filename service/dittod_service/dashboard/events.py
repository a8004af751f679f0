"""Server-sent events: which views have changed, for pages that are open. Nothing of what is in them.

One look per second serves everybody who listens, and there is none while nobody does. It knows digests by the names of
views, asyncio and ASGI; no home.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from dittod_service.failures import failure_of
from dittod_service.generation import while_connected
from dittod_service.openai.errors import Failure, Refused
from dittod_service.replies import EVENT_STREAM, KEEP_ALIVE, encode

LOOK_SECONDS = 1.0
SILENCE_SECONDS = 15.0  # before a sign of life
MOST_LISTENERS = 16  # each is an open page
OPENING = b"retry: 3000\n\n"  # milliseconds until a browser that was cut off comes back


class Listener:
    """What one page has not been told yet."""

    def __init__(self) -> None:
        self.is_new = True  # it may have missed something: at the next look every view counts as changed
        self.is_let_go = False
        self._changed: frozenset[str] = frozenset()
        self._woken = asyncio.Event()

    def hear(self, changed: frozenset[str]) -> None:
        """These have changed, besides what it has not been told yet."""
        self.is_new = False
        self._changed |= changed
        if changed:
            self._woken.set()

    def let_go(self) -> None:
        """There is nothing more to be heard."""
        self.is_let_go = True
        self._woken.set()

    async def next(self, silence_seconds: float) -> frozenset[str]:
        """What has changed since it was asked last; nothing after so much silence, and when it was let go."""
        try:
            async with asyncio.timeout(silence_seconds):
                await self._woken.wait()
        except TimeoutError:
            return frozenset()
        changed, self._changed = self._changed, frozenset()
        self._woken.clear()
        return changed


class Changes:
    """Looks at the digest of the views for everybody who listens."""

    def __init__(self, digest: Callable[[], dict[str, str]], look_seconds: float = LOOK_SECONDS) -> None:
        self._digest = digest
        self._look_seconds = look_seconds
        self._listeners: set[Listener] = set()
        self._looking: asyncio.Task[None] | None = None

    @contextmanager
    def listener(self) -> Iterator[Listener]:
        """One more, for the length of the block. Raises Refused where there are too many."""
        if len(self._listeners) >= MOST_LISTENERS:
            message = "Too many pages of the dashboard are open: close some"
            headers = {"retry-after": "5"}
            raise Refused(Failure(429, message, "rate_limit_error", code="too_many_pages", headers=headers))
        made = Listener()
        self._listeners.add(made)
        try:
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look())
            yield made
        finally:
            self._listeners.discard(made)
            if not self._listeners and self._looking is not None:
                self._looking.cancel()
                self._looking = None

    def end(self) -> None:
        """The server ends: everybody who listens is let go."""
        for each in self._listeners:
            each.let_go()

    async def _look(self) -> None:
        """Until nobody listens. Where nothing can be seen, all are let go: browsers come back after a while."""
        seen: dict[str, str] = {}
        try:
            while True:
                now = await asyncio.to_thread(self._digest)
                changed = frozenset(view for view in now if now[view] != seen.get(view))
                for each in self._listeners:
                    each.hear(frozenset(now) if each.is_new else changed)
                seen = now
                await asyncio.sleep(self._look_seconds)
        except Exception as error:
            failure_of(error)  # logs it
            self.end()


class Events:
    """The stream, as an ASGI endpoint."""

    def __init__(self, changes: Changes, silence_seconds: float = SILENCE_SECONDS) -> None:
        self._changes = changes
        self._silence_seconds = silence_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "GET":  # a route lets HEAD in as well, which would listen and hear nothing
            raise HTTPException(405, headers={"allow": "GET"})
        await Request(scope, receive).body()
        with self._changes.listener() as listener:
            await while_connected(receive, self._tell(listener, send))

    async def _tell(self, listener: Listener, send: Send) -> None:
        headers = [(b"content-type", EVENT_STREAM.encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        told = OPENING
        while told:
            await send({"type": "http.response.body", "body": told, "more_body": True})
            changed = await listener.next(self._silence_seconds)
            told = b"" if listener.is_let_go else event(changed)
        await send({"type": "http.response.body", "body": b""})


def event(changed: frozenset[str]) -> bytes:
    """As it goes over the wire; that nothing has changed is a comment."""
    return b"event: changed\ndata: " + encode({"views": sorted(changed)}) + b"\n\n" if changed else KEEP_ALIVE
