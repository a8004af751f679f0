"""Clients that dawdle, lie, or come in crowds are ended with an answer, and the others never notice."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import httpx
import pytest

from dittod_service.app import Limits
from dittod_service.connections import Patience
from dittod_service.listening import may_open_files
from dittod_service.server import Server, Terms

from .conftest import BEARER
from .fakes import FakeBackend
from .servers import CHAT, connect, head, is_hung_up, post, read_all, running

Eventually = Callable[[Callable[[], bool]], None]
HASTY = Terms(limits=Limits(body_seconds=0.5, body_bytes=10**6), patience=Patience(head_seconds=0.5, deaf_seconds=0.5))


@pytest.fixture
def hasty(backend: FakeBackend) -> Iterator[Server]:
    """A server whose patience is short."""
    with running(backend, HASTY) as server:
        yield server


def test_a_client_that_says_nothing_is_hung_up_on(hasty: Server) -> None:
    with connect(hasty) as client:
        assert read_all(client) == b""


def test_a_client_that_drips_its_headers_is_hung_up_on(hasty: Server) -> None:
    with connect(hasty) as client:
        assert drips_until_hung_up(client, b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 1000)


def test_a_second_request_may_not_drip_either(hasty: Server) -> None:
    """Uvicorn stops its own clock with the first byte."""
    with connect(hasty) as client:
        client.sendall(head("/health", "GET"))
        assert client.recv(10_000).startswith(b"HTTP/1.1 200")
        assert drips_until_hung_up(client, b"GET /health HTTP/1.1\r\nX: " + b"x" * 1000)


@pytest.mark.parametrize("length", [{"Content_Length": 100_000}, {"Transfer_Encoding": "chunked"}])
def test_a_body_that_drips_is_a_408_and_the_end(hasty: Server, backend: FakeBackend, length: dict[str, object]) -> None:
    with connect(hasty) as client:
        client.sendall(head(**length) + b"5\r\nhello\r\n")
        answer = read_all(client)
    assert answer.startswith(b"HTTP/1.1 408") and b'"code":"request_timeout"' in answer
    assert b"connection: close" in answer
    assert backend.asked == []


def test_a_client_that_waits_for_its_answer_may_be_silent(hasty: Server, backend: FakeBackend) -> None:
    backend.word_seconds = 0.25  # four of them: longer than the patience with headers and bodies
    with httpx.Client(base_url=hasty.url, headers=BEARER) as client:
        assert client.post("/v1/chat/completions", json=CHAT).status_code == 200
        assert client.post("/v1/chat/completions", json=CHAT | {"stream": True}).text.endswith("[DONE]\n\n")


def test_a_stream_that_nobody_reads_is_ended_and_others_go_on(
    hasty: Server, backend: FakeBackend, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    backend.words = ("x" * 100_000,) * 1000
    with connect(hasty) as client:
        client.sendall(post(CHAT | {"stream": True}))
        eventually(lambda: backend.running == 1)
        with httpx.Client(base_url=hasty.url, headers=BEARER) as other:
            quick = other.post("/v1/chat/completions", json=CHAT | {"max_tokens": 1})
            assert quick.status_code == 200
        eventually(lambda: backend.running == 0)
        assert len(backend.closed) == 1
        assert is_hung_up(client)
    assert "Traceback" not in caplog.text


def test_an_answer_that_nobody_fetches_is_thrown_away(hasty: Server, backend: FakeBackend) -> None:
    """The work is done, the bytes are not gone: they must not be kept for ever."""
    backend.words = ("x" * 20_000_000,)
    with connect(hasty) as client:
        client.sendall(post(CHAT))
        assert len(read_all_slowly(client, 1.5)) < 20_000_000


def test_a_stream_that_is_read_slowly_goes_on(hasty: Server, backend: FakeBackend) -> None:
    """The patience is with reading nothing at all."""
    backend.words = ("x" * 100_000,) * 200
    with connect(hasty) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 100_000)
        client.sendall(post(CHAT | {"stream": True}, Connection="close"))
        read = 0
        begun = time.monotonic()
        while data := client.recv(400_000):
            read += len(data)
            time.sleep(0.01)
        assert read > 20_000_000
        assert time.monotonic() - begun > 0.5


def test_beyond_the_most_connections_clients_are_told_to_come_later(backend: FakeBackend) -> None:
    few = Terms(patience=Patience(connections=4, turned_away=2))
    with running(backend, few) as server, ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(6)]
        assert is_hung_up(stack.enter_context(connect(server)))
        for client, path in zip(clients[4:], ("/health", "/api/tags"), strict=True):
            client.sendall(head(path, "GET"))
            answer = read_all(client)
            assert answer.startswith(b"HTTP/1.1 503") and b"retry-after: 5" in answer
            assert b"x-content-type-options: nosniff" in answer and b"x-request-id: req_" in answer
            expected = b'{"error":"Too many' if path == "/api/tags" else b'"code":"too_many_connections"'
            assert expected in answer
        for client in clients[:4]:
            client.sendall(head("/health", "GET"))
            assert client.recv(10_000).startswith(b"HTTP/1.1 200")
        clients.pop().close()
        clients.pop(0).close()
        wait_for_room(server)


def test_five_hundred_connections_do_not_keep_others_from_their_answers(backend: FakeBackend) -> None:
    """A third say nothing, a third drip, a third ask at once; meanwhile `/health` answers, and nobody is forgotten."""
    backend.word_seconds = 0.2
    terms = Terms(patience=Patience(head_seconds=3.0), limits=Limits(answers=100))
    with running(backend, terms) as server:
        statuses, slowest = asyncio.run(crowd(server, 500))
    assert set(statuses) == {"200", "429", "silent", "drip"}
    assert (statuses["silent"], statuses["drip"]) == (166, 167)
    assert statuses["200"] >= 100
    assert slowest < 5.0  # as long as it takes to hang up on everybody who says nothing, and more
    assert backend.most_running <= 100
    assert backend.running == 0


def test_as_many_files_may_be_open_as_a_crowd_needs() -> None:
    assert may_open_files() >= 2048


async def crowd(server: Server, size: int) -> tuple[dict[str, int], float]:
    """What became of each connection, and the longest that `/health` took meanwhile."""
    found: dict[str, int] = {}
    everybody = [asyncio.create_task(one(server, number, found)) for number in range(size)]
    slowest = 0.0
    async with httpx.AsyncClient(base_url=server.url) as client:
        while not all(task.done() for task in everybody):
            begun = time.monotonic()
            assert (await client.get("/health", timeout=10)).status_code == 200
            slowest = max(slowest, time.monotonic() - begun)
            await asyncio.sleep(0.05)
    await asyncio.gather(*everybody)
    return found, slowest


async def one(server: Server, number: int, found: dict[str, int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    kind = ("posting", "drip", "silent")[number % 3]
    if kind == "posting":
        writer.write(post(CHAT, Connection="close"))
        kind = (await reader.read()).split(b" ")[1].decode()
    elif kind == "drip":
        for byte in b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx":
            if reader.at_eof():
                break
            writer.write(bytes([byte]))
            await asyncio.sleep(0.2)
    with suppress(ConnectionResetError if kind == "drip" else ()):  # a byte may cross the hanging up
        await reader.read()
    found[kind] = found.get(kind, 0) + 1
    writer.close()


HEALTH = head("/health", "GET")
ODD: list[tuple[bytes, bytes]] = [
    (b"\x16\x03\x01\x00\x00 not http\r\n\r\n", b"400"),
    (b"GET /health\r\n\r\n", b"400"),
    (b"GET /health HTTP/1.1\r\n\r\n", b"400"),
    (b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", b"400"),
    (b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", b"400"),
    (b"GET /health HTTP/1.1\r\nHost:\r\n\r\n", b"403"),
    (b"GET /health HTTP/1.0\r\n\r\n", b"403"),
    (b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n", b"200"),
    (b"GET http://evil.example/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", b"400"),
    (b"GET //health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", b"401"),
    (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", b"400"),
    (b"CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", b"400"),
    (b"TRACE /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", b"405"),
    (b"GET /health HTTP/9.9\r\nHost: localhost\r\n\r\n", b"200"),
    (b"GET /" + b"x" * 50_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", b"400 401"),  # as it comes in one piece or not
    (b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 9_000 + b"\r\n", b"400 200"),
    (b"GET /health HTTP/1.1\r\nHost: localhost\r\nX y: z\r\n\r\n", b"400"),
    (b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: a\x00b\r\n\r\n", b"400"),
    (b"GET /v1/models/\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n", b"400"),
    (head("/v1/models/%ff%fe%00%ed%a0%80", "GET", Connection="close"), b"404"),
    (head("/v1/models?%ff=%fe&&=&a[]=%", "GET", Connection="close"), b"200"),
    (head("/v1/models/..%2f..%2fetc%2fpasswd", "GET", Connection="close"), b"404"),
    (head("/health", "GET", Connection="Upgrade", Upgrade="websocket"), b"200"),
    (head("/health", "GET", Connection="Upgrade, HTTP2-Settings", Upgrade="h2c"), b"200"),
    (head(Content_Length="-1"), b"400"),
    (head(Content_Length="1e3"), b"400"),
    (head(Content_Length="99999999999999999999"), b"413"),
    (head(Content_Length="9999999999", Connection="close"), b"413"),
    (head(Content_Length="2", Connection="close") + b"{}{}", b"400"),
    (head(Transfer_Encoding="gzip"), b"400"),
    (head(Transfer_Encoding="chunked", Connection="close") + b"2\r\n{}\r\n0\r\n\r\n", b"400"),
    (head(Transfer_Encoding="chunked") + b"zz\r\n{}\r\n", b"400"),
    (head(Transfer_Encoding="chunked") + b"2\r\n{}garbage", b"400"),
    (post(CHAT, Expect="100-continue", Connection="close"), b"100"),
    (post(CHAT, Expect="200-nonsense", Connection="close"), b"200"),
]


def test_nothing_that_is_sent_makes_the_server_stumble(hasty: Server, caplog: pytest.LogCaptureFixture) -> None:
    for sent, status in ODD:
        with connect(hasty) as client:
            client.sendall(sent)
            begun = client.recv(12)
            assert begun.startswith(b"HTTP/1.1 ") and begun[9:] in status.split(), sent[:200]
            is_hung_up(client, 0.02)  # whatever follows is read here
        with connect(hasty) as client:
            client.sendall(HEALTH)
            assert client.recv(12) == b"HTTP/1.1 200", sent[:200]
    assert_quiet(caplog)


def test_nonsense_gets_an_answer_in_the_usual_shape(hasty: Server) -> None:
    with connect(hasty) as client:
        client.sendall(b"nonsense\r\n\r\n")
        top, _, body = read_all(client).partition(b"\r\n\r\n")
    assert json.loads(body)["error"]["code"] == "invalid_http"
    assert f"content-length: {len(body)}".encode() in top
    assert b"x-content-type-options: nosniff" in top and b"connection: close" in top


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_sent_more_than_it_should_may_leave_too(
    hasty: Server, backend: FakeBackend, eventually: Eventually, caplog: pytest.LogCaptureFixture, stream: bool
) -> None:
    """Uvicorn stops listening at the first byte behind a request, and would answer somebody who has gone."""
    backend.words, backend.word_seconds = ("word ",) * 200, 0.05
    whole = json.dumps(CHAT | {"stream": stream}).encode()
    with connect(hasty) as client:
        client.sendall(head(Transfer_Encoding="chunked") + b"%x\r\n%s\r\n0\r\n\r\n" % (len(whole), whole))
        eventually(lambda: backend.running == 1)
        client.sendall(b"\r\n nonsense\r\n\r\n")
    eventually(lambda: backend.running == 0)
    assert_quiet(caplog)


def test_a_chunk_without_sense_behind_an_early_answer_ends_the_connection_quietly(
    hasty: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Uvicorn would answer a second time, and log what its parser raises then."""
    with connect(hasty) as client:
        client.sendall(head("/health", "GET", Transfer_Encoding="chunked") + b"5\r\nhello\r\n")
        assert client.recv(12) == b"HTTP/1.1 200"
        client.sendall(b"nonsense\r\n")
        assert is_hung_up(client)
    assert_quiet(caplog)


