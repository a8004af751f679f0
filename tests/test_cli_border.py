"""Where errors leave the command line: in words, with a hint, and what is a fault of the program as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Command

from dittod.errors import DittodError

LOGS = "dittod.logs.read_log"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DITTOD_HOME", str(tmp_path / "home"))


def raising(error: Exception) -> object:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def test_what_may_not_be_used_is_named_with_what_to_do(dittod: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LOGS, raising(PermissionError(13, "Permission denied", "/home/logs")))
    code, out, err = dittod("logs")
    assert (code, out) == (1, "")
    assert err.startswith("error: /home/logs cannot be used: Permission denied\nhint: give it back")


def test_a_command_that_finds_no_room_does_not_go_on_by_itself(
    dittod: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = DittodError("store cannot be used: the disk is full", "make room on it; dittod goes on by itself")
    monkeypatch.setattr(LOGS, raising(full))
    assert "hint: make room on it, then try again" in dittod("logs")[2]


def test_other_faults_keep_their_place_in_the_code(dittod: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LOGS, raising(ConnectionResetError(104, "Connection reset")))
    with pytest.raises(ConnectionResetError):
        dittod("logs")
