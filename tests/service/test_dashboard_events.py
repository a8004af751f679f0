"""Events: who listens hears of every change once, one look serves all, and nobody holds the server up."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from dittod.errors import DittodError
from dittod_service.dashboard.events import MOST_LISTENERS, OPENING, Changes, Events, Listener, event
from dittod_service.openai.errors import Refused
from dittod_service.server import FINISH_SECONDS

from .conftest import BEARER
from .dashboards import FakeDashboard
from .fakes import FakeBackend
from .servers import running

LOOK = 0.001
SILENCE = 5.0


class Views:
    """A digest that a test sets, and who looked at it how often."""

    def __init__(self) -> None:
        self.value = {"now": "1", "voices": "1"}
        self.looks = 0
        self.error: Exception | None = None

    def digest(self) -> dict[str, str]:
        self.looks += 1
        if self.error is not None:
            raise self.error
        return dict(self.value)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


def test_a_new_listener_is_told_of_every_view_and_then_of_what_changes() -> None:
    """It may have missed something between drawing its page and listening."""

    async def heard() -> list[frozenset[str]]:
        views = Views()
        with Changes(views.digest, LOOK).listener() as listener:
            found = [await listener.next(SILENCE)]
            views.value["voices"] = "2"
            found.append(await listener.next(SILENCE))
            views.value |= {"now": "2", "voices": "3"}
            return [*found, await listener.next(SILENCE)]

    assert asyncio.run(heard()) == [{"now", "voices"}, {"voices"}, {"now", "voices"}]


def test_who_is_slow_hears_of_everything_at_once() -> None:
    async def heard() -> frozenset[str]:
        listener = Listener()
        listener.hear(frozenset({"now"}))
        listener.hear(frozenset())
        listener.hear(frozenset({"runs"}))
        return await listener.next(SILENCE)

    assert asyncio.run(heard()) == {"now", "runs"}


def test_silence_is_told_as_a_comment() -> None:
    assert asyncio.run(Listener().next(0.001)) == frozenset()
    assert event(frozenset()).startswith(b":") and event(frozenset()).endswith(b"\n\n")
    assert event(frozenset({"runs", "now"})) == b'event: changed\ndata: {"views":["now","runs"]}\n\n'


def test_one_look_serves_all_and_none_is_taken_while_nobody_listens() -> None:
    async def looked() -> int:
        views = Views()
        changes = Changes(views.digest, 30.0)
        with contextlib.ExitStack() as stack:
            listeners = [stack.enter_context(changes.listener()) for _ in range(5)]
            assert [await each.next(SILENCE) for each in listeners] == [{"now", "voices"}] * 5
        await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})  # nothing is left that could look
        return views.looks

    assert asyncio.run(looked()) == 1


def test_who_comes_when_all_had_left_is_served_again() -> None:
    async def heard() -> list[frozenset[str]]:
        changes, found = Changes(Views().digest, LOOK), []
        for _ in range(3):
            with changes.listener() as listener:
                found.append(await listener.next(SILENCE))
        return found

    assert asyncio.run(heard()) == [{"now", "voices"}] * 3


def test_where_nothing_can_be_seen_listeners_are_let_go_and_may_come_back(caplog: pytest.LogCaptureFixture) -> None:
    async def watched() -> frozenset[str]:
        views = Views()
        views.error = DittodError("the store cannot be read", "look at its disk")
        changes = Changes(views.digest, LOOK)
        with changes.listener() as one, changes.listener() as other:
            await until(lambda: one.is_let_go and other.is_let_go)
            views.error = None
            with changes.listener() as later:
                return await later.next(SILENCE)

    assert asyncio.run(watched()) == {"now", "voices"}
    assert "the store cannot be read" in caplog.text


def test_only_so_many_may_listen() -> None:
    async def crowd() -> None:
        changes = Changes(Views().digest, 30.0)
        with contextlib.ExitStack() as stack:
            for _ in range(MOST_LISTENERS):
                stack.enter_context(changes.listener())
            with pytest.raises(Refused) as refused, changes.listener():
                pass
            failure = refused.value.failure
            assert (failure.status, failure.code, failure.headers["retry-after"]) == (429, "too_many_pages", "5")
        with changes.listener():
            pass

    asyncio.run(crowd())


def test_the_end_of_the_server_is_the_end_of_every_stream() -> None:
    async def told() -> list[bytes]:
        changes = Changes(Views().digest, LOOK)
        sent: list[bytes] = []

        async def send(message: Any) -> None:
            sent.append(message.get("body", b""))

        stream = asyncio.create_task(Events(changes)(*requested(), send))
        await until(lambda: len(sent) >= 3)
        changes.end()
        await asyncio.wait_for(stream, 5)
        return sent

    start, opening, first, *_, last = asyncio.run(told())
    assert (start, opening, last) == (b"", OPENING, b"") and first == event(frozenset({"now", "voices"}))


def test_a_page_that_is_closed_listens_no_more() -> None:
    async def left() -> bool:
        changes = Changes(Views().digest, LOOK)
        leaving = asyncio.Event()
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        scope, receive = requested(leaving)
        stream = asyncio.create_task(Events(changes)(scope, receive, send))
        await until(lambda: len(sent) >= 2)
        leaving.set()
        await asyncio.wait_for(stream, 5)
        return not changes._listeners

    assert asyncio.run(left())


def requested(leaving: asyncio.Event | None = None) -> tuple[dict[str, Any], Callable[[], Any]]:
    """A GET whose client leaves when it is told so."""
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await (leaving or asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    return {"type": "http", "method": "GET", "path": "/dashboard/events", "headers": []}, receive


def test_who_asks_for_headers_alone_takes_no_place_and_a_full_house_is_no_line_in_the_log(
    backend: FakeBackend, caplog: pytest.LogCaptureFixture
) -> None:
    """Each page that is turned away asks again every few seconds."""
    with running(backend, dashboard=FakeDashboard()) as server, contextlib.ExitStack() as pages:
        client = pages.enter_context(httpx.Client(base_url=server.url, headers=BEARER))
        for _ in range(MOST_LISTENERS):
            answer = client.head("/dashboard/events")
            assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
            assert pages.enter_context(client.stream("GET", "/dashboard/events")).status_code == 200
        assert client.get("/dashboard/events").status_code == 429
        server.should_exit = True
    assert [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING] == []


def test_the_cookie_alone_lets_a_browser_listen_and_the_server_ends_in_time(backend: FakeBackend) -> None:
    """What browsers listen with sends no header of ours."""
    dashboard = FakeDashboard()

    async def listened(url: str, cookie: str, end: Callable[[], None]) -> list[dict[str, list[str]]]:
        found = []
        headers = {"cookie": f"dittod_session={cookie}", "sec-fetch-site": "same-origin"}
        async with (
            httpx.AsyncClient(timeout=10) as client,
            client.stream("GET", f"{url}/dashboard/events", headers=headers) as stream,
        ):
            assert stream.headers["content-type"].startswith("text/event-stream")
            async for data in datas(stream.aiter_lines()):
                found.append(data)
                if len(found) == 1:
                    dashboard.pause(60)
                else:
                    end()
        return found

    with running(backend, dashboard=dashboard) as server:
        code = httpx.post(f"{server.url}/dashboard/link", headers=BEARER).json()["code"]
        cookie = httpx.post(f"{server.url}/dashboard/session", json={"code": code}).cookies["dittod_session"]
        refused = httpx.get(f"{server.url}/dashboard/events", headers={"cookie": "dittod_session=1.2.3"})
        assert refused.status_code == 401
        begun = time.monotonic()
        told = asyncio.run(listened(server.url, cookie, lambda: setattr(server, "should_exit", True)))
    assert told[0] == {"views": ["now", "receipts", "runs", "versions", "voices"]} and told[1] == {"views": ["now"]}
    assert time.monotonic() - begun < FINISH_SECONDS, "it was not waited for until it was cut off"


async def datas(lines: AsyncIterator[str]) -> AsyncIterator[dict[str, list[str]]]:
    """Of the events of a stream."""
    async for line in lines:
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))
