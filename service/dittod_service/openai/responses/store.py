"""Responses that can be asked for again, or gone on from. In memory only: they hold the user's text.

Each is kept with the whole conversation before it, so that it can be gone on from when an earlier one is gone. What
is too old goes at the next visit, not by itself.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from dittod.errors import RequestError
from dittod_service.openai.responses.items import Item
from dittod_service.openai.responses.response import ResponseObject

RETENTION_SECONDS = 3600.0  # longer than a person thinks about an answer
MOST_RESPONSES = 256
MOST_BYTES = 32 * 2**20  # as JSON; conversations that share their beginning are counted as if they did not


@dataclass(frozen=True, slots=True)
class Kept:
    """A response with the conversation that it answers."""

    response: ResponseObject
    input: tuple[Item, ...]  # without instructions: these hold for one response only
    bytes: int
    until: float  # by the store's clock

    @property
    def conversation(self) -> tuple[Item, ...]:
        """What the next request goes on from."""
        return (*self.input, *self.response["output"])


class Store:
    """Responses by id, the oldest first. Used from one event loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._bytes = 0

    def keep(self, response: ResponseObject, input: tuple[Item, ...]) -> None:
        """Keep a response, at the cost of the oldest ones. One that alone is too large is not kept."""
        self._expire()
        size = len(json.dumps([response, input]))
        if size > MOST_BYTES:
            return
        self._kept[response["id"]] = Kept(response, input, size, self._clock() + RETENTION_SECONDS)
        self._bytes += size
        while len(self._kept) > MOST_RESPONSES or self._bytes > MOST_BYTES:
            self.drop(next(iter(self._kept)))

    def find(self, id: str) -> Kept | None:
        """A response that is still kept."""
        self._expire()
        return self._kept.get(id)

    def drop(self, id: str) -> None:
        """Forget a response, if it is there."""
        kept = self._kept.pop(id, None)
        self._bytes -= kept.bytes if kept else 0

    def items(self) -> dict[str, Item]:
        """The items of all conversations that are kept, by id."""
        self._expire()
        return {item["id"]: item for kept in self._kept.values() for item in kept.conversation}

    def conversation(self, previous_response_id: str | None) -> tuple[Item, ...]:
        """What a request goes on from. Raises RequestError where that is not kept."""
        if previous_response_id is None:
            return ()
        kept = self.find(previous_response_id)
        if kept is None:
            raise RequestError(
                "The previous response was not found",
                f"responses are kept for {RETENTION_SECONDS / 60:.0f} minutes, and none that was asked for with "
                "'store': false: send the conversation as 'input'",
                param="previous_response_id",
                code="previous_response_not_found",
            )
        return kept.conversation

    def _expire(self) -> None:
        now = self._clock()
        while self._kept and next(iter(self._kept.values())).until <= now:
            self.drop(next(iter(self._kept)))
