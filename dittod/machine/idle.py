"""Since when nobody has touched keyboard and mouse.

On Linux logind says who sits at this machine and how; then GNOME, the Wayland compositor or the X server is asked, and
last the hint that some desktops give to logind. Of another user's desktop, which only that user may ask, the hint alone
counts. Who comes in over ssh does not sit at the machine. A machine that nobody sits at has no idle time.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dittod.machine.bus import Bus, session_address, system_address
from dittod.machine.commands import ioreg
from dittod.machine.reading import Absent, Found, Unreadable
from dittod.machine.wayland import Compositor
from dittod.machine.x11 import XServer

LOGIND = "org.freedesktop.login1"
MUTTER = "org.gnome.Mutter.IdleMonitor"
SYSTEMD = "org.freedesktop.systemd1"
GRAPHICAL = ("x11", "wayland", "mir")
OTHER_USER = "another user's"


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody at this machine's own screen, as logind tells it."""

    kind: str  # x11, wayland, mir, tty; OTHER_USER: of such a desktop
    display: str = ""  # of an X server, where it is known
    idle_seconds: float | None = None  # None: nobody tells logind


class Idle:
    """One for as long as the daemon runs: connections are kept."""

    def __init__(self) -> None:
        self._system = Bus(system_address)
        self._session = Bus(session_address)
        self._servers: dict[tuple[str, Path], XServer] = {}
        self._compositors: dict[Path, Compositor] = {}
        self._environment: dict[str, str] | None = None

    def __call__(self) -> Found:
        """Raises Absent where nobody sits at the machine, Unreadable where nobody tells."""
        if sys.platform == "darwin":
            return {"idle_seconds": hid_idle_seconds(ioreg("-c", "IOHIDSystem", "-d", "4"))}
        if sys.platform == "win32":
            return {"idle_seconds": windows_idle_seconds()}
        return {"idle_seconds": self._linux()}

    def _linux(self) -> float:
        sessions = self._sessions()
        if not sessions:
            raise Absent
        told = [(each.kind, self._of_session(each)) for each in sessions]
        known = {(kind, seconds) for kind, seconds in told if seconds is not None}
        desktops = (*GRAPHICAL, OTHER_USER)  # of which nobody is told by a text login that somebody forgot
        if known and (_any_of(desktops, known) or not _any_of(desktops, told)):
            return min(seconds for _, seconds in known)
        self._environment = None  # the desktop may not have told it yet
        raise Unreadable("the desktop does not tell")

    def _sessions(self) -> list[Session]:
        """On a screen of this machine: this user's, and the desktop of another that it shows. Without logind as the
        environment has it."""
        try:
            (listed,) = self._system.call(LOGIND, "/org/freedesktop/login1", f"{LOGIND}.Manager.ListSessions")
        except Absent:
            return from_environment(self._variables())
        found = (self._listed(path, uid == os.getuid()) for _, uid, _, seat, path in listed if seat)
        return [each for each in found if each is not None]

    def _listed(self, path: str, ours: bool) -> Session | None:
        """None: it is over, or another user's of which logind knows nothing."""
        try:
            told = self._system.properties(LOGIND, path, f"{LOGIND}.Session")
        except Absent:  # ended since it was listed
            return None
        session = session_of(told, time.monotonic())
        if ours:
            return None if told.get("State") == "closing" else session
        shown = told.get("State") == "active" and session.kind in GRAPHICAL and session.idle_seconds is not None
        return Session(OTHER_USER, idle_seconds=session.idle_seconds) if shown else None

    def _of_session(self, session: Session) -> float | None:
        if session.kind not in GRAPHICAL:
            return session.idle_seconds
        for ask in (self._mutter, self._server if session.kind == "x11" else self._compositor):
            try:
                return ask(session)
            except (Absent, Unreadable, OSError):
                continue
        return session.idle_seconds

    def _mutter(self, session: Session) -> float:
        (milliseconds,) = self._session.call(MUTTER, "/org/gnome/Mutter/IdleMonitor/Core", f"{MUTTER}.GetIdletime")
        return float(milliseconds) / 1000.0

    def _server(self, session: Session) -> float:
        variables = self._variables()
        display = session.display or variables.get("DISPLAY", "")
        authority = Path(variables.get("XAUTHORITY") or Path.home() / ".Xauthority")
        server = self._servers.setdefault((display, authority), XServer(display, authority))
        return server.idle_seconds()

    def _compositor(self, session: Session) -> float:
        for path in sockets(self._variables()):
            try:
                return self._compositors.setdefault(path, Compositor(path)).idle_seconds()
            except Absent:
                continue
        raise Absent

    def _variables(self) -> dict[str, str]:
        """Our own, over those that the desktop gave to the user's systemd: a service began before it."""
        if self._environment is None:
            self._environment = self._of_systemd() | dict(os.environ)
        return self._environment

    def _of_systemd(self) -> dict[str, str]:
        try:
            manager = self._session.properties(SYSTEMD, "/org/freedesktop/systemd1", f"{SYSTEMD}.Manager")
        except (Absent, Unreadable, OSError):
            return {}
        return dict(each.partition("=")[::2] for each in manager.get("Environment", ()))


def session_of(told: dict[str, object], now: float) -> Session:
    """Of a session's properties in logind, at `now` in monotonic seconds. A text console's hint is when it was last
    typed into; a desktop's is when the desktop last said that it became idle or busy: never, with most of them."""
    kind, changed = str(told.get("Type", "")), told.get("IdleSinceHintMonotonic", 0)
    assert isinstance(changed, int)
    since = max(0.0, now - changed / 1e6) if changed else None
    busy = kind in GRAPHICAL and not told.get("IdleHint")
    return Session(kind, str(told.get("Display", "")), 0.0 if busy and since is not None else since)


def _any_of(kinds: Iterable[str], told: Iterable[tuple[str, float | None]]) -> bool:
    return any(kind in kinds for kind, _ in told)


def from_environment(variables: dict[str, str]) -> list[Session]:
    """Of a desktop without logind."""
    if variables.get("WAYLAND_DISPLAY"):
        return [Session("wayland")]
    display = variables.get("DISPLAY", "")
    return [Session("x11", display)] if display.startswith((":", "unix:")) else []


def sockets(variables: dict[str, str]) -> Iterator[Path]:
    """Where a compositor of this user may listen: where the variables say, else all there are."""
    folder = Path(variables.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}")
    if given := variables.get("WAYLAND_DISPLAY"):
        yield folder / given
    else:
        yield from sorted(path for path in folder.glob("wayland-*") if path.suffix != ".lock")


def hid_idle_seconds(told: str) -> float:
    """Of what ioreg prints. Raises Unreadable."""
    match = re.search(r'"HIDIdleTime"\s*=\s*(\d+)', told)
    if match is None:
        raise Unreadable("ioreg does not tell")
    return int(match[1]) / 1e9


def windows_idle_seconds() -> float:
    """Since the last input in this login. Raises Unreadable, as for a service without a desktop."""
    windows = ctypes.windll  # type: ignore[attr-defined, unused-ignore]

    class LastInput(ctypes.Structure):
        _fields_ = [("size", ctypes.c_uint), ("ticks", ctypes.c_uint)]

    last = LastInput(ctypes.sizeof(LastInput), 0)
    if not windows.user32.GetLastInputInfo(ctypes.byref(last)):
        raise Unreadable("Windows does not tell")
    return float((windows.kernel32.GetTickCount() - last.ticks) % 2**32) / 1000.0
