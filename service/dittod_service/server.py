"""The server around the application: sockets, uvicorn, clients that dawdle, and an end that does not hang.

It takes no signals and configures no logging: both belong to the process that runs it. Setting `should_exit`
ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import stat
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dittod.serving import Backend, Dashboard
from dittod_service.app import Callers, Limits, create_app
from dittod_service.connections import Connection, Patience
from dittod_service.dashboard.events import Changes
from dittod_service.failures import refusing
from dittod_service.listening import BACKLOG, certified, is_loopback, listen, listen_in_files, may_open_files
from dittod_service.openai.errors import SHUTTING_DOWN

FINISH_SECONDS = 4  # for answers that run when the server is told to end; then they are cut off
LAST_WORD_SECONDS = 1.0  # for clients to be told so; then they are hung up on
HANDSHAKE_SECONDS = 10.0  # of TLS

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms clients are let in."""

    allowed_hosts: Collection[str] = ()  # names of this machine besides `host` and the loopback's
    allowed_origins: Collection[str] = ()  # of web pages that may ask
    require_token: bool = True  # of clients; the dashboard is never without
    tls: tuple[Path, Path] | None = None  # certificate and key; None: no encryption
    unix_socket: Path | None = None  # where it listens besides host and port
    limits: Limits = field(default_factory=Limits)
    patience: Patience = field(default_factory=Patience)


class Server(uvicorn.Server):
    """Listens from its construction on: `port` is known, and a taken port is an error before any work."""

    def __init__(
        self,
        backend: Backend,
        token: str,
        *,
        dashboard: Dashboard | None = None,
        host: str = "127.0.0.1",
        port: int = 3488,
        terms: Terms = Terms(),
    ) -> None:
        callers = Callers([host, *terms.allowed_hosts], terms.allowed_origins, terms.require_token)
        app = create_app(backend, token, dashboard=dashboard, callers=callers, limits=terms.limits)
        self._changes: Changes | None = app.state.changes
        self._tls = certified(*terms.tls) if terms.tls else None  # before the sockets: an error must leave none open
        super().__init__(
            uvicorn.Config(
                _LastWord(app, lambda: self.should_exit),
                access_log=False,
                log_config=None,
                server_header=False,
                date_header=True,
                proxy_headers=False,
                lifespan="on",
                ws="none",
                timeout_graceful_shutdown=FINISH_SECONDS,
            )
        )
        self.host = host
        self.servers = []  # uvicorn sets it when it starts: a server may be cancelled before
        self.socket = listen(host, port)
        self.port: int = self.socket.getsockname()[1]
        self._unix_socket = terms.unix_socket
        self._sockets = [self.socket, *self._listen_in_files()]
        self._patience = replace(
            terms.patience, connections=min(terms.patience.connections, may_open_files() // 2)
        )  # the other half of the files is the daemon's
        for sentence in doubts(self.url, is_loopback(self.socket), terms.tls, has_token=terms.require_token):
            logger.warning("%s", sentence)

    @property
    def url(self) -> str:
        """Where clients find it, without '/v1'."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    async def listen_and_serve(self) -> None:
        """Answer until `should_exit` is set, or the task is cancelled: both end the answers that run in peace."""
        try:
            await self.serve(sockets=self._sockets)
        except asyncio.CancelledError:
            await self.shutdown(sockets=self._sockets)
            raise
        finally:
            for each in self._sockets:
                each.close()
            if self._unix_socket is not None:
                self._unix_socket.unlink(missing_ok=True)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Uvicorn's would use its own connections, take a minute over a handshake, and encrypt files too."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise RuntimeError("the application did not start")
        loop = asyncio.get_running_loop()
        for each in sockets or []:
            tls = self._tls if each is self.socket else None
            patience = HANDSHAKE_SECONDS if tls else None
            self.servers.append(
                await loop.create_server(
                    self._connection, sock=each, ssl=tls, backlog=BACKLOG, ssl_handshake_timeout=patience
                )
            )
        self.started = True

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        now = asyncio.get_running_loop().time()
        for each in self._connections():
            each.sweep(now)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Nothing new is taken on; what runs may end by itself, is then told of the end, and at last hung up on."""
        self.should_exit = True
        if self._changes is not None:
            self._changes.end()
        await super().shutdown(sockets)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + LAST_WORD_SECONDS
        while (self.server_state.connections or self.server_state.tasks) and loop.time() < deadline:
            await asyncio.sleep(0.02)
        for each in self._connections():
            each.transport.abort()  # a client that does not read would keep its answer waiting
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=LAST_WORD_SECONDS)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Uvicorn would take SIGINT and SIGTERM away from the daemon."""
        yield

    def _listen_in_files(self) -> list[socket.socket]:
        try:
            return [listen_in_files(self._unix_socket)] if self._unix_socket is not None else []
        except BaseException:
            self.socket.close()
            raise

    def _connection(self) -> Connection:
        return Connection(self.config, self.server_state, self.lifespan.state, self._patience)

    def _connections(self) -> list[Connection]:
        return [each for each in self.server_state.connections if isinstance(each, Connection)]


class _LastWord:
    """A request that the end of the server cuts off, or that comes after it, is told so; uvicorn would only log it."""

    def __init__(self, app: ASGIApp, is_ending: Callable[[], bool]) -> None:
        self._app = app
        self._is_ending = is_ending
        self._ended = refusing(SHUTTING_DOWN)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answered = False

        async def watched(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        if scope["type"] == "http" and self._is_ending():
            await self._ended(scope, receive, send)
            return
        try:
            await self._app(scope, receive, watched)
        except asyncio.CancelledError:
            if scope["type"] == "http" and not answered:
                await self._ended(scope, receive, send)


def doubts(url: str, on_loopback: bool, tls: tuple[Path, Path] | None, *, has_token: bool) -> Iterator[str]:
    """What a user should know about how open the endpoint is."""
    if not on_loopback and not has_token:
        yield (
            f"ANYBODY IN THE NETWORK may use {url} and read from its answers how you write: no token is asked for. "
            'Set `require_token = true`, or `host = "127.0.0.1"`; see docs/security.md'
        )
    if not on_loopback and tls is None:
        yield (
            f"{url} is open to the network without encryption: texts and token can be read on their way. "
            "Set `tls_certificate` and `tls_key`; see docs/security.md"
        )
    if on_loopback and not has_token:
        yield f"no token is asked for at {url}: every program of every user of this machine may use it"
    if tls is not None and stat.S_IMODE(tls[1].stat().st_mode) & 0o077:
        yield f"others may read the key of the certificate: chmod 600 {tls[1]}"
