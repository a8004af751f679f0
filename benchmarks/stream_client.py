"""A client that costs little: streamed chat completions over bare sockets, read while they come, understood afterwards.

While a round runs it does no more with a reply than to note when its first text came. It knows HTTP as far as these
servers speak it (one request a connection, chunks or not), and nothing of which server answers.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

FIRST_TEXT = re.compile(rb'"content": ?"(?!")')
REPLY_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens, and what lets one in."""

    port: int
    token: str


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, understood. `error`: why it does not count."""

    first_text_seconds: float | None
    text: str = ""
    prompt_tokens: int = 0
    tokens: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """What a number of requests came to, so many of them at a time."""

    seconds: float
    client_seconds: float  # processor time of this process
    replies: tuple[Reply, ...]


def ask_all(address: Address, bodies: Sequence[dict[str, Any]], streams: int) -> Round:
    """Send every request, each stream its next one when its last has ended."""
    requests = [_request(address, body) for body in bodies]
    busy, begun = time.process_time(), time.perf_counter()
    raw = asyncio.run(_in_streams(address.port, requests, streams))
    seconds, client_seconds = time.perf_counter() - begun, time.process_time() - busy
    return Round(seconds, client_seconds, tuple(_understood(*each) for each in raw))


def _request(address: Address, body: dict[str, Any]) -> bytes:
    content = json.dumps(body).encode()
    lines = (
        "POST /v1/chat/completions HTTP/1.1",
        f"Host: 127.0.0.1:{address.port}",
        f"Authorization: Bearer {address.token}",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        "Connection: close",
    )
    return "\r\n".join((*lines, "", "")).encode() + content


async def _in_streams(port: int, requests: Sequence[bytes], streams: int) -> list[tuple[float | None, bytes]]:
    waiting = iter(requests)
    found: list[tuple[float | None, bytes]] = []

    async def stream() -> None:
        for request in waiting:
            try:
                async with asyncio.timeout(REPLY_SECONDS):
                    found.append(await _exchange(port, request))
            except (OSError, TimeoutError) as error:
                found.append((None, f"HTTP/1.1 000 {type(error).__name__}\r\n\r\n".encode()))

    await asyncio.gather(*(stream() for _ in range(streams)))
    return found


async def _exchange(port: int, request: bytes) -> tuple[float | None, bytes]:
    """Seconds until the first text, and everything that came."""
    begun, first, received = time.perf_counter(), None, bytearray()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        while data := await reader.read(1 << 16):
            received += data
            if first is None and FIRST_TEXT.search(received):
                first = time.perf_counter() - begun
    finally:
        writer.close()
    return first, bytes(received)


def _understood(first: float | None, received: bytes) -> Reply:
    head, _, rest = received.partition(b"\r\n\r\n")
    status = head.split(b"\r\n")[0].decode(errors="replace")
    if " 200 " not in status:
        return Reply(first, error=status)
    try:
        body = _joined(rest) if b"transfer-encoding: chunked" in head.lower() else rest
        lines = (line.removeprefix(b"data:").strip() for line in body.splitlines() if line.startswith(b"data:"))
        events = [json.loads(line) for line in lines if line != b"[DONE]"]
    except ValueError:
        return Reply(first, error="the stream cannot be understood")
    usage = next((event["usage"] for event in reversed(events) if event.get("usage")), None)
    if usage is None or any("error" in event for event in events):
        return Reply(first, error="the stream broke off")
    text = "".join(piece for event in events for piece in _texts(event))
    return Reply(first, text, usage["prompt_tokens"], usage["completion_tokens"])


def _texts(event: dict[str, Any]) -> list[str]:
    found = [choice["delta"].get("content") for choice in event.get("choices", ())]
    return [text for text in found if text]


def _joined(chunked: bytes) -> bytes:
    """The body that chunks carry; what is missing at the end is left out."""
    body, rest = bytearray(), chunked
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size.split(b";")[0] or b"0", 16)
        body += rest[:length]
        rest = rest[length + 2 :] if length else b""
    return bytes(body)
