"""systemd's user units. Knows the unit file's quoting and systemctl; not what the unit says, which is
packaging/linux/dittod.service."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from dittod.background import (
    Installation,
    ServiceState,
    call,
    checked,
    delete,
    filled,
    refuse_control_characters,
    write,
)
from dittod.errors import DittodError, SettingsError
from dittod.paths import shipped

UNIT = "dittod.service"
IMPLIES_PRIVATE_USERS = 253  # systemd from here on makes the user namespace that a user's sandbox needs by itself
ONLY_LOOPBACK = (
    "# works where the manager may load BPF programs, elsewhere it is ignored; dittod listens on the loopback only",
    "IPAddressDeny=any",
    "IPAddressAllow=localhost",
)


class Systemd:
    """The user's own service manager."""

    name = "systemd"

    @property
    def definition(self) -> str:
        """In the user's folder of units, which counts before the ones that packages bring."""
        folder = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
        return str(Path(folder) / "systemd" / "user" / UNIT)

    def install(self, installation: Installation) -> bool:
        """The unit starts with the user's manager: at login, or at boot for a lingering user."""
        self._reach()
        unit = render(installation, private_users=_needs_private_users())
        changed = write(Path(self.definition), unit.encode())
        self._systemctl("daemon-reload")
        self._systemctl("enable", UNIT)
        return changed

    def remove(self) -> None:
        """A unit that a package brought stays, but is not started any more. Without a manager, the files go."""
        if self._answers().returncode == 0:
            self._reach()
            if self.state().installed:
                self._systemctl("disable", "--now", UNIT)
        file = Path(self.definition)
        for each in (file, file.parent / "default.target.wants" / UNIT):
            delete(each)
        call("systemctl", "--user", "daemon-reload")
        call("systemctl", "--user", "reset-failed", UNIT)

    def start(self) -> None:
        """Returns when dittod has said that it serves."""
        self._reach()
        call("systemctl", "--user", "reset-failed", UNIT)  # what failed too often is not started otherwise
        self._systemctl("start", UNIT)

    def stop(self) -> None:
        """Returns when it has ended."""
        self._reach()
        self._systemctl("stop", UNIT)

    def restart(self) -> None:
        """Returns when dittod has said that it serves."""
        self._reach()
        call("systemctl", "--user", "reset-failed", UNIT)
        self._systemctl("restart", UNIT)

    def state(self) -> ServiceState:
        """Without a manager to ask, what the files say."""
        names = "UnitFileState,ActiveState,MainPID,Result"
        shown = call("systemctl", "--user", "show", UNIT, f"--property={names}")
        values = dict(line.split("=", 1) for line in shown.stdout.splitlines() if "=" in line)
        if shown.returncode:
            return ServiceState(Path(self.definition).is_file(), False, False, None, None)
        pid = int(values.get("MainPID", "0"))
        enabled = values.get("UnitFileState") == "enabled"
        if not (Path(self.definition).is_file() or enabled or pid):  # none, or one of a package that nobody asked for
            return ServiceState(False, False, False, None, None)
        return ServiceState(
            installed=True,
            enabled=enabled,
            running=pid > 0,
            pid=pid or None,
            last_result=values.get("Result") if values.get("ActiveState") != "active" else None,
        )

    def _reach(self) -> None:
        """Raises DittodError when no manager answers."""
        if os.environ.get("SUDO_USER"):
            raise DittodError(
                "a service of yours cannot be managed with sudo: it would be root's", "run the command without sudo"
            )
        asked = self._answers()
        if asked.returncode:
            raise DittodError(
                f"no systemd of yours answers here: {' '.join(asked.stderr.split())[:200]}",
                "log in as yourself rather than with su; in WSL set systemd=true under [boot] in /etc/wsl.conf; "
                "in a container start `dittod run` itself",
            )

    def _answers(self) -> subprocess.CompletedProcess[str]:
        return call("systemctl", "--user", "show", "--property=Version")

    def _systemctl(self, *arguments: str) -> None:
        checked("systemctl", "--user", *arguments, hint=f"see: systemctl --user status {UNIT}, dittod logs")


def render(installation: Installation, *, private_users: bool) -> str:
    """The unit of one home. Raises SettingsError for a path that cannot stand in it."""
    places = (installation.executable, *installation.writable)
    return _unit(
        executable=_program(installation.executable),
        environment="\n".join(f"Environment={quoted(f'{name}={value}')}" for name, value in installation.environment),
        condition="",
        writable=" ".join(quoted(f"-{folder}") for folder in installation.writable),
        private_tmp="no" if any(_in_tmp(place) for place in places) else "yes",
        private_users="PrivateUsers=yes" if private_users else "",
        only_loopback="\n".join(ONLY_LOOPBACK) if installation.only_loopback else "",
    )


def render_for_everybody(executable: Path) -> str:
    """The unit that a package brings for all users of a machine: it starts for those who called `dittod init`."""
    home = "%h/.local/share/dittod"
    return _unit(
        executable=_program(executable),
        environment="",
        condition=f"# made by `dittod init`\nConditionPathIsDirectory={home}",
        writable=f"-{home} -%h/dittod",
        private_tmp="yes",
        private_users="",
        only_loopback="\n".join(ONLY_LOOPBACK),
    )


def quoted(text: str) -> str:
    """A word of a unit file: in quotes, with what is special to systemd escaped. Raises SettingsError."""
    escaped = refuse_control_characters(text).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def _program(path: Path) -> str:
    """As ExecStart has it: systemd takes no quotes and backslashes there, escaped or not. Raises SettingsError."""
    if any(each in str(path) for each in "'\"\\"):
        raise SettingsError(
            f"the program {path} has quotes or backslashes in its path, which systemd does not take",
            "install dittod in a folder without them",
        )
    return quoted(str(path))


def _unit(**values: str) -> str:
    """The template with these values; a line that would be empty goes."""
    template = shipped(f"linux/{UNIT}").read_text(encoding="utf-8")
    for name in (name for name, value in values.items() if not value):
        template = template.replace(f"@{name}@\n", "")
    return filled(template, values, str)


def _in_tmp(path: Path) -> bool:
    """Where a unit with a /tmp of its own would not see it."""
    return any(path.is_relative_to(each) for each in ("/tmp", "/var/tmp"))


def _needs_private_users() -> bool:
    """Whether systemd has to be told to make a user namespace, and can."""
    version = re.search(r"systemd (\d+)", call("systemctl", "--version").stdout)
    if version is None or int(version[1]) >= IMPLIES_PRIVATE_USERS:
        return False
    sandbox = ("PrivateUsers=yes", "PrivateTmp=yes", "ProtectHome=read-only")
    properties = [part for setting in sandbox for part in ("--property", setting)]
    tried = call("systemd-run", "--user", "--wait", "--quiet", "--collect", *properties, "true")
    return tried.returncode == 0
