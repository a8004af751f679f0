"""What a model reads of a request, and what is refused before it reads anything."""

from __future__ import annotations

import pytest
from fakes import demonstration, tiny_base

from dittod.engine import prompts
from dittod.engine.prompts import CHARACTERS_PER_TOKEN_MOST, chat_ids, prompt_ids, text_ids
from dittod.engine.protocol import Generate, Sampling, Tokenize
from dittod.errors import RequestError
from dittod.model.facts import facts
from dittod.model.load import BaseModel
from dittod.types import Demonstration, Message, Tool, ToolCall

HELLO = (Message("user", "hello"),)
LONG = "x" * (CHARACTERS_PER_TOKEN_MOST * 512 + 1)
CALLED = Message("assistant", "", tool_calls=(ToolCall("c", "f" * 64, "{}"),))
LONGEST = 512  # tokens, as many as the tiny model's context has
ANSWERED = Message("tool", "", tool_call_id="c", name="")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    return tiny_base(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize(
    ("request_", "param", "code"),
    [
        (Generate("1", None, Sampling(), prompt_token_ids=(99999,)), "prompt", None),
        (Generate("1", None, Sampling(), prompt_token_ids=()), "prompt", None),
        (Generate("1", None, Sampling(), prompt=LONG), "prompt", "context_length_exceeded"),
        (Generate("1", None, Sampling(), messages=(Message("user", LONG),)), "messages", "context_length_exceeded"),
        (Generate("1", None, Sampling(), prompt="a", suffix="b"), "suffix", "unsupported_parameter"),
        (Generate("1", None, Sampling(), prompt_token_ids=(1,), suffix="b"), "suffix", None),
        (Generate("1", None, Sampling(), messages=HELLO, tools=(Tool("f"),) * 1000), "tools", None),
    ],
)
def test_what_the_model_cannot_take_is_refused_by_name(
    base: BaseModel, request_: Generate, param: str, code: str | None
) -> None:
    with pytest.raises(RequestError) as caught:
        prompt_ids(base, request_, LONGEST)
    assert (caught.value.param, caught.value.code) == (param, code)


@pytest.mark.parametrize(
    "messages",
    [
        (Message("assistant", "", LONG),),
        (Message("assistant", "", tool_calls=(ToolCall("", "f", LONG),)),),
        (Message("assistant", "", tool_calls=(ToolCall("", LONG, "{}"),)),),
        (Message("assistant", "", tool_calls=(ToolCall(LONG, "f", "{}"),)),),
        (Message("tool", "", tool_call_id=LONG),),
        (Message("tool", "", name=LONG),),
        (CALLED, *(ANSWERED,) * (len(LONG) // 64 + 1)),  # a template may name the call in every result
    ],
    ids=["reasoning", "arguments", "call's name", "call's id", "result's id", "result's name", "result of a call"],
)
def test_no_field_of_a_message_is_made_into_tokens_where_it_is_far_too_long(
    base: BaseModel, messages: tuple[Message, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _refused_unread(base, Generate("1", None, Sampling(), messages=messages), monkeypatch) == "messages"


@pytest.mark.parametrize(
    "tool",
    [Tool(LONG), Tool("f", LONG), Tool("f", parameters={"properties": {LONG: {}}})],
    ids=["name", "description", "schema"],
)
def test_no_field_of_a_tool_is_made_into_tokens_where_it_is_far_too_long(
    base: BaseModel, tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _refused_unread(base, Generate("1", None, Sampling(), messages=HELLO, tools=(tool,)), monkeypatch)
    assert _refused_unread(base, Tokenize("1", messages=HELLO, tools=(tool,)), monkeypatch)


def _refused_unread(base: BaseModel, request: Generate | Tokenize, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """The parameter that is too long, which no template has seen."""
    monkeypatch.setattr(prompts, "encode_chat", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(RequestError) as caught:
        chat_ids(base, request)
    assert caught.value.code == "context_length_exceeded"
    return caught.value.param


def test_an_overflow_is_said_in_the_words_by_which_clients_know_it(base: BaseModel) -> None:
    """LangChain looks for the first, LiteLLM for the second, opencode for the third."""
    with pytest.raises(RequestError) as caught:
        prompt_ids(base, Generate("1", None, Sampling(), prompt=LONG), LONGEST)
    said = f"{caught.value.title}. {caught.value.hint}"
    for words in ("prompt is too long", "this model's maximum context length is", "reduce the length of the messages"):
        assert words in said


def test_a_conversation_is_counted_as_it_is_read(base: BaseModel) -> None:
    tools = (Tool("f", "does it"),)
    read = prompt_ids(base, Generate("1", None, Sampling(), messages=HELLO, tools=tools), LONGEST)
    assert chat_ids(base, Tokenize("1", messages=HELLO, tools=tools)) == read
    assert text_ids(base, "hello") == prompt_ids(base, Generate("1", None, Sampling(), prompt="hello"), LONGEST)


NEAR = demonstration("Ask Bo", "Bo, lunch?")
FAR = demonstration("Thank Ed", "Ta, Ed.")


def _asked(
    *examples: Demonstration, max_tokens: int | None = None, tools: tuple[Tool, ...] = (), text: str = "hello"
) -> Generate:
    messages = (Message("user", text),)
    return Generate("1", None, Sampling(max_tokens=max_tokens), messages=messages, tools=tools, examples=examples)


def test_examples_stand_before_the_conversation_the_nearest_last(base: BaseModel) -> None:
    turns = [NEAR.prompt, NEAR.completion, FAR.prompt, FAR.completion, "hello"]
    read = base.tokenizer.decode(prompt_ids(base, _asked(FAR, NEAR), LONGEST))
    assert sorted(turns, key=read.index) == turns


@pytest.mark.parametrize(
    ("request_", "longest"),
    [
        (_asked(NEAR, text="x" * 250), LONGEST),  # its share of the context is half
        (_asked(NEAR, max_tokens=LONGEST - 20), LONGEST),
        (_asked(NEAR), 40),  # of memory
        (_asked(demonstration("a", "b" * 10**6)), LONGEST),
    ],
    ids=["conversation", "answer", "memory", "example"],
)
def test_a_conversation_that_leaves_no_room_for_examples_is_read_without(
    base: BaseModel, request_: Generate, longest: int
) -> None:
    assert prompt_ids(base, request_, longest) == chat_ids(base, request_)


def test_examples_leave_the_room_that_the_client_wants_for_the_answer(base: BaseModel) -> None:
    both, plain = (len(prompt_ids(base, _asked(*examples), LONGEST)) for examples in ((NEAR, FAR), ()))
    for wanted in (0, 1, LONGEST - both, LONGEST - both + 1, LONGEST - plain):
        read = len(prompt_ids(base, _asked(NEAR, FAR, max_tokens=wanted), LONGEST))
        assert plain <= read <= LONGEST - wanted
    assert read == plain and both > plain
    bound = _asked(NEAR, FAR, max_tokens=LONGEST)  # never to be had: the client only bounds the answer
    assert len(prompt_ids(base, bound, LONGEST)) == both


def test_tools_take_their_part_of_the_room_for_examples(base: BaseModel) -> None:
    tools = (Tool("look_up", "finds a word in the dictionary"),)
    alone, read = (len(prompt_ids(base, _asked(*shown, tools=tools), 4 * LONGEST)) for shown in ((), (NEAR,)))
    assert read > alone
    for longest in range(2 * alone - 2, 2 * read + 3):  # from no room to enough
        found = len(prompt_ids(base, _asked(NEAR, tools=tools), longest))
        assert found == (read if longest >= 2 * read else alone)


def test_examples_that_the_template_refuses_cost_nobody_an_answer(
    base: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = prompt_ids(base, _asked(), LONGEST)

    def refuse(*_: object) -> tuple[Message, ...]:
        raise RequestError("the template has no place for that", "leave it out")

    monkeypatch.setattr(prompts, "with_examples", refuse)
    assert prompt_ids(base, _asked(NEAR), LONGEST) == plain


@pytest.mark.parametrize(
    "frame",
    [
        ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
        ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
        ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),
        ("▁<PRE>", "▁<SUF>", "▁<MID>"),
    ],
)
def test_a_model_with_the_tokens_for_it_writes_between_prompt_and_suffix(
    tmp_path_factory: pytest.TempPathFactory, frame: tuple[str, str, str]
) -> None:
    base = tiny_base(tmp_path_factory.mktemp("infill"))
    assert not facts(base)["fills_in"]
    base.tokenizer.add_special_tokens({"additional_special_tokens": list(frame)})
    ids = prompt_ids(base, Generate("1", None, Sampling(), prompt="def f(", suffix=" + 1"), LONGEST)
    before, behind, middle = frame
    assert base.tokenizer.decode(ids) == f"{before}def f({behind} + 1{middle}"
    assert [i for i in ids if i >= 262] == base.tokenizer.convert_tokens_to_ids(list(frame))
    assert facts(base)["fills_in"]


def test_facts_of_the_model_are_told(base: BaseModel) -> None:
    assert facts(base) == {
        "architecture": "llama",
        "parameters": sum(each.numel() for each in base.model.parameters()),
        "embedding_size": 32,
        "reasons": False,
        "fills_in": False,
    }
