"""logs: what the daemon has said, wherever it was started: the service and one in a terminal write the same file.

Knows nothing of what is logged.
"""

from __future__ import annotations

from itertools import chain

from dittod import logs
from dittod.cli.terminal import err, out
from dittod.paths import home


def show_logs(*, follow: bool, lines: int, as_json: bool) -> None:
    """The latest lines, and with `follow` those that come."""
    place = home()
    latest = logs.read_log(place, lines, raw=as_json)
    if not latest and lines and not follow:
        err.print("nothing is logged yet: dittod run")
    for line in chain(latest, logs.follow(place, raw=as_json) if follow else ()):
        out.print(line, markup=False, soft_wrap=True)
