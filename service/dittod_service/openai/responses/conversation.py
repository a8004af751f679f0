"""Items as the turns of a conversation: what the engine puts through the model's chat template.

The model thinks, speaks and calls functions in one turn, and items tell these apart: here they become one turn again.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from dittod.types import Message, ToolCall
from dittod_service.openai.messages import MAX_CALLS, named_results
from dittod_service.openai.request import missing, refusal
from dittod_service.openai.responses.items import Item


def to_messages(instructions: str | None, items: Sequence[Item]) -> tuple[Message, ...]:
    """The conversation, begun by the instructions. Raises RequestError where it has too many calls, or says nothing."""
    calls = sum(item["type"] == "function_call" for item in items)
    if calls > MAX_CALLS:
        raise refusal("input", f"Expected at most {MAX_CALLS} calls in the whole conversation, got {calls}")
    turns = [[Message("system", instructions)]] if instructions else []
    for message in map(_message, filter(_says_something, items)):
        if turns and _belong_together(turns[-1], message):
            turns[-1].append(message)
        else:
            turns.append([message])
    messages = named_results(_together(turn) for turn in turns if not _only_thought(turn))
    if not messages:
        raise missing("input")
    return messages


def _says_something(item: Item) -> bool:
    """Reasoning that other servers encrypted is empty here."""
    return item["type"] != "reasoning" or any(part["text"] for part in item["content"])


def _message(item: Item) -> Message:
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


def _belong_together(turn: Sequence[Message], after: Message) -> bool:
    """Calls belong to what was said before them, and everything to the reasoning before it."""
    if turn[0].role != "assistant" or after.role != "assistant":
        return False
    return bool(after.tool_calls) or _only_thought(turn)


def _together(turn: Sequence[Message]) -> Message:
    if len(turn) == 1:
        return turn[0]
    return Message(
        "assistant",
        "".join(message.content for message in turn),
        "".join(message.reasoning for message in turn),
        tuple(chain.from_iterable(message.tool_calls for message in turn)),
    )


def _only_thought(turn: Sequence[Message]) -> bool:
    """Its ends tell: only thoughts begin a turn that goes on with words, and only calls follow words and calls."""
    return bool(turn[0].reasoning) and not turn[-1].content and not turn[-1].tool_calls
