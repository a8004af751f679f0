"""Real servers on free ports, and clients that speak to them byte by byte."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dittod.serving import Backend, Dashboard
from dittod_service.server import Server, Terms

from .conftest import TOKEN

CHAT = {"model": "base", "messages": [{"role": "user", "content": "hi"}]}
NO_TERMS = Terms()


@contextmanager
def running(
    backend: Backend,
    terms: Terms = NO_TERMS,
    *,
    dashboard: Dashboard | None = None,
    port: int = 0,
    around: Callable[[Any], Any] = lambda app: app,
) -> Iterator[Server]:
    """A server in a thread, ended with the block. `around` may wrap its application."""
    server = Server(backend, TOKEN, dashboard=dashboard, port=port, terms=terms)
    server.config.app = around(server.config.app)
    thread = threading.Thread(target=lambda: asyncio.run(server.listen_and_serve()))
    thread.start()
    try:
        yield server
    finally:
        server.should_exit = True
        thread.join(15)
        assert not thread.is_alive()


def connect(server: Server) -> socket.socket:
    """A client that has said nothing yet. It waits five seconds for an answer at most."""
    return socket.create_connection(("127.0.0.1", server.port), timeout=5)


def head(path: str = "/v1/chat/completions", method: str = "POST", **headers: object) -> bytes:
    """The beginning of a request, with the token."""
    given = {"Host": "localhost", "Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json", **headers}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name.replace('_', '-')}: {value}" for name, value in given.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def post(body: object, **headers: object) -> bytes:
    """A whole request."""
    data = json.dumps(body).encode()
    return head(Content_Length=len(data), **headers) + data


def read_all(client: socket.socket) -> bytes:
    """What comes until the server hangs up. Fails when it does not."""
    found = bytearray()
    while data := client.recv(65536):
        found += data
    return bytes(found)


def is_hung_up(client: socket.socket, seconds: float = 5.0) -> bool:
    """Whether the server ends the connection within that time, in order or not."""
    client.settimeout(seconds)
    try:
        while client.recv(65536):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True
