"""The turns of a chat as clients write them, and what they mean: `Message`s.

Pure. Any order and any number of turns up to a cap: what a model's template takes is the engine's to know. Names of
people (`name` of a user) are read and go no further, since no template has a place for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from dittod.types import Message, Role, ToolCall
from dittod_service.openai.request import Label, Wire, at_most, missing, refusal, unsupported

MAX_MESSAGES = 4096
MAX_CALLS = 4096  # in all turns together
ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",  # OpenAI's older word
}
TEXTS: Mapping[str, str] = {"text": "text", "refusal": "refusal"}  # types of parts, and where their text stands
MEDIA = frozenset({"image_url", "input_audio", "file", "image", "audio", "video_url"})

_PARTS = [
    {
        "type": "object",
        "properties": {"type": {"const": kind}, key: {"type": "string"}},
        "required": ["type", key],
    }
    for kind, key in TEXTS.items()
]
Content = Annotated[
    object,
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"anyOf": _PARTS}}, {"type": "null"}]}),
]


class CalledFunction(Wire):
    """What an assistant called."""

    name: Label
    arguments: str | None = None


class Called(Wire):
    """One call of an assistant's turn."""

    id: Label | None = None
    type: str | None = None  # 'function', unless told otherwise; others are skipped as the tools of their types are
    function: CalledFunction | None = None


class Turn(Wire):
    """One message of a client."""

    role: Annotated[str, WithJsonSchema({"enum": list(ROLES)})]
    content: Content = None
    name: Label | None = None
    refusal: str | None = None  # of an assistant, in place of its content
    reasoning_content: str | None = None  # of an assistant
    reasoning: str | None = None  # the same, as other servers call it
    tool_calls: Annotated[list[Called] | None, Field(max_length=MAX_CALLS)] = None
    function_call: CalledFunction | None = None  # OpenAI's older form of one call
    tool_call_id: Label | None = None


def few_calls(turns: object) -> object:
    """Counts the calls of all turns before any of them becomes an object of ours: a call is two bytes at least, and
    its object hundreds."""
    listed = [turn.get("tool_calls") for turn in turns if isinstance(turn, dict)] if isinstance(turns, list) else []
    calls = sum(len(each) for each in listed if isinstance(each, list))
    if calls > MAX_CALLS:
        message = "Expected at most {most} tool calls in all, got {got}"
        raise PydanticCustomError("too_long", message, {"most": MAX_CALLS, "got": calls})
    return turns


Turns = Annotated[
    list[Turn], Field(min_length=1, max_length=MAX_MESSAGES), BeforeValidator(few_calls), at_most(MAX_MESSAGES)
]  # all of a conversation


def to_messages(turns: Sequence[Turn]) -> tuple[Message, ...]:
    """A client's conversation as the engine takes it."""
    return named_results(_message(turn, f"messages[{number}]") for number, turn in enumerate(turns))


def named_results(messages: Iterable[Message]) -> tuple[Message, ...]:
    """Tell every tool's answer, by its call's id, which function it comes from: some templates want to know."""
    names: dict[str, str] = {}
    named: list[Message] = []
    for message in messages:
        names |= {call.id: call.name for call in message.tool_calls if call.id}
        nameless = message.role == "tool" and not message.name
        named.append(replace(message, name=names.get(message.tool_call_id, "")) if nameless else message)
    return tuple(named)


def text_of(content: object, at: str, texts: Mapping[str, str] = TEXTS, media: frozenset[str] = MEDIA) -> str:
    """A string, or the texts of a list of parts put together; null is empty. `texts` says which types of parts have
    a text, and under which key; `media` are those that are refused by their type's name."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise refusal(at, "Expected a string or a list of text parts", "invalid_type")
    return "".join(_part(part, f"{at}[{number}]", texts, media) for number, part in enumerate(content))


def _message(turn: Turn, at: str) -> Message:
    role = ROLES.get(turn.role)
    if role is None:
        raise refusal(f"{at}.role", f"Supported values are: {', '.join(ROLES)}")
    if turn.content is None and role != "assistant":
        raise missing(f"{at}.content")
    text = text_of(turn.content, f"{at}.content")
    if role == "assistant":
        calls = (*_calls(turn.tool_calls or (), f"{at}.tool_calls"), *_older_call(turn.function_call))
        thought = turn.reasoning_content or turn.reasoning or ""
        return Message(role, text or turn.refusal or "", thought, calls)
    if role == "tool":
        return Message(role, text, tool_call_id=turn.tool_call_id or "", name=turn.name or "")
    return Message(role, text)


def _calls(called: Sequence[Called], at: str) -> Iterator[ToolCall]:
    for number, each in enumerate(called):
        if each.type not in (None, "function"):
            continue
        if each.function is None:
            raise missing(f"{at}[{number}].function")
        yield ToolCall(each.id or "", each.function.name, each.function.arguments or "{}")


def _older_call(called: CalledFunction | None) -> tuple[ToolCall, ...]:
    return (ToolCall("", called.name, called.arguments or "{}"),) if called else ()


def _part(part: object, at: str, texts: Mapping[str, str], media: frozenset[str]) -> str:
    if not isinstance(part, dict):
        raise refusal(at, "Expected an object with 'type' and 'text'", "invalid_type")
    kind = part.get("type")
    if not isinstance(kind, str):
        raise refusal(f"{at}.type", "Expected a string", "invalid_type")
    if kind in media:
        raise unsupported(at, f"Parts of type '{kind}' are")
    if kind not in texts:
        raise refusal(f"{at}.type", f"Supported values are: {', '.join(texts)}")
    text = part.get(texts[kind])
    if not isinstance(text, str):
        raise refusal(f"{at}.{texts[kind]}", "Expected a string", "invalid_type")
    return text
