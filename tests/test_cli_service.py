"""`dittod service`, with a systemctl that only writes down what it is told."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from background.programs import SYSTEMCTL, Program, put_on_path

from dittod import background
from dittod.background import ServiceState
from dittod.cli import windowless
from dittod.cli.service import describe
from dittod.machine.lock import held
from dittod.paths import Home

UNIT = "dittod.service"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    for name in [name for name in os.environ if name.startswith("DITTOD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DITTOD_HOME", str(tmp_path / "my höme"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(background, "executable", lambda: Path("/opt/tools/bin/dittod"))
    return Home(tmp_path / "my höme")


@pytest.fixture
def systemctl(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    put_on_path(tmp_path / "bin", monkeypatch)
    return Program(tmp_path / "bin", "systemctl", SYSTEMCTL)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    return tmp_path / "config" / "systemd" / "user" / UNIT


def test_install_makes_the_home_writes_the_unit_and_starts_it(
    home: Home, systemctl: Program, unit: Path, dittod
) -> None:
    code, said, _ = dittod("service", "install")
    assert code == 0 and str(unit) in said and "enable-linger" in said
    assert home.settings.exists() and (home.root / "watched").is_dir()
    text = unit.read_text(encoding="utf-8")
    assert f'Environment="DITTOD_HOME={home.root}"' in text
    assert f'ReadWritePaths="-{home.root}"' in text, "the watched folder lies inside"
    assert systemctl.calls()[-1] == f"--user restart {UNIT}"


def test_a_watched_folder_elsewhere_may_be_written_too(
    home: Home, systemctl: Program, unit: Path, tmp_path, dittod
) -> None:
    dittod("init")
    (tmp_path / "mails 100%").mkdir()
    home.settings.write_text(f'watched_folder = "{tmp_path}/mails 100%"\nhost = "0.0.0.0"\n')
    assert dittod("service", "install")[0] == 0
    assert f'"-{tmp_path}/mails 100%%"' in unit.read_text() and "IPAddressDeny" not in unit.read_text()


def test_variables_of_this_shell_are_named_and_not_heeded(
    home: Home, systemctl: Program, unit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dittod
) -> None:
    monkeypatch.setenv("DITTOD_WATCHED_FOLDER", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("DITTOD_PORT", "")
    _, _, warned = dittod("service", "install")
    assert "DITTOD_WATCHED_FOLDER" in warned and "DITTOD_PORT" not in warned and str(home.settings) in warned
    assert str(tmp_path / "elsewhere") not in unit.read_text()


def test_where_the_hub_keeps_models_the_service_looks_too(
    home: Home, systemctl: Program, unit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dittod
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    dittod("service", "install")
    assert f'Environment="XDG_CACHE_HOME={tmp_path}/cache"' in unit.read_text()


def test_without_DITTOD_HOME_the_unit_leaves_the_home_to_dittod(  # noqa: N802
    home: Home, systemctl: Program, unit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dittod
) -> None:
    """With it, the watched folder would be another one."""
    monkeypatch.delenv("DITTOD_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "ann"))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert dittod("service", "install")[0] == 0
    assert "Environment=" not in unit.read_text()
    assert f'ReadWritePaths="-{tmp_path}/ann/.local/share/dittod" "-{tmp_path}/ann/dittod"' in unit.read_text()


def test_a_daemon_that_runs_by_hand_is_not_disturbed(home: Home, systemctl: Program, dittod) -> None:
    home.create()
    with held(home.lock):
        code, said, _ = dittod("service", "install")
    assert code == 0 and f"process {os.getpid()} was started by hand" in said and "dittod service start" in said
    assert not [call for call in systemctl.calls() if "start " in call]


def test_installing_again_leaves_a_running_service_alone(
    home: Home, systemctl: Program, tmp_path: Path, dittod
) -> None:
    dittod("service", "install")
    systemctl.calls()
    (tmp_path / "bin" / "running").write_text(str(os.getpid()))
    with held(home.lock):
        dittod("service", "install")
        assert not [call for call in systemctl.calls() if "start " in call]
        home.settings.write_text('host = "0.0.0.0"\n')
        dittod("service", "install")
        assert f"--user restart {UNIT}" in systemctl.calls()


def test_a_program_or_home_that_may_vanish_is_warned_of(home: Home, systemctl: Program, monkeypatch, dittod) -> None:
    monkeypatch.setattr(background, "executable", lambda: Path("/home/ann/.cache/uv/archive-v0/x/bin/dittod"))
    warned = dittod("service", "install")[2]
    assert "the program /home/ann/.cache" in warned and "the home" in warned


@pytest.mark.parametrize("command", ["start", "stop", "restart"])
def test_what_is_not_installed_cannot_be_started_or_stopped(
    home: Home, systemctl: Program, command: str, dittod
) -> None:
    code, _, error = dittod("service", command)
    assert code == 1 and "dittod service install" in error


def test_start_stop_and_restart_are_passed_on(home: Home, systemctl: Program, dittod) -> None:
    dittod("service", "install")
    for command in ("stop", "start", "restart"):
        systemctl.calls()
        assert dittod("service", command)[0] == 0
        assert systemctl.calls()[-1] == f"--user {command} {UNIT}"


def test_start_says_who_runs_already(home: Home, systemctl: Program, dittod) -> None:
    dittod("service", "install")
    dittod("service", "stop")
    with held(home.lock):
        assert f"process {os.getpid()}, started by hand" in dittod("service", "start")[1]


def test_uninstall_takes_the_unit_and_leaves_the_home(home: Home, systemctl: Program, unit: Path, dittod) -> None:
    dittod("service", "install")
    code, said, _ = dittod("service", "uninstall")
    assert code == 0 and not unit.exists() and home.settings.exists() and "--purge" in said
    assert "no service is installed" in dittod("service", "uninstall")[1]


def test_status_tells_what_the_manager_knows(home: Home, systemctl: Program, tmp_path: Path, dittod) -> None:
    before = json.loads(dittod("service", "status", "--json")[1])
    assert before["installed"] is False and before["running"] is False and not home.root.exists()
    dittod("service", "install")
    (tmp_path / "bin" / "running").write_text(str(os.getpid()))
    with held(home.lock):
        value = json.loads(dittod("service", "status", "--json")[1])
        table = dittod("service", "status")[1]
    assert (value["manager"], value["enabled"], value["pid"], value["started_by_hand"]) == (
        "systemd",
        True,
        os.getpid(),
        None,
    )
    assert value["since"] > 1e9 and f"pid              {os.getpid()}" in table
    assert "started by hand" in table and "_" not in table.split("last result")[1], "words for people"


class _Silent:
    """A manager that does not tell process numbers, as Windows' does not."""

    name, definition = "silent", "task"

    def __init__(self, running: bool) -> None:
        self._running = running

    def state(self) -> ServiceState:
        return ServiceState(True, True, self._running, None, None)


@pytest.mark.parametrize(("running", "pid", "by_hand"), [(True, 12, None), (False, None, 12)])
def test_where_no_process_is_named_the_lock_tells_it(running: bool, pid: int | None, by_hand: int | None) -> None:
    value = describe(_Silent(running), 12)  # type: ignore[arg-type]
    assert (value["running"], value["pid"], value["started_by_hand"]) == (running, pid, by_hand)


def test_an_unknown_platform_is_told_so(home: Home, monkeypatch: pytest.MonkeyPatch, dittod) -> None:
    monkeypatch.setattr("sys.platform", "freebsd14")
    code, _, error = dittod("service", "status")
    assert code == 1 and "freebsd14" in error


def test_without_a_console_the_arguments_become_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr("sys.argv", ["windowless", "DITTOD_HOME=C:\\a=b c"])
    monkeypatch.setattr("sys.stdout", None)
    monkeypatch.setattr(windowless, "main", lambda: ran.append(list(sys.argv)))
    monkeypatch.setenv("DITTOD_HOME", "")
    windowless.run()
    sys.stdout.close()
    assert os.environ["DITTOD_HOME"] == "C:\\a=b c" and ran == [["windowless", "run"]]
