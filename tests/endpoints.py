"""An endpoint that stands for a running daemon's, for commands that ask one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from dittod.machine.lock import held
from dittod.paths import Home
from dittod.serving import Backend, Dashboard
from dittod.store import Store
from dittod_service.server import Server, Terms

TERMS = Terms()


@contextmanager
def standing_in(
    home: Home, backend: Backend, terms: Terms = TERMS, *, host: str = "127.0.0.1", dashboard: Dashboard | None = None
) -> Iterator[Server]:
    """On a free port, for the length of the block, while the home counts as held."""
    server = Server(backend, home.token(), dashboard=dashboard, host=host, port=0, terms=terms)
    note_endpoint(home, server.url)
    thread = threading.Thread(target=lambda: asyncio.run(server.listen_and_serve()))
    thread.start()
    try:
        with held(home.lock):
            yield server
    finally:
        server.should_exit = True
        thread.join(15)
        assert not thread.is_alive()


def note_endpoint(home: Home, url: str) -> None:
    """As a daemon does when it listens."""
    store = Store(home.store)
    store.note("endpoint", {"url": url})
    store.close()
