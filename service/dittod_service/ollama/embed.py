"""`/api/embed` and its forerunner `/api/embeddings`: texts as vectors, the base model's as at `/v1/embeddings`.

What is too long is cut at the model's context unless the client forbids it, as ollama does.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Annotated

from pydantic import Field, WithJsonSchema
from typing_extensions import TypedDict

from dittod.engine.protocol import Embed, Embedded, Ready, Tokenize
from dittod.serving import Backend, ServedModel
from dittod_service.openai.embeddings import MAX_INPUTS, inputs, numbers, refuse_other_size
from dittod_service.openai.request import ModelRequest, refusal
from dittod_service.openai.texts import Texts

CHARACTERS_PER_TOKEN = 8  # more than any prose has: what is cut off is not tokenized before
MOST_SPECIAL_TOKENS = 16  # that begin and end a text


_TEXTS = {"type": "array", "items": {"type": "string", "minLength": 1}, "maxItems": MAX_INPUTS}


class EmbedRequest(ModelRequest):
    input: Annotated[object, WithJsonSchema({"anyOf": [{"type": "string"}, _TEXTS]})]
    truncate: bool | None = None
    dimensions: Annotated[int, Field(ge=1)] | None = None


class EmbeddingsRequest(ModelRequest):
    prompt: str | None = None


class EmbedAnswer(TypedDict):
    """A vector for every text, and nanoseconds."""

    model: str
    embeddings: list[list[float]]
    total_duration: int
    load_duration: int
    prompt_eval_count: int


class EmbeddingsAnswer(TypedDict):
    """The vector of a text."""

    embedding: list[float]


async def embed(backend: Backend, request: EmbedRequest, served: ServedModel) -> EmbedAnswer:
    """`/api/embed`."""
    begun = time.monotonic_ns()
    ready = await backend.ready()
    loaded = time.monotonic_ns()
    refuse_other_size(request.dimensions, ready.embedding_size)
    texts = _texts(request.input)
    if request.truncate is not False:
        texts = await _all_cut(backend, texts, ready)
    embedded = await backend.embed(Embed(uuid.uuid4().hex, texts)) if texts else Embedded("", (), 0)
    return {
        "model": request.model,
        "embeddings": [numbers(vector) for vector in embedded.vectors],
        "total_duration": time.monotonic_ns() - begun,
        "load_duration": loaded - begun,
        "prompt_eval_count": embedded.prompt_tokens,
    }


async def embeddings(backend: Backend, request: EmbeddingsRequest, served: ServedModel) -> EmbeddingsAnswer:
    """`/api/embeddings`, which clients of old ask."""
    ready = await backend.ready()
    if not request.prompt:
        return {"embedding": []}
    text = await _cut(backend, request.prompt, ready)
    (vector,) = (await backend.embed(Embed(uuid.uuid4().hex, (text,)))).vectors
    return {"embedding": numbers(vector)}


def _texts(value: object) -> Texts:
    """Nothing to embed only loads the model. Ollama knows no token ids."""
    if value in ("", []):
        return ()
    texts = inputs(value)
    if any(not isinstance(text, str) for text in texts):
        raise refusal("input", "Expected a string or a list of strings", "invalid_type")
    return texts


async def _all_cut(backend: Backend, texts: Texts, ready: Ready) -> Texts:
    """None is worked on any more when one has failed."""
    try:
        async with asyncio.TaskGroup() as group:
            cuts = [group.create_task(_cut(backend, text, ready)) for text in texts]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return tuple(cut.result() for cut in cuts)


async def _cut(backend: Backend, text: str | tuple[int, ...], ready: Ready) -> str | tuple[int, ...]:
    """The text as it is, if it is certain to fit: no token is less than a byte. Otherwise its first tokens."""
    assert isinstance(text, str)
    if len(text.encode()) + MOST_SPECIAL_TOKENS <= ready.context_tokens:
        return text
    beginning = text[: CHARACTERS_PER_TOKEN * ready.context_tokens]
    tokenized = await backend.tokenize(Tokenize(uuid.uuid4().hex, prompt=beginning))
    return tokenized.token_ids[: ready.context_tokens]
