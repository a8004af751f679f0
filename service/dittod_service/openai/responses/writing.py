"""An item of the answer while it is written: each piece of it becomes typed events.

Every item begins, grows and ends; what it is in between, the client puts together itself. No event has its number
yet: `stream` counts them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dittod.engine.protocol import CallDelta, Delta, TokenLogprob
from dittod_service.openai.answer import finite, token_logprob
from dittod_service.openai.errors import JsonObject
from dittod_service.openai.responses.items import (
    FunctionCall,
    OutputItem,
    OutputMessage,
    OutputText,
    Reasoning,
    ReasoningText,
    Status,
    item_id,
)

Events = list[JsonObject]


class Writing(Protocol):
    """An item in the making."""

    def begun(self) -> Events:
        """It is there, and empty."""
        ...

    def ended(self, status: Status) -> Events:
        """It is complete, or cut off."""
        ...

    def item(self, status: Status) -> OutputItem:
        """What there is of it."""
        ...


class WritingMessage:
    """What the model says."""

    def __init__(self, response_id: str, index: int) -> None:
        self._at = _Place(item_id("message", response_id, f"out{index}"), index)
        self._pieces: list[str] = []
        self._logprobs: list[TokenLogprob] = []

    def begun(self) -> Events:
        empty = OutputMessage(id=self._at.id, type="message", role="assistant", status="in_progress", content=[])
        part = OutputText(type="output_text", text="", annotations=[], logprobs=[])
        return [self._at.added(empty), self._at.in_part("response.content_part.added", part=part)]

    def grown(self, delta: Delta) -> Events:
        self._pieces.append(delta.text)
        self._logprobs += delta.logprobs
        told = _without_bytes(delta.logprobs)
        return [self._at.in_part("response.output_text.delta", delta=delta.text, logprobs=told)]

    def ended(self, status: Status) -> Events:
        item = self.item(status)
        (part,) = item["content"]
        told = _without_bytes(self._logprobs)
        return [
            self._at.in_part("response.output_text.done", text=part["text"], logprobs=told),
            self._at.in_part("response.content_part.done", part=part),
            self._at.done(item),
        ]

    def item(self, status: Status) -> OutputMessage:
        logprobs = [token_logprob(entry) for entry in self._logprobs]
        part = OutputText(type="output_text", text="".join(self._pieces), annotations=[], logprobs=logprobs)
        return OutputMessage(id=self._at.id, type="message", role="assistant", status=status, content=[part])


class WritingReasoning:
    """What the model thinks."""

    def __init__(self, response_id: str, index: int) -> None:
        self._at = _Place(item_id("reasoning", response_id, f"out{index}"), index)
        self._pieces: list[str] = []

    def begun(self) -> Events:
        empty = Reasoning(id=self._at.id, type="reasoning", summary=[], content=[], status="in_progress")
        part = ReasoningText(type="reasoning_text", text="")
        return [self._at.added(empty), self._at.in_part("response.content_part.added", part=part)]

    def grown(self, delta: Delta) -> Events:
        self._pieces.append(delta.text)
        return [self._at.in_part("response.reasoning_text.delta", delta=delta.text)]

    def ended(self, status: Status) -> Events:
        item = self.item(status)
        (part,) = item["content"]
        return [
            self._at.in_part("response.reasoning_text.done", text=part["text"]),
            self._at.in_part("response.content_part.done", part=part),
            self._at.done(item),
        ]

    def item(self, status: Status) -> Reasoning:
        part = ReasoningText(type="reasoning_text", text="".join(self._pieces))
        return Reasoning(id=self._at.id, type="reasoning", summary=[], content=[part], status=status)


class WritingCall:
    """What the model asks the client's program to do. `first` names the function."""

    def __init__(self, response_id: str, index: int, first: CallDelta) -> None:
        self._at = _Place(item_id("function_call", response_id, f"out{index}"), index)
        self._call_id, self._name = first.call_id, first.name
        self._pieces: list[str] = []
        self.number = first.number

    def begun(self) -> Events:
        return [self._at.added(self.item("in_progress"))]

    def grown(self, delta: CallDelta) -> Events:
        if not delta.arguments:
            return []
        self._pieces.append(delta.arguments)
        return [self._at.in_item("response.function_call_arguments.delta", delta=delta.arguments)]

    def ended(self, status: Status) -> Events:
        item = self.item(status)
        told = self._at.in_item("response.function_call_arguments.done", arguments=item["arguments"])
        return [told, self._at.done(item)]

    def item(self, status: Status) -> FunctionCall:
        return FunctionCall(
            id=self._at.id,
            type="function_call",
            call_id=self._call_id,
            name=self._name,
            arguments="".join(self._pieces),
            status=status,
        )


class _Place:
    """Where an item stands in the answer: what its events say of it."""

    def __init__(self, id: str, index: int) -> None:
        self.id = id
        self._index = index

    def added(self, item: OutputItem) -> JsonObject:
        return {"type": "response.output_item.added", "output_index": self._index, "item": item}

    def done(self, item: OutputItem) -> JsonObject:
        return {"type": "response.output_item.done", "output_index": self._index, "item": item}

    def in_item(self, kind: str, **fields: object) -> JsonObject:
        return {"type": kind, "item_id": self.id, "output_index": self._index, **fields}

    def in_part(self, kind: str, **fields: object) -> JsonObject:
        return self.in_item(kind, content_index=0, **fields)


def _without_bytes(entries: Sequence[TokenLogprob]) -> list[JsonObject]:
    """As OpenAI's events tell log-probs; only its items have the bytes."""
    return [
        {
            "token": entry.token,
            "logprob": finite(entry.logprob),
            "top_logprobs": [{"token": each.token, "logprob": finite(each.logprob)} for each in entry.alternatives],
        }
        for entry in entries
    ]
