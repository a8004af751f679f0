"""The command line: the one place that knows both the core and the service. Imports lazily, so that help is instant."""

import sys
from typing import NoReturn

from dittod.errors import DittodError, disk_is_full

MAKE_ROOM = "make room on it, then try again"
GIVE_BACK = "give it back to be read and written by you, or set DITTOD_HOME to another folder"


def main() -> None:
    """Entry point of `dittod`. Exit codes: 0 done, 1 an error with a hint, 2 wrong usage, 130 interrupted."""
    from dittod.cli.app import app
    from dittod.private import keep_to_itself

    keep_to_itself()

    try:
        app()
    except DittodError as error:
        full = error.title.endswith("the disk is full")  # a daemon goes on by itself then, a command does not
        _fail(error.title, MAKE_ROOM if full else error.hint)
    except OSError as error:
        if disk_is_full(error):
            _fail("the disk is full", MAKE_ROOM)
        if not isinstance(error, PermissionError):
            raise
        _fail(f"{error.filename or 'a file'} cannot be used: {error.strerror}", GIVE_BACK)
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(title: str, hint: str) -> NoReturn:
    sys.stderr.write(f"error: {title}\nhint: {hint}\n" if hint else f"error: {title}\n")
    sys.exit(1)
