"""The server around the application: a socket, uvicorn, and an end that does not hang.

It takes no signals and configures no logging: both belong to the process that runs it. Setting `should_exit`
ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Collection, Iterator

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dittod.errors import DittodError, SettingsError
from dittod.serving import Backend
from dittod_service.app import create_app
from dittod_service.openai.errors import Failure
from dittod_service.replies import failure_response

SHUTDOWN_SECONDS = 10  # answers that still run after so long are cut off
BACKLOG = 512  # connections that the system holds until they are taken

_PORT_HINT = "set `port` in dittod.toml, or DITTOD_PORT, to a free one; 0 takes any"

_SHUTTING_DOWN = Failure(
    503, "The server is shutting down", "server_error", code="shutting_down", headers={"retry-after": "5"}
)


class Server(uvicorn.Server):
    """Listens from its construction on: `port` is known, and a taken port is an error before any work."""

    def __init__(
        self,
        backend: Backend,
        token: str,
        *,
        host: str = "127.0.0.1",
        port: int = 3488,
        allowed_hosts: Collection[str] = (),
        allowed_origins: Collection[str] = (),
    ) -> None:
        app = create_app(
            backend, token, allowed_hosts=[host, *allowed_hosts], allowed_origins=allowed_origins
        )  # before the socket: an error here must leave nothing open
        super().__init__(
            uvicorn.Config(
                _LastWord(app),
                access_log=False,
                log_config=None,
                server_header=False,
                date_header=True,
                proxy_headers=False,
                lifespan="on",
                ws="none",
                timeout_graceful_shutdown=SHUTDOWN_SECONDS,
            )
        )
        self.socket = listen(host, port)
        self.host = host
        self.servers = []  # uvicorn sets it when it starts: a server may be cancelled before
        self.port: int = self.socket.getsockname()[1]

    @property
    def url(self) -> str:
        """Where clients find it, without '/v1'."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    async def listen_and_serve(self) -> None:
        """Answer until `should_exit` is set, or the task is cancelled: both end the answers that run in peace."""
        try:
            await self.serve(sockets=[self.socket])
        except asyncio.CancelledError:
            await self.shutdown(sockets=[self.socket])
            raise
        finally:
            self.socket.close()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Uvicorn would take SIGINT and SIGTERM away from the daemon."""
        yield


class _LastWord:
    """A request that the end of the server cuts off is told so; uvicorn would only log a traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answered = False

        async def watched(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except asyncio.CancelledError:
            if scope["type"] == "http" and not answered:
                await failure_response(_SHUTTING_DOWN)(scope, receive, send)


async def serve(backend: Backend, token: str, host: str = "127.0.0.1", port: int = 3488) -> None:
    """Answer at this address until the task is cancelled."""
    await Server(backend, token, host=host, port=port).listen_and_serve()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises DittodError that says what to change."""
    if not 0 <= port <= 65535:  # getaddrinfo would wrap it around
        raise SettingsError(f"There is no port {port}", _PORT_HINT)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, OverflowError, UnicodeError):
        raise SettingsError(f"'{host}' is not an address to listen at", "set `host` in dittod.toml") from None
    bound = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # elsewhere the option would share the port with another program
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise _refusal(error, host, port) from error
    return bound


def _refusal(error: OSError, host: str, port: int) -> DittodError:
    if error.errno == errno.EADDRINUSE:
        return SettingsError(f"Port {port} at {host} is taken by another program", f"end it, or {_PORT_HINT}")
    if error.errno == errno.EACCES:
        return SettingsError(f"Port {port} at {host} may not be used by this user", _PORT_HINT)
    reason = os.strerror(error.errno) if error.errno else "unknown reason"
    return SettingsError(f"Cannot listen at {host}, port {port}: {reason}", "set `host` and `port` in dittod.toml")
