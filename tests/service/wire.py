"""How tests read what came over the wire: strictly, by the `openai` package's own types."""

from __future__ import annotations

import json
from typing import Any

import httpx
from openai import BaseModel
from openai.types import Completion
from openai.types.chat import ChatCompletionChunk

# fields that OpenAI's types do not have, and that vLLM's have
OURS = {"root", "parent", "max_model_len", "reasoning_content"}


def events(response: httpx.Response) -> list[str]:
    """The stream's server-sent events and comments, as text."""
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.text.endswith("\n\n")
    return response.text.removesuffix("\n\n").split("\n\n")


def chunks(response: httpx.Response) -> list[dict[str, Any]]:
    """The JSON objects of a stream that ended well."""
    lines = [line for line in events(response) if not line.startswith(":")]
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


def valid(kind: type[BaseModel], value: dict[str, Any]) -> None:
    """Every field that the type demands is there, of its exact JSON type, and there are no others."""
    parsed = kind.model_validate_json(json.dumps(value), strict=True)
    assert_known(parsed)


def assert_known(value: object) -> None:
    if isinstance(value, list):
        for each in value:
            assert_known(each)
    elif isinstance(value, BaseModel):
        assert set(value.model_extra or {}) <= OURS
        for name in type(value).model_fields:
            assert_known(getattr(value, name))


def valid_chat_chunk(chunk: dict[str, Any]) -> None:
    valid(ChatCompletionChunk, chunk)
    for choice in chunk["choices"]:
        assert choice.keys() == {"index", "delta", "logprobs", "finish_reason"}


def valid_completion(value: dict[str, Any]) -> None:
    """OpenAI sends null for the log-prob of a prompt's first token, which its package's type does not allow."""
    valid(Completion, value | {"choices": [_without_nulls(choice) for choice in value["choices"]]})


def valid_completion_chunk(chunk: dict[str, Any]) -> None:
    """OpenAI sends a null `finish_reason` until the end, which its package's type does not allow either."""
    for choice in chunk["choices"]:
        assert choice.keys() == {"index", "text", "logprobs", "finish_reason"}
    ended = [choice | {"finish_reason": choice["finish_reason"] or "stop"} for choice in chunk["choices"]]
    valid_completion(chunk | {"choices": ended})


def _without_nulls(choice: dict[str, Any]) -> dict[str, Any]:
    logprobs = choice["logprobs"]
    if logprobs is None or logprobs["token_logprobs"][0] is not None:
        return choice
    assert logprobs["top_logprobs"][0] is None
    first = {
        name: [{} if name == "top_logprobs" else 0.0, *logprobs[name][1:]]
        for name in ("token_logprobs", "top_logprobs")
    }
    return choice | {"logprobs": logprobs | first}


def error_of(response: httpx.Response) -> dict[str, Any]:
    """The error object, which has OpenAI's four fields and no others."""
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert body.keys() == {"error"}
    error = body["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["message"] and error["type"]
    return dict(error)
