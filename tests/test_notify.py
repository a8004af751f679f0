"""systemd's notify protocol, spoken to a real socket."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest

from dittod import notify
from dittod.notify import Supervisor, attend

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="systemd is Linux's")


@pytest.fixture(params=["file", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """The socket that systemd would read, and what it would put into the environment."""
    address = str(tmp_path / "notify") if request.param == "file" else f"@dittod-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(address.replace("@", "\0", 1))
        listening.setblocking(False)
        yield listening, address


def _heard(systemd: socket.socket) -> list[str]:
    lines: list[str] = []
    while True:
        try:
            lines.append(systemd.recv(4096).decode())
        except BlockingIOError:
            return lines


def test_what_is_said_is_heard(systemd: tuple[socket.socket, str]) -> None:
    listening, address = systemd
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}
    supervisor = Supervisor(environment)
    supervisor.serves()
    supervisor.does("waiting: on\nbattery " + "x" * 1000)
    supervisor.lives()
    supervisor.ends()
    ready, status, watchdog, stopping = _heard(listening)
    assert (ready, watchdog, stopping) == ("READY=1", "WATCHDOG=1", "STOPPING=1")
    assert status.startswith("STATUS=waiting: on battery xxx") and len(status) < 300
    assert supervisor.watchdog_seconds == 3.0
    assert environment == {}, "the engine must not speak for the daemon"
    supervisor.close()
    supervisor.ends()
    assert _heard(listening) == []


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}])
def test_without_systemd_nothing_is_said(environment: dict[str, str]) -> None:
    supervisor = Supervisor(environment)
    supervisor.serves()
    assert not supervisor.listens and supervisor.watchdog_seconds is None
    asyncio.run(attend(supervisor, lambda: False, lambda: True, lambda: ""))


@pytest.mark.parametrize(("usec", "pid"), [("0", ""), ("x", ""), ("-1", ""), ("3000000", "1")])
def test_a_watchdog_that_is_off_or_anothers_is_not_fed(tmp_path: Path, usec: str, pid: str) -> None:
    environment = {"NOTIFY_SOCKET": str(tmp_path / "n"), "WATCHDOG_USEC": usec, "WATCHDOG_PID": pid or str(os.getpid())}
    supervisor = Supervisor(environment)
    assert supervisor.watchdog_seconds is None
    supervisor.lives()
    supervisor.close()


def test_a_systemd_that_is_gone_or_does_not_read_holds_nobody_up(systemd: tuple[socket.socket, str]) -> None:
    listening, address = systemd
    supervisor = Supervisor({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"})
    for _ in range(5000):  # more than any queue of datagrams takes
        supervisor.lives()
    listening.close()
    supervisor.lives()
    supervisor.close()


def test_a_daemon_says_that_it_serves_lives_and_ends(
    systemd: tuple[socket.socket, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    listening, address = systemd
    monkeypatch.setattr(notify, "BEAT_SECONDS", 0.001)
    waiting = (True, "waiting: quiet hours")
    beats = deque([(False, "starting"), waiting, waiting, (True, "learning"), (False, "")])

    def alive() -> bool:
        """The last question of a beat. From learning on, a thread of the daemon is dead."""
        return beats.popleft()[1] != "learning"

    supervisor = Supervisor({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "4000"})
    asyncio.run(attend(supervisor, lambda: beats[0][0], alive, lambda: beats[0][1]))
    assert _heard(listening) == [
        *("STATUS=starting", "WATCHDOG=1"),
        *("READY=1", "STATUS=waiting: quiet hours", "WATCHDOG=1"),
        "WATCHDOG=1",
        "STATUS=learning",
        "STOPPING=1",
    ]


def test_a_daemon_that_is_cut_off_says_that_it_ends(systemd: tuple[socket.socket, str]) -> None:
    listening, address = systemd

    async def cut_off() -> None:
        attending = asyncio.create_task(
            attend(Supervisor({"NOTIFY_SOCKET": address}), lambda: True, lambda: True, lambda: "serving")
        )
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        attending.cancel()
        await asyncio.gather(attending, return_exceptions=True)

    asyncio.run(cut_off())
    assert _heard(listening) == ["READY=1", "STATUS=serving", "STOPPING=1"]
