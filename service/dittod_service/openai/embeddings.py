"""`/v1/embeddings`: which texts are to become vectors, and the vectors as a response.

Pure. The vectors are the base model's whichever model is named: an adapter learns how somebody writes, not what a text
is about, and vectors that were stored must not change with the next update.
"""

from __future__ import annotations

import base64
import struct
from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema
from typing_extensions import TypedDict

from dittod.engine.protocol import Embedded
from dittod_service.openai.request import ModelRequest, refusal
from dittod_service.openai.texts import Texts, schema_of_texts, texts_of

MAX_INPUTS = 2048


class EmbeddingRequest(ModelRequest):
    input: Annotated[object, WithJsonSchema(schema_of_texts(MAX_INPUTS, shortest=1))]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1)] | None = None


class EmbeddingEntry(TypedDict):
    """One vector."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(TypedDict):
    """Tokens read."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingResponse(TypedDict):
    """All vectors of a request."""

    object: Literal["list"]
    data: list[EmbeddingEntry]
    model: str
    usage: EmbeddingUsage


def inputs(value: object) -> Texts:
    """The texts, one or many. None may be empty: there is nothing that its vector would say."""
    texts = texts_of(value, "input", MAX_INPUTS)
    for number, text in enumerate(texts):
        if not text:
            raise refusal(f"input[{number}]" if isinstance(value, list) else "input", "It is empty")
    return texts


def refuse_other_size(dimensions: int | None, embedding_size: int) -> None:
    """Vectors are given whole: the model was not taught to put what matters in front."""
    if dimensions not in (None, embedding_size):
        raise refusal("dimensions", f"This model's vectors have {embedding_size}: leave it out")


def to_response(request: EmbeddingRequest, embedded: Embedded) -> EmbeddingResponse:
    """The whole answer as one object."""
    as_text = request.encoding_format == "base64"
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": vector if as_text else numbers(vector)}
            for index, vector in enumerate(embedded.vectors)
        ],
        "model": request.model,
        "usage": {"prompt_tokens": embedded.prompt_tokens, "total_tokens": embedded.prompt_tokens},
    }


def numbers(vector: str) -> list[float]:
    """A vector out of its base64 of little-endian float32."""
    raw = base64.b64decode(vector)
    return list(struct.unpack(f"<{len(raw) // 4}f", raw))
