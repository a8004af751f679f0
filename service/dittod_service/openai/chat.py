"""`/v1/chat/completions`: what a request means to the engine, and its answer as a response or as chunks.

Pure. It does not know who answers, and does no chat template: turns go to the engine as turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from dittod.engine.protocol import AdapterRef, Delta, Done, Finished, Generate, TokenLogprob
from dittod.types import Message, Role
from dittod_service.openai.answer import Choice, Event, Head, finite, gather, usage
from dittod_service.openai.errors import JsonObject
from dittod_service.openai.request import TextRequest, Tokens, Wire, missing, refusal, sampling, unsupported

ROLES: dict[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


class Turn(Wire):
    """One message of a client."""

    role: str
    content: object = None  # a string, or a list of parts
    tool_calls: list[object] | None = None


class ChatRequest(TextRequest):
    messages: Annotated[list[Turn], Field(min_length=1)]
    max_completion_tokens: Tokens | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: list[object] | None = None
    tool_choice: object = None
    functions: list[object] | None = None
    response_format: object = None
    modalities: list[object] | None = None


def from_request(request: ChatRequest, adapter: AdapterRef | None, id: str) -> list[Generate]:
    """What the engine is to do. One Generate: a chat has one prompt."""
    _refuse_unsupported(request)
    messages = tuple(_message(turn, number) for number, turn in enumerate(request.messages))
    drawn = sampling(request, max_tokens=_max_tokens(request), logprobs=_logprobs(request))
    return [Generate(id=id, adapter=adapter, sampling=drawn, messages=messages, n=request.choices)]


def to_response(head: Head, events: Sequence[Event]) -> JsonObject:
    """The whole answer as one object."""
    choices, done = gather(events)
    shown = [_choice(choice) for choice in choices]
    return {**head.fields("chat.completion"), "choices": shown, "usage": usage(done)}


def opening(head: Head) -> list[JsonObject]:
    """The first chunks of a stream: who speaks."""
    role: JsonObject = {"role": "assistant", "content": "", "refusal": None}
    return [_chunk(head, index, role) for index in range(head.choices)]


def to_chunks(head: Head, event: Event, offset: int) -> list[JsonObject]:
    """An event as chunks of the stream."""
    match event:
        case Delta():
            return [_chunk(head, event.index, {"content": event.text}, logprobs=_logprob_list(event.logprobs))]
        case Finished():
            return [_chunk(head, event.index, {}, finish_reason=event.finish_reason)]
        case Done():
            last = {**head.fields("chat.completion.chunk"), "choices": [], "usage": usage(event)}
            return [last] if head.with_usage else []


def _refuse_unsupported(request: ChatRequest) -> None:
    if request.tools and request.tool_choice != "none":
        raise unsupported("tools", "Tools are")
    if request.tool_choice not in (None, "none", "auto"):
        raise unsupported("tool_choice", "Tools are")
    if request.functions:
        raise unsupported("functions", "Functions are")
    if request.modalities and request.modalities != ["text"]:
        raise unsupported("modalities", "Output other than text is")
    form = request.response_format
    if form is not None and not (isinstance(form, dict) and form.get("type") == "text"):
        raise unsupported("response_format", "Formats other than text are")


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


def _message(turn: Turn, number: int) -> Message:
    at = f"messages[{number}]"
    if turn.role in ("tool", "function"):
        raise unsupported(f"{at}.role", f"Messages of role '{turn.role}' are")
    if turn.role not in ROLES:
        raise refusal(f"{at}.role", f"Supported values are: {', '.join(ROLES)}")
    if turn.tool_calls:
        raise unsupported(f"{at}.tool_calls", "Tools are")
    if turn.content is None and turn.role != "assistant":
        raise missing(f"{at}.content")
    return Message(ROLES[turn.role], _text(turn.content, f"{at}.content"))


def _text(content: object, at: str) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise refusal(at, "Expected a string or a list of text parts", "invalid_type")
    return "".join(_part(part, f"{at}[{number}]") for number, part in enumerate(content))


def _part(part: object, at: str) -> str:
    if not isinstance(part, dict):
        raise refusal(at, "Expected an object with 'type' and 'text'", "invalid_type")
    kind = part.get("type")
    if kind in ("image_url", "input_audio", "file"):
        raise unsupported(at, f"Parts of type '{kind}' are")
    if kind != "text":
        raise refusal(f"{at}.type", "Supported values are: text")
    if not isinstance(part.get("text"), str):
        raise refusal(f"{at}.text", "Expected a string", "invalid_type")
    return str(part["text"])


def _choice(choice: Choice) -> JsonObject:
    return {
        "index": choice.index,
        "message": {"role": "assistant", "content": choice.text, "refusal": None},
        "logprobs": _logprob_list(choice.logprobs),
        "finish_reason": choice.finish_reason,
    }


def _chunk(
    head: Head,
    index: int,
    delta: JsonObject,
    *,
    logprobs: JsonObject | None = None,
    finish_reason: str | None = None,
) -> JsonObject:
    choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
    chunk = {**head.fields("chat.completion.chunk"), "choices": [choice]}
    return {**chunk, "usage": None} if head.with_usage else chunk


def _logprob_list(entries: Sequence[TokenLogprob]) -> JsonObject | None:
    if not entries:
        return None
    return {"content": [_logprob(entry) for entry in entries], "refusal": None}


def _logprob(entry: TokenLogprob) -> JsonObject:
    top = [_token(token, logprob) for token, logprob in entry.alternatives]
    return {**_token(entry.token, entry.logprob), "top_logprobs": top}


def _token(token: str, logprob: float) -> JsonObject:
    """A token with U+FFFD is a part of a character: its bytes are not known here, and may be null."""
    exact = None if "\ufffd" in token else list(token.encode())
    return {"token": token, "logprob": finite(logprob), "bytes": exact}
