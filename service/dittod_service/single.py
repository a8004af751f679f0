"""The endpoints that answer with one small object: body in, a command or two to the engine, JSON out.

What the body means is told by a function of each wire format; this module knows connections: the work ends when the
client leaves or its time is over.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic

from starlette.types import Receive, Scope, Send

from dittod.serving import Backend, ServedModel
from dittod_service.admission import Admission
from dittod_service.generation import headers, parsed, resolved, while_connected
from dittod_service.openai.errors import JsonObject
from dittod_service.openai.request import R
from dittod_service.replies import json_response


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
        request = await parsed(self._request, scope, receive, self._admission)
        await while_connected(receive, self._reply(request, scope, receive, send))

    async def _reply(self, request: R, scope: Scope, receive: Receive, send: Send) -> None:
        served = resolved(self._backend, request.model)
        async with self._admission.turn():
            answer = await self._answer(self._backend, request, served)
        await json_response(answer, headers=headers(served))(scope, receive, send)
