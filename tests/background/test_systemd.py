"""systemd: how a unit is quoted, what the verifier says of it, and which commands are given."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path
from shutil import which

import pytest
from background.programs import SYSTEMCTL, Program, put_on_path
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dittod import background
from dittod.background import Installation, systemd
from dittod.background.systemd import Systemd, quoted, render, render_for_everybody
from dittod.errors import DittodError, SettingsError

PLAIN = Installation(
    executable=Path("/opt/tools/bin/dittod"),
    python=Path("/opt/tools/bin/python"),
    home=Path("/home/ann/.local/share/dittod"),
    writable=(Path("/home/ann/.local/share/dittod"), Path("/home/ann/dittod")),
    environment=(),
    only_loopback=True,
)
SPACED = Path("/home/änn/My own %h $HOME; texte")
HOSTILE = Path('/home/änn/My "own" %h $HOME; \\texte\\')
MOST_EXPOSED = 5.4  # systemd 252 says 5.2; a system service without any hardening has 9.6

needs_verifier = pytest.mark.skipif(which("systemd-analyze") is None, reason="needs systemd-analyze")


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    put_on_path(tmp_path / "bin", monkeypatch)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("SUDO_USER", raising=False)
    return Program(tmp_path / "bin", "systemctl", SYSTEMCTL)


def values_of(unit: str, key: str) -> list[str]:
    """What stands behind a key, each time."""
    return [line.split("=", 1)[1] for line in unit.splitlines() if line.startswith(f"{key}=")]


def unquoted(word: str) -> str:
    """As systemd reads a word in quotes: escapes, then specifiers."""
    return shlex.split(word)[0].replace("%%", "%")


def analysed(folder: Path, unit: str, *command: str) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    (folder / "dittod.service").write_text(unit)
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(folder), "LC_ALL": "C.UTF-8"}
    arguments = ["systemd-analyze", *command, str(folder / "dittod.service")]
    return subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=50, check=False)


def test_every_placeholder_is_filled_in() -> None:
    for unit in (render(PLAIN, private_users=False), render_for_everybody(Path("/usr/bin/dittod"))):
        settings_only = [line for line in unit.splitlines() if not line.startswith("#")]
        assert not [line for line in settings_only if line.count("@") > 1]
        assert "\n\n\n" not in unit


def test_a_path_with_everything_special_reaches_systemd_as_it_is() -> None:
    made = replace(
        PLAIN, executable=SPACED / "dittod", writable=(HOSTILE,), environment=(("DITTOD_HOME", str(HOSTILE)),)
    )
    unit = render(made, private_users=False)
    (command,) = values_of(unit, "ExecStart")
    assert command.startswith(":"), "or else systemd would put a variable in place of $HOME"
    assert unquoted(command[1:].removesuffix(" run")) == str(SPACED / "dittod")
    assert unquoted(values_of(unit, "Environment")[0]) == f"DITTOD_HOME={HOSTILE}"
    assert unquoted(values_of(unit, "ReadWritePaths")[0]) == f"-{HOSTILE}"


@given(st.text(st.characters(exclude_categories=("Cc", "Cs", "Cf", "Co", "Cn", "Zl", "Zp", "Zs")), min_size=1))
def test_whatever_can_be_printed_survives_the_quotes(text: str) -> None:
    assert unquoted(quoted(text)) == text


@pytest.mark.parametrize("name", ["line\nbreak", "tab\t", "null\0", "undecodable\udcff", "bell\a"])
def test_what_a_unit_cannot_hold_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="cannot have"):
        render(replace(PLAIN, writable=(Path("/home") / name,)), private_users=False)


@pytest.mark.parametrize("name", ["it's", 'q"q', "back\\slash"])
def test_a_program_that_systemd_would_not_start_is_refused_when_it_is_installed(systemctl: Program, name: str) -> None:
    with pytest.raises(SettingsError, match="quotes or backslashes"):
        Systemd().install(replace(PLAIN, executable=Path("/opt") / name / "dittod"))
    assert not Path(Systemd().definition).exists()


def test_no_systemd_gives_up_after_some_failures() -> None:
    for unit in (render(PLAIN, private_users=False), render_for_everybody(Path("/usr/bin/dittod"))):
        assert values_of(unit, "StartLimitIntervalSec") == ["0"] and values_of(unit, "RestartSec") == ["30"]


def test_a_host_for_others_renders_without_the_fence_around_the_loopback() -> None:
    assert values_of(render(PLAIN, private_users=False), "IPAddressDeny") == ["any"]
    assert values_of(render(replace(PLAIN, only_loopback=False), private_users=False), "IPAddressDeny") == []


def test_a_home_in_tmp_is_not_hidden_by_a_tmp_of_its_own() -> None:
    assert values_of(render(PLAIN, private_users=False), "PrivateTmp") == ["yes"]
    in_tmp = replace(PLAIN, writable=(Path("/tmp/home"),))
    assert values_of(render(in_tmp, private_users=False), "PrivateTmp") == ["no"]


def test_the_unit_of_a_package_starts_only_for_who_has_a_home() -> None:
    unit = render_for_everybody(Path("/usr/bin/dittod"))
    assert values_of(unit, "ConditionPathIsDirectory") == ["%h/.local/share/dittod"]
    assert values_of(unit, "ReadWritePaths") == ["-%h/.local/share/dittod -%h/dittod"]


@needs_verifier
@pytest.mark.parametrize("private_users", [True, False])
def test_systemd_finds_no_fault_with_the_unit(tmp_path: Path, private_users: bool) -> None:
    made = replace(PLAIN, executable=Path("/bin/true"), writable=(HOSTILE,), environment=(("DITTOD_HOME", "/ä %"),))
    done = analysed(tmp_path, render(made, private_users=private_users), "verify", "--man=no", "--user")
    unknown_before_254 = ("RestartSteps", "RestartMaxDelaySec")
    faults = [line for line in done.stderr.splitlines() if not any(key in line for key in unknown_before_254)]
    assert (done.returncode, faults) == (0, [])


@needs_verifier
def test_systemd_finds_a_fault_where_one_is(tmp_path: Path) -> None:
    broken = render(replace(PLAIN, executable=Path("/nowhere/dittod")), private_users=False)
    assert analysed(tmp_path, broken, "verify", "--man=no", "--user").returncode


@needs_verifier
def test_the_unit_is_exposed_no_more_than_it_was(tmp_path: Path) -> None:
    """The measure is made for system services: what a user cannot do anyway, such as using capabilities, counts."""
    options = ("security", "--user", "--offline=true", f"--threshold={round(MOST_EXPOSED * 10)}", "--no-pager")
    done = analysed(tmp_path, render(PLAIN, private_users=False), *options)
    assert done.returncode == 0, done.stdout[-200:]
    naked = analysed(tmp_path, "[Service]\nExecStart=/bin/true\n", *options)
    assert naked.returncode


@needs_verifier
def test_systemd_sees_the_settings_that_count(tmp_path: Path) -> None:
    done = analysed(
        tmp_path, render(PLAIN, private_users=False), "security", "--user", "--offline=true", "--json=short"
    )
    seen = {each["json_field"]: each["set"] for each in json.loads(done.stdout)}
    wanted = (
        "NoNewPrivileges",
        "PrivateTmp",
        "ProtectSystem",
        "RestrictNamespaces_user",
        "SystemCallFilter_privileged",
    )
    assert {name: seen.get(name) for name in wanted} == dict.fromkeys(wanted, True)


def test_install_writes_the_unit_and_enables_it(systemctl: Program) -> None:
    manager = background.manager("linux")
    assert manager.install(PLAIN)
    assert Path(manager.definition).read_text(encoding="utf-8") == render(PLAIN, private_users=False)
    assert systemctl.calls()[-2:] == ["--user daemon-reload", "--user enable dittod.service"]
    assert manager.state() == background.ServiceState(True, True, False, None, "success")


def test_installing_again_changes_nothing_and_another_home_does(systemctl: Program) -> None:
    manager = Systemd()
    manager.install(PLAIN)
    first = Path(manager.definition).read_text()
    assert not manager.install(PLAIN)
    assert Path(manager.definition).read_text() == first
    assert manager.install(replace(PLAIN, writable=(Path("/home/ann/else"),)))
    assert Path(manager.definition).read_text() != first


def test_each_command_reaches_the_manager(systemctl: Program) -> None:
    manager = Systemd()
    manager.install(PLAIN)
    systemctl.calls()
    for act, wanted in ((manager.start, "start"), (manager.restart, "restart"), (manager.stop, "stop")):
        act()
        assert systemctl.calls()[-1] == f"--user {wanted} dittod.service"
    manager.start()
    assert manager.state() == background.ServiceState(True, True, True, 4242, None)
    manager.remove()
    assert "--user disable --now dittod.service" in systemctl.calls()
    assert not Path(manager.definition).exists() and not manager.state().installed


def test_a_unit_that_only_came_with_a_package_is_not_installed(systemctl: Program, tmp_path: Path) -> None:
    known = "echo UnitFileState=disabled; echo ActiveState=inactive; echo MainPID=0; echo Result=success"
    Program(tmp_path / "bin", "systemctl", known)
    assert not Systemd().state().installed


def test_a_unit_that_failed_too_often_is_started_all_the_same(systemctl: Program) -> None:
    Systemd().start()
    calls = systemctl.calls()
    assert calls.index("--user reset-failed dittod.service") < calls.index("--user start dittod.service")


def test_a_start_that_fails_says_so_with_a_hint(systemctl: Program, tmp_path: Path) -> None:
    (tmp_path / "bin" / "broken").touch()
    with pytest.raises(DittodError, match="Job for dittod") as caught:
        Systemd().start()
    assert "dittod logs" in caught.value.hint


def test_without_a_manager_nothing_is_written_and_the_remedy_is_said(systemctl: Program, tmp_path: Path) -> None:
    (tmp_path / "bin" / "unreachable").touch()
    with pytest.raises(DittodError, match="Failed to connect to bus") as caught:
        Systemd().install(PLAIN)
    assert "wsl.conf" in caught.value.hint and not Path(Systemd().definition).exists()


def test_without_a_manager_an_old_unit_is_removed_all_the_same(systemctl: Program, tmp_path: Path) -> None:
    Systemd().install(PLAIN)
    (tmp_path / "bin" / "unreachable").touch()
    assert Systemd().state().installed
    Systemd().remove()
    assert not Systemd().state().installed


def test_no_systemctl_at_all_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("SUDO_USER", raising=False)
    with pytest.raises(DittodError, match="there is no systemctl"):
        Systemd().start()


def test_a_folder_that_cannot_be_written_is_an_error_that_names_it(systemctl: Program, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("a file")
    with pytest.raises(DittodError, match=r"dittod\.service cannot be written"):
        Systemd().install(PLAIN)


def test_sudo_is_refused(systemctl: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "ann")
    with pytest.raises(DittodError, match="sudo"):
        Systemd().install(PLAIN)


@pytest.mark.parametrize(
    ("version", "works", "wanted"), [(252, True, ["yes"]), (252, False, []), (249, True, ["yes"]), (253, True, [])]
)
def test_old_systemd_is_told_to_make_a_user_namespace_where_it_can(
    systemctl: Program, tmp_path: Path, version: int, works: bool, wanted: list[str]
) -> None:
    Program(tmp_path / "bin", "systemctl", SYSTEMCTL.replace("255 (255.4-1)", f"{version} ({version}.1)"))
    tried = Program(tmp_path / "bin", "systemd-run", f"exit {0 if works else 1}")
    Systemd().install(PLAIN)
    assert values_of(Path(Systemd().definition).read_text(), "PrivateUsers") == wanted
    assert len(tried.calls()) == (version < systemd.IMPLIES_PRIVATE_USERS)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(st.text(min_size=1, max_size=30))
def test_a_value_that_looks_like_a_placeholder_stays_what_it_is(text: str) -> None:
    assert background.filled("a @one@ b @two@", {"one": "@two@", "two": text}, str) == f"a @two@ b {text}"
