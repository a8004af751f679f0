"""A large whole answer is made where it keeps nobody else waiting."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import httpx
import pytest

from dittod.engine.protocol import AnswerEvent
from dittod_service.admission import Admission
from dittod_service.generation import MANY_EVENTS, Format, Generation
from dittod_service.openai.chat import ChatExchange, ChatRequest
from dittod_service.openai.errors import JsonObject
from dittod_service.replies import CHUNKS

from .fakes import FakeBackend
from .servers import CHAT


@pytest.mark.parametrize(("words", "on_the_loop"), [(10, True), (MANY_EVENTS, False)])
def test_an_answer_of_many_events_is_made_in_a_thread(words: int, on_the_loop: bool) -> None:
    made_in: list[threading.Thread] = []

    class Watched(ChatExchange):
        def whole(self, events: Sequence[AnswerEvent]) -> JsonObject:
            made_in.append(threading.current_thread())
            return super().whole(events)

    form = Format(ChatRequest, Watched, CHUNKS, prefix="chatcmpl-")
    app = Generation(FakeBackend(words=("word ",) * words), form, Admission())

    async def scenario() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
            return await client.post("/", json=CHAT)

    assert asyncio.run(scenario()).json()["choices"][0]["message"]["content"] == "word " * words
    assert [thread is threading.main_thread() for thread in made_in] == [on_the_loop]
