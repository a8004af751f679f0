"""systemd's notify protocol: that the daemon serves, what it does, that it is not hung, that it ends.

Says nothing where systemd does not listen. Knows nothing of the daemon but what it is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, MutableMapping

BEAT_SECONDS = 1.0  # between two looks at what there is to say, where the watchdog does not ask for more
MOST_CHARACTERS = 200  # of a status


class Supervisor:
    """The other end of NOTIFY_SOCKET, if there is one."""

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        """Takes the variables out of the environment: processes that are started from here have nothing to say."""
        address = environment.pop("NOTIFY_SOCKET", "")
        patience, pid = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", str(os.getpid()))
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = _datagrams() if address.startswith(("/", "@")) else None
        watches = self.listens and patience.isdecimal() and int(patience) > 0 and pid == str(os.getpid())
        self.watchdog_seconds = int(patience) / 1e6 if watches else None  # None: it does not watch

    @property
    def listens(self) -> bool:
        """Whether anybody hears what is said."""
        return self._socket is not None

    def serves(self) -> None:
        """The daemon has started."""
        self._say("READY=1")

    def ends(self) -> None:
        """It begins to end."""
        self._say("STOPPING=1")

    def lives(self) -> None:
        """It is not hung. Where this is not heard for `watchdog_seconds`, systemd starts it anew."""
        if self.watchdog_seconds is not None:
            self._say("WATCHDOG=1")

    def does(self, sentence: str) -> None:
        """What `systemctl status` shows."""
        self._say(f"STATUS={' '.join(sentence.split())[:MOST_CHARACTERS]}")

    def close(self) -> None:
        """Say nothing more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _say(self, line: str) -> None:
        """Without waiting: one that does not read must not hold up the daemon."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.sendto(line.encode("utf-8", "replace"), self._address)


def _datagrams() -> socket.socket | None:
    if not hasattr(socket, "AF_UNIX"):
        return None
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.setblocking(False)
    return made


async def attend(
    supervisor: Supervisor, serving: Callable[[], bool], alive: Callable[[], bool], doing: Callable[[], str]
) -> None:
    """Tell the supervisor, as long as this task runs: in the loop that answers requests, so that one which hangs is
    found out, and only while the daemon's threads are `alive`."""
    if not supervisor.listens:
        return
    pause = min(BEAT_SECONDS, (supervisor.watchdog_seconds or BEAT_SECONDS * 2) / 2)
    was_serving, told = False, ""
    try:
        while serving() or not was_serving:
            if serving() and not was_serving:
                supervisor.serves()
                was_serving = True
            if (sentence := doing()) != told:
                supervisor.does(sentence)
                told = sentence
            if alive():
                supervisor.lives()
            await asyncio.sleep(pause)
    finally:
        supervisor.ends()
        supervisor.close()
