"""Whether somebody types, as a Wayland compositor tells by its protocol ext-idle-notify-v1 (KWin, sway, Hyprland, …).

Spoken directly over the socket: it is five requests. GNOME does not know it and is asked over D-Bus instead. A film
that keeps the screen on counts as somebody at the machine.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from dittod.machine.reading import Absent, Unreadable

ANSWER_SECONDS = 0.5
NOTICE_SECONDS = 5.0  # without input, after which the compositor says so
DISPLAY, REGISTRY, LISTED, SEAT, NOTIFIER, NOTIFICATION = range(1, 7)  # our names of the objects
MOST_BYTES = 2**20  # of one answer


class Compositor:
    """Tells of every change, so the connection is kept and read whenever somebody asks."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self._unread = b""
        self._idle_since: float | None = None

    def idle_seconds(self) -> float:
        """Since the last input; 0 up to the first notice. Raises Absent where there is no compositor that tells,
        Unreadable or OSError where it fails."""
        try:
            if self._socket is None:
                self._connect()
            self._hear()
        except BaseException:
            self.close()
            raise
        return 0.0 if self._idle_since is None else time.monotonic() - self._idle_since

    def close(self) -> None:
        """Until the next question."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._unread, self._idle_since = None, b"", None

    def __del__(self) -> None:
        self.close()

    def _connect(self) -> None:
        self._socket = _open(self._path)
        self._socket.sendall(_request(DISPLAY, 1, _number(REGISTRY)) + _request(DISPLAY, 0, _number(LISTED)))
        offered = self._offered()
        if not {"wl_seat", "ext_idle_notifier_v1"} <= set(offered):
            raise Absent
        for interface, name in (("wl_seat", SEAT), ("ext_idle_notifier_v1", NOTIFIER)):
            given = _number(offered[interface]) + _string(interface) + _number(1) + _number(name)
            self._socket.sendall(_request(REGISTRY, 0, given))
        wanted = _number(NOTIFICATION) + _number(int(NOTICE_SECONDS * 1000)) + _number(SEAT)
        self._socket.sendall(_request(NOTIFIER, 1, wanted))

    def _offered(self) -> dict[str, int]:
        """The compositor's globals by interface, up to its word that these are all."""
        offered: dict[str, int] = {}
        deadline = time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < deadline:
            self._receive(wait=True)
            for sender, opcode, content in self._events():
                if (sender, opcode) == (REGISTRY, 0):
                    name, length = struct.unpack_from("=II", content)
                    offered.setdefault(content[8 : 8 + length - 1].decode("ascii", "replace"), name)
                elif sender == LISTED:
                    return offered
        raise TimeoutError

    def _hear(self) -> None:
        """Everything said since the last time; of another object only the one for errors matters."""
        while self._receive(wait=False):
            pass
        for sender, opcode, _ in self._events():
            if sender == NOTIFICATION:
                self._idle_since = time.monotonic() - NOTICE_SECONDS if opcode == 0 else None
            elif (sender, opcode) == (DISPLAY, 0):
                raise Unreadable("the compositor refuses")

    def _receive(self, *, wait: bool) -> bool:
        """Whether there was something."""
        assert self._socket is not None
        self._socket.settimeout(ANSWER_SECONDS if wait else 0.0)
        try:
            part = self._socket.recv(65536)
        except BlockingIOError:
            return False
        finally:
            self._socket.settimeout(ANSWER_SECONDS)
        if not part or len(self._unread) > MOST_BYTES:
            raise Unreadable("the compositor hung up")
        self._unread += part
        return True

    def _events(self) -> Iterator[tuple[int, int, bytes]]:
        """Object, opcode and content of each that has arrived whole."""
        while len(self._unread) >= 8:
            sender, word = struct.unpack_from("=II", self._unread)
            size = max(8, word >> 16)
            if len(self._unread) < size:
                return
            content, self._unread = self._unread[8:size], self._unread[size:]
            yield sender, word & 0xFFFF, content


def _open(path: Path) -> socket.socket:
    """Raises Absent."""
    compositor = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    compositor.settimeout(ANSWER_SECONDS)
    try:
        compositor.connect(str(path))
    except (FileNotFoundError, ConnectionRefusedError) as error:
        compositor.close()
        raise Absent from error
    except BaseException:
        compositor.close()
        raise
    return compositor


def _request(target: int, opcode: int, content: bytes) -> bytes:
    return struct.pack("=II", target, (8 + len(content)) << 16 | opcode) + content


def _number(value: int) -> bytes:
    return struct.pack("=I", value)


def _string(text: str) -> bytes:
    encoded = text.encode() + b"\0"
    return _number(len(encoded)) + encoded + bytes(-len(encoded) % 4)
