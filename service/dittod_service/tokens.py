"""`/tokenize` and `/detokenize`, as vLLM has them: for clients that count before they ask.

A request may write `content` for `prompt`, and finds both in the answer: llama.cpp's server calls it so. It knows
the commands, nothing of tokenizers.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import BeforeValidator, Field
from typing_extensions import TypedDict

from dittod.engine.protocol import Detokenize, Tokenize
from dittod.serving import Backend, ServedModel
from dittod.types import Message, Tool
from dittod_service.openai.fields import Tools
from dittod_service.openai.messages import Turns, to_messages
from dittod_service.openai.request import ModelName, ModelRequest, missing, refusal, unsupported
from dittod_service.openai.texts import MAX_TOKEN_ID
from dittod_service.openai.tools import functions

MAX_CHARACTERS = 2**20  # in one request, which takes the engine about a second, and others wait
MAX_TOKENS = 2**18  # the same the other way round

AnyModel = Annotated[
    ModelName, BeforeValidator(lambda name: "base" if name is None else name, json_schema_input_type=ModelName | None)
]
TokenId = Annotated[int, Field(ge=0, le=MAX_TOKEN_ID)]


class TokenizeRequest(ModelRequest):
    model: AnyModel = "base"  # all have the same tokenizer
    prompt: str | None = None
    content: str | None = None
    messages: Turns | None = None
    tools: Tools | None = None
    add_special_tokens: bool | None = None
    add_special: bool | None = None  # llama.cpp's word, and its default for `content` is not to
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    return_token_strs: bool | None = None
    with_pieces: bool | None = None
    chat_template: str | None = None


class DetokenizeRequest(ModelRequest):
    model: AnyModel = "base"
    tokens: Annotated[list[TokenId], Field(max_length=MAX_TOKENS, fail_fast=True)]


class TokenizeResponse(TypedDict):
    """Token ids, and how many the model reads at most."""

    count: int
    max_model_len: int
    tokens: list[int]


class DetokenizeResponse(TypedDict):
    """The text, as vLLM and as llama.cpp call it."""

    prompt: str
    content: str


async def tokenize(backend: Backend, request: TokenizeRequest, served: ServedModel) -> TokenizeResponse:
    """Which token ids does the model read?"""
    tokenized = await backend.tokenize(to_command(request, uuid.uuid4().hex))
    ready = await backend.ready()
    return to_response(tokenized.token_ids, ready.context_tokens)


async def detokenize(backend: Backend, request: DetokenizeRequest, served: ServedModel) -> DetokenizeResponse:
    """Which text do these token ids spell?"""
    text = (await backend.detokenize(Detokenize(uuid.uuid4().hex, tuple(request.tokens)))).text
    return {"prompt": text, "content": text}


def to_command(request: TokenizeRequest, id: str) -> Tokenize:
    """What the engine is to do. Raises RequestError for all that it cannot."""
    _refuse_unsupported(request)
    if (request.prompt is not None) + (request.content is not None) + (request.messages is not None) > 1:
        raise refusal("prompt", "Give one of 'prompt', 'messages' and 'content'")
    if request.messages is not None:
        messages, tools = to_messages(request.messages), functions(request.tools)
        characters = sum(map(len, _texts_of_messages(messages)))
        _refuse_long(characters, "messages")
        _refuse_long(characters + sum(map(len, _texts_of_tools(tools))), "tools")
        return Tokenize(id, messages=messages, tools=tools)
    if request.tools:
        raise refusal("tools", "The parameter is only allowed with 'messages'")
    if request.prompt is not None:
        _refuse_long(len(request.prompt), "prompt")
        return Tokenize(id, prompt=request.prompt, add_special_tokens=request.add_special_tokens is not False)
    if request.content is not None:
        _refuse_long(len(request.content), "content")
        return Tokenize(id, prompt=request.content, add_special_tokens=bool(request.add_special))
    raise missing("prompt")


def to_response(token_ids: tuple[int, ...], context_tokens: int) -> TokenizeResponse:
    """The whole answer as one object."""
    return {"count": len(token_ids), "max_model_len": context_tokens, "tokens": list(token_ids)}


def _texts_of_messages(messages: Sequence[Message]) -> Iterator[str]:
    """All that a template may write out."""
    for message in messages:
        yield from (message.content, message.reasoning, message.tool_call_id, message.name)
        for call in message.tool_calls:
            yield from (call.id, call.name, call.arguments)


def _texts_of_tools(tools: Sequence[Tool]) -> Iterator[str]:
    for tool in tools:
        yield from (tool.name, tool.description, json.dumps(tool.parameters, ensure_ascii=False))


def _refuse_long(characters: int, at: str) -> None:
    if characters > MAX_CHARACTERS:
        raise refusal(at, f"It has {characters} characters, and {MAX_CHARACTERS} is the most")


def _refuse_unsupported(request: TokenizeRequest) -> None:
    if request.add_generation_prompt is False:
        raise unsupported("add_generation_prompt", "Conversations that do not lead to an answer are")
    if request.continue_final_message:
        raise unsupported("continue_final_message", "Answers that are to be continued are")
    if request.return_token_strs:
        raise unsupported("return_token_strs", "The texts of single tokens are")
    if request.with_pieces:
        raise unsupported("with_pieces", "The texts of single tokens are")
    if request.chat_template:
        raise unsupported("chat_template", "Templates other than the model's own are")
