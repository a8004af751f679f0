"""The answer of `/v1/chat/completions`, as one object or as chunks.

Pure. Reasoning goes under `reasoning_content`, the key that clients of open models read: OpenAI has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NotRequired

from typing_extensions import TypedDict

from dittod.engine.protocol import CallDelta, Delta, Done, Finished, TokenLogprob
from dittod.types import FinishReason
from dittod_service.openai.answer import Choice, Event, Head, TokenLogprobObject, Usage, gather, token_logprob, usage
from dittod_service.openai.errors import JsonObject

ChatFinishReason = Literal["stop", "length", "tool_calls", "function_call"]


class FunctionObject(TypedDict):
    """The function that is called."""

    name: str
    arguments: str  # JSON, as text


class CallObject(TypedDict):
    """One tool call."""

    id: str
    type: Literal["function"]
    function: FunctionObject


class MessageObject(TypedDict):
    """The assistant's turn."""

    role: Literal["assistant"]
    content: str | None
    refusal: None
    reasoning_content: NotRequired[str]
    tool_calls: NotRequired[list[CallObject]]
    function_call: NotRequired[FunctionObject]


class LogprobsObject(TypedDict):
    """Log-probs of the content's tokens."""

    content: list[TokenLogprobObject]
    refusal: None


class ChatChoice(TypedDict):
    """One of `n` answers."""

    index: int
    message: MessageObject
    logprobs: LogprobsObject | None
    finish_reason: ChatFinishReason


class ChatCompletion(TypedDict):
    """The whole answer."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChatChoice]
    usage: Usage


def to_response(head: Head, events: Sequence[Event], *, older_functions: bool = False) -> ChatCompletion:
    """The whole answer as one object; `older_functions` tells a call in the form that OpenAI had before tools."""
    choices, done = gather(events)
    return {
        "id": head.id,
        "object": "chat.completion",
        "created": head.created,
        "model": head.model,
        "system_fingerprint": head.system_fingerprint,
        "choices": [_choice(choice, older_functions) for choice in choices],
        "usage": usage(done),
    }


class ChatChunks:
    """The same as chunks of a stream. Remembers which calls have begun: their first chunk names them."""

    def __init__(self, head: Head, *, older_functions: bool = False) -> None:
        self._head = head
        self._older = older_functions
        self._begun: set[tuple[int, int]] = set()  # answers and numbers of calls

    def opening(self) -> list[JsonObject]:
        """Who speaks."""
        role: JsonObject = {"role": "assistant", "content": "", "refusal": None}
        return [self._chunk(index, role) for index in range(self._head.choices)]

    def tell(self, event: Event) -> list[JsonObject]:
        """An event as chunks."""
        match event:
            case Delta(channel="reasoning"):
                return [self._chunk(event.index, {"reasoning_content": event.text})]
            case Delta():
                return [self._chunk(event.index, {"content": event.text}, logprobs=_logprobs(event.logprobs))]
            case CallDelta():
                return [self._chunk(event.index, delta) for delta in self._call(event)]
            case Finished():
                reason = _finish_reason(event.finish_reason, self._older)
                return [self._chunk(event.index, {}, finish_reason=reason)]
            case Done() if self._head.with_usage:
                return [self._head.last_chunk("chat.completion.chunk", event)]
            case _:
                return []

    def _call(self, event: CallDelta) -> list[JsonObject]:
        deltas: list[JsonObject] = []
        if (event.index, event.number) not in self._begun:
            self._begun.add((event.index, event.number))
            function: FunctionObject = {"name": event.name, "arguments": ""}
            named = {"index": event.number, "id": event.call_id, "type": "function", "function": function}
            deltas.append({"function_call": function} if self._older else {"tool_calls": [named]})
        if event.arguments:
            more = {"arguments": event.arguments}
            piece = {"index": event.number, "function": more}
            deltas.append({"function_call": more} if self._older else {"tool_calls": [piece]})
        return deltas

    def _chunk(
        self,
        index: int,
        delta: JsonObject,
        *,
        logprobs: LogprobsObject | None = None,
        finish_reason: ChatFinishReason | None = None,
    ) -> JsonObject:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        return self._head.chunk("chat.completion.chunk", choice)


def _choice(choice: Choice, older_functions: bool) -> ChatChoice:
    return {
        "index": choice.index,
        "message": _message(choice, older_functions),
        "logprobs": _logprobs(choice.logprobs),
        "finish_reason": _finish_reason(choice.finish_reason, older_functions),
    }


def _message(choice: Choice, older_functions: bool) -> MessageObject:
    content = None if choice.calls and not choice.text else choice.text
    message: MessageObject = {"role": "assistant", "content": content, "refusal": None}
    if choice.reasoning:
        message["reasoning_content"] = choice.reasoning
    called: list[FunctionObject] = [{"name": call.name, "arguments": call.arguments} for call in choice.calls]
    if called and older_functions:
        message["function_call"] = called[0]
    elif called:
        ids = (call.id for call in choice.calls)
        message["tool_calls"] = [
            {"id": id, "type": "function", "function": each} for id, each in zip(ids, called, strict=True)
        ]
    return message


def _finish_reason(reason: FinishReason, older_functions: bool) -> ChatFinishReason:
    return "function_call" if older_functions and reason == "tool_calls" else reason


def _logprobs(entries: Sequence[TokenLogprob]) -> LogprobsObject | None:
    if not entries:
        return None
    return {"content": [token_logprob(entry) for entry in entries], "refusal": None}
