"""launchd's agents on macOS. Knows property lists and launchctl; not what the list says, which is
packaging/macos/dittod.plist."""

from __future__ import annotations

import os
import plistlib
import re
import time
from pathlib import Path

from dittod.background import Installation, ServiceState, call, checked, delete, refuse_control_characters, write
from dittod.errors import NotFound
from dittod.paths import shipped

LABEL = "org.dittod.dittod"
ENDING_SECONDS = 25.0  # ExitTimeOut of the list, and a little


class Launchd:
    """The agents of a user who is logged in at the screen."""

    name = "launchd"

    @property
    def definition(self) -> str:
        """Where launchd looks at login."""
        return str(Path.home() / "Library" / "LaunchAgents" / f"{LABEL}.plist")

    def install(self, installation: Installation) -> bool:
        """launchd reads a list when it is loaded: a changed one is loaded by the next restart."""
        changed = write(Path(self.definition), render(installation))
        call("launchctl", "enable", self._target)
        return changed

    def remove(self) -> None:
        """Unload it; the file's end keeps it from the next login."""
        self.stop()
        delete(Path(self.definition))

    def start(self) -> None:
        """Loading starts it, since the list says RunAtLoad."""
        if not Path(self.definition).is_file():
            raise NotFound(f"{self.definition} is missing", "dittod service install")
        if self._printed() is None:
            checked("launchctl", "bootstrap", self._domain, self.definition)
        else:
            checked("launchctl", "kickstart", self._target)

    def stop(self) -> None:
        """Unloaded until the next login or start: only so is it not started again when it ends by an error."""
        if self._printed() is None:
            return
        call("launchctl", "bootout", self._target)
        deadline = time.monotonic() + ENDING_SECONDS
        while self._printed() is not None and time.monotonic() < deadline:
            time.sleep(0.2)

    def restart(self) -> None:
        """By loading anew, so that a changed list counts."""
        self.stop()
        self.start()

    def state(self) -> ServiceState:
        """By what launchctl prints, which Apple does not promise to keep."""
        printed = self._printed() or ""
        pid = re.search(r"^\s*pid = (\d+)$", printed, re.MULTILINE)
        ended = re.search(r"^\s*last exit code = (.+)$", printed, re.MULTILINE)
        disabled = re.search(rf'"{re.escape(LABEL)}" => (true|disabled)', self._disabled())
        installed = Path(self.definition).is_file()
        return ServiceState(
            installed=installed,
            enabled=installed and disabled is None,
            running=pid is not None,
            pid=int(pid[1]) if pid else None,
            last_result=ended[1] if ended and not pid else None,
        )

    @property
    def _domain(self) -> str:
        return f"gui/{os.getuid()}"

    @property
    def _target(self) -> str:
        return f"{self._domain}/{LABEL}"

    def _printed(self) -> str | None:
        """What launchd knows of a loaded agent; None: it is not loaded."""
        done = call("launchctl", "print", self._target)
        return done.stdout if done.returncode == 0 else None

    def _disabled(self) -> str:
        return call("launchctl", "print-disabled", self._domain).stdout


def render(installation: Installation) -> bytes:
    """The property list of one home. Raises SettingsError for a path that cannot stand in it."""
    values = plistlib.loads(shipped("macos/dittod.plist").read_bytes())
    values["ProgramArguments"][0] = refuse_control_characters(str(installation.executable))
    values["WorkingDirectory"] = refuse_control_characters(str(installation.home))
    values["StandardErrorPath"] = str(installation.home / "logs" / "launchd.log")
    values["EnvironmentVariables"] = {
        name: refuse_control_characters(value) for name, value in installation.environment
    }
    return plistlib.dumps(values, sort_keys=False)
