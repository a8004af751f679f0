"""The official client takes the endpoint for the real thing: sync, async and streaming, over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import openai
import pytest
from openai.types import CompletionUsage
from pydantic import BaseModel

from dittod.errors import EngineUnavailable, RequestError
from dittod_service.openai.errors import Failure, Refused
from dittod_service.server import Server

from .conftest import TOKEN
from .fakes import WORDS, FakeBackend

TEXT = "".join(WORDS)
HELLO = [{"role": "user", "content": "Write to Ann"}]


def tokens(usage: CompletionUsage | None) -> tuple[int, int, int]:
    assert usage is not None
    return usage.prompt_tokens, usage.completion_tokens, usage.total_tokens


@pytest.fixture
def client(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=TOKEN, max_retries=0) as client:
        yield client


def test_a_chat_is_answered(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="ditto/email", messages=HELLO)
    assert answer.choices[0].message.content == TEXT
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "ditto/email"
    assert answer.system_fingerprint == "0123456789ab"
    assert tokens(answer.usage) == (3, 4, 7)


def test_a_chat_is_streamed_with_usage_at_the_end(client: openai.OpenAI) -> None:
    options = {"include_usage": True}
    with client.chat.completions.create(
        model="base", messages=HELLO, stream=True, n=2, stream_options=options
    ) as stream:
        chunks = list(stream)
    for index in range(2):
        of_choice = [c.choices[0] for c in chunks if c.choices and c.choices[0].index == index]
        assert of_choice[0].delta.role == "assistant"
        assert "".join(choice.delta.content or "" for choice in of_choice) == TEXT
        assert [choice.finish_reason for choice in of_choice] == [None] * 5 + ["stop"]
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * 12
    assert tokens(chunks[-1].usage) == (3, 8, 11)
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_plain_completion_is_answered_and_streamed(client: openai.OpenAI) -> None:
    whole = client.completions.create(model="base", prompt="Dear", max_tokens=2)
    assert (whole.choices[0].text, whole.choices[0].finish_reason) == ("Kind regards", "length")
    with client.completions.create(model="base", prompt="Dear", stream=True) as stream:
        assert "".join(chunk.choices[0].text for chunk in stream) == TEXT


def test_models_are_listed_and_found_by_names_with_slashes(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert names == ["base", "ditto", "ditto/email", "ditto/email@1"]
    assert client.models.retrieve("ditto/email@1").id == "ditto/email@1"  # sent as ditto%2Femail%401


def test_the_asynchronous_client_is_answered_ten_times_at_once(server: Server, backend: FakeBackend) -> None:
    backend.word_seconds = 0.02

    async def ten() -> list[str | None]:
        async with openai.AsyncOpenAI(base_url=server.url, api_key=TOKEN, max_retries=0) as client:
            create = client.chat.completions.create
            answers = await asyncio.gather(*(create(model="ditto", messages=HELLO) for _ in range(10)))
            stream = await create(model="ditto", messages=HELLO, stream=True)
            text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        return [text, *(answer.choices[0].message.content for answer in answers)]

    assert asyncio.run(ten()) == [TEXT] * 11
    assert backend.most_running > 5


class Weather(BaseModel):
    """The weather in one city."""

    city: str
    days: int = 1


WEATHER_TOOL = openai.pydantic_function_tool(Weather)
CALL = (("Weather", ('{"city"', ':"Bonn","days":2}')),)


def test_an_answer_is_parsed_into_a_pydantic_model(client: openai.OpenAI, backend: FakeBackend) -> None:
    backend.words = ('{"city"', ':"Bonn"', ',"days":2}')
    answer = client.chat.completions.parse(model="base", messages=HELLO, response_format=Weather)
    assert answer.choices[0].message.parsed == Weather(city="Bonn", days=2)
    schema = backend.asked[0].json_schema
    assert schema is not None
    assert (schema["type"], schema["required"], schema["additionalProperties"]) == ("object", ["city", "days"], False)


def test_a_stream_is_parsed_into_a_pydantic_model(client: openai.OpenAI, backend: FakeBackend) -> None:
    backend.words = ('{"city"', ':"Bonn"', ',"days":2}')
    with client.chat.completions.stream(model="base", messages=HELLO, response_format=Weather) as stream:
        deltas = [event.delta for event in stream if event.type == "content.delta"]
        final = stream.get_final_completion()
    assert deltas == ["", *backend.words]
    assert final.choices[0].message.parsed == Weather(city="Bonn", days=2)


def test_tool_calls_are_parsed_whole_and_streamed(client: openai.OpenAI, backend: FakeBackend) -> None:
    backend.calls = CALL
    whole = client.chat.completions.parse(model="base", messages=HELLO, tools=[WEATHER_TOOL])
    with client.chat.completions.stream(model="base", messages=HELLO, tools=[WEATHER_TOOL]) as stream:
        pieces = [event.arguments_delta for event in stream if event.type == "tool_calls.function.arguments.delta"]
        final = stream.get_final_completion()
    for answer in (whole, final):
        assert answer.choices[0].finish_reason == "tool_calls"
        (call,) = answer.choices[0].message.tool_calls or []
        assert (call.id, call.function.parsed_arguments) == ("call_0", Weather(city="Bonn", days=2))
    assert pieces == ["", *CALL[0][1]]
    assert [(tool.name, tool.strict) for tool in backend.asked[0].tools] == [("Weather", True)]


def test_a_conversation_with_a_tool_goes_on(client: openai.OpenAI, backend: FakeBackend) -> None:
    """The assistant's turn is sent back as the package has it, with every null."""
    backend.calls, backend.thought = CALL, "I should look."
    create = client.chat.completions.create
    asked = create(model="base", messages=HELLO, tools=[WEATHER_TOOL]).choices[0].message
    assert asked.model_extra == {"reasoning_content": "I should look."}
    result = {"role": "tool", "tool_call_id": "call_0", "content": "rain"}
    backend.calls = ()
    answer = create(model="base", messages=[*HELLO, asked, result], tools=[WEATHER_TOOL])
    assert answer.choices[0].message.content == TEXT
    _, turn, told = backend.asked[-1].messages or ()
    assert (turn.reasoning, turn.tool_calls[0].arguments) == ("I should look.", '{"city":"Bonn","days":2}')
    assert (told.role, told.name, told.content) == ("tool", "Weather", "rain")


def test_the_asynchronous_helpers_are_served_too(server: Server, backend: FakeBackend) -> None:
    backend.calls = CALL

    async def helpers() -> tuple[object, object]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=TOKEN, max_retries=0) as client:
            completions = client.chat.completions
            whole = await completions.parse(model="base", messages=HELLO, tools=[WEATHER_TOOL])
            async with completions.stream(model="base", messages=HELLO, tools=[WEATHER_TOOL], n=2) as stream:
                final = await stream.get_final_completion()
        calls = [choice.message.tool_calls or [] for choice in (*whole.choices, *final.choices)]
        return [len(each) for each in calls], {call.function.parsed_arguments.city for each in calls for call in each}

    assert asyncio.run(helpers()) == ([1, 1, 1], {"Bonn"})


def test_logprobs_and_echo_reach_the_client(client: openai.OpenAI) -> None:
    chat = client.chat.completions.create(model="base", messages=HELLO, logprobs=True, top_logprobs=2)
    logprobs = chat.choices[0].logprobs
    assert logprobs is not None
    assert b"".join(bytes(entry.bytes or ()) for entry in logprobs.content or ()).decode() == TEXT
    plain = client.completions.create(model="base", prompt="Dear ", echo=True, logprobs=1, best_of=2)
    assert plain.choices[0].text == "Dear " + TEXT
    assert plain.choices[0].logprobs is not None
    assert plain.choices[0].logprobs.text_offset == [0, 5, 9, 17, 18]


def test_the_client_raises_its_own_exceptions(client: openai.OpenAI, backend: FakeBackend) -> None:
    with pytest.raises(openai.NotFoundError, match="ditto/email@1"):
        client.chat.completions.create(model="gpt-5", messages=HELLO)
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="wrong").models.list()
    backend.error = RequestError("The prompt is too long", param="messages", code="context_length_exceeded")
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="base", messages=HELLO, stream=True)
    assert caught.value.code == "context_length_exceeded"
    backend.error = Refused(Failure(429, "Full", "rate_limit_error", headers={"retry-after": "3"}))
    with pytest.raises(openai.RateLimitError) as limited:
        client.completions.create(model="base", prompt="hi", stream=True)
    assert limited.value.response.headers["retry-after"] == "3"
    backend.error = EngineUnavailable("The engine is starting", retry_after_seconds=1.2)
    with pytest.raises(openai.InternalServerError) as unavailable:
        client.chat.completions.create(model="base", messages=HELLO)
    assert (unavailable.value.status_code, unavailable.value.response.headers["retry-after"]) == (503, "2")


def test_an_error_in_the_middle_of_a_stream_reaches_the_client(client: openai.OpenAI, backend: FakeBackend) -> None:
    backend.error, backend.error_after = EngineUnavailable("The engine died", "ask again"), 2
    seen: list[str] = []
    with (
        client.chat.completions.create(model="base", messages=HELLO, stream=True) as stream,
        pytest.raises(openai.APIError, match=r"The engine died\. ask again"),
    ):
        for chunk in stream:
            seen.append(chunk.choices[0].delta.content or "")
    assert "".join(seen) == "Kind regards"


def test_a_client_that_leaves_a_stream_ends_the_work(
    client: openai.OpenAI, backend: FakeBackend, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    backend.words, backend.word_seconds = ("word ",) * 1000, 0.01
    with client.chat.completions.create(model="base", messages=HELLO, stream=True) as stream:
        next(iter(stream))
    eventually(lambda: backend.running == 0)
    assert len(backend.closed) == 1


def test_a_client_that_gives_up_waiting_ends_the_work(
    client: openai.OpenAI, backend: FakeBackend, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    backend.word_seconds = 5
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.3).completions.create(model="base", prompt=["one", "two"])
    eventually(lambda: backend.running == 0)
    assert len(backend.closed) == 2
