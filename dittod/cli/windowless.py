"""`dittod run` where there is no console: Windows' Task Scheduler starts it by pythonw.exe, so that no window opens.

The scheduler cannot set variables of the environment either: they are the arguments, each as NAME=value.
"""

import os
import sys
from pathlib import Path

from dittod.cli import main


def run() -> None:
    """Without a console there is no stderr: the log file says what happens."""
    for assignment in sys.argv[1:]:
        name, _, value = assignment.partition("=")
        os.environ[name] = value
    sys.stdout = sys.stdout or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  # it lives as we do
    sys.stderr = sys.stderr or sys.stdout
    sys.argv[1:] = ["run"]
    main()


if __name__ == "__main__":
    run()
