"""Addresses, files and certificates that cannot be used are settings to change; what can be is closed to others."""

from __future__ import annotations

import os
import resource
import socket
import stat
from pathlib import Path

import pytest

from dittod.errors import SettingsError
from dittod_service.listening import certified, is_loopback, listen, listen_in_files, may_open_files


@pytest.mark.parametrize(("host", "port"), [("a..b", 0), ("127.0.0.1", 70_000), ("203.0.113.1", 0)])
def test_an_impossible_address_is_a_setting_to_change(host: str, port: int) -> None:
    with pytest.raises(SettingsError) as caught:
        listen(host, port)
    assert "dittod.toml" in caught.value.hint


@pytest.mark.parametrize(("host", "expected"), [("127.0.0.1", True), ("localhost", True), ("0.0.0.0", False)])
def test_an_address_that_others_can_reach_is_told_from_one_that_they_cannot(host: str, expected: bool) -> None:
    with listen(host, 0) as bound:
        assert is_loopback(bound) is expected


def test_a_socket_in_a_file_is_for_this_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "endpoint"
    before = os.umask(0)
    try:
        with listen_in_files(path):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    finally:
        os.umask(before)


def test_a_socket_that_a_killed_daemon_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "endpoint"
    tmp_path.chmod(0o700)
    listen_in_files(path).close()
    with listen_in_files(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_socket_on_which_somebody_listens_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "endpoint"
    tmp_path.chmod(0o700)
    with listen_in_files(path):
        with pytest.raises(SettingsError, match="another program listens"):
            listen_in_files(path)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def test_a_folder_that_others_may_open_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(SettingsError, match="others may open this folder") as caught:
        listen_in_files(tmp_path / "endpoint")
    assert "unix_socket" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_socket_is_not_removed(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    for name in ("file", "link"):
        path = tmp_path / name
        path.write_text("mine") if name == "file" else path.symlink_to(tmp_path / "file")
        with pytest.raises(SettingsError, match="no socket"):
            listen_in_files(path)
        assert path.read_text() == "mine"


def test_a_path_that_is_too_long_for_a_socket_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(SettingsError, match="path too long"):
        listen_in_files(tmp_path / ("x" * 200))


def test_a_certificate_that_cannot_be_used_is_named(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    made, key = certificate
    certified(made, key)
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("no certificate")
    for given in ((made, nonsense), (nonsense, key), (key, made), (made, tmp_path / "none.pem"), (made, tmp_path)):
        with pytest.raises(SettingsError) as caught:
            certified(*given)
        assert "tls_certificate" in caught.value.hint


def test_a_key_with_a_password_is_refused_instead_of_asking_a_terminal(encrypted: tuple[Path, Path]) -> None:
    with pytest.raises(SettingsError, match="cannot be used"):
        certified(*encrypted)


def test_the_system_is_asked_for_more_files() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    try:
        assert may_open_files() == resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(4096, before[1])
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert may_open_files() == resource.getrlimit(resource.RLIMIT_NOFILE)[0] == before[0]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
