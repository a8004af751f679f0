"""The server finds its port, says when it cannot, answers many at once, and ends when it is told."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest

from dittod.errors import SettingsError
from dittod_service.server import Server, listen

from .conftest import BEARER, TOKEN
from .fakes import FakeBackend
from .wire import error_of

CHAT = {"model": "base", "messages": [{"role": "user", "content": "hi"}]}
HANDLERS = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}  # before any server


def test_a_taken_port_is_named_with_what_to_change(server: Server, backend: FakeBackend) -> None:
    with pytest.raises(SettingsError, match=f"Port {server.port} at 127.0.0.1 is taken") as caught:
        Server(backend, TOKEN, port=server.port)
    assert "`port` in dittod.toml" in caught.value.hint
    assert "DITTOD_PORT" in caught.value.hint


@pytest.mark.parametrize(("host", "port"), [("a..b", 0), ("127.0.0.1", 70_000), ("203.0.113.1", 0)])
def test_an_impossible_address_is_a_setting_to_change(host: str, port: int) -> None:
    with pytest.raises(SettingsError) as caught:
        listen(host, port)
    assert "dittod.toml" in caught.value.hint


def test_the_server_knows_its_address_before_it_runs(backend: FakeBackend) -> None:
    server = Server(backend, TOKEN, port=0)
    assert server.port > 0
    assert server.url == f"http://127.0.0.1:{server.port}"
    server.socket.close()


def test_it_takes_no_signal_handlers(server: Server) -> None:
    """A process started in the background has others than one in a terminal."""
    assert {each: signal.getsignal(each) for each in HANDLERS} == HANDLERS


def test_a_stream_that_runs_is_finished_before_the_server_ends(backend: FakeBackend) -> None:
    async def scenario() -> str:
        backend.word_seconds = 0.1
        server = Server(backend, TOKEN, port=0)
        running = asyncio.create_task(server.listen_and_serve())
        async with httpx.AsyncClient(base_url=server.url, headers=BEARER) as client:
            answer = asyncio.create_task(client.post("/v1/chat/completions", json=CHAT | {"stream": True}))
            while not backend.asked:
                await asyncio.sleep(0.01)
            server.should_exit = True
            text = (await answer).text
        await asyncio.wait_for(running, 5)
        return text

    assert asyncio.run(scenario()).endswith("data: [DONE]\n\n")


def test_cancelling_the_server_ends_it_in_peace_too(backend: FakeBackend) -> None:
    async def scenario() -> None:
        server = Server(backend, TOKEN, port=0)
        running = asyncio.create_task(server.listen_and_serve())
        async with httpx.AsyncClient(base_url=server.url, headers=BEARER) as client:
            assert (await client.post("/v1/chat/completions", json=CHAT)).status_code == 200
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            with pytest.raises(httpx.ConnectError):
                await client.post("/v1/chat/completions", json=CHAT)

    asyncio.run(scenario())


def test_an_answer_without_end_does_not_keep_the_server_up(
    backend: FakeBackend, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        backend.words, backend.word_seconds = ("never ", "ending "), 60
        server = Server(backend, TOKEN, port=0)
        assert server.config.timeout_graceful_shutdown == 10
        server.config.timeout_graceful_shutdown = 0  # the ten seconds are uvicorn's to count
        running = asyncio.create_task(server.listen_and_serve())
        async with httpx.AsyncClient(base_url=server.url, headers=BEARER) as client:
            answer = asyncio.create_task(client.post("/v1/chat/completions", json=CHAT))
            while not backend.asked:
                await asyncio.sleep(0.01)
            server.should_exit = True
            await asyncio.wait_for(running, 5)
            assert error_of(await answer)["code"] == "shutting_down"

    asyncio.run(scenario())
    assert backend.running == 0
    assert len(backend.closed) == 1
    assert "Traceback" not in caplog.text


def test_forty_requests_at_once_are_answered_at_once(server: Server, backend: FakeBackend) -> None:
    """One after the other they would take 40 x 4 x 0.05 = 8 s."""
    backend.word_seconds = 0.05

    async def forty() -> set[int]:
        async with httpx.AsyncClient(base_url=server.url, headers=BEARER) as client:
            bodies = [CHAT | {"stream": bool(number % 2)} for number in range(40)]
            answers = await asyncio.gather(*(client.post("/v1/chat/completions", json=body) for body in bodies))
        return {answer.status_code for answer in answers}

    began = time.monotonic()
    assert asyncio.run(forty()) == {200}
    assert time.monotonic() - began < 4


def test_a_refusal_is_read_although_a_large_body_was_still_on_its_way(server: Server) -> None:
    with httpx.Client(base_url=server.url) as client:
        body = b"x" * 20 * 2**20
        assert client.post("/v1/chat/completions", content=body, headers=BEARER).status_code == 413
        assert client.post("/v1/chat/completions", content=body[: 8 * 2**20]).status_code == 401


def test_a_request_for_a_websocket_is_refused(server: Server) -> None:
    upgrade = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
    with httpx.Client(base_url=server.url) as client:
        key = {"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="}
        assert client.get("/v1/models", headers=upgrade | key).status_code == 401


def test_nonsense_on_the_wire_is_a_400(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=2) as client:
        client.sendall(b"\x16\x03\x01\x00\x00 not http\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 400")


def test_the_endpoint_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'transformers', 'peft', 'openai', 'fastapi', 'numpy'}"
    code = f"import sys, dittod_service.server; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
