"""A message bus of the test's own, with whatever services the test wants on it."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Answers = dict[tuple[str, str], tuple[str | None, tuple[Any, ...]]]  # by path and member: signature and body
GONE = ("", ())  # there is no such object any more
Serve = Callable[[str, Answers], None]


@pytest.fixture
def bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Both the system's bus and the session's; call it with a name and the answers given under it. What is asked beside
    them gets an error, and what has the answer None no answer at all."""
    program = shutil.which("dbus-daemon")
    if program is None:
        pytest.skip("needs dbus-daemon")
    address = f"unix:path={tmp_path / 'bus'}"
    command = [program, "--session", "--nofork", "--nosyslog", "--print-address=1", f"--address={address}"]
    daemon = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert daemon.stdout is not None
    daemon.stdout.readline()
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
    threads: list[threading.Thread] = []

    def serve(name: str, answers: Answers) -> None:
        ready = threading.Event()
        threads.append(threading.Thread(target=_serve, args=(address, name, answers, ready)))
        threads[-1].start()
        assert ready.wait(10)

    yield serve
    daemon.kill()
    daemon.wait()
    daemon.stdout.close()
    for thread in threads:
        thread.join(10)


def _serve(address: str, name: str, answers: Answers, ready: threading.Event) -> None:
    from jeepney import HeaderFields, MessageType, new_error, new_method_return
    from jeepney.bus_messages import message_bus
    from jeepney.io.blocking import Proxy, open_dbus_connection

    with open_dbus_connection(address) as connection:
        Proxy(message_bus, connection).RequestName(name)
        ready.set()
        try:
            while True:
                message = connection.receive()
                fields = message.header.fields
                if message.header.message_type is not MessageType.method_call:
                    continue
                known = answers.get((fields[HeaderFields.path], fields[HeaderFields.member]), ())
                if known == ():
                    connection.send(new_error(message, "org.freedesktop.DBus.Error.AccessDenied"))
                elif known is GONE:
                    connection.send(new_error(message, "org.freedesktop.DBus.Error.UnknownObject"))
                elif known is not None:
                    connection.send(new_method_return(message, *known))
        except (ConnectionError, OSError):
            return


def login1(*sessions: dict[str, Any], manager: dict[str, tuple[str, Any]] | None = None) -> Answers:
    """logind, with this user's sessions at the first seat: each of them is its properties. One of which there are none
    is over by now."""
    uid, root = os.getuid(), "/org/freedesktop/login1"
    rows = [
        (str(n), each.pop("uid", uid), "me", each.pop("seat", "seat0"), f"{root}/session/_{n}")
        for n, each in enumerate(sessions)
    ]
    signatures: dict[type, str] = {bool: "b", int: "t", str: "s"}
    answers: Answers = {
        (root, "ListSessions"): ("a(susso)", (rows,)),
        (root, "GetAll"): ("a{sv}", (manager or {},)),
    }
    for row, session in zip(rows, sessions, strict=True):
        properties = {name: (signatures[type(value)], value) for name, value in session.items()}
        answers[(row[4], "GetAll")] = ("a{sv}", (properties,)) if properties else GONE
    return answers
