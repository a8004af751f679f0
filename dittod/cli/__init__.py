"""The command line: the one place that knows both the core and the service. Imports lazily, so that help is instant."""

import sys

from dittod.errors import DittodError


def main() -> None:
    """Entry point of `dittod`. Exit codes: 0 done, 1 an error with a hint, 2 wrong usage, 130 interrupted."""
    from dittod.cli.app import app

    try:
        app()
    except DittodError as error:
        hint = f"\nhint: {error.hint}" if error.hint else ""
        sys.stderr.write(f"error: {error.title}{hint}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
