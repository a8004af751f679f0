"""`/api/chat`: a conversation with tools, whose calls hold objects and may have no ids.

Pure but for the clock of its exchange. It does not know who answers, and does no chat template.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, NotRequired

from pydantic import BeforeValidator, Field
from typing_extensions import TypedDict

from dittod.engine.protocol import AdapterRef, Generate
from dittod.serving import ServedModel
from dittod.types import Message, ToolCall
from dittod_service.ollama.answer import Call, Line, OllamaExchange, Piece
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
from dittod_service.openai.fields import Tools
from dittod_service.openai.messages import MAX_MESSAGES, ROLES, few_calls
from dittod_service.openai.request import Label, Wire, at_most, refusal
from dittod_service.openai.tools import functions


class CalledFunction(Wire):
    name: Label
    arguments: dict[str, object] | None = None


class Called(Wire):
    """One call of an assistant's turn."""

    id: Label | None = None
    function: CalledFunction


class Turn(Wire):
    """One message of a client."""

    role: str
    content: str | None = None
    thinking: str | None = None
    images: Images | None = None
    tool_calls: list[Called] | None = None
    tool_call_id: Label | None = None
    tool_name: Label | None = None


Turns = Annotated[list[Turn], Field(max_length=MAX_MESSAGES), BeforeValidator(few_calls), at_most(MAX_MESSAGES)]


class ChatRequest(PromptRequest):
    messages: Turns | None = None
    tools: Tools | None = None


class FunctionObject(TypedDict):
    """What is called, and with what."""

    index: int
    name: str
    arguments: dict[str, object]


class CallObject(TypedDict):
    """One tool call."""

    id: str
    function: FunctionObject


class MessageObject(TypedDict):
    """A piece of what the model says."""

    role: Literal["assistant"]
    content: str
    thinking: NotRequired[str]
    tool_calls: NotRequired[list[CallObject]]


class ChatLine(Line):
    """A line of an answer."""

    message: MessageObject


def exchange(request: ChatRequest, served: ServedModel, id: str) -> OllamaExchange:
    """See `dittod_service.generation.Format`."""
    return OllamaExchange(request.model, from_request(request, served.adapter, id), request.streamed, shape)


def from_request(request: ChatRequest, adapter: AdapterRef | None, id: str) -> list[Generate]:
    """What the engine is to do: nothing where there are no messages."""
    refuse_unsupported(request, empty=not request.messages)
    generate = Generate(
        id=id,
        adapter=adapter,
        sampling=sampling(request),
        messages=to_messages(request.messages or ()),
        tools=functions(request.tools),
        json_schema=schema_of_format(request.format),
        reasoning_effort=reasoning_effort(request.think),
    )
    return [generate] if request.messages else []


def to_messages(turns: Sequence[Turn]) -> tuple[Message, ...]:
    """A client's conversation as the engine takes it. A tool's answer without an id answers the oldest open call."""
    messages: list[Message] = []
    unanswered: deque[ToolCall] = deque()
    for number, turn in enumerate(turns):
        message = _message(turn, number)
        unanswered.extend(message.tool_calls)
        messages.append(_answering(message, unanswered) if message.role == "tool" else message)
    return tuple(messages)


def shape(piece: Piece) -> JsonObject:
    """A piece of the answer in its line."""
    message: MessageObject = {"role": "assistant", "content": piece.content}
    if piece.thinking:
        message["thinking"] = piece.thinking
    if piece.calls:
        message["tool_calls"] = [_call(call) for call in piece.calls]
    return {"message": message}


def _message(turn: Turn, number: int) -> Message:
    at = f"messages[{number}]"
    role = ROLES.get(turn.role)
    if role is None:
        raise refusal(f"{at}.role", f"Supported values are: {', '.join(ROLES)}")
    refuse_images(turn.images, f"{at}.images")
    text = turn.content or ""
    if role == "assistant":
        return Message(role, text, turn.thinking or "", _calls(turn.tool_calls or (), number))
    if role == "tool":
        return Message(role, text, tool_call_id=turn.tool_call_id or "", name=turn.tool_name or "")
    return Message(role, text)


def _calls(called: Sequence[Called], message_number: int) -> tuple[ToolCall, ...]:
    return tuple(
        ToolCall(each.id or f"call_{message_number}_{number}", each.function.name, _text(each.function.arguments))
        for number, each in enumerate(called)
    )


def _text(arguments: Mapping[str, object] | None) -> str:
    return json.dumps(arguments or {}, ensure_ascii=False)


def _answering(message: Message, unanswered: deque[ToolCall]) -> Message:
    """The message with its call's id and name; that call is no longer open."""
    wanted = message.tool_call_id
    call = next((each for each in unanswered if wanted in ("", each.id)), None)
    if call is None:
        return message
    unanswered.remove(call)
    return Message("tool", message.content, tool_call_id=call.id, name=message.name or call.name)


def _call(call: Call) -> CallObject:
    return {"id": call.id, "function": {"index": call.number, "name": call.name, "arguments": dict(call.arguments)}}
