"""What requests may bring: JSON, no more than so much of it, each and together, and within a time.

Pure ASGI. It counts bytes and seconds, and does not look at what they say.
"""

from __future__ import annotations

import asyncio
import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dittod_service.openai.errors import Failure, Refused

BODY_SECONDS = 60.0  # until a body must be complete: 16 MiB over a slow wireless network
MOST_BYTES_HELD = 64 * 2**20  # of all bodies that are being read or parsed


class BodyLimit:
    """No body larger than this, whether its length was announced or it comes in chunks, and none that drips.

    Nor more than so many bytes of all bodies together. A body counts until somebody waits for what comes behind it,
    which endpoints do when they have parsed it (see `generation.while_connected`), or until its request ends.
    """

    def __init__(
        self,
        app: ASGIApp,
        max_body_bytes: int,
        max_seconds: float = BODY_SECONDS,
        most_bytes_held: int = MOST_BYTES_HELD,
    ) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._max_seconds = max_seconds
        self._most_bytes_held = most_bytes_held
        self._bytes_held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        self._check(int(announced) if announced.isdecimal() else 0)
        deadline = time.monotonic() + self._max_seconds
        read_bytes, complete = 0, False

        def release() -> None:
            nonlocal read_bytes
            self._bytes_held -= read_bytes
            read_bytes = 0

        async def counted() -> Message:
            nonlocal read_bytes, complete
            if complete:
                release()
                return await receive()
            message = await _before(deadline, receive)
            complete = not message.get("more_body", False)
            came = len(message.get("body", b""))
            read_bytes += came
            self._bytes_held += came
            self._check(read_bytes)
            self._check_all()
            return message

        try:
            await self._app(scope, counted, send)
        finally:
            release()

    def _check(self, body_bytes: int) -> None:
        if body_bytes > self._max_body_bytes:
            message = f"The body of the request is larger than {self._max_body_bytes} bytes"
            raise Refused(Failure(413, message, code="request_too_large"))

    def _check_all(self) -> None:
        if self._bytes_held > self._most_bytes_held:
            message = "Too many large requests are being read at once: try again in a moment"
            headers = {"retry-after": "1"}
            raise Refused(Failure(503, message, "server_error", code="too_many_bodies", headers=headers))


class JsonOnly:
    """No POST of another type than JSON: those that a browser sends for any page without asking are of other types.

    Programs may leave the type out. A browser that does so, for a page that sends bytes of none, says where from.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            headers = Headers(scope=scope)
            if has_body(headers) and not (is_json(headers.getlist("content-type")) or of_a_program(headers)):
                message = "The body must be JSON and say so: send the header 'Content-Type: application/json'"
                raise Refused(Failure(415, message, code="unsupported_media_type"))
        await self._app(scope, receive, send)


def has_body(headers: Headers) -> bool:
    """Whether a request announces one."""
    return "transfer-encoding" in headers or headers.get("content-length", "0").strip("0") != ""


def is_json(content_types: list[str]) -> bool:
    """Whether there is exactly one type, and it is JSON, whatever its parameters."""
    kinds = [each.partition(";")[0].strip().lower() for each in content_types]
    return kinds == ["application/json"]


def of_a_program(headers: Headers) -> bool:
    """Whether it names no type and has nothing that browsers send with every such request."""
    return not any(name in headers for name in ("content-type", "origin", "sec-fetch-site"))


async def _before(deadline: float, receive: Receive) -> Message:
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            return await receive()
    except TimeoutError:
        message = "The body of the request did not come to its end in time"
        raise Refused(Failure(408, message, code="request_timeout")) from None
