"""`/api/generate`: a prompt as the user's turn, as it stands (`raw`), or with what comes behind it (`suffix`).

Pure but for the clock of its exchange. It does not know who answers.
"""

from __future__ import annotations

from typing import Annotated, NotRequired

from pydantic import WithJsonSchema

from dittod.engine.protocol import AdapterRef, Generate
from dittod.serving import ServedModel
from dittod.types import Message
from dittod_service.ollama.answer import Line, OllamaExchange, Piece
from dittod_service.ollama.request import (
    Images,
    PromptRequest,
    reasoning_effort,
    refuse_images,
    refuse_unsupported,
    sampling,
    schema_of_format,
)
from dittod_service.openai.errors import JsonObject
from dittod_service.openai.request import refusal, unsupported


class GenerateRequest(PromptRequest):
    prompt: str | None = None
    suffix: str | None = None
    system: str | None = None
    raw: bool | None = None
    images: Images | None = None
    context: Annotated[list[object], WithJsonSchema({"type": "array", "maxItems": 0})] | None = None


class GenerateLine(Line):
    """A line of an answer."""

    response: str
    thinking: NotRequired[str]


def exchange(request: GenerateRequest, served: ServedModel, id: str) -> OllamaExchange:
    """See `dittod_service.generation.Format`."""
    return OllamaExchange(request.model, from_request(request, served.adapter, id), request.streamed, shape)


def from_request(request: GenerateRequest, adapter: AdapterRef | None, id: str) -> list[Generate]:
    """What the engine is to do: nothing where there is no prompt."""
    refuse_unsupported(request, empty=not request.prompt)
    refuse_images(request.images, "images")
    if request.context:
        raise unsupported("context", "Going on from the tokens of an earlier answer is")
    if request.system and (request.raw or request.suffix):
        raise refusal("system", "It has no place in a prompt that is 'raw' or has a 'suffix'")
    prompt = request.prompt or ""
    plain = request.raw or request.suffix
    generate = Generate(
        id=id,
        adapter=adapter,
        sampling=sampling(request),
        messages=None if plain else _turns(request.system, prompt),
        prompt=prompt if plain else None,
        suffix=request.suffix or None,
        json_schema=schema_of_format(request.format),
        reasoning_effort=reasoning_effort(request.think),
    )
    return [generate] if prompt else []


def shape(piece: Piece) -> JsonObject:
    """A piece of the answer in its line."""
    return {"response": piece.content, **({"thinking": piece.thinking} if piece.thinking else {})}


def _turns(system: str | None, prompt: str) -> tuple[Message, ...]:
    said = (Message("system", system),) if system else ()
    return (*said, Message("user", prompt))