def test_requests_in_a_row_are_answered_in_a_row(hasty: Server, backend: FakeBackend) -> None:
    with connect(hasty) as client:
        client.sendall(HEALTH + post(CHAT) + HEALTH + head("/v1/nothing", "GET", Connection="close"))
        answers = read_all(client)
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200", b"200", b"200", b"404"]
    assert len(backend.asked) == 1


def test_a_body_that_ends_before_its_announced_length_is_forgotten(
    hasty: Server, backend: FakeBackend, caplog: pytest.LogCaptureFixture
) -> None:
    with connect(hasty) as client:
        client.sendall(head(Content_Length=1000) + b'{"model": "base"')
        client.shutdown(socket.SHUT_WR)
        assert is_hung_up(client)
    assert backend.asked == []
    assert_quiet(caplog)


def drips_until_hung_up(client: socket.socket, data: bytes) -> bool:
    """Sends a byte every few milliseconds; whether the server loses its patience before the end."""
    over = threading.Event()

    def drip() -> None:
        try:
            for byte in data:
                client.sendall(bytes([byte]))
                if over.wait(0.02):
                    return
        except OSError:
            return

    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        return is_hung_up(client)
    finally:
        over.set()
        dripping.join()


def read_all_slowly(client: socket.socket, silence_seconds: float) -> bytes:
    """What still comes after a silence."""
    time.sleep(silence_seconds)
    try:
        return read_all(client)
    except ConnectionError:
        return b""


def wait_for_room(server: Server) -> None:
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        with connect(server) as client:
            client.sendall(HEALTH)
            if client.recv(12) == b"HTTP/1.1 200":
                return
        time.sleep(0.02)
    raise AssertionError("there is still no room")


def assert_quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Neither a traceback nor an error: whoever can connect could fill the log."""
    assert "Traceback" not in caplog.text
    assert [record.message for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []
