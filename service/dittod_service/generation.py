"""The two endpoints that make text, as HTTP: body in, one JSON object or a stream of server-sent events out.

What the bodies mean is told by a `Format` of `dittod_service.openai`; this module knows connections: the work
ends when the client leaves, errors before the first byte are real HTTP errors, later ones are events of the
stream.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Generic

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from dittod.engine.protocol import AdapterRef, Done, Generate
from dittod.serving import Backend, ServedModel
from dittod_service.failures import failure_of
from dittod_service.merge import Event, merged
from dittod_service.openai import answer, chat, completions
from dittod_service.openai.answer import Head
from dittod_service.openai.errors import JsonObject
from dittod_service.openai.request import R, parse
from dittod_service.replies import END_OF_STREAM, KEEP_ALIVE, json_response, server_sent

KEEP_ALIVE_SECONDS = 10.0
Write = Callable[[bytes], Awaitable[None]]

NOTHING_PROMOTED = "no adapter promoted yet, answered by base"


@dataclass(frozen=True, slots=True)
class Format(Generic[R]):
    """One endpoint's wire format, as pure functions."""

    request: type[R]
    from_request: Callable[[R, AdapterRef | None, str], list[Generate]]
    to_response: Callable[[Head, Sequence[Event]], JsonObject]
    opening: Callable[[Head], list[JsonObject]]
    to_chunks: Callable[[Head, Event, int], list[JsonObject]]
    prefix: str


CHAT = Format(chat.ChatRequest, chat.from_request, chat.to_response, chat.opening, chat.to_chunks, prefix="chatcmpl-")
COMPLETIONS = Format(
    completions.CompletionRequest,
    completions.from_request,
    completions.to_response,
    completions.opening,
    completions.to_chunks,
    prefix="cmpl-",
)


class Generation(Generic[R]):
    """An ASGI endpoint that answers POST requests of one format."""

    def __init__(self, backend: Backend, form: Format[R], keep_alive_seconds: float = KEEP_ALIVE_SECONDS) -> None:
        self._backend = backend
        self._form = form
        self._keep_alive_seconds = keep_alive_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await Request(scope, receive).body()
        await while_connected(receive, self._answer(body, scope, receive, send))

    async def _answer(self, body: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        request = parse(self._form.request, body)
        served = self._backend.resolve(request.model)
        id = self._form.prefix + uuid.uuid4().hex
        generates = self._form.from_request(request, served.adapter, id)
        head = Head(
            id=id,
            created=int(time.time()),
            model=request.model,
            system_fingerprint=served.adapter.id[:12] if served.adapter else "base",
            choices=len(generates) * request.choices,
            with_usage=request.with_usage,
        )
        async with aclosing(merged(self._backend, generates, self._keep_alive_seconds)) as events:
            if request.streamed:
                await self._stream(head, events, headers(served), send)
            else:
                whole = [event async for event in events if event is not None]
                response = json_response(self._form.to_response(head, whole), headers=headers(served))
                await response(scope, receive, send)

    async def _stream(
        self, head: Head, events: AsyncIterator[Event | None], headers: dict[str, str], send: Send
    ) -> None:
        """The answer begins when its first event is there, or when the first silence needs a sign of life."""
        first = await anext(events)
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        raw.append((b"content-type", b"text/event-stream; charset=utf-8"))
        await send({"type": "http.response.start", "status": 200, "headers": raw})

        async def write(line: bytes) -> None:
            await send({"type": "http.response.body", "body": line, "more_body": True})

        try:
            await self._tell(head, first, events, write)
        except Exception as error:  # too late for a status: it becomes the last event
            await write(server_sent(failure_of(error).body()))
        else:
            await write(END_OF_STREAM)
        await send({"type": "http.response.body", "body": b""})

    async def _tell(self, head: Head, first: Event | None, events: AsyncIterator[Event | None], write: Write) -> None:
        for chunk in self._form.opening(head):
            await write(server_sent(chunk))
        offsets: Counter[int] = Counter()
        event = first
        while not isinstance(event, Done):
            if event is None:
                await write(KEEP_ALIVE)
            else:
                await self._write_chunks(head, event, offsets[event.index], write)
                offsets[event.index] += answer.characters(event)
            event = await anext(events)
        await self._write_chunks(head, event, 0, write)

    async def _write_chunks(self, head: Head, event: Event, offset: int, write: Write) -> None:
        for chunk in self._form.to_chunks(head, event, offset):
            await write(server_sent(chunk))


def headers(served: ServedModel) -> dict[str, str]:
    """Who answers."""
    if served.adapter is not None:
        return {"x-dittod-adapter": served.adapter.id}
    note = {} if served.name == "base" else {"x-dittod-note": NOTHING_PROMOTED}
    return {"x-dittod-adapter": "base", **note}


async def while_connected(receive: Receive, work: Coroutine[object, object, None]) -> None:
    """Run the work to its end, or cancel it as soon as the client has gone. The body must have been read."""
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_left(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        working.cancel()  # does nothing to work that has ended
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)
    if not working.cancelled():
        working.result()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
