"""`/v1/embeddings` asked of the engine. What requests and responses look like is told by `openai.embeddings`."""

from __future__ import annotations

import uuid

from dittod.engine.protocol import Embed
from dittod.serving import Backend, ServedModel
from dittod_service.openai.embeddings import EmbeddingRequest, EmbeddingResponse, inputs, refuse_other_size, to_response


async def embed(backend: Backend, request: EmbeddingRequest, served: ServedModel) -> EmbeddingResponse:
    """The vectors of a request's texts."""
    texts = inputs(request.input)
    if request.dimensions is not None:
        refuse_other_size(request.dimensions, (await backend.ready()).embedding_size)
    return to_response(request, await backend.embed(Embed(uuid.uuid4().hex, texts)))
