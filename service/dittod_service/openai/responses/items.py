"""The items that a conversation consists of, as they go over the wire and are kept.

Only shapes, and their ids. The clients' own items are brought into these shapes by `input`.
"""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from dittod_service.openai.answer import TokenLogprobObject
from dittod_service.openai.errors import JsonObject

Status = Literal["in_progress", "completed", "incomplete"]
InputRole = Literal["user", "system", "developer"]


class InputText(TypedDict):
    """A part of what the model is told."""

    type: Literal["input_text"]
    text: str


class OutputText(TypedDict):
    """A part of what the model said."""

    type: Literal["output_text"]
    text: str
    annotations: list[JsonObject]  # always empty: nothing is looked up
    logprobs: list[TokenLogprobObject]


class ReasoningText(TypedDict):
    """What the model thought."""

    type: Literal["reasoning_text"]
    text: str


class InputMessage(TypedDict):
    """A turn of anybody but the model. Several parts have become one."""

    id: str
    type: Literal["message"]
    role: InputRole
    status: Status
    content: list[InputText]


class OutputMessage(TypedDict):
    """A turn of the model."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    status: Status
    content: list[OutputText]


class FunctionCall(TypedDict):
    """What the model asked the client's program to do."""

    id: str
    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str
    status: Status


class FunctionCallOutput(TypedDict):
    """What came of it."""

    id: str
    type: Literal["function_call_output"]
    call_id: str
    output: str
    status: Status


class Reasoning(TypedDict):
    """What the model thought before it went on. There is no summary: nobody writes one."""

    id: str
    type: Literal["reasoning"]
    summary: list[JsonObject]
    content: list[ReasoningText]
    status: Status


OutputItem = OutputMessage | FunctionCall | Reasoning
Item = InputMessage | FunctionCallOutput | OutputItem

_PREFIXES = {"message": "msg", "function_call": "fc", "function_call_output": "fco", "reasoning": "rs"}


def item_id(kind: str, response_id: str, place: str) -> str:
    """The id of an item that the client did not name: one per response and place in it."""
    return f"{_PREFIXES[kind]}_{response_id.removeprefix('resp_')}{place}"


def named_for(response_id: str, item: Item) -> bool:
    """Was the item's id made here, for this response? No client knew the response's id when it named its items."""
    return item["id"].startswith(f"{_PREFIXES[item['type']]}_{response_id.removeprefix('resp_')}")
