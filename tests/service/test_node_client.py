"""The official client for Node takes the endpoint for the real thing.

Runs only where Node and its package `openai` are found; it is no dependency, and nothing is fetched.
"""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest

from dittod.engine.protocol import AnswerEvent, Generate
from dittod_service.server import Server

from .conftest import TOKEN
from .fakes import WORDS, FakeBackend

FOLDER = Path(__file__).parent / "node"
NODE = shutil.which("node")
TEXT = "".join(WORDS)
SECONDS = 50

Do = Callable[[str], Any]


class ToolUsingBackend(FakeBackend):
    """Calls a tool, if there is one, until it is told what the tool found."""

    async def answer(self, request: Generate) -> AsyncGenerator[AnswerEvent, None]:
        told = any(turn.role == "tool" for turn in request.messages or ())
        self.calls = () if told else (("Weather", ('{"city":', '"Bonn"}')),)
        async for event in super().answer(request):
            yield event


@pytest.fixture
def backend() -> FakeBackend:
    return ToolUsingBackend()


@functools.cache
def missing() -> str | None:
    """What this machine has not, if anything."""
    if NODE is None:
        return "needs Node"
    found = subprocess.run([NODE, "-e", "require.resolve('openai')"], cwd=FOLDER, capture_output=True, timeout=SECONDS)
    return "needs Node's package openai, installed beside the script or on NODE_PATH" if found.returncode else None


@pytest.fixture
def do(server: Server) -> Do:
    """One step of the script, and what it says."""
    if (reason := missing()) is not None:
        pytest.skip(reason)

    def run(step: str) -> Any:
        command = [str(NODE), str(FOLDER / "client.mjs"), f"{server.url}/v1", TOKEN, step]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_a_chat_is_answered(do: Do) -> None:
    answer = do("chat")
    message = {"role": "assistant", "content": TEXT, "refusal": None}
    assert answer["choice"] == {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    assert (answer["model"], answer["tokens"]) == ("ditto/email", 7)


def test_a_chat_is_streamed_with_usage_at_the_end(do: Do) -> None:
    assert do("stream") == {"pieces": ["", *WORDS, "stop"], "tokens": 7}


def test_an_answer_that_is_interrupted_ends_and_the_next_one_is_answered(
    do: Do, backend: FakeBackend, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    backend.word_seconds = 1.0
    assert do("interrupt") == {"seen": WORDS[0], "after": WORDS[0]}
    eventually(lambda: len(backend.closed) == 1 and backend.running == 0)


def test_a_response_is_streamed_and_continued(do: Do, backend: FakeBackend) -> None:
    said = do("respond")
    assert (said["first"], said["second"]) == (TEXT, TEXT)
    assert said["kinds"][0] == "response.created"
    assert said["kinds"].count("response.output_text.delta") == len(WORDS)
    assert said["kinds"][-1] == "response.completed"
    assert [turn.content for turn in backend.asked[1].messages or ()] == ["Write to Ann", TEXT, "And?"]


def test_the_tool_runner_calls_a_tool_and_tells_the_model_what_it_found(do: Do, backend: FakeBackend) -> None:
    assert do("runTools") == {"answer": TEXT, "roles": ["user", "assistant", "tool", "assistant"]}
    assert [turn.content for turn in backend.asked[1].messages or ()][-1] == "rain in Bonn"


def test_embeddings_arrive_as_numbers(do: Do) -> None:
    assert do("embed") == [["0.6", "0.8"]] * 2


def test_models_are_listed_and_found_by_names_with_slashes(do: Do) -> None:
    assert do("models") == {"names": ["base", "ditto", "ditto/email", "ditto/email@1"], "one": "ditto/email@1"}


def test_the_client_rejects_with_its_own_exceptions(do: Do) -> None:
    assert do("fail") == [
        ["NotFoundError", 404, "model_not_found", "model"],
        ["BadRequestError", 400, "invalid_value", "temperature"],
        ["AuthenticationError", 401, "invalid_api_key", None],
    ]
