"""The request that proves a client's settings: sent as they say, and what went wrong in words."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from dittod.clients import all_clients
from dittod.clients.formats import text_of
from dittod.clients.proving import Asked, ask, read_back
from dittod.errors import DittodError, EngineUnavailable

from .texts import KEY

CHAT = ['{"choices": [{"delta": {"content": "Hel"}}]}', '{"choices": [{"delta": {"content": "lo"}}]}', "[DONE]"]
RESPONSES = ['{"type": "response.created"}', '{"type": "response.output_text.delta", "delta": "Hello"}']


class Told(HTTPServer):
    """Answers as it was told, and remembers what it was asked."""

    status = 200
    events = CHAT

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.asked: list[tuple[str, dict[str, str], Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answering(BaseHTTPRequestHandler):
    server: Told

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, dict(self.headers), body))
        self.send_response(self.server.status)
        self.send_header("x-dittod-adapter", "email@3")
        self.end_headers()
        lines = [f"data: {event}\n\n" for event in self.server.events] if self.server.status == 200 else []
        self.wfile.write("".join(lines or self.server.events).encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # nobody is there
    monkeypatch.delenv("DITTO_TOKEN", raising=False)
    with Told() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def asked_as(name: str, address: str) -> Asked:
    client = next(each for each in all_clients(address, "ditto/email", token=KEY) if each.name == name)
    return read_back(client, [text_of(part) for part in client.parts], KEY)


def test_a_chat_is_asked_for_with_key_and_model_of_the_settings(told: Told) -> None:
    heard = ask(asked_as("continue", told.url), None)
    assert (heard.adapter, heard.pieces) == ("email@3", 2)
    ((path, headers, body),) = told.asked
    assert path == "/v1/chat/completions" and headers["Authorization"] == f"Bearer {KEY}"
    assert body["model"] == "ditto/email" and body["stream"] is True and body["max_tokens"] <= 8
    assert "Origin" not in headers


def test_codex_asks_for_a_response(told: Told) -> None:
    told.events = RESPONSES
    assert ask(asked_as("codex", told.url), None).pieces == 1
    path, _, body = told.asked[0]
    assert path == "/v1/responses" and body["store"] is False


def test_what_asks_as_a_page_names_its_origin(told: Told) -> None:
    ask(asked_as("obsidian", told.url), None)
    ask(asked_as("thunderai", told.url), None)
    assert [headers["Origin"] for _, headers, _ in told.asked] == [
        "app://obsidian.md",
        "moz-extension://dittod-connect",
    ]


def test_a_key_in_the_environment_is_the_one_that_the_client_would_send(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DITTO_TOKEN", "an-old-one")
    assert asked_as("codex", told.url).key == "an-old-one"
    assert asked_as("opencode", told.url).key == "an-old-one"
    assert asked_as("continue", told.url).key == KEY  # its own file has it


def test_a_refusal_is_told_in_the_endpoints_words(told: Told) -> None:
    told.status, told.events = 401, ['{"error": {"message": "The key is not right. Ask dittod token"}}']
    with pytest.raises(DittodError, match="The key is not right") as raised:
        ask(asked_as("zed", told.url), None)
    assert raised.value.hint == "Ask dittod token"


def test_an_endpoint_without_an_engine_is_one_to_come_back_to(told: Told) -> None:
    told.status, told.events = 503, ['{"error": {"message": "the engine is not running"}}']
    with pytest.raises(EngineUnavailable, match="the engine is not running"):
        ask(asked_as("zed", told.url), None)


def test_a_server_that_is_no_endpoint_is_told_by_its_number(told: Told) -> None:
    told.status, told.events = 404, ["<html>"]
    with pytest.raises(DittodError, match="404"):
        ask(asked_as("zed", told.url), None)


@pytest.mark.parametrize(
    "events", [['{"error": {"message": "x"}}'], ['{"type": "response.failed", "response": {}}'], ['{"choices": ']]
)
def test_an_answer_that_breaks_off_is_no_proof(told: Told, events: list[str]) -> None:
    told.events = events
    with pytest.raises(DittodError):
        ask(asked_as("zed", told.url), None)


def test_where_nobody_is_the_error_says_how_to_start_it() -> None:
    with pytest.raises(DittodError, match="nothing answers at http") as raised:
        ask(asked_as("zed", "http://127.0.0.1:9"), None)
    assert "dittod run" in raised.value.hint
