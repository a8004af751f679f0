"""What the tests of ollama's API ask, and how they read what they get."""

from __future__ import annotations

import json
from typing import Any

import httpx
from pydantic import TypeAdapter

from dittod.engine.protocol import Generate

from .conftest import Ask
from .fakes import FakeBackend

CHAT: dict[str, Any] = {"model": "base", "messages": [{"role": "user", "content": "Write to Ann"}]}
PROMPT: dict[str, Any] = {"model": "base", "prompt": "Dear Ann"}
PATHS = [("/api/chat", CHAT), ("/api/generate", PROMPT)]
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "says", "parameters": {"type": "object", "properties": {}}},
}


def lines(response: httpx.Response) -> list[dict[str, Any]]:
    """The objects of a stream."""
    assert (response.status_code, response.headers["content-type"]) == (200, "application/x-ndjson")
    assert response.text.endswith("\n")
    return [json.loads(line) for line in response.text.removesuffix("\n").split("\n")]


def asked(ask: Ask, backend: FakeBackend, path: str, body: dict[str, object]) -> Generate:
    response = ask("POST", path, json=body)
    assert response.status_code == 200, response.text
    return backend.asked[-1]


def refused(response: httpx.Response, status: int = 400) -> str:
    assert response.status_code == status, response.text
    body = response.json()
    assert body.keys() == {"error"}
    return str(body["error"])


def fits(kind: type, value: dict[str, Any]) -> None:
    """It has every key that the type demands, and no others."""
    assert TypeAdapter(kind).validate_json(json.dumps(value), strict=True) == value
