"""One request for a response, and how its answer is told and kept."""

from __future__ import annotations

from collections.abc import Sequence

from dittod.engine.protocol import AnswerEvent, Done, Generate
from dittod.serving import ServedModel
from dittod_service.openai.answer import Head
from dittod_service.openai.errors import Failure, JsonObject
from dittod_service.openai.responses.input import items_of
from dittod_service.openai.responses.request import ResponseRequest, generate, refuse_unsupported
from dittod_service.openai.responses.response import begun
from dittod_service.openai.responses.store import Store
from dittod_service.openai.responses.stream import Stream
from dittod_service.openai.tools import chosen, functions


class ResponseExchange:
    """See `dittod_service.generation.Exchange`. A response is kept when it has been made to its end."""

    def __init__(self, store: Store, request: ResponseRequest, served: ServedModel, id: str) -> None:
        refuse_unsupported(request)
        before = store.conversation(request.previous_response_id)
        given = items_of([] if request.input is None else request.input, id, before, store.item)
        self._input = (*before, *given)
        self._store = store if request.stored else None
        self._served = served
        tools = functions(request.tools)
        use = chosen(request.tool_choice, tools)
        created = Head.of(request, served, id, 1).created
        self._stream = Stream(begun(request, id, created, tools, use))
        self.generates: Sequence[Generate] = [generate(request, served.adapter, id, self._input, use)]
        self.streamed = request.streamed

    def whole(self, events: Sequence[AnswerEvent]) -> JsonObject:
        for event in events:
            self.tell(event)
        return self._stream.response

    def opening(self) -> list[JsonObject]:
        return self._stream.opening()

    def tell(self, event: AnswerEvent) -> list[JsonObject]:
        told = self._stream.tell(event)
        if isinstance(event, Done) and self._store is not None:
            self._store.keep(self._stream.response, self._input, self._served)
        return told

    def fail(self, failure: Failure) -> list[JsonObject]:
        return self._stream.fail(failure)
