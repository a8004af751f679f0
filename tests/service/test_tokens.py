"""`/tokenize` and `/detokenize`, as vLLM's and llama.cpp's clients ask them."""

from __future__ import annotations

from typing import Any

import pytest

from dittod.engine.protocol import Tokenize, Tokenized
from dittod.errors import RequestError
from dittod.types import Message, Tool
from dittod_service.openai.messages import Turn
from dittod_service.tokens import DetokenizeRequest, TokenizeRequest, to_command

from .conftest import Ask
from .fakes import READY, FakeBackend
from .wire import error_of

HI = [ord("H"), ord("i")]
TALK: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}]}


class Remembering(FakeBackend):
    def __init__(self) -> None:
        super().__init__()
        self.tokenized: list[Tokenize] = []

    async def tokenize(self, command: Tokenize) -> Tokenized:
        self.tokenized.append(command)
        return await super().tokenize(command)


@pytest.fixture
def backend() -> Remembering:
    return Remembering()


@pytest.mark.parametrize("path", ["/tokenize", "/v1/tokenize"])
@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        ({"prompt": "Hi"}, [1, *HI]),
        ({"prompt": ""}, [1]),
        ({"prompt": "Hi", "add_special_tokens": True}, [1, *HI]),
        ({"prompt": "Hi", "add_special_tokens": False}, HI),
        ({"prompt": "Hi", "model": "ditto/email:latest", "future": 1}, [1, *HI]),
        ({"content": "Hi"}, HI),
        ({"content": "Hi", "add_special": True}, [1, *HI]),
    ],
    ids=str,
)
def test_a_text_becomes_token_ids(ask: Ask, path: str, body: dict[str, object], tokens: list[int]) -> None:
    answer = ask("POST", path, json=body)
    assert answer.json() == {"count": len(tokens), "max_model_len": READY.context_tokens, "tokens": tokens}


def test_a_conversation_with_tools_reaches_the_engine(ask: Ask, backend: Remembering) -> None:
    tools = [{"type": "function", "function": {"name": "clock"}}, {"type": "web_search"}]
    assert ask("POST", "/tokenize", json=TALK | {"tools": tools}).status_code == 200
    (command,) = backend.tokenized
    assert (command.prompt, command.messages) == (None, (Message("user", "Hi"),))
    assert command.tools == (Tool("clock"),)


@pytest.mark.parametrize("path", ["/detokenize", "/v1/detokenize"])
def test_token_ids_become_a_text(ask: Ask, path: str) -> None:
    assert ask("POST", path, json={"model": "base", "tokens": HI}).json() == {"prompt": "Hi", "content": "Hi"}
    assert ask("POST", path, json={"tokens": []}).json()["prompt"] == ""


def test_null_is_absent(ask: Ask) -> None:
    nulls = dict.fromkeys(name for name in TokenizeRequest.model_fields if name != "prompt")
    assert ask("POST", "/tokenize", json=nulls | {"prompt": "Hi"}).json()["tokens"] == [1, *HI]
    assert ask("POST", "/detokenize", json={"model": None, "tokens": HI}).status_code == 200


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": "Hi", "content": "Hi"}, "prompt"),
        (TALK | {"prompt": "Hi"}, "prompt"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user"}] * 4097}, "messages"),
        ({"messages": [{"role": "pirate", "content": "Hi"}]}, "messages[0].role"),
        ({"prompt": "Hi", "tools": [{"type": "function", "function": {"name": "clock"}}]}, "tools"),
        ({"prompt": "Hi", "add_special_tokens": "yes"}, "add_special_tokens"),
        (TALK | {"add_generation_prompt": False}, "add_generation_prompt"),
        (TALK | {"continue_final_message": True}, "continue_final_message"),
        (TALK | {"chat_template": "{{ messages }}"}, "chat_template"),
        ({"prompt": "Hi", "return_token_strs": True}, "return_token_strs"),
        ({"content": "Hi", "with_pieces": True}, "with_pieces"),
        ({"prompt": "Hi", "model": 5}, "model"),
        ({"prompt": "Hi", "model": "a" * 257}, "model"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_what_cannot_be_tokenized_is_refused_by_its_name(
    ask: Ask, backend: Remembering, body: dict[str, object], param: str
) -> None:
    answer = ask("POST", "/tokenize", json=body)
    assert (answer.status_code, error_of(answer)["param"]) == (400, param)
    assert backend.tokenized == []


@pytest.mark.parametrize(
    ("tokens", "param"),
    [
        (None, "tokens"),
        ("Hi", "tokens"),
        (["Hi"], "tokens[0]"),
        ([1, True], "tokens[1]"),
        ([1, -1], "tokens[1]"),
        ([1.5], "tokens[0]"),
        ([2**31], "tokens[0]"),
        ([10**400], "tokens[0]"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_no_token_id_is_refused_by_its_place(ask: Ask, tokens: object, param: str) -> None:
    answer = ask("POST", "/detokenize", json={"tokens": tokens})
    assert (answer.status_code, error_of(answer)["param"]) == (400, param)


def test_a_model_that_is_not_there_has_no_tokens(ask: Ask) -> None:
    for path in ("/tokenize", "/detokenize"):
        assert ask("POST", path, json={"model": "gpt-5", "prompt": "Hi", "tokens": [1]}).status_code == 404


def test_more_than_the_engine_reads_within_a_second_is_refused() -> None:
    """By the functions themselves: the body's limit would come first in these tests."""
    long, short = "a" * (2**20 + 1), "a" * 1024
    for given in ({"prompt": long}, {"content": long}, {"messages": [{"role": "user", "content": long}]}):
        with pytest.raises(RequestError) as caught:
            to_command(TokenizeRequest.model_validate(given), "id")
        assert caught.value.param in given
    for more in (
        {"reasoning_content": long},
        {"tool_calls": [{"function": {"name": "look", "arguments": long}}]},
        {"tool_calls": [{"id": short, "function": {"name": "look"}}] * 1025},
        {"tool_calls": [{"function": {"name": short}}] * 1025},
    ):
        with pytest.raises(RequestError) as caught:
            to_command(TokenizeRequest(messages=[Turn(**{"role": "assistant", "content": "", **more})]), "id")
        assert caught.value.param == "messages"
    almost = {"messages": [{"role": "user", "content": long[20:]}]}
    schema = {"properties": {"a" * 20: {}}}
    for more in ({"name": "a" * 20}, {"name": "a", "description": long[:20]}, {"name": "a", "parameters": schema}):
        with pytest.raises(RequestError) as caught:
            to_command(TokenizeRequest.model_validate(almost | {"tools": [{"type": "function"} | more]}), "id")
        assert caught.value.param == "tools"
    with pytest.raises(ValueError, match="at most 262144"):
        DetokenizeRequest.model_validate({"tokens": [1] * (2**18 + 1)})
