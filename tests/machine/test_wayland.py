"""Idle time from a Wayland compositor: one of ours that speaks just enough."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dittod.machine.idle import sockets
from dittod.machine.reading import Absent, Unreadable
from dittod.machine.wayland import Compositor


def event(sender: int, opcode: int, content: bytes = b"") -> bytes:
    return struct.pack("=II", sender, (8 + len(content)) << 16 | opcode) + content


def listed(name: int, interface: str) -> bytes:
    text = interface.encode() + b"\0"
    return event(2, 0, struct.pack("=II", name, len(text)) + text + bytes(-len(text) % 4) + struct.pack("=I", 1))


GLOBALS = listed(1, "wl_compositor") + listed(7, "wl_seat") + listed(9, "ext_idle_notifier_v1")
ALL = event(3, 0, struct.pack("=I", 0))
IDLED, RESUMED = event(6, 0), event(6, 1)


def asked(told: bytes) -> list[tuple[int, int, bytes]]:
    """A client's requests."""
    requests = []
    while told:
        target, word = struct.unpack_from("=II", told)
        requests.append((target, word & 0xFFFF, told[8 : word >> 16]))
        told = told[word >> 16 :]
    return requests


@pytest.fixture
def compositor(tmp_path: Path) -> Iterator[tuple[socket.socket, Compositor]]:
    """Where it listens, and its client."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "wayland-0"))
        listener.listen()
        client = Compositor(tmp_path / "wayland-0")
        yield listener, client
        client.close()


def greet(listener: socket.socket, said: bytes) -> Callable[[], socket.socket]:
    """Accept and say that, in pieces. Returns what waits for the connection."""
    connections: list[socket.socket] = []

    def work() -> None:
        connection, _ = listener.accept()
        connection.sendall(said[:11])
        connection.sendall(said[11:])
        connections.append(connection)

    thread = threading.Thread(target=work)
    thread.start()

    def connection() -> socket.socket:
        thread.join(10)
        return connections[0]

    return connection


def test_a_compositor_tells_when_nobody_types_any_more_and_when_somebody_does_again(
    compositor: tuple[socket.socket, Compositor],
) -> None:
    listener, client = compositor
    connection = greet(listener, GLOBALS + ALL)
    assert client.idle_seconds() == 0.0
    with connection() as other:
        other.sendall(IDLED)
        first = client.idle_seconds()
        assert 5.0 <= first <= client.idle_seconds() < 60.0
        other.sendall(RESUMED)
        assert client.idle_seconds() == 0.0
        other.sendall(IDLED + RESUMED + IDLED)
        assert client.idle_seconds() >= 5.0


def test_the_compositor_is_asked_for_a_notice_of_its_seat(compositor: tuple[socket.socket, Compositor]) -> None:
    listener, client = compositor
    connection = greet(listener, GLOBALS + ALL)
    client.idle_seconds()
    with connection() as other:
        requests = asked(other.recv(4096))
    assert [(target, opcode) for target, opcode, _ in requests] == [(1, 1), (1, 0), (2, 0), (2, 0), (5, 1)]
    assert struct.unpack("=I", requests[2][2][:4]) == (7,) and b"wl_seat\0" in requests[2][2]
    assert struct.unpack("=I", requests[3][2][:4]) == (9,) and b"ext_idle_notifier_v1\0" in requests[3][2]
    assert struct.unpack("=III", requests[4][2]) == (6, 5000, 4)


def test_a_compositor_without_the_protocol_tells_nothing(compositor: tuple[socket.socket, Compositor]) -> None:
    listener, client = compositor
    connection = greet(listener, listed(7, "wl_seat") + ALL)
    with pytest.raises(Absent):
        client.idle_seconds()
    connection().close()


def test_a_compositor_that_goes_away_is_unreadable_then_absent(
    compositor: tuple[socket.socket, Compositor], tmp_path: Path
) -> None:
    listener, client = compositor
    connection = greet(listener, GLOBALS + ALL)
    client.idle_seconds()
    connection().close()
    with pytest.raises((Unreadable, ConnectionError)):
        client.idle_seconds()
    listener.close()
    with pytest.raises(Absent):
        client.idle_seconds()


def test_a_compositor_that_says_nothing_is_given_up(compositor: tuple[socket.socket, Compositor]) -> None:
    _listener, client = compositor
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        client.idle_seconds()
    assert time.monotonic() - began < 5.0


def test_an_error_is_unreadable(compositor: tuple[socket.socket, Compositor]) -> None:
    listener, client = compositor
    connection = greet(listener, GLOBALS + ALL + event(1, 0, bytes(12)))
    with pytest.raises(Unreadable):
        for _ in range(1000):
            client.idle_seconds()
            time.sleep(0.01)
    connection().close()


def test_the_socket_is_the_one_of_the_environment_or_any_there_is(tmp_path: Path) -> None:
    for name in ("wayland-0", "wayland-0.lock", "wayland-1", "bus"):
        (tmp_path / name).touch()
    folder = {"XDG_RUNTIME_DIR": str(tmp_path)}
    assert list(sockets(folder)) == [tmp_path / "wayland-0", tmp_path / "wayland-1"]
    assert list(sockets(folder | {"WAYLAND_DISPLAY": "wayland-5"})) == [tmp_path / "wayland-5"]
