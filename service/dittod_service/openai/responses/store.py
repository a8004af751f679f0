"""Responses that can be asked for again, or gone on from. In memory only: they hold the user's text.

Each is kept with the whole conversation before it, so that it can be gone on from when an earlier one is gone. What
is too old goes at the next visit, not by itself. So does every conversation with an answer of a version that has been
withdrawn since: the answer may hold what is forgotten.
"""

from __future__ import annotations

import json
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import RLock

from dittod.errors import RequestError
from dittod.serving import ServedModel
from dittod_service.openai.responses.items import Item, named_for
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
    """Responses by id, the oldest first. Large ones are kept from the thread that made them."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = RLock()
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._bytes = 0
        self._items: dict[str, Item] = {}  # those whose ids were made here
        self._uses: Counter[str] = Counter()  # in how many conversations each of these stands
        self._writers: dict[str, ServedModel] = {}  # of those of them that are answers, by their ids

    def keep(self, response: ResponseObject, input: tuple[Item, ...], served: ServedModel) -> None:
        """Keep a response, at the cost of the oldest ones. One that alone is too large is not kept."""
        size = len(json.dumps([response, input]))
        if size > MOST_BYTES:
            return
        with self._lock:
            self._kept[response["id"]] = Kept(response, input, size, self._clock() + RETENTION_SECONDS)
            self._bytes += size
            self._remember(self._kept[response["id"]])
            self._writers |= {item["id"]: served for item in response["output"]}
            self._expire()
            while len(self._kept) > MOST_RESPONSES or self._bytes > MOST_BYTES:
                self.drop(next(iter(self._kept)))

    def find(self, id: str) -> Kept | None:
        """A response that is still kept."""
        self._expire()
        self._drop_withdrawn()
        return self._kept.get(id)

    def drop(self, id: str) -> None:
        """Forget a response, if it is there."""
        with self._lock:
            kept = self._kept.pop(id, None)
            if kept is not None:
                self._bytes -= kept.bytes
                self._forget(kept)

    def item(self, id: str) -> Item | None:
        """An item of any conversation that is kept, if its id was made here: clients may give theirs twice. To be asked
        for after `conversation`, which lets go of what is withdrawn."""
        self._expire()
        return self._items.get(id)

    def conversation(self, previous_response_id: str | None) -> tuple[Item, ...]:
        """What a request goes on from. Raises RequestError where that is not kept."""
        if previous_response_id is None:
            self._drop_withdrawn()  # its items may refer to others all the same
            return ()
        kept = self.find(previous_response_id)
        if kept is None:
            raise RequestError(
                "The previous response was not found",
                f"responses are kept for {RETENTION_SECONDS / 60:.0f} minutes, and none that was asked for with "
                "'store': false, or whose version has learnt or shown a text that is forgotten by now: send the "
                "conversation as 'input'",
                param="previous_response_id",
                code="previous_response_not_found",
            )
        return kept.conversation

    def _remember(self, kept: Kept) -> None:
        for item in kept.conversation:
            if named_for(kept.response["id"], item):
                self._items[item["id"]] = item
            if self._items.get(item["id"]) is item:
                self._uses[item["id"]] += 1

    def _forget(self, kept: Kept) -> None:
        for item in kept.conversation:
            id = item["id"]
            if self._items.get(id) is not item:
                continue
            self._uses[id] -= 1
            if not self._uses[id]:
                del self._items[id], self._uses[id]
                self._writers.pop(id, None)

    def _drop_withdrawn(self) -> None:
        """A version is asked about once, for the oldest of its answers."""
        with self._lock:
            gone = {each for each in set(self._writers.values()) if each.is_withdrawn()}
            written = {id for id, writer in self._writers.items() if writer in gone}
            for id, kept in list(self._kept.items()):
                if written and not written.isdisjoint(item["id"] for item in kept.conversation):
                    self.drop(id)

    def _expire(self) -> None:
        now = self._clock()
        with self._lock:
            while self._kept and next(iter(self._kept.values())).until <= now:
                self.drop(next(iter(self._kept)))
