"""Whose program a request comes from, out of the kernel's tables; and who is another user at all."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from dittod_service.dashboard import peers
from dittod_service.dashboard.peers import NUMBERLESS, TABLES, address, is_another_users, numberless_are_others, uid_in

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
REST = "01 00000000:00000000 00:00000000 00000000  {uid:5d}        0 4711 1 0 20 4 30 10 -1\n"
MACHINE = "         0          0 4294967295\n"
SANDBOX = "      1000       1000          1\n"  # as systemd makes it for a service of user 1000
CONTAINER = "         0       1000          1\n         1     100000      65536\n"

CLIENT, SERVER = address("127.0.0.1", 40_000), address("127.0.0.1", 3488)
little_endian = pytest.mark.skipif(sys.byteorder != "little", reason="the rows are of such a machine")


def row(local: str, remote: str, uid: int) -> str:
    return f"   1: {local} {remote} {REST.format(uid=uid)}"


def scope(client: tuple[str, int] | None) -> dict[str, Any]:
    return {"type": "http", "client": client, "server": ("127.0.0.1", 3488)}


@little_endian
def test_a_connection_has_the_user_of_its_clients_end() -> None:
    """Both ends stand in the table: ours has our own user."""
    ours = row("0100007F:0DA0", "0100007F:9C40", 1000)
    theirs = row("0100007F:9C40", "0100007F:0DA0", 1001)
    assert uid_in([HEAD + ours + theirs], CLIENT, SERVER) == 1001
    assert uid_in([HEAD + ours], CLIENT, SERVER) is None


@little_endian
@pytest.mark.parametrize(
    ("local", "remote"),
    [
        ("0200007F:9C40", "0100007F:0DA0"),  # another address
        ("0100007F:9C41", "0100007F:0DA0"),  # another port
        ("0100007F:9C40", "0100007F:0DA1"),  # to another program
        ("0100007F:9C40", "0200007F:0DA0"),
    ],
)
def test_another_connection_says_nothing_of_it(local: str, remote: str) -> None:
    assert uid_in([HEAD + row(local, remote, 1001)], CLIENT, SERVER) is None
    assert uid_in([HEAD, ""], CLIENT, SERVER) is None


@little_endian
@pytest.mark.parametrize(
    ("client", "server", "local", "remote"),
    [
        (
            ("::1", 40_000),
            ("::1", 3488),
            "00000000000000000000000001000000:9C40",
            "00000000000000000000000001000000:0DA0",
        ),
        (
            ("127.0.0.1", 40_000),
            ("127.0.0.1", 3488),
            "0000000000000000FFFF00000100007F:9C40",
            "0000000000000000FFFF00000100007F:0DA0",
        ),
        (
            ("fe80::1234:5678%eth0", 40_000),
            ("fe80::1", 3488),
            "000080FE000000000000000078563412:9C40",
            "000080FE000000000000000001000000:0DA0",
        ),
    ],
)
def test_new_addresses_are_read_too(client: tuple[str, int], server: tuple[str, int], local: str, remote: str) -> None:
    assert uid_in([HEAD, HEAD + row(local, remote, 1001)], address(*client), address(*server)) == 1001


@pytest.mark.skipif(not TABLES[0].exists(), reason="needs a kernel that tells users")
def test_the_kernel_knows_whose_connection_this_is() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        tables = [path.read_text(encoding="ascii") for path in TABLES if path.exists()]
        assert uid_in(tables, address(*client.getsockname()), address(*server.getsockname())) == os.geteuid()


@pytest.mark.parametrize(
    ("own", "numbers", "release", "others"),
    [
        (1000, MACHINE, "6.12.0-amd64", True),  # nobody's number is nobody's
        (1000, SANDBOX, "6.12.0-amd64", True),
        (1000, SANDBOX, "6.6.87.2-microsoft-standard-WSL2", False),
        (0, CONTAINER, "6.12.0-amd64", False),
        (1000, CONTAINER, "6.12.0-amd64", False),
    ],
)
def test_users_without_a_number_are_others_where_the_person_has_one(
    own: int, numbers: str, release: str, others: bool
) -> None:
    assert numberless_are_others(own, numbers, release) is others


@little_endian
@pytest.mark.parametrize(("uid", "another"), [(1000, False), (0, False), (1001, True), (NUMBERLESS, True)], ids=str)
def test_every_user_but_ones_own_and_root_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uid: int, another: bool
) -> None:
    table, numbers = tmp_path / "tcp", tmp_path / "uid_map"
    table.write_text(HEAD + row("0100007F:9C40", "0100007F:0DA0", uid))
    numbers.write_text(MACHINE)
    monkeypatch.setattr(peers, "TABLES", (table, tmp_path / "tcp6"))
    monkeypatch.setattr(peers, "NUMBERS", numbers)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert is_another_users(scope(("127.0.0.1", 40_000))) is another
    assert not is_another_users(scope(("192.0.2.7", 40_000))), "of another machine"
    assert not is_another_users(scope(None)), "by a socket in a file"


def test_where_nothing_is_told_nobody_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "TABLES", (tmp_path / "tcp",))
    assert not is_another_users(scope(("127.0.0.1", 40_000)))
    monkeypatch.setattr(peers, "TABLES", (tmp_path,))  # there, and cannot be read
    assert not is_another_users(scope(("127.0.0.1", 40_000)))
