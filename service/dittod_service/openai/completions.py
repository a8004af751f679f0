"""`/v1/completions`: what a request means to the engine.

Pure. It does not know who answers. Prompts are continued as they stand; several prompts become several
Generates, and the choices of prompt i are numbered from i times n.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import Field, WithJsonSchema

from dittod.engine.protocol import AdapterRef, Generate
from dittod.serving import ServedModel
from dittod_service.openai.answer import Event, Head
from dittod_service.openai.completion_answer import CompletionChunks, to_response
from dittod_service.openai.errors import Failure, JsonObject
from dittod_service.openai.request import MAX_CHOICES, TextRequest, refusal, sampling
from dittod_service.openai.texts import schema_of_texts, texts_of

MAX_PROMPTS = 128
MAX_ANSWERS = 256  # to all prompts of a request together


class CompletionRequest(TextRequest):
    prompt: Annotated[object, WithJsonSchema(schema_of_texts(MAX_PROMPTS))]
    max_tokens: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None  # 0: only the echo
    best_of: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    echo: bool | None = None
    suffix: str | None = None


class CompletionExchange:
    """See `dittod_service.generation.Exchange`."""

    def __init__(self, request: CompletionRequest, served: ServedModel, id: str) -> None:
        self.generates: Sequence[Generate] = from_request(request, served.adapter, id)
        self.streamed = request.streamed
        self._head = Head.of(request, served, id, len(self.generates) * request.choices)
        self._chunks = CompletionChunks(self._head)

    def whole(self, events: Sequence[Event]) -> JsonObject:
        return to_response(self._head, events, prompts=len(self.generates))

    def opening(self) -> list[JsonObject]:
        """Plain text has nothing to say before its text."""
        return []

    def tell(self, event: Event) -> list[JsonObject]:
        return self._chunks.tell(event)

    def fail(self, failure: Failure) -> list[JsonObject]:
        return [failure.body()]


def from_request(request: CompletionRequest, adapter: AdapterRef | None, id: str) -> list[Generate]:
    """What the engine is to do: one Generate per prompt."""
    drawn = sampling(request, max_tokens=_max_tokens(request), logprobs=request.logprobs)
    blank = Generate(
        id=id,
        adapter=adapter,
        sampling=drawn,
        n=_drawn_choices(request),
        suffix=_suffix(request),
        echo=bool(request.echo),
    )
    prompts = texts_of(request.prompt, "prompt", MAX_PROMPTS)
    generates = [_asked(prompt, blank, f"{id}-{number}") for number, prompt in enumerate(prompts)]
    if len(generates) * blank.n > MAX_ANSWERS:
        raise refusal(
            "n", f"{len(generates)} prompts and {blank.n} answers to each are more than {MAX_ANSWERS} answers"
        )
    return generates


def _max_tokens(request: CompletionRequest) -> int | None:
    if request.max_tokens == 0 and not request.echo:
        raise refusal("max_tokens", "0 is only allowed with 'echo': true")
    return request.max_tokens


def _drawn_choices(request: CompletionRequest) -> int:
    """How many answers are made to one prompt; the best `n` of them are told."""
    best_of = request.best_of or request.choices
    if best_of < request.choices:
        raise refusal("best_of", f"It must not be less than 'n', which is {request.choices}")
    if best_of > request.choices and request.streamed:
        raise refusal("best_of", "The best are known at the end only, which is not allowed with 'stream': true")
    return best_of


def _suffix(request: CompletionRequest) -> str | None:
    if not request.suffix:
        return None
    if not isinstance(request.prompt, str):
        raise refusal("suffix", "The parameter is only allowed with one string as 'prompt'")
    if request.echo:
        raise refusal("suffix", "The parameter is not allowed with 'echo': true")
    return request.suffix


def _asked(prompt: str | tuple[int, ...], blank: Generate, id: str) -> Generate:
    if isinstance(prompt, str):
        return replace(blank, id=id, prompt=prompt)
    return replace(blank, id=id, prompt_token_ids=prompt)
