"""token: the endpoint's bearer token on stdout, for clients and scripts. Knows neither store nor daemon."""

from __future__ import annotations

import sys

from dittod.paths import home


def token() -> None:
    """Made at the first call."""
    place = home()
    place.create()
    sys.stdout.write(place.token() + "\n")
