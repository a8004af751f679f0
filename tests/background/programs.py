"""Stand-ins for systemctl, launchctl and schtasks: they write down how they are called and answer from a script."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


class Program:
    """A shell script of that name. `script` sees the arguments as "$*", and a folder for what it remembers as $D."""

    def __init__(self, folder: Path, name: str, script: str) -> None:
        self._calls = folder / f"{name}.calls"
        path = folder / name
        lines = ("#!/bin/sh", f"D='{folder}'", f"printf '%s\\n' \"$*\" >> '{self._calls}'", script)
        path.write_text("\n".join(lines) + "\n")
        path.chmod(0o755)

    def calls(self) -> list[str]:
        """What it was called with since the last look."""
        if not self._calls.exists():
            return []
        found = self._calls.read_text().splitlines()
        self._calls.unlink()
        return found


def put_on_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In front of everything else."""
    folder.mkdir(exist_ok=True)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


SYSTEMCTL = """\
case "$*" in
  "--version") echo "systemd 255 (255.4-1)" ;;
  *"show --property=Version"*) [ -e "$D/unreachable" ] && { echo "Failed to connect to bus" >&2; exit 1; }; true ;;
  *" show dittod.service"*)
    [ -e "$D/unreachable" ] && exit 1
    if [ -e "$D/enabled" ]; then echo UnitFileState=enabled; else echo UnitFileState=; fi
    [ -e "$D/running" ] && { echo ActiveState=active; echo MainPID=$(cat "$D/running"); }
    [ -e "$D/running" ] || echo ActiveState=inactive
    echo Result=success ;;
  *" enable dittod.service") touch "$D/enabled" ;;
  *" disable --now dittod.service") rm -f "$D/enabled" "$D/running" ;;
  *" start dittod.service"|*" restart dittod.service")
    [ -e "$D/broken" ] && { echo "Job for dittod.service failed." >&2; exit 1; }
    echo 4242 > "$D/running" ;;
  *" stop dittod.service") rm -f "$D/running" ;;
esac
"""

LAUNCHCTL = """\
case "$1" in
  print) [ -e "$D/loaded" ] || exit 113; printf '\\tstate = running\\n\\tpid = 77\\n' ;;
  print-disabled) printf '\\t"org.example.other" => disabled\\n' ;;
  bootstrap) [ -e "$D/loaded" ] && exit 37; touch "$D/loaded" ;;
  bootout) rm -f "$D/loaded" ;;
esac
"""

SCHTASKS = """\
case "$*" in
  "/Query /TN dittod /XML") [ -e "$D/task.xml" ] || exit 1; cat "$D/query.xml" ;;
  "/Query /TN dittod /V"*)
    printf '"PC","\\\\\\\\dittod","Nie","Wird ausgef.","Interaktiv","heute","%s","x"\\r\\n' "$(cat "$D/result")" ;;
  "/Create"*) cp "$5" "$D/task.xml"; echo 267011 > "$D/result" ;;
  "/Run"*) echo 267009 > "$D/result" ;;
  "/End"*) echo 1 > "$D/result" ;;
  "/Delete"*) rm "$D/task.xml" ;;
esac
"""
