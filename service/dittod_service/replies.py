"""Bytes on their way out: JSON bodies, streams of JSON objects, errors as responses. It knows no wire format."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from starlette.responses import Response

from dittod_service.ollama.errors import PATHS, to_error
from dittod_service.openai.errors import Failure, JsonObject

EVENT_STREAM = "text/event-stream; charset=utf-8"
KEEP_ALIVE = b": keep-alive\n\n"  # not ': ping': Continue's client takes that for the end


@dataclass(frozen=True, slots=True)
class Framing:
    """How the objects of a stream become bytes."""

    media_type: str
    frame: Callable[[JsonObject], bytes]
    keep_alive: bytes  # a sign of life that clients skip; empty where the format has none
    end: bytes  # behind the last object of an answer that came to its end


def encode(value: JsonObject) -> bytes:
    """JSON without infinities, in UTF-8."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def server_sent(value: JsonObject) -> bytes:
    """One server-sent event."""
    return b"data: " + encode(value) + b"\n\n"


def typed(value: JsonObject) -> bytes:
    """One server-sent event that says its type twice, as OpenAI's do."""
    return b"event: " + str(value["type"]).encode() + b"\n" + server_sent(value)


def line(value: JsonObject) -> bytes:
    """One line of objects on lines."""
    return encode(value) + b"\n"


def json_response(value: JsonObject, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A whole answer."""
    return Response(encode(value), status, headers, media_type="application/json")


def failure_response(failure: Failure, path: str = "") -> Response:
    """An error as an answer, in the shape that the clients of a path read."""
    body = to_error(failure) if path.startswith(PATHS) else failure.body()
    return json_response(body, status=failure.status, headers=failure.headers)


LINES = Framing("application/x-ndjson", line, b"", b"")  # of ollama: its clients read every line as an object
CHUNKS = Framing(EVENT_STREAM, server_sent, KEEP_ALIVE, b"data: [DONE]\n\n")  # of chat and plain completions
TYPED_EVENTS = Framing(EVENT_STREAM, typed, KEEP_ALIVE, b"")  # of responses: their last event says that it is the last
