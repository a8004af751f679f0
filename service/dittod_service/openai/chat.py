"""`/v1/chat/completions`: what a request means to the engine.

Pure. It does not know who answers, and does no chat template: turns and tools go to the engine as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from dittod.engine.protocol import AdapterRef, Generate
from dittod.serving import ServedModel
from dittod_service.openai.answer import Event, Head
from dittod_service.openai.chat_answer import ChatChunks, to_response
from dittod_service.openai.errors import Failure, JsonObject
from dittod_service.openai.fields import (
    FunctionCall,
    Functions,
    Modalities,
    Nothing,
    ResponseFormat,
    ToolChoice,
    Tools,
)
from dittod_service.openai.formats import schema_of_format
from dittod_service.openai.messages import Turns, to_messages
from dittod_service.openai.request import TextRequest, Tokens, refusal, sampling, unsupported
from dittod_service.openai.tools import ToolUse, chosen, functions, older_functions

REFUSED = {  # what OpenAI's servers do with them is not done here, and an answer without it would mislead
    "audio": "Spoken answers are",
    "moderation": "Moderation is",
    "web_search_options": "Searching the web is",
}


class ChatRequest(TextRequest):
    messages: Turns
    max_completion_tokens: Tokens | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: Tools | None = None
    tool_choice: ToolChoice = None
    parallel_tool_calls: bool | None = None
    functions: Functions | None = None  # OpenAI's older form of tools
    function_call: FunctionCall = None
    response_format: ResponseFormat = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    modalities: Modalities | None = None
    audio: Nothing = None
    moderation: Nothing = None
    web_search_options: Nothing = None


class ChatExchange:
    """See `dittod_service.generation.Exchange`."""

    def __init__(self, request: ChatRequest, served: ServedModel, id: str) -> None:
        self.generates: Sequence[Generate] = from_request(request, served.adapter, id)
        self.streamed = request.streamed
        self._older = bool(request.functions)
        self._head = Head.of(request, served, id, request.choices)
        self._chunks = ChatChunks(self._head, older_functions=self._older)

    def whole(self, events: Sequence[Event]) -> JsonObject:
        return to_response(self._head, events, older_functions=self._older)

    def opening(self) -> list[JsonObject]:
        return self._chunks.opening()

    def tell(self, event: Event) -> list[JsonObject]:
        return self._chunks.tell(event)

    def fail(self, failure: Failure) -> list[JsonObject]:
        return [failure.body()]


def from_request(request: ChatRequest, adapter: AdapterRef | None, id: str) -> list[Generate]:
    """What the engine is to do. One Generate: a chat has one prompt."""
    _refuse_unsupported(request)
    use = _tool_use(request)
    generate = Generate(
        id=id,
        adapter=adapter,
        sampling=sampling(request, max_tokens=_max_tokens(request), logprobs=_logprobs(request)),
        messages=to_messages(request.messages),
        tools=use.tools,
        tool_choice=use.choice,
        tool_name=use.name,
        parallel_tool_calls=request.parallel_tool_calls is not False and not request.functions,
        json_schema=schema_of_format(request.response_format, "response_format"),
        reasoning_effort=request.reasoning_effort,
        n=request.choices,
    )
    return [generate]


def _refuse_unsupported(request: ChatRequest) -> None:
    for param, what in REFUSED.items():
        if getattr(request, param) is not None:
            raise unsupported(param, what)
    if request.modalities and request.modalities != ["text"]:
        raise unsupported("modalities", "Output other than text is")


def _tool_use(request: ChatRequest) -> ToolUse:
    if request.functions:
        if request.tools:
            raise refusal("functions", "The parameter is not allowed with 'tools'")
        return older_functions(request.functions, request.function_call)
    if request.tool_choice is not None and request.tools is None:
        raise refusal("tool_choice", "The parameter is only allowed with 'tools'")
    if request.function_call is not None:
        raise refusal("function_call", "The parameter is only allowed with 'functions'")
    return chosen(request.tool_choice, functions(request.tools))


def _max_tokens(request: ChatRequest) -> int | None:
    newer, older = request.max_completion_tokens, request.max_tokens
    if newer is not None and older is not None and newer != older:
        raise refusal("max_tokens", "It differs from 'max_completion_tokens': give one of the two")
    return older if newer is None else newer


def _logprobs(request: ChatRequest) -> int | None:
    if request.logprobs:
        return request.top_logprobs or 0
    if request.top_logprobs is not None:
        raise refusal("top_logprobs", "The parameter is only allowed with 'logprobs': true")
    return None
