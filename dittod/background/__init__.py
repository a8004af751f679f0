"""dittod in the background: what is the same on systemd, launchd and the Task Scheduler.

Knows how a definition is filled in and a manager's program is called. Not what stands in a definition: that is a file
of `packaging/`. And not whether the daemon works: only the managers' view of its process.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import Protocol

from dittod.config import PREFIX, Settings, watched_folder
from dittod.errors import DittodError, SettingsError
from dittod.paths import Home

KEPT_VARIABLES = ("DITTOD_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE")  # where things lie
LOOPBACK = ("127.0.0.1", "localhost", "::1")
COMMAND_SECONDS = 240  # a start returns when dittod serves, which takes a while on a slow disk


@dataclass(frozen=True, slots=True)
class Installation:
    """What a service is made of: the program, and where it may write."""

    executable: Path
    python: Path
    home: Path
    writable: tuple[Path, ...]
    environment: tuple[tuple[str, str], ...]
    only_loopback: bool


@dataclass(frozen=True, slots=True)
class ServiceState:
    """How a manager sees the service: the process it runs, and its own word for how the last one ended."""

    installed: bool
    enabled: bool
    running: bool
    pid: int | None  # where the manager tells it
    last_result: str | None


class Manager(Protocol):
    """What starts programs for a user at login."""

    name: str

    @property
    def definition(self) -> str:
        """Where the definition lies: a file, or the name of a task."""
        ...

    def install(self, installation: Installation) -> bool:
        """Write the definition and have it heeded from the next login on. Says whether anything changed."""
        ...

    def remove(self) -> None:
        """Stop the service and forget it."""
        ...

    def start(self) -> None:
        """Raises DittodError when it does not come up."""
        ...

    def stop(self) -> None:
        """Nothing happens when it does not run."""
        ...

    def restart(self) -> None:
        """Start what does not run, and start anew what does."""
        ...

    def state(self) -> ServiceState:
        """Never raises for a service that is not there."""
        ...


def manager(platform: str) -> Manager:
    """The manager of a platform, by its name in `sys.platform`. Raises DittodError."""
    if platform == "linux":
        from dittod.background.systemd import Systemd

        return Systemd()
    if platform == "darwin":
        from dittod.background.launchd import Launchd

        return Launchd()
    if platform == "win32":
        from dittod.background.tasks import Tasks

        return Tasks()
    raise DittodError(f"dittod knows no service manager of {platform}", "start dittod run by the system's own means")


def installation(home: Home, settings: Settings, environment: Mapping[str, str]) -> Installation:
    """The service of a home. Raises SettingsError."""
    given = {name: environment[name] for name in KEPT_VARIABLES if environment.get(name)}
    kept = {name: str(Path(value).expanduser().absolute()) for name, value in given.items()}
    return Installation(
        executable=executable(),
        python=Path(sys.executable),
        home=home.root,
        writable=_writable(home, settings),
        environment=tuple(kept.items()),
        only_loopback=settings.host in LOOPBACK,
    )


def _writable(home: Home, settings: Settings) -> tuple[Path, ...]:
    """Folders that dittod writes to, without those inside another one."""
    folders = [home.root, watched_folder(settings)]
    if settings.unix_socket is not None:
        folders.append(settings.unix_socket.parent)
    outermost: list[Path] = []
    for folder in folders:
        if not any(folder.is_relative_to(each) for each in outermost):
            outermost.append(folder)
    return tuple(outermost)


def is_ours(state: ServiceState, pid: int | None) -> bool:
    """Whether a daemon is the service's. Where a manager does not tell process numbers (Windows): if its task runs."""
    return pid is not None and (state.pid == pid or (state.pid is None and state.running))


def variables_left_behind(environment: Mapping[str, str]) -> list[str]:
    """Settings of the shell that the service will not have."""
    return sorted(
        name for name, value in environment.items() if value and name.startswith(PREFIX) and name not in KEPT_VARIABLES
    )


def executable() -> Path:
    """The `dittod` of this installation. Raises SettingsError."""
    name = "dittod.exe" if os.name == "nt" else "dittod"
    user_scheme = sysconfig.get_preferred_scheme("user")
    folders = (Path(sys.executable).parent, Path(sysconfig.get_path("scripts", user_scheme)))
    found = [folder / name for folder in folders if (folder / name).is_file()]
    on_path = which("dittod")
    if not found and not on_path:
        raise SettingsError("the program dittod is not installed beside its Python", "install it: pipx install dittod")
    return found[0] if found else Path(str(on_path)).absolute()


def may_vanish(path: Path) -> bool:
    """Whether the system or a tool may clear the folder that this lies in."""
    temporary = (Path("/tmp"), Path("/var/tmp"), Path(tempfile.gettempdir()))
    return any(path.is_relative_to(each) for each in temporary) or bool({".cache", "Caches"} & set(path.parts))


def filled(template: str, values: Mapping[str, str], escape: Callable[[str], str]) -> str:
    """A template with each @name@ replaced, in one pass: a value may look like a name itself."""
    return re.sub(r"@(\w+)@", lambda found: escape(values[found[1]]), template)


def refuse_control_characters(text: str) -> str:
    """The text, if it can stand in a definition. Raises SettingsError."""
    if not text.isprintable() or any("\ud800" <= each <= "\udfff" for each in text):
        raise SettingsError(f"{text!r} has characters that a service cannot have in a path", "rename that folder")
    return text


def write(file: Path, content: bytes) -> bool:
    """Put a definition where its manager looks. Says whether it is another one than before. Raises DittodError."""
    try:
        if file.is_file() and file.read_bytes() == content:
            return False
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    except OSError as error:
        raise DittodError(f"{file} cannot be written: {error.strerror}", "make that folder yours again") from error
    return True


def delete(file: Path) -> None:
    """Where there is one. Raises DittodError."""
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        raise DittodError(f"{file} cannot be removed: {error.strerror}", "make that folder yours again") from error


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a manager's program, with its words in English where it can. One that is not there counts as failed."""
    runtime = f"/run/user/{os.getuid()}" if hasattr(os, "getuid") else ""
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    if runtime and Path(runtime).is_dir():
        environment.setdefault("XDG_RUNTIME_DIR", runtime)  # unset under su and cron
    try:
        return subprocess.run(
            arguments,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=COMMAND_SECONDS,
        )
    except FileNotFoundError:
        return subprocess.CompletedProcess(arguments, 127, "", f"there is no {arguments[0]} on this machine")
    except subprocess.TimeoutExpired as error:
        raise DittodError(
            f"{' '.join(arguments[:3])} did not end within {COMMAND_SECONDS} s", "see: dittod logs"
        ) from error


def checked(*arguments: str, hint: str = "see: dittod logs") -> str:
    """What a command prints. Raises DittodError with its complaint."""
    done = call(*arguments)
    if done.returncode:
        complaint = " ".join((done.stderr or done.stdout).split())[:300]
        raise DittodError(f"{' '.join(arguments)} failed ({done.returncode}): {complaint}", hint)
    return done.stdout
