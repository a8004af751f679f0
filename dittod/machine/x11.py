"""The idle time that an X server knows, asked over its socket by the extension MIT-SCREEN-SAVER.

Spoken directly rather than through libX11, which ends the whole process when the server goes away. Local servers only.
Of no use beside Wayland: an X server there sees only what is typed into X programs.
"""

from __future__ import annotations

import os
import re
import socket
import struct
import sys
from pathlib import Path

from dittod.machine.reading import Absent, Unreadable

ANSWER_SECONDS = 0.5
SOCKETS = Path("/tmp/.X11-unix")
COOKIE = b"MIT-MAGIC-COOKIE-1"
LOCAL = 256  # the family of addresses under which a cookie for this machine is kept
QUERY_EXTENSION = 98
QUERY_INFO = 1  # of MIT-SCREEN-SAVER


class XServer:
    """One display, such as ':0'. Connects anew for each question that follows a failure."""

    def __init__(self, display: str, authority: Path) -> None:
        self._display = display
        self._authority = authority
        self._socket: socket.socket | None = None
        self._root = 0
        self._opcode = 0

    def idle_seconds(self) -> float:
        """Since the last input. Raises Absent without that server, Unreadable or OSError where it does not tell."""
        try:
            server = self._connected()
            server.sendall(struct.pack("<BBHI", self._opcode, QUERY_INFO, 2, self._root))
            return float(struct.unpack_from("<I", _reply(server), 16)[0]) / 1000.0
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Until the next question."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __del__(self) -> None:
        self.close()

    def _connected(self) -> socket.socket:
        if self._socket is None:
            number = display_number(self._display)
            self._socket = _open(number)
            self._root = _greet(self._socket, cookie(self._authority, number))
            self._opcode = _extension(self._socket, b"MIT-SCREEN-SAVER")
        return self._socket


def display_number(display: str) -> int:
    """Of a local display. Raises Absent: one over a network or through ssh is not this machine's keyboard."""
    match = re.fullmatch(r"(?:unix)?:(\d+)(?:\.\d+)?", display)
    if match is None:
        raise Absent
    return int(match[1])


def cookie(authority: Path, number: int) -> bytes:
    """The secret by which the server knows its user; empty: it may do without, or knows users by their number."""
    try:
        content = authority.read_bytes()
    except OSError:
        return b""
    here = os.uname().nodename.encode() if hasattr(os, "uname") else b""
    for family, address, display, name, data in _entries(content):
        if (family, address) == (LOCAL, here) and display in (b"", str(number).encode()) and name == COOKIE:
            return data
    return b""


def _entries(content: bytes) -> list[tuple[int, bytes, bytes, bytes, bytes]]:
    """Of an .Xauthority file: a family, then four fields with their lengths, all big-endian."""
    entries, place = [], 0
    while place + 2 <= len(content):
        family = int.from_bytes(content[place : place + 2], "big")
        place, fields = place + 2, []
        for _ in range(4):
            length = int.from_bytes(content[place : place + 2], "big")
            fields.append(content[place + 2 : place + 2 + length])
            place += 2 + length
        entries.append((family, fields[0], fields[1], fields[2], fields[3]))
    return entries


def _open(number: int) -> socket.socket:
    """By the file, or on Linux by the name that stays where a service has a /tmp of its own. Raises Absent."""
    path = str(SOCKETS / f"X{number}")
    for address in (path, f"\0{path}") if sys.platform == "linux" else (path,):
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        server.settimeout(ANSWER_SECONDS)
        try:
            server.connect(address)
            return server
        except (FileNotFoundError, ConnectionRefusedError):
            server.close()
        except BaseException:
            server.close()
            raise
    raise Absent


def _greet(server: socket.socket, secret: bytes) -> int:
    """Returns the first screen's root window."""
    name = COOKIE if secret else b""
    server.sendall(struct.pack("<BxHHHHxx", ord("l"), 11, 0, len(name), len(secret)) + _padded(name) + _padded(secret))
    welcome, _, _, _, length = struct.unpack("<BBHHH", _exactly(server, 8))
    setup = _exactly(server, 4 * length)
    if welcome != 1:
        raise Unreadable("the X server lets nobody in without its cookie")
    vendor, screens, formats = struct.unpack_from("<H2xBB", setup, 16)
    if not screens:
        raise Absent
    (root,) = struct.unpack_from("<I", setup, 32 + vendor + -vendor % 4 + 8 * formats)
    return int(root)


def _extension(server: socket.socket, name: bytes) -> int:
    """Returns the number by which requests to it begin."""
    size = 2 + (len(name) + 3) // 4
    server.sendall(struct.pack("<BxHHxx", QUERY_EXTENSION, size, len(name)) + _padded(name))
    present, opcode = struct.unpack_from("<BB", _reply(server), 8)
    if not present:
        raise Unreadable("the X server does not tell")
    return int(opcode)


def _reply(server: socket.socket) -> bytes:
    """The next one; events are none of our business."""
    while True:
        packet = _exactly(server, 32)
        kind, length = packet[0], struct.unpack_from("<I", packet, 4)[0]
        if kind == 0:
            raise Unreadable("the X server does not tell")
        if kind == 1:
            return packet + _exactly(server, 4 * length)


def _exactly(server: socket.socket, count: int) -> bytes:
    """Raises Unreadable where the server hangs up."""
    got = b""
    while len(got) < count:
        part = server.recv(count - len(got))
        if not part:
            raise Unreadable("the X server hung up")
        got += part
    return got


def _padded(text: bytes) -> bytes:
    return text + bytes(-len(text) % 4)
