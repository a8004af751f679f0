"""What requests for text have in common: reading the body, sampling parameters, and what is refused by name.

Pure. Unknown fields are ignored, null is read as absent, and whatever is neither honoured nor harmless is a
RequestError that names its parameter. It knows nothing of models beyond their name.
"""

from __future__ import annotations

from typing import Annotated, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from dittod.engine.protocol import Sampling
from dittod.errors import RequestError
from dittod_service.openai.errors import from_validation

MAX_CHOICES = 16  # answers to one prompt: a larger `n` is a way to keep the machine busy (CVE-2026-34756)
MAX_STOPS = 4
MAX_STOP_CHARACTERS = 1024  # of each
MAX_BIASES = 1024
MAX_CONTAINERS = 50_000  # objects and lists in one body: each takes a hundred times the memory of its text
MAX_VALUES = 500_000  # in them: a list of token ids may be long

Penalty = Annotated[float, Field(ge=-2, le=2)]
Tokens = Annotated[int, Field(ge=1, le=2**31 - 1)]

_STOP = {"type": "string", "minLength": 1, "maxLength": MAX_STOP_CHARACTERS}
_BIAS = {"type": "number", "minimum": -100, "maximum": 100}
Stop = Annotated[
    object,
    WithJsonSchema({"anyOf": [_STOP, {"type": "array", "items": _STOP, "maxItems": MAX_STOPS}, {"type": "null"}]}),
]
Biases = Annotated[
    object,
    WithJsonSchema(
        {
            "anyOf": [
                {
                    "type": "object",
                    "propertyNames": {"pattern": "^[0-9]{1,9}$"},
                    "additionalProperties": _BIAS,
                    "maxProperties": MAX_BIASES,
                },
                {"type": "null"},
            ]
        }
    ),
]

R = TypeVar("R", bound="ModelRequest")
W = TypeVar("W", bound="Wire")


class Wire(BaseModel):
    """A JSON object of a client."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False, hide_input_in_errors=True)


class StreamOptions(Wire):
    include_usage: bool | None = None


ModelName = Annotated[str, Field(max_length=256)]
MAX_LABEL = 1024  # characters of a name or an id: templates repeat them
Label = Annotated[str, Field(max_length=MAX_LABEL)]


class ModelRequest(Wire):
    """What every request says: which model shall answer it."""

    model: ModelName


class TextRequest(ModelRequest):
    """What chat and plain completions share. `object` stands for fields that a function below reads."""

    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1, le=2**31 - 1)] | None = None  # 0 and -1: all
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] | None = None
    logit_bias: Biases = None  # {token id: bias}
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Stop = None  # a string, or up to four
    max_tokens: Tokens | None = None

    @property
    def choices(self) -> int:
        return self.n or 1

    @property
    def streamed(self) -> bool:
        return bool(self.stream)

    @property
    def with_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    @model_validator(mode="after")
    def _options_of_a_stream(self) -> Self:
        if self.stream_options is not None and not self.streamed:
            raise refusal("stream_options", "The parameter is only allowed with 'stream': true")
        return self


def at_most(most: int) -> BeforeValidator:
    """Counts a list before anything in it is looked at: pydantic's `max_length` counts when all of it has been."""

    def counted(value: object) -> object:
        if isinstance(value, list) and len(value) > most:
            message = "Expected at most {most} items, got {got}"
            raise PydanticCustomError("too_long", message, {"most": most, "got": len(value)})
        return value

    return BeforeValidator(counted)


def parse(kind: type[W], body: bytes) -> W:
    """The object in a body. Raises RequestError with the path of what is wrong."""
    _refuse_crowds(body)
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise from_validation(error) from None  # the cause quotes the request


def sampling(request: TextRequest, *, max_tokens: int | None, logprobs: int | None) -> Sampling:
    """How the client wants tokens drawn."""
    neutral = Sampling()
    return Sampling(
        temperature=_or(request.temperature, neutral.temperature),
        top_p=_or(request.top_p, neutral.top_p),
        top_k=max(0, request.top_k or 0),
        min_p=_or(request.min_p, neutral.min_p),
        presence_penalty=_or(request.presence_penalty, neutral.presence_penalty),
        frequency_penalty=_or(request.frequency_penalty, neutral.frequency_penalty),
        repetition_penalty=_or(request.repetition_penalty, neutral.repetition_penalty),
        logit_bias=_biases(request.logit_bias),
        seed=request.seed,
        max_tokens=max_tokens,
        stop=stops_of(request.stop),
        logprobs=logprobs,
    )


def refusal(param: str, reason: str, code: str = "invalid_value") -> RequestError:
    """A 400 that names its parameter."""
    return RequestError(f"Invalid '{param}': {reason}", param=param, code=code)


def unsupported(param: str, what: str) -> RequestError:
    """A 400 for something that OpenAI's servers know and this one does not."""
    return RequestError(f"{what} not supported yet: leave out '{param}'", param=param, code="unsupported_parameter")


def missing(param: str) -> RequestError:
    """A 400 for something that must be there."""
    return RequestError(f"Missing required parameter: '{param}'", param=param, code="missing_required_parameter")


def stops_of(value: object, at: str = "stop", most: int = MAX_STOPS) -> tuple[str, ...]:
    """Texts that end an answer. An empty list asks for nothing: several chat clients send it always."""
    stops = [value] if isinstance(value, str) else value
    if stops is None:
        return ()
    if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
        raise refusal(at, "Expected a string or a list of strings", "invalid_type")
    if len(stops) > most:
        raise refusal(at, f"Expected at most {most} strings, got {len(stops)}")
    if "" in stops:
        raise refusal(at, "An empty string would end every answer at once")
    if any(len(stop) > MAX_STOP_CHARACTERS for stop in stops):
        raise refusal(at, f"Expected strings of at most {MAX_STOP_CHARACTERS} characters")
    return tuple(stops)


def _refuse_crowds(body: bytes) -> None:
    """Megabytes of `{},` would be gigabytes of objects, which nothing below could count before they are made."""
    if _is_crowded(body) and _is_crowded(_outside_of_strings(body)):
        most = f"{MAX_CONTAINERS} objects and lists with {MAX_VALUES} values in all"
        raise RequestError(f"The body of the request has too many parts: {most} are the most", code="too_many_parts")


def _is_crowded(text: bytes) -> bool:
    return text.count(b"{") + text.count(b"[") > MAX_CONTAINERS or text.count(b",") > MAX_VALUES


def _outside_of_strings(body: bytes) -> bytes:
    """Without the texts, which may be as full of braces as they like.

    Between so many texts that some are left over stand more commas or braces than may be, if it is JSON.
    """
    without_escapes = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b"".join(without_escapes.split(b'"', 4 * (MAX_VALUES + MAX_CONTAINERS))[::2])


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _biases(value: object) -> dict[int, float]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise refusal("logit_bias", "Expected an object from token id to bias", "invalid_type")
    if len(value) > MAX_BIASES:
        raise refusal("logit_bias", f"Expected at most {MAX_BIASES} tokens, got {len(value)}")
    return {_token_id(key): _bias(bias) for key, bias in value.items()}


def _token_id(key: str) -> int:
    if key.isascii() and key.isdigit() and len(key) <= 9:
        return int(key)
    raise refusal("logit_bias", "Every key must be a token id")


def _bias(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and -100 <= value <= 100:
        return float(value)
    raise refusal("logit_bias", "Every bias must be a number from -100 to 100")
