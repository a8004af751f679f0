"""The command line: the one place that knows both the core and the service. Imports lazily, so that help is instant."""

import sys

from dittod.errors import DittodError, disk_is_full


def main() -> None:
    """Entry point of `dittod`. Exit codes: 0 done, 1 an error with a hint, 2 wrong usage, 130 interrupted."""
    from dittod.cli.app import app
    from dittod.private import keep_to_itself

    keep_to_itself()

    try:
        app()
    except DittodError as error:
        hint = f"\nhint: {error.hint}" if error.hint else ""
        sys.stderr.write(f"error: {error.title}{hint}\n")
        sys.exit(1)
    except OSError as error:
        if not disk_is_full(error):
            raise
        sys.stderr.write("error: the disk is full\nhint: make room on it, then try again\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
