"""The endpoints that answer with one small object: body in, a command or two to the engine, JSON out.

What the body means is told by a function of each wire format; this module knows connections: the work ends when the
client leaves or its time is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from dittod.serving import Backend, ServedModel
from dittod_service.admission import Admission
from dittod_service.generation import headers, resolved, while_connected
from dittod_service.openai.errors import NO_RETRY, Failure, JsonObject, Refused
from dittod_service.openai.request import R, parse
from dittod_service.replies import json_response

TOOK_TOO_LONG = Failure(
    504,
    "The answer took longer than a request may: ask for less at once",
    "server_error",
    code="request_timeout",
    headers=NO_RETRY,
)


class Single(Generic[R]):
    """An ASGI endpoint that answers POST requests with one object. It takes the place of one answer."""

    def __init__(
        self,
        backend: Backend,
        request: type[R],
        answer: Callable[[Backend, R, ServedModel], Awaitable[JsonObject]],
        admission: Admission,
    ) -> None:
        self._backend = backend
        self._request = request
        self._answer = answer
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await Request(scope, receive).body()
        await while_connected(receive, self._reply(body, scope, receive, send))

    async def _reply(self, body: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        request = parse(self._request, body)
        served = resolved(self._backend, request.model)
        with self._admission.place(1):
            try:
                async with asyncio.timeout(self._admission.most_seconds):
                    answer = await self._answer(self._backend, request, served)
            except TimeoutError:
                raise Refused(TOOK_TOO_LONG) from None
        await json_response(answer, headers=headers(served))(scope, receive, send)
