"""What the endpoint says where it refuses, as an error of dittod's. Knows neither what was asked nor by whom."""

from __future__ import annotations

import json
from urllib.error import HTTPError

from dittod.errors import DittodError, EngineUnavailable


def refusal(error: HTTPError) -> DittodError:
    """In the endpoint's own words, where it has some."""
    try:
        message = str(json.load(error)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = f"the endpoint refuses: {error.code} {error.reason}"
    title, _, hint = message.partition(". ")
    return EngineUnavailable(title, hint) if error.code == 503 else DittodError(title, hint)
