"""What every error looks like to a client: a status, headers and OpenAI's error object.

Pure. It knows dittod's errors and pydantic's, never a request: no message made here holds the user's text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError
from typing_extensions import TypedDict

from dittod.errors import DittodError, EngineUnavailable, NotFound, RequestError

JsonObject = Mapping[str, object]

NO_RETRY = {"x-should-retry": "false"}  # OpenAI's clients repeat every 5xx otherwise


class ErrorObject(TypedDict):
    """What went wrong; `param` is the path of the parameter to blame."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(TypedDict):
    """OpenAI's error object."""

    error: ErrorObject


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as it goes over the wire."""

    status: int
    message: str
    type: str = "invalid_request_error"
    param: str | None = None
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    def body(self) -> ErrorBody:
        """The error as an answer."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


SHUTTING_DOWN = Failure(
    503, "The server is shutting down", "server_error", code="shutting_down", headers={"retry-after": "5"}
)


class Refused(Exception):
    """The endpoint itself turns a request away, before the daemon hears of it."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def from_exception(error: Exception) -> Failure:
    """What a client is told about an exception. An unexpected one has no word of its own in it."""
    if isinstance(error, Refused):
        return error.failure
    if isinstance(error, DittodError):
        return _from_dittod(error)
    return Failure(500, "The server had an error while it processed this request.", "server_error", headers=NO_RETRY)


def _from_dittod(error: DittodError) -> Failure:
    message = f"{error.title.rstrip('.')}. {error.hint}" if error.hint else error.title
    if isinstance(error, RequestError):
        return Failure(400, message, param=error.param, code=error.code)
    if isinstance(error, NotFound):
        return Failure(404, message, param="model", code="model_not_found")
    if isinstance(error, EngineUnavailable):
        wait = str(max(1, math.ceil(error.retry_after_seconds)))
        return Failure(503, message, "server_error", code="engine_unavailable", headers={"retry-after": wait})
    return Failure(500, message, "server_error", headers=NO_RETRY)


def from_status(status: int, headers: Mapping[str, str] | None) -> Failure:
    """What a client is told when no route takes its path or method."""
    if status == 405:
        return Failure(405, "This path does not take this method.", code="method_not_allowed", headers=headers or {})
    if status == 404:
        return Failure(404, "There is nothing at this path.", code="not_found")
    return Failure(status, "The request cannot be served.", headers=headers or {})


def from_validation(error: ValidationError) -> RequestError:
    """The first thing that is wrong with a body, named by its path: 'messages[0].role'."""
    first = error.errors(include_url=False, include_context=False)[0]
    if first["type"] == "json_invalid":
        return RequestError("The body of the request is not valid JSON")
    param = path(first["loc"])
    if param is None:
        return RequestError("The body of the request must be a JSON object")
    if first["type"] == "missing" or first["input"] is None:  # null is absent
        return RequestError(f"Missing required parameter: '{param}'", param=param, code="missing_required_parameter")
    code = "invalid_type" if first["type"].endswith("_type") else "invalid_value"
    return RequestError(f"Invalid '{param}': {first['msg']}", param=param, code=code)


def path(steps: tuple[int | str, ...]) -> str | None:
    """A place in a request as OpenAI writes it; None for the request as a whole."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return text.removeprefix(".") or None
