"""Since when nobody types: logind, GNOME and what macOS prints. X and Wayland have tests of their own."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from dittod.machine.bus import Bus, system_address
from dittod.machine.idle import LOGIND, MUTTER, SYSTEMD, Idle, Session, from_environment, hid_idle_seconds, session_of
from dittod.machine.reading import Absent, Unreadable

from .buses import Serve, login1


def ago(seconds: float) -> int:
    """As logind tells it: monotonic microseconds."""
    return int((time.monotonic() - seconds) * 1e6)


@pytest.fixture(autouse=True)
def _no_desktop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path / 'no-bus'}")
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)


@pytest.mark.parametrize(
    ("told", "idle_seconds"),
    [
        ({"Type": "wayland", "IdleHint": True, "IdleSinceHintMonotonic": 400_000_000}, 600.0),
        ({"Type": "wayland", "IdleHint": False, "IdleSinceHintMonotonic": 400_000_000}, 0.0),
        ({"Type": "x11", "IdleHint": False, "IdleSinceHintMonotonic": 0}, None),
        ({"Type": "tty", "IdleHint": False, "IdleSinceHintMonotonic": 990_000_000}, 10.0),
        ({"Type": "tty", "IdleHint": True, "IdleSinceHintMonotonic": 1_200_000_000}, 0.0),
        ({}, None),
    ],
)
def test_a_desktop_that_never_gave_logind_a_hint_does_not_count_as_idle_or_busy(
    told: dict[str, object], idle_seconds: float | None
) -> None:
    assert session_of(told, now=1000.0).idle_seconds == idle_seconds


def test_gnome_is_asked_before_the_hint(bus: Serve) -> None:
    bus(LOGIND, login1({"Type": "wayland", "IdleHint": True, "IdleSinceHintMonotonic": ago(5000)}))
    bus(MUTTER, {("/org/gnome/Mutter/IdleMonitor/Core", "GetIdletime"): ("t", (4200,))})
    assert Idle()() == {"idle_seconds": 4.2}


def test_without_a_desktop_that_tells_the_hint_counts(bus: Serve) -> None:
    bus(LOGIND, login1({"Type": "wayland", "IdleHint": True, "IdleSinceHintMonotonic": ago(600)}))
    assert Idle()()["idle_seconds"] == pytest.approx(600, abs=30)


def test_a_desktop_of_which_nobody_tells_is_unreadable(bus: Serve) -> None:
    bus(LOGIND, login1({"Type": "wayland", "IdleHint": False, "IdleSinceHintMonotonic": 0}))
    with pytest.raises(Unreadable, match="the desktop does not tell"):
        Idle()()


def test_of_two_consoles_the_one_typed_into_last_counts(bus: Serve) -> None:
    consoles = [{"Type": "tty", "IdleHint": True, "IdleSinceHintMonotonic": ago(each)} for each in (5000, 300)]
    bus(LOGIND, login1(*consoles))
    assert Idle()()["idle_seconds"] == pytest.approx(300, abs=30)


def test_another_user_whose_desktop_the_screen_shows_sits_at_the_machine(bus: Serve) -> None:
    other = {"uid": os.getuid() + 1, "Type": "wayland", "State": "active"}
    bus(LOGIND, login1({**other, "IdleHint": False, "IdleSinceHintMonotonic": ago(900)}))
    assert Idle()() == {"idle_seconds": 0.0}


def test_a_text_login_does_not_stand_for_a_desktop_that_tells_nothing(bus: Serve) -> None:
    forgotten = {"Type": "tty", "State": "online", "IdleHint": True, "IdleSinceHintMonotonic": ago(500)}
    bus(LOGIND, login1(forgotten, {"Type": "x11", "State": "active", "IdleHint": False, "IdleSinceHintMonotonic": 0}))
    with pytest.raises(Unreadable, match="the desktop does not tell"):
        Idle()()


def test_a_session_that_ends_while_it_is_asked_does_not_hide_the_others(bus: Serve) -> None:
    bus(LOGIND, login1({}, {"Type": "wayland", "IdleHint": False, "IdleSinceHintMonotonic": ago(5)}))
    assert Idle()() == {"idle_seconds": 0.0}


@pytest.mark.parametrize(
    "session",
    [
        {"uid": 4242, "Type": "wayland", "State": "online", "IdleHint": False, "IdleSinceHintMonotonic": 1},
        {"uid": 4242, "Type": "x11", "State": "active", "IdleHint": False, "IdleSinceHintMonotonic": 0},
        {"uid": 4242, "Type": "tty", "State": "active", "IdleHint": False, "IdleSinceHintMonotonic": 1},
        {"Type": "tty", "seat": "", "IdleSinceHintMonotonic": 1},
        {"Type": "wayland", "State": "closing", "IdleSinceHintMonotonic": 1},
    ],
    ids=["another user behind the screen", "another user untold", "another user's console", "over ssh", "logged out"],
)
def test_who_does_not_sit_at_the_machine_has_no_idle_time(bus: Serve, session: dict[str, Any]) -> None:
    bus(LOGIND, login1(session))
    with pytest.raises(Absent):
        Idle()()


def test_a_machine_without_logind_and_desktop_has_no_idle_time() -> None:
    with pytest.raises(Absent):
        Idle()()


def test_where_the_desktop_is_comes_from_systemd_when_the_service_began_before_it(
    bus: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {"Environment": ("as", ["LANG=C", "DISPLAY=:4242"])}
    bus(SYSTEMD, {("/org/freedesktop/systemd1", "GetAll"): ("a{sv}", (variables,))})
    bus(LOGIND, login1({"Type": "x11", "IdleSinceHintMonotonic": 0}))
    asked: list[str] = []
    monkeypatch.setattr("dittod.machine.idle.XServer.idle_seconds", lambda self: asked.append(self._display) or 7.0)
    assert Idle()() == {"idle_seconds": 7.0}
    assert asked == [":4242"]


@pytest.mark.parametrize(
    ("variables", "sessions"),
    [
        ({}, []),
        ({"DISPLAY": ":1"}, [Session("x11", ":1")]),
        ({"DISPLAY": ":1", "WAYLAND_DISPLAY": "wayland-0"}, [Session("wayland")]),
        ({"DISPLAY": "localhost:10.0"}, []),
    ],
)
def test_without_logind_the_environment_tells_of_a_desktop(variables: dict[str, str], sessions: list[Session]) -> None:
    assert from_environment(variables) == sessions


def test_macos_tells_nanoseconds() -> None:
    assert hid_idle_seconds('    | |   "HIDIdleTime" = 12500000000\n | "HIDIdleTime" = 9\n') == 12.5
    with pytest.raises(Unreadable):
        hid_idle_seconds("nothing of the kind")


def test_a_service_that_does_not_answer_takes_half_a_second(bus: Serve) -> None:
    bus(LOGIND, {("/org/freedesktop/login1", "ListSessions"): None})  # type: ignore[dict-item]
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        Idle()()
    assert time.monotonic() - began < 5.0


def test_a_refusal_is_unreadable_and_a_name_that_nobody_has_is_absent(bus: Serve) -> None:
    bus(LOGIND, {})
    system = Bus(system_address)
    with pytest.raises(Unreadable, match="AccessDenied"):
        system.properties(LOGIND, "/org/freedesktop/login1", f"{LOGIND}.Manager")
    with pytest.raises(Absent):
        system.properties("org.example.Nobody", "/", "org.example.Nobody")
    system.close()


def test_an_address_of_another_kind_is_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "tcp:host=example.org,port=1")
    with pytest.raises(Unreadable, match="cannot be used"):
        Bus(system_address).call(LOGIND, "/", f"{LOGIND}.Manager.ListSessions")
