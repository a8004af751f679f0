"""Windows' Task Scheduler. Knows its XML and schtasks; not what the task says, which is packaging/windows/dittod.xml.

schtasks prints words in the system's language, so only numbers and XML are read. Ending a task kills it: dittod has no
chance to let answers end, but loses nothing, as after a power cut.
"""

from __future__ import annotations

import csv
import os
import subprocess
import tempfile
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from dittod.background import Installation, ServiceState, call, checked, filled, refuse_control_characters
from dittod.paths import shipped

TASK = "dittod"
NAMESPACE = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"
RUNNING = "267009"  # SCHED_S_TASK_RUNNING
NOT_YET_RUN = "267011"  # SCHED_S_TASK_HAS_NOT_RUN
LAST_RESULT = 6  # its column in `schtasks /Query /V /FO CSV`


class Tasks:
    """A task that starts when the user logs on."""

    name = "Task Scheduler"

    @property
    def definition(self) -> str:
        """Its name in the scheduler's library."""
        return f"\\{TASK}"

    def install(self, installation: Installation) -> bool:
        """Replaces a task of that name. The scheduler does not tell what it has, so it always counts as changed."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "dittod.xml"
            file.write_text(render(installation, _user()), encoding="utf-16")
            checked("schtasks", "/Create", "/TN", TASK, "/XML", str(file), "/F", hint="is this an ordinary account?")
        return True

    def remove(self) -> None:
        """End it and delete it."""
        if self.state().installed:
            self.stop()
            checked("schtasks", "/Delete", "/TN", TASK, "/F")

    def start(self) -> None:
        """Returns before dittod serves."""
        checked("schtasks", "/Run", "/TN", TASK)

    def stop(self) -> None:
        """The scheduler ends the process hard."""
        if self.state().running:
            checked("schtasks", "/End", "/TN", TASK)

    def restart(self) -> None:
        """End it if it runs, and run it."""
        self.stop()
        self.start()

    def state(self) -> ServiceState:
        """The scheduler does not tell process numbers."""
        xml = call("schtasks", "/Query", "/TN", TASK, "/XML")
        if xml.returncode:
            return ServiceState(False, False, False, None, None)
        enabled = ElementTree.fromstring(xml.stdout).findtext(f"{NAMESPACE}Settings/{NAMESPACE}Enabled", "true")
        listed = call("schtasks", "/Query", "/TN", TASK, "/V", "/FO", "CSV", "/NH").stdout
        row = next(csv.reader(listed.splitlines()), [])
        result = row[LAST_RESULT] if len(row) > LAST_RESULT else NOT_YET_RUN
        ended = None if result in (RUNNING, NOT_YET_RUN) else result
        return ServiceState(True, enabled == "true", result == RUNNING, None, ended)


def render(installation: Installation, user: str) -> str:
    """The task of one home. Raises SettingsError for a path that cannot stand in it."""
    assignments = [f"{name}={value}" for name, value in installation.environment]
    values = {
        "user": user,
        "executable": str(installation.python.with_name("pythonw.exe")),
        "arguments": subprocess.list2cmdline(["-m", "dittod.cli.windowless", *assignments]),
        "home": str(installation.home),
    }
    template = shipped("windows/dittod.xml").read_text(encoding="utf-8")
    return filled(template, values, lambda text: escape(refuse_control_characters(text)))


def _user() -> str:
    name = os.environ.get("USERNAME", "")
    domain = os.environ.get("USERDOMAIN", "")
    return f"{domain}\\{name}" if domain else name
