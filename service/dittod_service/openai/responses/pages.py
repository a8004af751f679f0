"""What is told of responses that are kept: pages of their items, and that one was deleted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from typing_extensions import TypedDict

from dittod_service.openai.request import refusal
from dittod_service.openai.responses.items import Item

MOST_ITEMS = 100  # of one page
USUAL_ITEMS = 20


class ItemPage(TypedDict):
    """Some items of a conversation. The ids of an empty page are empty."""

    object: Literal["list"]
    data: list[Item]
    first_id: str
    last_id: str
    has_more: bool


class Deleted(TypedDict):
    """A response was forgotten."""

    id: str
    object: Literal["response"]
    deleted: Literal[True]


def page(items: Sequence[Item], order: str | None, limit: str | None, after: str | None) -> ItemPage:
    """The items behind `after`, the newest first unless told otherwise. Raises RequestError by parameter."""
    if order not in (None, "asc", "desc"):
        raise refusal("order", "Supported values are: asc, desc")
    ordered = list(items) if order == "asc" else list(reversed(items))
    begin = _behind(ordered, after)
    end = begin + _limit(limit)
    data = ordered[begin:end]
    return ItemPage(
        object="list",
        data=data,
        first_id=data[0]["id"] if data else "",
        last_id=data[-1]["id"] if data else "",
        has_more=end < len(ordered),
    )


def _behind(items: Sequence[Item], after: str | None) -> int:
    if after is None:
        return 0
    for number, item in enumerate(items):
        if item["id"] == after:
            return number + 1
    raise refusal("after", "There is no item of this id in the response's input")


def _limit(value: str | None) -> int:
    if value is None:
        return USUAL_ITEMS
    if not (value.isascii() and value.isdigit() and len(value) <= 3 and 1 <= int(value) <= MOST_ITEMS):
        raise refusal("limit", f"Expected a number from 1 to {MOST_ITEMS}")
    return int(value)
