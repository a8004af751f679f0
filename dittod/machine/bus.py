"""D-Bus, as far as probes need it: one call at a time, with a limit, starting no service that is not running.

Knows nothing of what is asked. Linux and other systems with D-Bus; elsewhere there is no bus.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dittod.machine.reading import Absent, Unreadable

ANSWER_SECONDS = 0.5
_ERRORS = "org.freedesktop.DBus.Error."
NOT_THERE = {
    _ERRORS + name
    for name in ("ServiceUnknown", "NameHasNoOwner", "UnknownObject", "UnknownInterface", "UnknownMethod")
}


def system_address() -> str:
    """Of the bus that logind is on."""
    return os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or "unix:path=/run/dbus/system_bus_socket"


def session_address() -> str:
    """Of the user's own bus. Raises Absent."""
    if given := os.environ.get("DBUS_SESSION_BUS_ADDRESS"):
        return given
    if not hasattr(os, "getuid"):
        raise Absent
    folder = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    return f"unix:path={Path(folder) / 'bus'}"


class Bus:
    """Connects when it is first asked, and again after the connection broke. Not for two threads at once."""

    def __init__(self, address: Callable[[], str]) -> None:
        self._address = address
        self._connection: Any = None

    def call(self, name: str, path: str, method: str, *arguments: str) -> tuple[Any, ...]:
        """What a method such as 'org.example.Interface.Method' returns. Raises Absent where nobody offers it,
        Unreadable or OSError where it fails."""
        connection = self._connected()
        try:
            reply = connection.send_and_get_reply(_message(name, path, method, arguments), timeout=ANSWER_SECONDS)
        except OSError:
            self.close()
            raise
        return _answer(reply)

    def properties(self, name: str, path: str, interface: str) -> dict[str, Any]:
        """All properties of one interface. Raises like `call`."""
        (found,) = self.call(name, path, "org.freedesktop.DBus.Properties.GetAll", interface)
        return {key: value for key, (_, value) in found.items()}

    def close(self) -> None:
        """Until the next call."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __del__(self) -> None:
        self.close()

    def _connected(self) -> Any:
        if self._connection is None:
            self._connection = _connect(self._address())
        return self._connection


def _connect(address: str) -> Any:
    try:
        from jeepney.bus import get_bus  # type: ignore[import-untyped, import-not-found, unused-ignore]
        from jeepney.io.blocking import (  # type: ignore[import-untyped, import-not-found, unused-ignore]
            DBusConnection,
            prep_socket,
        )
    except ImportError as error:
        raise Absent from error
    try:
        return DBusConnection(prep_socket(get_bus(address), timeout=ANSWER_SECONDS))
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise Absent from error
    except (ValueError, RuntimeError) as error:
        raise Unreadable(f"the address {address!r} of the bus cannot be used") from error


def _message(name: str, path: str, method: str, arguments: tuple[str, ...]) -> Any:
    from jeepney import (  # type: ignore[import-untyped, import-not-found, unused-ignore]
        DBusAddress,
        MessageFlag,
        new_method_call,
    )

    interface, _, member = method.rpartition(".")
    address = DBusAddress(path, bus_name=name, interface=interface)
    message = new_method_call(address, member, "s" * len(arguments) or None, arguments)
    message.header.flags = MessageFlag.no_auto_start
    return message


def _answer(reply: Any) -> tuple[Any, ...]:
    from jeepney import HeaderFields, MessageType

    if reply.header.message_type is not MessageType.error:
        return tuple(reply.body)
    error = str(reply.header.fields.get(HeaderFields.error_name))
    if error in NOT_THERE:
        raise Absent
    raise Unreadable(error.removeprefix(_ERRORS))
