"""Idle time from an X server: one of ours that speaks just enough, and a real one where Xvfb is installed."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dittod.machine import x11
from dittod.machine.reading import Absent, Unreadable
from dittod.machine.x11 import XServer, cookie, display_number

SECRET = bytes(range(16))


def _entry(family: int, address: bytes, number: bytes, name: bytes, data: bytes) -> bytes:
    fields = b"".join(struct.pack(">H", len(each)) + each for each in (address, number, name, data))
    return struct.pack(">H", family) + fields


def _authority(tmp_path: Path) -> Path:
    here = os.uname().nodename.encode()
    path = tmp_path / "authority"
    path.write_bytes(
        _entry(0, b"\x7f\0\0\1", b"7", x11.COOKIE, b"another family")
        + _entry(256, here, b"8", x11.COOKIE, b"another display")
        + _entry(256, here, b"7", b"XDM-AUTHORIZATION-1", b"another kind")
        + _entry(256, here, b"7", x11.COOKIE, SECRET)
    )
    return path


def _converse(connection: socket.socket, *, welcome: int = 1, present: int = 1, idle: int = 65432) -> None:
    """One client's questions, with an event in between."""
    greeting = connection.recv(1000)
    assert greeting[12:].startswith(x11.COOKIE) and greeting.endswith(SECRET)
    vendor = b"tests"
    setup = struct.pack("<IIIIHHBB10x", 1, 2, 3, 4, len(vendor), 9, 1, 2) + vendor + bytes(3) + bytes(16)
    setup += struct.pack("<I", 0xABCD)
    connection.sendall(struct.pack("<BBHHH", welcome, 0, 11, 0, len(setup) // 4) + setup)
    if welcome != 1:
        return
    assert connection.recv(1000) == struct.pack("<BxHHxx", 98, 6, 16) + b"MIT-SCREEN-SAVER"
    connection.sendall(struct.pack("<BxHIBB22x", 1, 1, 0, present, 144))
    while question := connection.recv(1000):
        assert question == struct.pack("<BBHI", 144, 1, 2, 0xABCD)
        connection.sendall(bytes([28]) + bytes(31))
        connection.sendall(struct.pack("<BBHIIII12x", 1, 0, 2, 0, 0, 0, idle))


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., XServer]]:
    """Starts the X server of display :7, which behaves as the arguments say."""
    monkeypatch.setattr(x11, "SOCKETS", tmp_path)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "X7"))
    listener.listen()
    threads: list[threading.Thread] = []
    servers: list[XServer] = []

    def work(how: dict[str, int]) -> None:
        connection, _ = listener.accept()
        with connection:
            _converse(connection, **how)

    def start(**how: int) -> XServer:
        threads.append(threading.Thread(target=work, args=(how,)))
        threads[-1].start()
        servers.append(XServer(":7", _authority(tmp_path)))
        return servers[-1]

    yield start
    for each in servers:
        each.close()
    for thread in threads:
        thread.join(10)
    listener.close()


def test_an_x_server_tells_since_when_nobody_has_typed(server: Callable[..., XServer]) -> None:
    display = server()
    assert [display.idle_seconds(), display.idle_seconds()] == [65.432, 65.432]


@pytest.mark.parametrize("how", [{"welcome": 0}, {"present": 0}])
def test_a_server_that_does_not_tell_is_unreadable(server: Callable[..., XServer], how: dict[str, int]) -> None:
    with pytest.raises(Unreadable):
        server(**how).idle_seconds()


@pytest.mark.skipif(sys.platform != "linux", reason="needs abstract sockets")
def test_a_server_is_found_where_a_service_sees_another_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(x11, "SOCKETS", tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{tmp_path / 'X7'}")
        listener.listen()
        thread = threading.Thread(target=lambda: listener.accept()[0].close())
        thread.start()
        with pytest.raises((Unreadable, ConnectionError)):  # it hung up, so it was there
            XServer(":7", tmp_path / "none").idle_seconds()
        thread.join(10)


def test_without_a_server_there_is_nothing_to_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(x11, "SOCKETS", tmp_path)
    with pytest.raises(Absent):
        XServer(":7", tmp_path / "none").idle_seconds()


def test_a_silent_server_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(x11, "SOCKETS", tmp_path)
    monkeypatch.setattr(x11, "ANSWER_SECONDS", 0.05)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "X7"))
        listener.listen()
        with pytest.raises(TimeoutError):
            XServer(":7", tmp_path / "none").idle_seconds()


@pytest.mark.parametrize(("display", "number"), [(":0", 0), (":12.1", 12), ("unix:3", 3)])
def test_a_local_display_has_a_number(display: str, number: int) -> None:
    assert display_number(display) == number


@pytest.mark.parametrize("display", ["", "localhost:10.0", "box:0", ":", ":x", "../:0"])
def test_a_display_elsewhere_is_not_this_machines_keyboard(display: str) -> None:
    with pytest.raises(Absent):
        display_number(display)


@pytest.mark.parametrize("content", [b"", b"\x01", b"\x01\0\0\xff\xff", bytes(999), b"\xff" * 999])
def test_a_damaged_authority_holds_no_cookie(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "authority").write_bytes(content)
    assert cookie(tmp_path / "authority", 7) == b""


@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="needs Xvfb")
def test_a_real_x_server_tells(tmp_path: Path) -> None:
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-nolisten", "tcp", "-noreset"]
    process = subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    try:
        with os.fdopen(read) as told:
            number = told.readline().strip()
        display = XServer(f":{number}", tmp_path / "none")
        first = display.idle_seconds()
        assert 0.0 <= first <= display.idle_seconds() < 60.0
        display.close()
    finally:
        process.terminate()
        process.wait()
