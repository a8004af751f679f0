"""Every exception becomes an answer in OpenAI's shape, here and nowhere else; the log learns its type and place.

Pure ASGI, outermost but for the security headers. What an exception says of itself may quote the user's text, so
no message and no traceback of an unexpected one leaves this module.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from pathlib import PurePath

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dittod.errors import DittodError
from dittod_service.openai.errors import Failure, Refused, from_exception
from dittod_service.replies import failure_response
from dittod_service.security import BrowserHeaders, RequestId

logger = logging.getLogger(__name__)

DRAIN_SECONDS = 1.0  # a client that is still sending would see its connection reset instead of the answer


def failure_of(error: Exception) -> Failure:
    """What the client is told; an unexpected exception is logged by its type and place only."""
    failure = from_exception(error)
    if not isinstance(error, DittodError | Refused):
        logger.error("A request failed: %s at %s", type(error).__name__, _place(error))
    elif failure.status >= 500:
        logger.warning("A request failed: %s", error)  # title and hint hold nobody's text
    return failure


def refusing(failure: Failure) -> ASGIApp:
    """An application that tells everybody the same: for where the whole one is not asked."""

    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        await failure_response(failure, scope["path"])(scope, receive, send)

    return RequestId(BrowserHeaders(refuse))


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "an unknown place"


class Failures:
    """Pure ASGI middleware that turns exceptions into answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        watched = _Watched(receive, send)
        failure: Failure | None = None
        try:
            await self._app(scope, watched.receive, watched.send)
        except ClientDisconnect:
            return  # it left before its body was whole
        except Exception as error:
            failure = failure_of(error)
        if failure is not None and not watched.answered:
            await watched.drain()
            response = failure_response(failure, scope["path"])
            if (
                not watched.read
            ):  # otherwise the rest of the body would hold the connection open, however slowly it came
                response.headers["connection"] = "close"
            await response(scope, receive, send)


class _Watched:
    """How far request and answer have come."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self.read = False
        self.answered = False

    async def receive(self) -> Message:
        message = await self._receive()
        self.read = self.read or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        self.answered = True
        await self._send(message)

    async def drain(self) -> None:
        """Let the client finish sending, within limits, and throw it away."""
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while not self.read:
                    await self.receive()
        except TimeoutError:
            return
