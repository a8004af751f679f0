"""Bytes on their way out: JSON bodies, server-sent events, errors as responses. It knows no wire format."""

from __future__ import annotations

import json
from collections.abc import Mapping

from starlette.responses import Response

from dittod_service.openai.errors import Failure, JsonObject

END_OF_STREAM = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"  # not ': ping': Continue's client takes that for the end


def encode(value: JsonObject) -> bytes:
    """JSON without infinities, in UTF-8."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def server_sent(value: JsonObject) -> bytes:
    """One server-sent event."""
    return b"data: " + encode(value) + b"\n\n"


def json_response(value: JsonObject, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A whole answer."""
    return Response(encode(value), status, headers, media_type="application/json")


def failure_response(failure: Failure) -> Response:
    """An error as an answer."""
    return json_response(failure.body(), status=failure.status, headers=failure.headers)
