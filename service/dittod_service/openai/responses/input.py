"""What clients give as `input`, brought into the shapes of `items`.

Nothing is looked up but references to items: of the same conversation, or those whose ids were made here. Unknown
fields are dropped; items that a client can only have from other servers are refused by their place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from dittod_service.openai.messages import text_of
from dittod_service.openai.request import MAX_LABEL, missing, refusal
from dittod_service.openai.responses.fields import MAX_ID_CHARACTERS, MAX_ITEMS
from dittod_service.openai.responses.items import (
    FunctionCall,
    FunctionCallOutput,
    InputMessage,
    InputRole,
    InputText,
    Item,
    OutputMessage,
    OutputText,
    Reasoning,
    ReasoningText,
    item_id,
)

Known = Callable[[str], Item | None]  # the item that an id refers to

_ROLES: dict[str, InputRole] = {"user": "user", "system": "system", "developer": "developer"}
_TEXTS = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}  # parts, and their text
_THOUGHTS = {"reasoning_text": "text"}
_MEDIA = frozenset({"input_image", "input_file", "input_audio"})


def items_of(given: object, response_id: str, before: Sequence[Item], known: Known) -> tuple[Item, ...]:
    """The items of an `input`, behind those `before`, which they may refer to as to each other; `known` are others.
    Raises RequestError with the place of what cannot be used."""
    if isinstance(given, str):
        return (_input_message("user", given, item_id("message", response_id, "in0")),)
    if not isinstance(given, list):
        raise refusal("input", "Expected a string or a list of items", "invalid_type")
    if len(given) > MAX_ITEMS:
        raise refusal("input", f"Expected at most {MAX_ITEMS} items, got {len(given)}")
    own = {item["id"]: item for item in before}
    items: list[Item] = []
    for number, value in enumerate(given):
        new_id = partial(item_id, response_id=response_id, place=f"in{number}")
        item = _item(value, f"input[{number}]", new_id, lambda id: own.get(id) or known(id))
        own[item["id"]] = item
        items.append(item)
    return tuple(items)


def _item(value: object, at: str, new_id: Callable[[str], str], known: Known) -> Item:
    if not isinstance(value, dict):
        raise refusal(at, "Expected an object", "invalid_type")
    kind = _kind(value, at)
    if kind == "item_reference":
        return _referred(value, at, known)
    read = _READERS.get(kind)
    if read is None:
        raise refusal(f"{at}.type", f"Supported values are: {', '.join((*_READERS, 'item_reference'))}")
    id = _string(value, "id", at) if value.get("id") is not None else new_id(kind)
    if not 0 < len(id) <= MAX_ID_CHARACTERS:
        raise refusal(f"{at}.id", f"Expected 1 to {MAX_ID_CHARACTERS} characters, got {len(id)}")
    return read(value, at, id)


def _kind(value: Mapping[str, object], at: str) -> str:
    """Messages and references may be told by their keys."""
    if value.get("type") is not None:
        return _string(value, "type", at)
    if value.get("role") is not None:
        return "message"
    if value.get("id") is not None:
        return "item_reference"
    raise missing(f"{at}.type")


def _referred(value: Mapping[str, object], at: str, known: Known) -> Item:
    item = known(_string(value, "id", at))
    if item is None:
        reason = "There is no such item in this conversation or in the answers that are kept here: send the item itself"
        raise refusal(f"{at}.id", reason)
    return item


def _message(value: Mapping[str, object], at: str, id: str) -> Item:
    role = _string(value, "role", at)
    content = value.get("content")
    if content is None and role != "assistant":
        raise missing(f"{at}.content")
    text = text_of(content, f"{at}.content", _TEXTS, _MEDIA)
    if role in _ROLES:
        return _input_message(_ROLES[role], text, id)
    if role != "assistant":
        raise refusal(f"{at}.role", f"Supported values are: {', '.join((*_ROLES, 'assistant'))}")
    part = OutputText(type="output_text", text=text, annotations=[], logprobs=[])
    return OutputMessage(id=id, type="message", role="assistant", status="completed", content=[part])


def _input_message(role: InputRole, text: str, id: str) -> InputMessage:
    part = InputText(type="input_text", text=text)
    return InputMessage(id=id, type="message", role=role, status="completed", content=[part])


def _call(value: Mapping[str, object], at: str, id: str) -> Item:
    return FunctionCall(
        id=id,
        type="function_call",
        call_id=_string(value, "call_id", at),
        name=_string(value, "name", at),
        arguments=_string(value, "arguments", at),
        status="completed",
    )


def _call_output(value: Mapping[str, object], at: str, id: str) -> Item:
    if value.get("output") is None:
        raise missing(f"{at}.output")
    output = text_of(value["output"], f"{at}.output", _TEXTS, _MEDIA)
    call_id = _string(value, "call_id", at)
    return FunctionCallOutput(id=id, type="function_call_output", call_id=call_id, output=output, status="completed")


def _reasoning(value: Mapping[str, object], at: str, id: str) -> Item:
    """Summaries and encrypted reasoning come from other servers, and say nothing to this model."""
    text = text_of(value.get("content"), f"{at}.content", _THOUGHTS)
    part = ReasoningText(type="reasoning_text", text=text)
    return Reasoning(id=id, type="reasoning", summary=[], content=[part], status="completed")


_READERS: dict[str, Callable[[Mapping[str, object], str, str], Item]] = {
    "message": _message,
    "function_call": _call,
    "function_call_output": _call_output,
    "reasoning": _reasoning,
}


def _string(value: Mapping[str, object], key: str, at: str) -> str:
    found = value.get(key)
    if found is None:
        raise missing(f"{at}.{key}")
    if not isinstance(found, str):
        raise refusal(f"{at}.{key}", "Expected a string", "invalid_type")
    if key != "arguments" and len(found) > MAX_LABEL:
        raise refusal(f"{at}.{key}", f"Expected at most {MAX_LABEL} characters, got {len(found)}")
    return found
