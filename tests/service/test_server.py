"""The server finds its port, says when it cannot, answers many at once, and ends when it is told."""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from dittod.errors import SettingsError
from dittod_service.app import Limits
from dittod_service.server import FINISH_SECONDS, LAST_WORD_SECONDS, Server, Terms, doubts

from .conftest import BEARER, TOKEN
from .fakes import FakeBackend
from .servers import CHAT, connect, head, is_hung_up, post, read_all, running
from .wire import error_of

Certificate = tuple[Path, Path]  # and its key

HANDLERS = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}  # before any server


def test_a_taken_port_is_named_with_what_to_change(server: Server, backend: FakeBackend) -> None:
    with pytest.raises(SettingsError, match=f"Port {server.port} at 127.0.0.1 is taken") as caught:
        Server(backend, TOKEN, port=server.port)
    assert "`port` in dittod.toml" in caught.value.hint
    assert "DITTOD_PORT" in caught.value.hint


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
        assert server.config.timeout_graceful_shutdown == FINISH_SECONDS
        server.config.timeout_graceful_shutdown = 0  # the seconds are uvicorn's to count
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


def test_a_stream_that_is_cut_off_says_so(backend: FakeBackend, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> str:
        backend.words, backend.word_seconds = ("word ",) * 10_000, 0.01
        server = Server(backend, TOKEN, port=0)
        server.config.timeout_graceful_shutdown = 0
        running = asyncio.create_task(server.listen_and_serve())
        async with httpx.AsyncClient(base_url=server.url, headers=BEARER) as client:
            answer = asyncio.create_task(client.post("/v1/chat/completions", json=CHAT | {"stream": True}))
            while not backend.asked:
                await asyncio.sleep(0.01)
            server.should_exit = True
            await asyncio.wait_for(running, 5)
            return (await answer).text

    last = asyncio.run(scenario()).rstrip().rpartition("\n\n")[2]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "shutting_down"
    assert backend.running == 0
    assert "Traceback" not in caplog.text


def test_a_client_that_does_not_read_does_not_keep_the_server_up(
    backend: FakeBackend, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> float:
        backend.words = ("x" * 100_000,) * 1000
        server = Server(backend, TOKEN, port=0)
        server.config.timeout_graceful_shutdown = 0
        running = asyncio.create_task(server.listen_and_serve())
        _, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1)
        writer.write(post(CHAT | {"stream": True}))
        while not any(each.flow.write_paused for each in server._connections()):
            await asyncio.sleep(0.01)
        begun = time.monotonic()
        server.should_exit = True
        await asyncio.wait_for(running, 10)
        writer.transport.abort()
        return time.monotonic() - begun

    assert asyncio.run(scenario()) < 2 * LAST_WORD_SECONDS + 1
    assert backend.running == 0
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat"])
def test_a_request_that_comes_when_the_end_has_begun_is_told_so(backend: FakeBackend, path: str) -> None:
    async def scenario() -> httpx.Response:
        server = Server(backend, TOKEN, port=0)
        running = asyncio.create_task(server.listen_and_serve())
        async with httpx.AsyncClient(base_url=server.url, headers=BEARER) as client:
            assert (await client.get("/health")).status_code == 200
            server.should_exit = True  # which uvicorn sees a tenth of a second later
            answer = await client.post(path, json=CHAT)
        await asyncio.wait_for(running, 5)
        return answer

    answer = asyncio.run(scenario())
    told = answer.json()["error"]
    assert told == "The server is shutting down" if path == "/api/chat" else told["code"] == "shutting_down"
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["x-request-id"]
    assert backend.asked == []


def test_only_listed_hosts_and_origins_are_let_in_by_the_whole_server(backend: FakeBackend) -> None:
    terms = Terms(allowed_hosts=["desk.local"], allowed_origins=["app://obsidian.md"])
    with running(backend, terms) as server, httpx.Client(base_url=server.url, headers=BEARER) as client:
        for given, status in (
            ({"host": "desk.local"}, 200),
            ({"host": "other.local"}, 403),
            ({"origin": "app://obsidian.md"}, 200),
            ({"origin": "app://other"}, 403),
        ):
            assert client.get("/v1/models", headers=given).status_code == status


def test_more_answers_than_allowed_are_a_429(backend: FakeBackend) -> None:
    backend.word_seconds = 0.2
    with running(backend, Terms(limits=Limits(answers=2))) as server:

        async def three() -> list[int]:
            async with httpx.AsyncClient(base_url=server.url, headers=BEARER) as client:
                answers = await asyncio.gather(*(client.post("/v1/chat/completions", json=CHAT) for _ in range(3)))
                return sorted(answer.status_code for answer in answers)

        assert asyncio.run(three()) == [200, 200, 429]


def test_without_a_token_to_know_the_server_lets_in_who_has_another(backend: FakeBackend) -> None:
    with running(backend, Terms(require_token=False)) as server, httpx.Client(base_url=server.url) as client:
        assert client.get("/v1/models", headers={"authorization": "Bearer ollama"}).status_code == 200
        assert client.post("/v1/chat/completions", json=CHAT).status_code == 200
        form = {"content-type": "application/x-www-form-urlencoded"}
        assert client.post("/v1/chat/completions", content=json.dumps(CHAT), headers=form).status_code == 415


def test_with_a_certificate_it_speaks_tls_and_nothing_else(backend: FakeBackend, certificate: Certificate) -> None:
    with running(backend, Terms(tls=certificate)) as server:
        assert server.url.startswith("https://")
        context = ssl.create_default_context(cafile=certificate[0])
        with httpx.Client(base_url=server.url, headers=BEARER, verify=context) as client:
            assert client.post("/v1/chat/completions", json=CHAT).status_code == 200
            own = {"origin": server.url, "host": server.url.removeprefix("https://")}
            assert client.get("/v1/models", headers=own).status_code == 200
        with connect(server) as plain:
            plain.sendall(head("/health", "GET"))
            assert b"200" not in read_all(plain)


def test_a_client_that_never_begins_with_tls_is_hung_up_on(
    backend: FakeBackend, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dittod_service.server.HANDSHAKE_SECONDS", 0.2)
    with running(backend, Terms(tls=certificate)) as server, connect(server) as silent:
        assert is_hung_up(silent)


def test_a_socket_in_a_file_is_served_besides_the_port_and_without_encryption(
    backend: FakeBackend, certificate: Certificate, tmp_path: Path
) -> None:
    path = tmp_path / "private" / "endpoint"
    with running(backend, Terms(tls=certificate, unix_socket=path)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        transport = httpx.HTTPTransport(uds=str(path))
        with httpx.Client(base_url="http://localhost", transport=transport) as client:
            assert client.get("/v1/models").status_code == 401
            assert client.get("/v1/models", headers=BEARER).status_code == 200
            assert client.get("/v1/models", headers=BEARER | {"host": "evil.example"}).status_code == 403
    assert not path.exists()


def test_an_error_at_the_beginning_leaves_nothing_open(backend: FakeBackend, tmp_path: Path) -> None:
    taken = tmp_path / "file"
    taken.write_text("mine")
    for terms in (Terms(unix_socket=taken), Terms(tls=(tmp_path / "none", tmp_path / "none"))):
        with pytest.raises(SettingsError):
            Server(backend, TOKEN, port=0, terms=terms)
    gc.collect()  # a socket left open would warn here
    assert taken.read_text() == "mine"


def test_an_open_door_is_pointed_out(certificate: Certificate) -> None:
    loopback = {"has_token": True, "on_loopback": True, "tls": None}
    assert list(said(**loopback)) == []
    assert [*said(**loopback | {"has_token": False})] == ["no token is asked for"]
    assert [*said(**loopback | {"on_loopback": False})] == ["without encryption"]
    assert [*said(has_token=True, on_loopback=False, tls=certificate)] == []
    assert [*said(has_token=False, on_loopback=False, tls=certificate)] == ["ANYBODY IN THE NETWORK"]
    assert [*said(has_token=False, on_loopback=False, tls=None)] == ["ANYBODY IN THE NETWORK", "without encryption"]
    certificate[1].chmod(0o640)
    assert [*said(has_token=True, on_loopback=True, tls=certificate)] == ["chmod 600"]


def test_what_is_pointed_out_stands_in_the_log(backend: FakeBackend, caplog: pytest.LogCaptureFixture) -> None:
    Server(backend, TOKEN, host="0.0.0.0", port=0, terms=Terms(require_token=False)).socket.close()
    assert [record.levelname for record in caplog.records if record.name == "dittod_service.server"] == ["WARNING"] * 2


def said(*, has_token: bool, on_loopback: bool, tls: Certificate | None) -> Iterator[str]:
    """Each doubt by some words of it."""
    known = ("ANYBODY IN THE NETWORK", "without encryption", "no token is asked for", "chmod 600")
    for sentence in doubts("http://x", on_loopback, tls, has_token=has_token):
        yield next(words for words in known if words in sentence)


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


def test_the_endpoint_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'transformers', 'peft', 'openai', 'fastapi', 'numpy'}"
    code = f"import sys, dittod_service.server; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
