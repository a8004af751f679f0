"""The official client, and the program that speaks nothing but responses, take the endpoint for the real thing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import httpx
import openai
import pydantic
import pytest

from dittod.errors import EngineUnavailable, RequestError
from dittod.types import Message
from dittod_service.server import Server

from .conftest import BEARER, TOKEN
from .fakes import EMAIL, WORDS, FakeBackend
from .test_responses_stream import kinds, told

TEXT = "".join(WORDS)


class Person(pydantic.BaseModel):
    """Somebody."""

    name: str


@pytest.fixture
def client(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=TOKEN, max_retries=0) as client:
        yield client


def test_a_response_is_made_found_listed_and_deleted(client: openai.OpenAI) -> None:
    made = client.responses.create(model="ditto/email", input="hi", metadata={"a": "b"})
    assert (made.output_text, made.status, made.metadata) == (TEXT, "completed", {"a": "b"})
    assert client.responses.retrieve(made.id) == made
    assert [item.type for item in client.responses.input_items.list(made.id)] == ["message"]
    with pytest.raises(openai.BadRequestError, match="background"):
        client.responses.cancel(made.id)
    client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)


def test_pages_of_input_items_follow_each_other(client: openai.OpenAI) -> None:
    words = [{"role": "user", "content": str(number)} for number in range(7)]
    made = client.responses.create(model="base", input=words)  # type: ignore[arg-type]
    listed = list(client.responses.input_items.list(made.id, limit=3, order="asc"))
    assert [item.content[0].text for item in listed] == list("0123456")  # type: ignore[union-attr]


def test_a_conversation_goes_on(client: openai.OpenAI, backend: FakeBackend) -> None:
    first = client.responses.create(model="base", input="hi")
    client.responses.create(model="base", input="and then", previous_response_id=first.id)
    assert [message.content for message in backend.asked[-1].messages or ()] == ["hi", TEXT, "and then"]
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="base", input="hi", previous_response_id="resp_none")
    assert (caught.value.code, caught.value.param) == ("previous_response_not_found", "previous_response_id")


def test_a_response_is_streamed(client: openai.OpenAI) -> None:
    with client.responses.create(model="base", input="hi", stream=True) as stream:
        events = list(stream)
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == TEXT
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == TEXT


def test_the_clients_own_stream_puts_everything_together(client: openai.OpenAI, backend: FakeBackend) -> None:
    backend.thought, backend.words = "hm", ('{"name"', ': "Ann"}')
    with client.responses.stream(model="base", input="hi", text_format=Person) as stream:
        snapshots = [event.snapshot for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert snapshots == ['{"name"', '{"name": "Ann"}']
    assert final.output_parsed == Person(name="Ann")
    assert backend.asked[-1].json_schema == openai.lib._pydantic.to_strict_json_schema(Person)


def test_calls_are_parsed(client: openai.OpenAI, backend: FakeBackend) -> None:
    backend.calls = (("Person", ('{"name"', ':"Ann"}')),)
    tool = openai.pydantic_function_tool(Person)["function"] | {"type": "function"}  # type: ignore[operator]
    with client.responses.stream(model="base", input="hi", tools=[tool]) as stream:
        deltas = [event.delta for event in stream if event.type == "response.function_call_arguments.delta"]
        streamed = stream.get_final_response().output[0]
    whole = client.responses.parse(model="base", input="hi", tools=[tool]).output[0]
    assert deltas == ['{"name"', ':"Ann"}']
    for call in (streamed, whole):
        assert call.type == "function_call"
        assert (call.name, call.arguments, call.call_id) == ("Person", '{"name":"Ann"}', "call_0")
    assert backend.asked[-1].tools[0].strict is True


def test_an_answer_is_parsed(client: openai.OpenAI, backend: FakeBackend) -> None:
    backend.words = ('{"name"', ': "Ann"}')
    parsed = client.responses.parse(model="base", input="hi", text_format=Person)
    assert parsed.output_parsed == Person(name="Ann")


def test_the_asynchronous_client_is_answered(server: Server) -> None:
    async def one() -> tuple[str, str, str, int]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=TOKEN, max_retries=0) as client:
            whole = await client.responses.create(model="ditto", input="hi")
            plain = await client.responses.create(model="ditto", input="hi", stream=True)
            pieces = [event.delta async for event in plain if event.type == "response.output_text.delta"]
            async with client.responses.stream(model="ditto", input="hi") as stream:
                final = await stream.get_final_response()
            page = await client.responses.input_items.list(whole.id)
            await client.responses.delete(whole.id)
        return whole.output_text, "".join(pieces), final.output_text, len(page.data)

    assert asyncio.run(one()) == (TEXT, TEXT, TEXT, 1)


def test_the_client_raises_its_own_exceptions(client: openai.OpenAI, backend: FakeBackend) -> None:
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="gpt-5", input="hi")
    backend.error = RequestError("The prompt is too long", param="input", code="context_length_exceeded")
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="base", input="hi", stream=True)
    assert caught.value.code == "context_length_exceeded"


def test_an_error_in_the_middle_of_a_stream_reaches_the_client(client: openai.OpenAI, backend: FakeBackend) -> None:
    backend.error, backend.error_after = EngineUnavailable("The engine died", "ask again"), 2
    with client.responses.create(model="base", input="hi", stream=True) as stream:
        last = list(stream)[-1]
    assert last.type == "response.failed"
    assert last.response.error is not None
    assert last.response.error.message == "The engine died. ask again"


def text(*words: str) -> list[dict[str, str]]:
    return [{"type": "input_text", "text": word} for word in words]


CODEX = {
    "model": "ditto/email",
    "instructions": None,
    "input": [
        {"type": "message", "role": "developer", "content": text("<permissions>all</permissions>", "<mode/>")},
        {"type": "message", "role": "developer", "content": text("<skills/>")},
        {"type": "message", "role": "user", "content": text("<environment/>")},
        {"type": "message", "role": "user", "content": text("Say hello")},
    ],
    "tools": [
        {"type": "function", "name": "shell", "description": "Runs", "strict": False, "parameters": {
            "type": "object", "properties": {"command": {"type": "array", "items": {"type": "string"}}},
            "required": ["command"], "additionalProperties": False,
        }},
        {"type": "namespace", "name": "agents", "description": "Others", "tools": [
            {"type": "function", "name": "spawn", "strict": False, "parameters": {"type": "object"}},
        ]},
        {"type": "web_search", "external_web_access": False},
    ],
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "reasoning": {"summary": "auto"},
    "store": False,
    "stream": True,
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": "0199-a-thread",
    "client_metadata": {"x-codex-installation-id": "one"},
}  # fmt: skip


def test_codexs_request_is_answered_and_its_next_one_too(server: Server, backend: FakeBackend) -> None:
    """What it sends next is the whole conversation with what was answered, without ids and statuses."""
    backend.thought, backend.calls = "hm", (("shell", ('{"command":', '["ls"]}')),)
    with httpx.Client(base_url=server.url, headers=BEARER | {"accept": "text/event-stream"}) as client:
        events = told(client.post("/v1/responses", json=CODEX))
        assert kinds(events)[-1] == "completed"
        request = backend.asked[-1]
        assert (request.adapter, [tool.name for tool in request.tools]) == (EMAIL, ["shell"])
        assert [(turn.role, turn.content) for turn in request.messages or ()] == [
            ("system", "<permissions>all</permissions><mode/>"),
            ("system", "<skills/>"),
            ("user", "<environment/>"),
            ("user", "Say hello"),
        ]
        said = [
            {k: v for k, v in item.items() if k not in ("id", "status")} for item in events[-1]["response"]["output"]
        ]
        output = {"type": "function_call_output", "call_id": "call_0", "output": "README.md"}
        backend.calls = ()
        events = told(client.post("/v1/responses", json=CODEX | {"input": [*CODEX["input"], *said, output]}))
        assert kinds(events)[-1] == "completed"
        thought, called, came = (backend.asked[-1].messages or ())[3:]
        assert thought == Message("user", "Say hello")
        assert (called.reasoning, called.tool_calls[0].arguments) == ("hm", '{"command":["ls"]}')
        assert came == Message("tool", "README.md", tool_call_id="call_0", name="shell")
        assert client.get(f"/v1/responses/{events[-1]['response']['id']}").status_code == 404
        assert json.dumps(events)
