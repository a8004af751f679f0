"""The command line: the one place that knows both the core and the service. Imports lazily, so that help is instant."""

import os
import sys
from typing import NoReturn

from dittod.errors import DittodError, disk_is_full

MAKE_ROOM = "make room on it, then try again"
GIVE_BACK = "give it back to be read and written by you, or set DITTOD_HOME to another folder"
NO_READER = 141  # as of a program that SIGPIPE ends
COMPLETION = {"--install-completion", "--show-completion"}


def main() -> None:
    """Entry point of `dittod`. Exit codes: 0 done, 1 an error with a hint, 2 wrong usage, 130 interrupted, 141 nobody
    reads what it prints any more."""
    from dittod.cli.app import app

    if COMPLETION & set(sys.argv):
        from dittod.cli.completion import prepare

        prepare()
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # here, where it is heard if it fails
    except DittodError as error:
        full = error.title.endswith("the disk is full")  # a daemon goes on by itself then, a command does not
        _fail(error.title, MAKE_ROOM if full else error.hint)
    except BrokenPipeError:
        _end_quietly()
    except OSError as error:
        if disk_is_full(error):
            _fail("the disk is full", MAKE_ROOM)
        if not isinstance(error, PermissionError):
            raise
        _fail(f"{error.filename or 'a file'} cannot be used: {error.strerror}", GIVE_BACK)
    except KeyboardInterrupt:
        sys.exit(130)
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # typer and rich end themselves of it
            _end_quietly()
        raise


def _end_quietly() -> NoReturn:
    """Without a word of the interpreter's, which would write what is left at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(NO_READER)


def _fail(title: str, hint: str) -> NoReturn:
    sys.stderr.write(f"error: {title}\nhint: {hint}\n" if hint else f"error: {title}\n")
    sys.exit(1)
