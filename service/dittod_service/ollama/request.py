"""What ollama's requests for text have in common: options, format, thinking, and what is refused by name.

Pure. An option that is absent has OpenAI's default, the model's own distribution, not ollama's (temperature 0.8, top_k
40, top_p 0.9): an adapter was taught to write under the former. What only says how a model is to be loaded (num_ctx,
num_gpu, keep_alive, …) is ignored: it is loaded once, for everybody.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, WithJsonSchema

from dittod.engine.protocol import Sampling
from dittod_service.openai.errors import JsonObject
from dittod_service.openai.formats import ANY_OBJECT, json_schema
from dittod_service.openai.request import ModelRequest, Penalty, Wire, refusal, stops_of, unsupported

MOST_TOKENS = 2**31 - 1
MAX_STOPS = 64  # more than at OpenAI: completion in editors ends at any of a dozen
EFFORTS = {"low": "low", "medium": "medium", "high": "high", "max": "xhigh"}  # levels of `think`, in OpenAI's words

_STOP = {"type": "string", "minLength": 1}
_NULL = {"type": "null"}

Images = Annotated[list[object], WithJsonSchema({"type": "array", "maxItems": 0})]  # refused by name, as those below
Template = Annotated[str, WithJsonSchema({"const": ""})]
Off = Annotated[bool, WithJsonSchema({"const": False})]


class Options(Wire):
    """How tokens are drawn."""

    temperature: Annotated[float, Field(ge=0, le=100)] | None = None
    top_k: Annotated[int, Field(ge=0, le=MOST_TOKENS)] | None = None  # 0: all
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    typical_p: Annotated[float, WithJsonSchema({"enum": [0, 1]})] | None = None
    tfs_z: Annotated[float, WithJsonSchema({"enum": [0, 1]})] | None = None
    mirostat: Annotated[int, WithJsonSchema({"const": 0})] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None  # -1: any
    num_predict: Annotated[int, Field(ge=-2, le=MOST_TOKENS)] | None = None  # 0 and less: up to the context
    repeat_penalty: Annotated[float, Field(gt=0, le=10)] | None = None
    repeat_last_n: Annotated[int, Field(ge=-1, le=MOST_TOKENS)] | None = None  # 0: no penalty, -1: the whole context
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    stop: Annotated[
        object, WithJsonSchema({"anyOf": [_STOP, {"type": "array", "items": _STOP, "maxItems": MAX_STOPS}, _NULL]})
    ] = None


class PromptRequest(ModelRequest):
    """What `/api/chat` and `/api/generate` share."""

    stream: bool | None = None  # absent: it is
    options: Options | None = None
    format: Annotated[object, WithJsonSchema({"anyOf": [{"enum": ["", "json"]}, {"type": "object"}, _NULL]})] = None
    think: Annotated[object, WithJsonSchema({"anyOf": [{"type": "boolean"}, {"enum": [*EFFORTS]}, _NULL]})] = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    template: Template | None = None
    truncate: Off | None = None
    shift: Off | None = None
    keep_alive: object = None

    @property
    def streamed(self) -> bool:
        return self.stream is not False


def refuse_unsupported(request: PromptRequest, *, empty: bool) -> None:
    """`empty`: there is nothing to answer, the model is only to be loaded."""
    if request.template:
        raise unsupported("template", "Templates other than the model's own are")
    if request.truncate:
        raise unsupported("truncate", "Forgetting the beginning of what is too long is")
    if request.shift:
        raise unsupported("shift", "Forgetting the beginning while writing is")
    if empty and request.keep_alive in (0, "0", "0s"):
        raise refusal("keep_alive", "The model cannot be unloaded: the engine ends by itself when nobody uses it")


def refuse_images(images: Images | None, at: str) -> None:
    """An empty list asks for nothing."""
    if images:
        raise unsupported(at, "Images are")


def sampling(request: PromptRequest) -> Sampling:
    """How the client wants tokens drawn."""
    options = request.options or Options()
    _refuse_unsupported_options(options)
    given = {
        "temperature": options.temperature,
        "top_k": options.top_k,
        "top_p": options.top_p,
        "min_p": options.min_p,
        "presence_penalty": options.presence_penalty,
        "frequency_penalty": options.frequency_penalty,
        "repetition_penalty": options.repeat_penalty,
        "seed": None if options.seed == -1 else options.seed,
        "max_tokens": options.num_predict if (options.num_predict or 0) > 0 else None,
        "stop": stops_of(options.stop, "options.stop", MAX_STOPS),
        "logprobs": _logprobs(request),
    }
    return Sampling(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]


def schema_of_format(form: object) -> JsonObject | None:
    """What the answer's text must fit."""
    if form is None or form == "":
        return None
    if form == "json":
        return ANY_OBJECT
    if isinstance(form, dict):
        return json_schema(form, "format")
    raise refusal("format", "Expected 'json' or a JSON schema")


def reasoning_effort(think: object) -> str | None:
    """Whether and how much to think, in OpenAI's words."""
    if think is None:
        return None
    if isinstance(think, bool):
        return "medium" if think else "none"
    if isinstance(think, str) and think in EFFORTS:
        return EFFORTS[think]
    raise refusal("think", f"Expected true, false or one of: {', '.join(EFFORTS)}")


def _refuse_unsupported_options(options: Options) -> None:
    if options.mirostat:
        raise unsupported("options.mirostat", "Mirostat is")
    if options.typical_p not in (None, 0, 1):
        raise unsupported("options.typical_p", "Typical sampling is")
    if options.tfs_z not in (None, 0, 1):
        raise unsupported("options.tfs_z", "Tail-free sampling is")
    penalised = options.repeat_penalty not in (None, 1) or options.presence_penalty or options.frequency_penalty
    if penalised and options.repeat_last_n not in (None, -1):
        raise refusal("options.repeat_last_n", "Penalties are for the whole text: leave it out, or give -1")


def _logprobs(request: PromptRequest) -> int | None:
    if request.logprobs:
        return request.top_logprobs or 0
    if request.top_logprobs:
        raise refusal("top_logprobs", "The parameter is only allowed with 'logprobs': true")
    return None
