"""One client's connection: what uvicorn's leaves open, within limits of time and number.

A client that says nothing, or drips its request, or does not read its answer, is hung up on; too many at once are
turned away with a 503. Nonsense gets a 400 in OpenAI's shape. It knows HTTP/1.1, and nothing of what is asked.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import h11
from starlette.responses import Response
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from dittod_service.failures import refusing
from dittod_service.openai.errors import Failure
from dittod_service.replies import failure_response
from dittod_service.security import BROWSER_HEADERS

MOST_WAITING_BYTES = 65536  # of requests behind one that is being answered
MOST_CONNECTIONS = 1024  # unless told otherwise, or the system grants fewer files

TURN_AWAY = refusing(
    Failure(
        503,
        "Too many connections are open",
        "server_error",
        code="too_many_connections",
        headers={"retry-after": "5", "connection": "close"},
    )
)


@dataclass(frozen=True, slots=True)
class Patience:
    """What clients are given."""

    connections: int = MOST_CONNECTIONS  # of all together; beyond them 503
    turned_away: int = 256  # connections beyond those that are still told so; beyond these nothing is said
    head_seconds: float = 15.0  # from a connection's beginning, or a request's first byte, to the end of its headers
    deaf_seconds: float = 30.0  # in which a client that is sent something reads nothing of it


class Connection(H11Protocol):
    """A connection that is looked after by `sweep`."""

    def __init__(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any], patience: Patience
    ) -> None:
        super().__init__(config, server_state, app_state)
        self.access_log = False  # it would quote the path; uvicorn asks the logger, which others may have set up anew
        self._patience = patience
        self._silent_since: float | None = self.loop.time()
        self._deaf_since: float | None = None
        self._unread_bytes = 0  # at the last sweep

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        beyond = len(self.connections) - self._patience.connections
        if beyond > self._patience.turned_away:
            transport.abort()
        elif beyond > 0:
            self.app = TURN_AWAY

    def data_received(self, data: bytes) -> None:
        """A request that is being answered is the application's to time; between requests silence is ours."""
        super().data_received(data)
        if self._is_answering():
            self._silent_since = None
            self._go_on_listening()
        elif self._silent_since is None:
            self._silent_since = self.loop.time()

    def resume_writing(self) -> None:
        """The client has read something."""
        super().resume_writing()
        self._deaf_since = None

    def sweep(self, now: float) -> None:
        """Hang up if the client has used up the patience. To be called every now and then, with the loop's time."""
        if self._silent_since is not None and now - self._silent_since > self._patience.head_seconds:
            self.transport.close()
        before, self._unread_bytes = self._unread_bytes, self.transport.get_write_buffer_size()
        if not (self.flow.write_paused or self.transport.is_closing()):
            self._deaf_since = None
        elif self._deaf_since is None or self._unread_bytes < before:
            self._deaf_since = now
        elif now - self._deaf_since > self._patience.deaf_seconds:
            self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Once, and only where nothing else has been said; what is being answered ends."""
        unsaid = self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE)
        if self._is_answering():
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if unsaid:
            self.transport.write(_bytes_of(failure_response(Failure(400, msg, code="invalid_http"))))
        self.transport.close()

    def _go_on_listening(self) -> None:
        """Uvicorn stops at the first byte behind a request, and would not notice that the client leaves."""
        waiting_bytes = len(self.conn.trailing_data[0])
        if self.flow.read_paused and not self.cycle.more_body and waiting_bytes < MOST_WAITING_BYTES:
            self.flow.resume_reading()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _should_upgrade(self) -> bool:
        """Uvicorn would log two lines for each page or program that tries, Java's clients with every connection."""
        return False


def _bytes_of(response: Response) -> bytes:
    """A whole answer as it goes over the wire, for where the state of the connection allows no other way."""
    headers = {**dict(response.headers), **BROWSER_HEADERS, "connection": "close"}
    lines = [f"HTTP/1.1 {response.status_code} Bad Request", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + bytes(response.body)
