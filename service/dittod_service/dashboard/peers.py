"""Whose program is at the other end of a connection: Linux keeps a user for every socket of this machine.

Of other machines, and on other systems, it knows nothing; then nobody counts as another user. It knows no path and no
session.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path

from starlette.types import Scope

from dittod_service.openai.errors import Failure

TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
NUMBERS = Path("/proc/self/uid_map")  # which users of the machine have which number here
NUMBERLESS = 65534  # as which those are shown that have none
ROOT = 0
MAPPED = bytes(10) + b"\xff\xff"  # before an IPv4 address that is written as an IPv6 one
WORD = 4  # bytes of an address that are written as one number

Address = tuple[bytes, int]

OTHER_USER = Failure(
    403,
    "This comes from another user of this machine than the one that dittod runs as, so it is not signed in. If that is "
    "you: run the browser, or what stands between it and dittod, as that user",
    code="other_user",
)


def is_another_users(scope: Scope) -> bool:
    """Whether a request was sent by a program of another user of this machine, root excepted. It reads files."""
    if scope["client"] is None:  # a socket in a file, which is the user's own
        return False
    try:
        tables = [path.read_text(encoding="ascii") for path in TABLES if path.exists()]
        numbers = NUMBERS.read_text(encoding="ascii") if tables else ""
    except OSError:  # they are not for everybody here
        return False
    uid = uid_in(tables, address(*scope["client"]), address(*scope["server"]))
    if uid is None or uid in (own := os.geteuid(), ROOT):
        return False
    return uid != NUMBERLESS or numberless_are_others(own, numbers, os.uname().release)


def uid_in(tables: Iterable[str], local: Address, remote: Address) -> int | None:
    """Of the socket with these two ends, out of the kernel's tables; None where there is none."""
    for table in tables:
        for _, one, other, _, _, _, _, uid, *_ in map(str.split, table.splitlines()[1:]):
            if _port(one) == local[1] and _written(one) == local and _written(other) == remote:
                return int(uid)
    return None


def numberless_are_others(own: int, numbers: str, release: str) -> bool:
    """Whether a user without a number here is surely another one than the person whose dittod this is.

    So it is on the machine itself, and in a sandbox of the same user as systemd makes them: the person has their own
    number. In a container they may have none. Under WSL, what Windows asks comes from root, who has none in a sandbox.
    """
    ranges = [tuple(map(int, line.split())) for line in numbers.splitlines()]
    keeps = any(inside <= own < inside + length and inside == outside for inside, outside, length in ranges)
    return keeps and "microsoft" not in release.lower()


def address(host: str, port: int) -> Address:
    """Alike for all ways to write it."""
    return ip_address(host).packed.removeprefix(MAPPED), port


def _port(written: str) -> int:
    return int(written.rpartition(":")[2], 16)


def _written(written: str) -> Address:
    """Numbers of four bytes each, in the machine's own order."""
    given = bytes.fromhex(written.partition(":")[0])
    words = [given[at : at + WORD] for at in range(0, len(given), WORD)]
    ordered = [word[::-1] if sys.byteorder == "little" else word for word in words]
    return b"".join(ordered).removeprefix(MAPPED), _port(written)
