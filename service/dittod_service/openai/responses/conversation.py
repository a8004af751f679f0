"""Items as the turns of a conversation: what the engine puts through the model's chat template.

The model thinks, speaks and calls functions in one turn, and items tell these apart: here they become one turn again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from dittod.types import Message, ToolCall
from dittod_service.openai.messages import named_results
from dittod_service.openai.responses.items import Item


def to_messages(instructions: str | None, items: Iterable[Item]) -> tuple[Message, ...]:
    """The conversation, begun by the instructions."""
    messages = [Message("system", instructions)] if instructions else []
    for turn in map(_turn, filter(_says_something, items)):
        if messages and _belong_together(messages[-1], turn):
            turn = _together(messages.pop(), turn)
        messages.append(turn)
    return named_results(message for message in messages if not _only_thought(message))


def _says_something(item: Item) -> bool:
    """Reasoning that other servers encrypted is empty here."""
    return item["type"] != "reasoning" or any(part["text"] for part in item["content"])


def _turn(item: Item) -> Message:
    """One item as a turn of its own."""
    if item["type"] == "function_call":
        return Message("assistant", "", tool_calls=(ToolCall(item["call_id"], item["name"], item["arguments"]),))
    if item["type"] == "function_call_output":
        return Message("tool", item["output"], tool_call_id=item["call_id"])
    text = "".join(part["text"] for part in item["content"])
    if item["type"] == "reasoning":
        return Message("assistant", "", reasoning=text)
    role = item["role"]
    return Message("system" if role == "developer" else role, text)


def _belong_together(before: Message, after: Message) -> bool:
    """Calls belong to what was said before them, and everything to the reasoning before it."""
    if before.role != "assistant" or after.role != "assistant":
        return False
    return bool(after.tool_calls) or _only_thought(before)


def _together(before: Message, after: Message) -> Message:
    return replace(
        before,
        content=before.content + after.content,
        reasoning=before.reasoning + after.reasoning,
        tool_calls=before.tool_calls + after.tool_calls,
    )


def _only_thought(message: Message) -> bool:
    return bool(message.reasoning) and not message.content and not message.tool_calls
