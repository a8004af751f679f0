"""run: the daemon with its endpoint, and how both end."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from dittod import __version__
from dittod.cli.terminal import err
from dittod.config import Settings, load_settings
from dittod.daemon import END_SECONDS, Daemon
from dittod.errors import DittodError
from dittod.logs import log_to_file, log_to_stderr
from dittod.machine.lock import held
from dittod.notify import Supervisor, attend
from dittod.paths import Home, home
from dittod.store import Store

if TYPE_CHECKING:
    from dittod_service.server import Server, Terms

log = logging.getLogger("dittod")

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]
MOST_SECONDS = 8.0  # from the first signal until nothing is waited for any more: answers, engine and threads together
PATIENCE_SECONDS = 3.0  # of it with an engine that was told to end
LAST_NOTE_SECONDS = 0.2  # of it for another process that writes into the store
POLL_SECONDS = 0.1  # between two looks whether a signal has come
clock = time.monotonic


class Ending:
    """What signals ask for: the first one that the daemon ends in order, a second one that it hurries.

    A handler of signals interrupts the main thread anywhere, so it sets flags and takes no lock."""

    def __init__(self) -> None:
        self.asked = 0
        self._first_at = 0.0  # in monotonic seconds
        self._waits = False
        self._server: Server | None = None
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
                signal.signal(number, lambda *_: self.ask())

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Inside, the first signal ends the process: a keyring may be waiting for its user."""
        self._waits = True
        try:
            if self.asked:
                raise SystemExit(0)
            yield
        finally:
            self._waits = False

    def concerns(self, server: Server) -> None:
        """Who is to be told; at once, where it was asked for before it was there."""
        self._server = server
        self._tell()

    def ask(self) -> None:
        """Once more."""
        self._first_at = self._first_at or clock()
        self.asked += 1
        if self._waits:
            self._waits = False  # what is under way is brought to its end in order
            raise SystemExit(0)
        if self.asked > 1 and self._server is None:
            raise KeyboardInterrupt  # it has not come far
        self._tell()

    def left(self, most: float) -> float:
        """So many seconds may something still take to end, `most` where nobody asked for the end."""
        if not self.asked:
            return most
        return max(0.0, min(most, self._first_at + MOST_SECONDS - clock())) if self.asked < 2 else 0.0

    def _tell(self) -> None:
        if self._server is not None and self.asked:
            self._server.should_exit, self._server.force_exit = True, self.asked > 1


def run() -> None:
    """Until SIGINT, SIGTERM, or the end of the terminal."""
    ending = Ending()
    place = home()
    place.create()
    log_to_stderr()
    settings = load_settings(place)
    with held(place.lock), ExitStack() as stack:
        log_to_file(place)
        store = Store(place.store)
        stack.callback(store.close)
        with ending.at_once():
            daemon = Daemon(place, settings, store)
        server = endpoint(place, daemon)
        ending.concerns(server)
        daemon.start()
        stack.callback(lambda: daemon.stop(ending.left(END_SECONDS)))
        stack.callback(lambda: daemon.engine.stop(ending.left(PATIENCE_SECONDS)))  # first: its threads may wait for it
        err.print(f"serving {server.url}/v1, watching {daemon.folder.root}", markup=False, soft_wrap=True)
        log.info("dittod %s has started", __version__)
        asyncio.run(_serve(server, daemon))
        log.info("ending")


async def _serve(server: Server, daemon: Daemon) -> None:
    """Until the end is asked for; what supervises the daemon is kept informed."""

    def doing() -> str:
        try:
            note = daemon.store.noted("learning")
        except DittodError:
            return "its store cannot be read"
        return ": ".join(str(note[key]) for key in ("state", "reason") if note.get(key)) or "serving"

    attending = asyncio.create_task(
        attend(
            Supervisor(),
            serving=lambda: server.started and not server.should_exit,
            alive=lambda: all(each.is_alive() for each in daemon.threads),
            doing=doing,
        )
    )
    closing = asyncio.create_task(_close_when_told(server, daemon))
    try:
        await server.listen_and_serve()
    finally:
        attending.cancel()
        closing.cancel()
        _close(daemon)


async def _close_when_told(server: Server, daemon: Daemon) -> None:
    """While the last answers are written, an update can write its checkpoint."""
    while not server.should_exit:
        await asyncio.sleep(POLL_SECONDS)
    _close(daemon)


def _close(daemon: Daemon) -> None:
    daemon.engine.close()
    daemon.store.patience_seconds = LAST_NOTE_SECONDS


def endpoint(place: Home, daemon: Daemon) -> Server:
    """The endpoint over a daemon, with its port taken but not yet answering."""
    from dittod.backend import DaemonBackend
    from dittod.dashboard import DaemonDashboard
    from dittod_service.server import Server

    settings = daemon.settings
    backend = DaemonBackend(daemon.store, settings, daemon.engine)
    server = Server(
        backend,
        place.token(),
        dashboard=DaemonDashboard(place, daemon.store, settings, daemon),
        host=settings.host,
        port=settings.port,
        terms=terms(settings),
    )
    daemon.store.note("endpoint", {"url": server.url})
    return server


def terms(settings: Settings) -> Terms:
    """What the settings say of who is let in, and how far."""
    from dittod_service.app import Limits
    from dittod_service.server import Terms

    certificate, key = settings.tls_certificate, settings.tls_key
    return Terms(
        allowed_hosts=settings.allowed_hosts,
        allowed_origins=settings.allowed_origins,
        require_token=settings.require_token,
        tls=(certificate, key) if certificate and key else None,
        unix_socket=settings.unix_socket,
        limits=Limits(answers=settings.max_waiting_answers, request_seconds=settings.request_seconds),
    )
