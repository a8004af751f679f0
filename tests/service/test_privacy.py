"""What the user wrote reaches the engine, and no log line and no error message."""

from __future__ import annotations

import gc
import json
import logging
from collections.abc import Callable

import httpx
import pytest

from dittod.errors import EngineUnavailable
from dittod_service.server import Server

from .conftest import BEARER, Ask
from .fakes import FakeBackend
from .servers import connect, head, read_all

CANARY = "Zaunkönigs-Geheimnis-4711"
SECRET = [{"role": "user", "content": CANARY}]
CHAT = {"model": "base", "messages": SECRET}

BROKEN: list[object] = [
    CHAT | {"temperature": CANARY},
    CHAT | {"logit_bias": {CANARY: 1}},
    CHAT | {"logit_bias": {"1": CANARY}},
    CHAT | {"stop": [CANARY, 5]},
    CHAT | {"response_format": {"type": CANARY}},
    CHAT | {"tool_choice": CANARY},
    CHAT | {"modalities": [CANARY]},
    CHAT | {"messages": [{"role": CANARY, "content": CANARY}]},
    CHAT | {"messages": [{"role": "user", "content": [{"type": CANARY, "text": CANARY}]}]},
    CHAT | {"messages": [{"role": "user", "content": {CANARY: CANARY}}]},
    CHAT | {"messages": CANARY},
    CHAT | {"stream_options": {CANARY: CANARY}},
    [CANARY],
    CANARY,
]


@pytest.mark.parametrize("body", BROKEN, ids=range(len(BROKEN)))
def test_a_refusal_does_not_quote_the_request(ask: Ask, caplog: pytest.LogCaptureFixture, body: object) -> None:
    for path in ("/v1/chat/completions", "/v1/completions"):
        response = ask("POST", path, json=body)
        assert response.status_code == 400
        assert CANARY not in response.text
        assert "4711" not in response.text
    assert CANARY not in everything_in(caplog)


def test_a_body_that_is_cut_off_is_not_quoted(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    response = ask("POST", "/v1/chat/completions", content='{"model": "base", "messages": "' + CANARY)
    assert (response.status_code, CANARY in response.text) == (400, False)
    assert CANARY not in everything_in(caplog)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("words", [0, 2])
def test_an_unexpected_exception_tells_its_type_to_the_log_and_nothing_to_the_client(
    server: Server, backend: FakeBackend, caplog: pytest.LogCaptureFixture, stream: bool, words: int
) -> None:
    """Through the real server, so that uvicorn's and asyncio's own log lines are read too."""
    backend.error, backend.error_after = KeyError(CANARY), words
    with httpx.Client(base_url=server.url, headers=BEARER) as client:
        response = client.post("/v1/chat/completions", json=CHAT | {"stream": stream})
        plain = client.post("/v1/completions", json={"model": "base", "prompt": [CANARY] * 3})
    gc.collect()  # an exception that nobody took would be logged now
    assert response.status_code == (200 if stream and words else 500)
    assert CANARY not in response.text + plain.text
    log = everything_in(caplog)
    assert CANARY not in log
    assert "A request failed: KeyError at fakes.py:" in log


def test_a_client_that_leaves_leaves_no_trace(
    server: Server,
    backend: FakeBackend,
    caplog: pytest.LogCaptureFixture,
    eventually: Callable[[Callable[[], bool]], None],
) -> None:
    backend.words, backend.word_seconds = (CANARY,) * 1000, 0.01
    with (
        httpx.Client(base_url=server.url, headers=BEARER) as client,
        client.stream("POST", "/v1/chat/completions", json=CHAT | {"stream": True}) as response,
    ):
        next(response.iter_bytes())
    eventually(lambda: backend.running == 0)
    gc.collect()
    assert CANARY not in everything_in(caplog)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_what_is_refused_is_neither_quoted_nor_logged(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    canary = CANARY.encode("ascii", "ignore").decode()
    body = json.dumps(CHAT).encode() + canary.encode()
    sent = [
        head("/v1/nothing?x=" + canary, "GET", Connection="close"),
        head("/" + canary, "GET", Connection="close"),
        head("/v1/models", "GET", Authorization=canary, X_Api_Key=canary, Connection="close"),
        head("/v1/models", "GET", Host=canary, Connection="close"),
        head("/v1/models", "GET", Origin=canary, X_Other=canary, Connection="close"),
        head(Content_Type="text/plain", Content_Length=len(body), Connection="close") + body,
        head(Content_Length=10**10, Connection="close") + body,
        head(Transfer_Encoding="chunked") + body + b"\r\n",
        head(Content_Length=len(body), Connection="close") + body,
        canary.encode() + b"\r\n\r\n",
    ]
    for each in sent:
        with connect(server) as client:
            client.sendall(each)
            answer = read_all(client)
        assert answer.startswith(b"HTTP/1.1 4"), each
        assert b"Geheimnis" not in answer  # not the number, which might be a port's or a part of an id
    assert "Geheimnis" not in everything_in(caplog)


def test_a_known_trouble_is_logged_with_its_title(
    ask: Ask, backend: FakeBackend, caplog: pytest.LogCaptureFixture
) -> None:
    backend.error = EngineUnavailable("The engine was killed")
    ask("POST", "/v1/chat/completions", json=CHAT)
    assert "A request failed: The engine was killed" in everything_in(caplog)


def everything_in(caplog: pytest.LogCaptureFixture) -> str:
    """Every record as a handler would write it, with its traceback."""
    formatter = logging.Formatter()
    return "\n".join(formatter.format(record) for record in caplog.records)
