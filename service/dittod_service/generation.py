"""The endpoints that make text, as HTTP: body in, one JSON object or a stream of them out.

What the bodies mean is told by an `Exchange` of each wire format; this module knows connections: the work ends when
the client leaves or its time is over, errors before the first byte are real HTTP errors, later ones are told in the
stream.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dittod.engine.protocol import Accepted, AnswerEvent, Done, Generate
from dittod.errors import RequestError
from dittod.serving import Backend, ServedModel
from dittod_service.admission import Admission
from dittod_service.failures import failure_of
from dittod_service.merge import merged
from dittod_service.openai.errors import SHUTTING_DOWN, Failure, JsonObject
from dittod_service.openai.request import R, parse
from dittod_service.replies import Framing, json_response

KEEP_ALIVE_SECONDS = 10.0
MANY_EVENTS = 500  # of a whole answer: making one of more takes as long as others would notice
Write = Callable[[bytes], Awaitable[None]]

GOES_ON = Accepted("")  # for formats that have an object to say so in a silence
NOTHING_PROMOTED = "no adapter is promoted and usable, answered by base"


class Exchange(Protocol):
    """One request and how its answer is told: what the engine is to do, and the objects that go over the wire.

    It hears every event of the answer once, in `whole` or through `tell`, and may keep state between them. In each
    silence of a stream it hears Accepted again.
    """

    generates: Sequence[Generate]  # none: the model is only to be loaded
    streamed: bool

    def whole(self, events: Sequence[AnswerEvent]) -> JsonObject:
        """The answer as one object."""
        ...

    def opening(self) -> Iterable[JsonObject]:
        """What a stream begins with."""
        ...

    def tell(self, event: AnswerEvent) -> Iterable[JsonObject]:
        """An event as objects of the stream; the last one is Done."""
        ...

    def fail(self, failure: Failure) -> Iterable[JsonObject]:
        """How a stream ends that cannot go on."""
        ...


@dataclass(frozen=True, slots=True)
class Format(Generic[R]):
    """One endpoint's wire format."""

    request: type[R]
    exchange: Callable[[R, ServedModel, str], Exchange]  # the request, who answers, the answer's id
    framing: Framing
    prefix: str  # of the ids of answers
    names: Mapping[str, str] = field(default_factory=dict[str, str])  # of parameters that the engine names as chats do


class Generation(Generic[R]):
    """An ASGI endpoint that answers POST requests of one format."""

    def __init__(
        self,
        backend: Backend,
        form: Format[R],
        admission: Admission,
        keep_alive_seconds: float = KEEP_ALIVE_SECONDS,
    ) -> None:
        self._backend = backend
        self._form = form
        self._admission = admission
        self._keep_alive_seconds = keep_alive_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = await parsed(self._form.request, scope, receive, self._admission)
        await while_connected(receive, self._answer(request, scope, receive, send))

    async def _answer(self, request: R, scope: Scope, receive: Receive, send: Send) -> None:
        served = resolved(self._backend, request.model)
        exchange = self._form.exchange(request, served, self._form.prefix + uuid.uuid4().hex)
        try:
            await self._reply(exchange, served, scope, receive, send)
        except RequestError as error:
            raise renamed(error, self._form.names) from None

    async def _reply(self, exchange: Exchange, served: ServedModel, scope: Scope, receive: Receive, send: Send) -> None:
        if not exchange.generates:  # ollama's clients load a model so
            async with self._admission.turn():
                await self._backend.ready()
            await json_response(exchange.whole([]), headers=headers(served))(scope, receive, send)
            return
        generates = [replace(each, profile=served.profile) for each in exchange.generates]
        with self._admission.place(sum(each.n for each in generates)):
            merging = merged(self._backend, generates, self._keep_alive_seconds, self._admission.most_seconds)
            async with aclosing(merging) as events:
                if exchange.streamed:
                    await self._stream(exchange, events, headers(served), send)
                else:
                    response = await _whole(exchange, events, headers(served))
                    await response(scope, receive, send)

    async def _stream(
        self, exchange: Exchange, events: AsyncIterator[AnswerEvent | None], headers: dict[str, str], send: Send
    ) -> None:
        """The answer begins when its first event is there: the engine has accepted the request."""
        first = await anext(events)
        framing = self._form.framing
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        raw.append((b"content-type", framing.media_type.encode()))
        await send({"type": "http.response.start", "status": 200, "headers": raw})

        async def write(line: bytes) -> None:
            await send({"type": "http.response.body", "body": line, "more_body": True})

        try:
            await self._tell(exchange, first, events, write)
            await write(framing.end)
        except asyncio.CancelledError:  # the server ends, or the client has gone and hears nothing of this
            await _write_all(exchange.fail(SHUTTING_DOWN), framing, write)
            await send({"type": "http.response.body", "body": b""})
            raise
        except Exception as error:  # too late for a status: it is told in the stream
            await _write_all(exchange.fail(failure_of(error)), framing, write)
        await send({"type": "http.response.body", "body": b""})

    async def _tell(
        self,
        exchange: Exchange,
        first: AnswerEvent | None,
        events: AsyncIterator[AnswerEvent | None],
        write: Write,
    ) -> None:
        framing = self._form.framing
        await _write_all(exchange.opening(), framing, write)
        event = first
        while not isinstance(event, Done):
            if event is None:
                await write(framing.keep_alive)
                await _write_all(exchange.tell(GOES_ON), framing, write)
            else:
                await _write_all(exchange.tell(event), framing, write)
            event = await anext(events)
        await _write_all(exchange.tell(event), framing, write)


async def parsed(kind: type[R], scope: Scope, receive: Receive, admission: Admission) -> R:
    """The request, of whose body nothing is kept. Raises Refused before the work of parsing where no place is free."""
    body = await Request(scope, receive).body()
    admission.check()
    return parse(kind, body)


async def _whole(exchange: Exchange, events: AsyncIterator[AnswerEvent | None], headers: Mapping[str, str]) -> Response:
    """The answer as one object. A large one is made in a thread, as others would wait for seconds."""
    told = [event async for event in events if event is not None]

    def made() -> Response:
        return json_response(exchange.whole(told), headers=headers)

    return made() if len(told) < MANY_EVENTS else await asyncio.to_thread(made)


async def _write_all(objects: Iterable[JsonObject], framing: Framing, write: Write) -> None:
    for each in objects:
        await write(framing.frame(each))


def renamed(error: RequestError, names: Mapping[str, str]) -> RequestError:
    """The error with its parameter as this format calls it."""
    if error.param is None or error.param not in names:
        return error
    name = names[error.param]
    return RequestError(error.title.replace(error.param, name), error.hint, param=name, code=error.code)


def resolved(backend: Backend, name: str) -> ServedModel:
    """The model of that name, as ollama's clients write it too: with the only tag there is."""
    return backend.resolve(name.removesuffix(":latest"))


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
