"""Where clients connect: TCP sockets, a socket in the file system, certificates. Errors say which setting to change.

It knows the operating system; nothing of HTTP, and nothing of who may ask.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import ssl
import stat
import sys
from pathlib import Path

from dittod.errors import DittodError, SettingsError

BACKLOG = 512  # connections that the system holds until they are taken
OPEN_FILES = 4096  # that this process wants to be able to hold; systems start some with 256

_PORT_HINT = "set `port` in dittod.toml, or DITTOD_PORT, to a free one; 0 takes any"


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises DittodError that says what to change."""
    if not 0 <= port <= 65535:  # getaddrinfo would wrap it around
        raise SettingsError(f"There is no port {port}", _PORT_HINT)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, OverflowError, UnicodeError):
        raise SettingsError(f"'{host}' is not an address to listen at", "set `host` in dittod.toml") from None
    bound = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # elsewhere the option would share the port with another program
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise _refusal(error, host, port) from error
    return bound


def is_loopback(bound: socket.socket) -> bool:
    """Whether only programs of this machine can reach it."""
    return ipaddress.ip_address(bound.getsockname()[0].partition("%")[0]).is_loopback


def listen_in_files(path: Path) -> socket.socket:
    """A listening socket that only this user can open: its folder and itself are closed to others.

    Raises SettingsError. A socket that a killed daemon left behind is replaced.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise SettingsError("This system has no sockets in files", "remove `unix_socket` from dittod.toml")
    _make_private(path.parent)
    _remove_abandoned(path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.bind(str(path))
        path.chmod(0o600)
        bound.listen(BACKLOG)
    except OSError as error:  # 'AF_UNIX path too long' has no number
        bound.close()
        raise _unusable(path, error.strerror or str(error)) from error
    return bound


def _make_private(folder: Path) -> None:
    """Make it for this user alone. One that is there must be so already: its other files would be shut off."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError as error:
        raise _unusable(folder, error.strerror or str(error)) from error
    if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise _unusable(folder, "others may open this folder")


def _remove_abandoned(path: Path) -> None:
    """Raises SettingsError where something is that is no socket, or where somebody listens."""
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise _unusable(path, "there is a file of this name that is no socket")
    if _somebody_listens(path):
        raise _unusable(path, "another program listens there")
    path.unlink(missing_ok=True)


def _somebody_listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:  # it is busy, say
            return True
    return True


def certified(certificate: Path, key: Path) -> ssl.SSLContext:
    """For TLS with this certificate. Raises SettingsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    hint = "set `tls_certificate` and `tls_key` in dittod.toml to PEM files that belong together, the key unencrypted"
    try:
        context.load_cert_chain(certificate, key, password=lambda: "")  # without it, a terminal would be asked
    except FileNotFoundError as error:
        missing = next(path for path in (certificate, key) if not path.exists())
        raise SettingsError(f"There is no file {missing}", hint) from error
    except (OSError, ValueError) as error:  # SSLError is an OSError
        why = getattr(error, "reason", None) or getattr(error, "strerror", None) or "not in PEM format"
        raise SettingsError(f"The certificate {certificate} with the key {key} cannot be used: {why}", hint) from error
    return context


def may_open_files() -> int:
    """How many files and connections this process can hold, after asking the system for as many as are wanted."""
    if sys.platform == "win32":
        return OPEN_FILES
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return OPEN_FILES if soft == resource.RLIM_INFINITY else soft
    with contextlib.suppress(ValueError, OSError):  # a system that grants less than it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return soft


def _refusal(error: OSError, host: str, port: int) -> DittodError:
    if error.errno == errno.EADDRINUSE:
        return SettingsError(f"Port {port} at {host} is taken by another program", f"end it, or {_PORT_HINT}")
    if error.errno == errno.EACCES:
        return SettingsError(f"Port {port} at {host} may not be used by this user", _PORT_HINT)
    reason = os.strerror(error.errno) if error.errno else "unknown reason"
    return SettingsError(f"Cannot listen at {host}, port {port}: {reason}", "set `host` and `port` in dittod.toml")


def _unusable(path: Path, why: str) -> SettingsError:
    hint = "set `unix_socket` in dittod.toml to a path in a folder that only you can open"
    return SettingsError(f"Cannot listen at {path}: {why}", hint)
