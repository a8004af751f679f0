"""launchd: the property list, and which commands are given. No launchd is at hand: a fake program answers."""

from __future__ import annotations

import plistlib
from dataclasses import replace
from pathlib import Path

import pytest
from background.programs import LAUNCHCTL, Program, put_on_path

from dittod import background
from dittod.background import Installation, ServiceState
from dittod.background.launchd import Launchd, render
from dittod.errors import NotFound, SettingsError

MADE = Installation(
    executable=Path("/Users/ann/.local/bin/dittod"),
    python=Path("/usr/bin/python3"),
    home=Path("/Users/ann/Library/Application Support/dittod"),
    writable=(),
    environment=(("DITTOD_HOME", '/Users/ann/<a> & "ö"'),),
    only_loopback=True,
)
KNOWN = {  # keys of launchd.plist(5), with their types
    "Label": str,
    "ProgramArguments": list,
    "EnvironmentVariables": dict,
    "WorkingDirectory": str,
    "RunAtLoad": bool,
    "KeepAlive": dict,
    "ThrottleInterval": int,
    "ExitTimeOut": int,
    "ProcessType": str,
    "LowPriorityIO": bool,
    "Nice": int,
    "Umask": int,
    "HardResourceLimits": dict,
    "StandardOutPath": str,
    "StandardErrorPath": str,
}


@pytest.fixture
def launchctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    put_on_path(tmp_path / "bin", monkeypatch)
    monkeypatch.setenv("HOME", str(tmp_path))
    return Program(tmp_path / "bin", "launchctl", LAUNCHCTL)


def test_the_list_has_known_keys_of_the_right_types() -> None:
    values = plistlib.loads(render(MADE))
    assert {key: type(value) for key, value in values.items()} == KNOWN
    assert "@" not in str(values)


def test_paths_with_everything_special_arrive_as_they_are() -> None:
    values = plistlib.loads(render(MADE))
    assert values["ProgramArguments"] == ["/Users/ann/.local/bin/dittod", "run"]
    assert values["EnvironmentVariables"] == {"DITTOD_HOME": '/Users/ann/<a> & "ö"'}
    assert values["StandardErrorPath"] == "/Users/ann/Library/Application Support/dittod/logs/launchd.log"


def test_it_is_restarted_after_a_failure_only_and_its_files_are_private() -> None:
    values = plistlib.loads(render(MADE))
    assert values["KeepAlive"] == {"SuccessfulExit": False} and values["Umask"] == 0o077


def test_what_a_list_cannot_hold_is_refused() -> None:
    with pytest.raises(SettingsError, match="cannot have"):
        render(replace(MADE, home=Path("/Users/a\0b")))


def test_install_start_stop_and_remove(launchctl: Program, tmp_path: Path) -> None:
    manager = background.manager("darwin")
    assert manager.state() == ServiceState(False, False, False, None, None)
    assert manager.install(MADE)
    assert not manager.install(MADE)
    assert manager.state() == ServiceState(True, True, False, None, None)
    launchctl.calls()
    manager.start()
    assert launchctl.calls()[-1].endswith(f"{tmp_path}/Library/LaunchAgents/org.dittod.dittod.plist")
    assert manager.state() == ServiceState(True, True, True, 77, None)
    manager.stop()
    assert any(call.startswith("bootout gui/") for call in launchctl.calls())
    assert not manager.state().running
    manager.remove()
    assert not manager.state().installed


def test_a_changed_list_counts_from_the_next_restart_on(launchctl: Program) -> None:
    manager = Launchd()
    manager.install(MADE)
    manager.start()
    launchctl.calls()
    assert manager.install(replace(MADE, home=Path("/Users/ann/else")))
    manager.restart()
    assert [call.split()[0] for call in launchctl.calls() if not call.startswith("print")] == [
        "enable",
        "bootout",
        "bootstrap",
    ]


def test_starting_what_runs_is_no_second_load(launchctl: Program) -> None:
    manager = Launchd()
    manager.install(MADE)
    manager.start()
    launchctl.calls()
    manager.start()
    assert [call.split()[0] for call in launchctl.calls()] == ["print", "kickstart"]


def test_starting_what_is_not_installed_names_the_command(launchctl: Program) -> None:
    with pytest.raises(NotFound) as caught:
        Launchd().start()
    assert caught.value.hint == "dittod service install"


def test_an_agent_that_the_user_has_disabled_is_not_enabled(launchctl: Program, tmp_path: Path) -> None:
    Launchd().install(MADE)
    Program(tmp_path / "bin", "launchctl", LAUNCHCTL.replace("org.example.other", "org.dittod.dittod"))
    assert Launchd().state() == ServiceState(True, False, False, None, None)
