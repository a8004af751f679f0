"""The engine's events as the typed events of a response, in OpenAI's order and numbered without gaps.

A whole answer is the last event of its stream: there is no second way in which it is put together.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

from dittod.engine.protocol import Accepted, AnswerEvent, CallDelta, Delta, Done, Finished
from dittod_service.openai.errors import Failure, JsonObject
from dittod_service.openai.responses.items import OutputItem, Status
from dittod_service.openai.responses.response import ResponseObject, ended, failed
from dittod_service.openai.responses.writing import Events, Writing, WritingCall, WritingMessage, WritingReasoning


class Stream:
    """One answer as it comes."""

    def __init__(self, response: ResponseObject) -> None:
        self.response = response
        self._numbers = count()
        self._output: list[OutputItem] = []
        self._open: Writing | None = None  # the last item, while it is written
        self._cut = False

    def opening(self) -> Events:
        return self._numbered([{"type": "response.created", "response": self.response}])

    def tell(self, event: AnswerEvent) -> Events:
        """An event of the engine. Accepted may be told again whenever a sign of life is wanted: not every client takes
        a comment for one."""
        return self._numbered(self._events(event))

    def fail(self, failure: Failure) -> Events:
        """The end of a stream that cannot go on. What has begun is left out of the output."""
        self.response = failed(self.response, self._output, failure)
        return self._numbered([{"type": "response.failed", "response": self.response}])

    def _events(self, event: AnswerEvent) -> Events:
        match event:
            case Accepted():
                return [{"type": "response.in_progress", "response": self._so_far()}]
            case Delta():
                return self._delta(event) if event.text or event.logprobs else []
            case CallDelta():
                return self._call(event)
            case Finished():
                return self._finished(event)
            case Done():
                return self._done(event)
            case _:
                return []

    def _so_far(self) -> ResponseObject:
        """With all that was told of the output: clients forget it otherwise."""
        writing = [] if self._open is None else [self._open.item("in_progress")]
        return ResponseObject({**self.response, "output": [*self._output, *writing]})

    def _delta(self, delta: Delta) -> Events:
        kind = WritingReasoning if delta.channel == "reasoning" else WritingMessage
        told: Events = []
        writing = self._open
        if not isinstance(writing, kind):
            told += self._closed("completed")
            writing = kind(self.response["id"], len(self._output))
            told += self._opened(writing)
        return [*told, *writing.grown(delta)]

    def _call(self, delta: CallDelta) -> Events:
        told: Events = []
        writing = self._open
        if not isinstance(writing, WritingCall) or writing.number != delta.number:
            told += self._closed("completed")
            writing = WritingCall(self.response["id"], len(self._output), delta)
            told += self._opened(writing)
        return [*told, *writing.grown(delta)]

    def _finished(self, event: Finished) -> Events:
        """An answer without a word is a message without a word: clients count on one item at least."""
        told: Events = []
        if self._open is None:
            told = self._opened(WritingMessage(self.response["id"], 0))
        self._cut = event.finish_reason == "length"
        return [*told, *self._closed("incomplete" if self._cut else "completed")]

    def _done(self, done: Done) -> Events:
        self.response = ended(self.response, self._output, done, self._cut)
        return [{"type": f"response.{self.response['status']}", "response": self.response}]

    def _opened(self, writing: Writing) -> Events:
        self._open = writing
        return writing.begun()

    def _closed(self, status: Status) -> Events:
        if self._open is None:
            return []
        closed, self._open = self._open, None
        self._output.append(closed.item(status))
        return closed.ended(status)

    def _numbered(self, events: Iterable[JsonObject]) -> Events:
        return [{**event, "sequence_number": next(self._numbers)} for event in events]
