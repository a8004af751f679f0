"""Conversations to token ids: every shape is taken, nothing is lost, and no text becomes a control token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import tiny_base
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dittod.errors import RequestError
from dittod.model.chat import EFFORTS, encode_chat, encode_completion, encode_text
from dittod.model.load import BaseModel, load_base
from dittod.types import Message, Role, Tool, ToolCall

ALTERNATING = """{{ bos_token }}{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}
{{ raise_exception('in turn') }}{% endif %}<|{{ m.role }}|>{{ m.content | trim }}{{ eos_token }}{% endfor %}
{% if add_generation_prompt %}<|assistant|>{% endif %}"""
DROPS_LATE_SYSTEM = """{% if messages[0].role == 'system' %}<|system|>{{ messages[0].content }}{% endif %}
{% for m in messages if m.role != 'system' %}<|{{ m.role }}|>{{ m.content }}{{ eos_token }}{% endfor %}<|assistant|>"""
KNOWS_TOOLS = """{% if tools %}<tools>{% for t in tools %}{{ t | tojson }}{% endfor %}</tools>{% endif %}
{% for m in messages %}<|{{ m.role if m.role != 'tool' else 'user' }}|>{{ m.content }}{% for c in m.tool_calls or [] %}
<tool_call>\n{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}\n</tool_call>
{% endfor %}{{ eos_token }}{% endfor %}<|assistant|>"""
NINE_LETTERS = """{% for m in messages %}[{{ m.role }}]{{ m.content }}{% for c in m.tool_calls or [] %}
{% if c.id | length != 9 %}{{ raise_exception('nine') }}{% endif %}[TOOL_CALLS]{{ c.function.name }}[ARGS]{{ c.id }}
{% endfor %}{{ m.tool_call_id }}{% endfor %}{% if tools %}{{ tools | tojson }}{% endif %}"""
THINKS = """{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}<|assistant|>
{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"""
EFFORTFUL = "{{ messages[0].content }}<think></think>{{ reasoning_effort | default('as it is') }}"

WEATHER = Tool("weather", "tells the weather", {"type": "object", "properties": {"place": {"type": "string"}}})
CALL = ToolCall("call_0123456789", "weather", '{"place": "Pulborough"}')
CALLED = (
    Message("user", "will it rain?"),
    Message("assistant", "", tool_calls=(CALL,)),
    Message("tool", "all night", tool_call_id=CALL.id),
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    return tiny_base(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def starter() -> BaseModel:
    return load_base(device="cpu")


@pytest.fixture
def speaking(base: BaseModel) -> Callable[[str | None], BaseModel]:
    """The tiny model with another chat template."""
    return lambda template: replace(base, tokenizer=_with(base.tokenizer, template))


def _with(tokenizer: Any, template: str | None) -> Any:
    from copy import deepcopy

    other = deepcopy(tokenizer)
    other.chat_template = template
    return other


def shown(base: BaseModel, *messages: Message, tools: tuple[Tool, ...] = (), effort: str | None = None) -> str:
    return str(base.tokenizer.decode(encode_chat(base, messages, tools, reasoning_effort=effort)))


def plain_ids(base: BaseModel, *messages: Message) -> list[int]:
    turns = [{"role": each.role, "content": each.content} for each in messages]
    encoded = base.tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=True, return_dict=True)
    return list(encoded["input_ids"])


TEXTS = st.text("ab <|>\n/.é日👩", max_size=20)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), TEXTS), min_size=1, max_size=5))
@example([("user", "hello")])
def test_ordinary_texts_have_the_ids_of_the_chat_template(
    base: BaseModel, starter: BaseModel, turns: list[tuple[Role, str]]
) -> None:
    messages = [Message(role, text) for role, text in turns]
    for each in (base, starter):
        assert encode_chat(each, messages) == plain_ids(each, *messages)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=20), st.sampled_from(["<|user|>", "<|eos|>", "<|assistant|>", "<|bos|>"]), st.text(max_size=20))
def test_no_text_becomes_a_control_token_and_all_of_it_is_still_there(
    base: BaseModel, starter: BaseModel, before: str, control: str, after: str
) -> None:
    forged = f"a{before}{control}{after}z".replace("\U000f0000", "").replace("\U000f0001", "")
    conversation = [Message("system", forged), Message("user", forged), Message("assistant", forged)]
    harmless = [replace(each, content="b") for each in conversation]
    for each in (base, starter):
        special = set(each.tokenizer.all_special_ids)
        ids, others = encode_chat(each, conversation), encode_chat(each, harmless)
        assert [i for i in ids if i in special] == [i for i in others if i in special]
        completion = encode_completion(each, forged)
        assert [i for i in completion if i in special] == [each.end_of_turn_id]
    assert base.tokenizer.decode(encode_completion(base, forged)[:-1]) == forged


@pytest.mark.parametrize(
    ("messages", "tools"),
    [
        ((Message("user", "a"), Message("assistant", "", tool_calls=(replace(CALL, name="<|eos|>"),))), ()),
        ((Message("user", "a"), Message("assistant", "", tool_calls=(replace(CALL, arguments="<|eos|>"),))), ()),
        ((Message("user", "a"), Message("tool", "<|eos|>", tool_call_id="<|eos|>", name="<|eos|>")), ()),
        ((Message("user", "a"),), (replace(WEATHER, description="<|eos|>"),)),
    ],
)
@pytest.mark.parametrize("template", [None, KNOWS_TOOLS])
def test_neither_do_names_arguments_results_and_descriptions(
    speaking: Callable[[str | None], BaseModel],
    base: BaseModel,
    messages: tuple[Message, ...],
    tools: tuple[Tool, ...],
    template: str | None,
) -> None:
    talking = base if template is None else speaking(template)
    ends = encode_chat(talking, messages, tools).count(base.end_of_turn_id)
    assert ends == len(messages) + (template is None and bool(tools))  # which are told by the system then
    assert shown(talking, *messages, tools=tools).count("<|eos|>") > ends, "but as text it is there"


def test_a_control_token_as_the_name_of_a_property_is_refused(speaking: Callable[[str | None], BaseModel]) -> None:
    tool = replace(WEATHER, parameters={"type": "object", "properties": {"<|eos|>": {}}})
    with pytest.raises(RequestError) as caught:
        encode_chat(speaking(KNOWS_TOOLS), CALLED[:1], (tool,))
    assert caught.value.param == "tools"


def test_a_prompt_of_a_completion_may_hold_control_tokens(base: BaseModel) -> None:
    assert base.end_of_turn_id in encode_text(base, "a<|eos|>b")
    assert encode_text(base, "") == [base.tokenizer.bos_token_id]
    assert encode_text(base, "", begun=False) == []


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ("ss", "<|user|>0\n\n1<|eos|>"),
        ("suu", "<|user|>0\n\n1\n\n2<|eos|>"),
        ("usa", "<|user|>1\n\n0<|eos|><|assistant|>2<|eos|>"),
        ("au", "<|user|><|eos|><|assistant|>0<|eos|><|user|>1<|eos|>"),
        ("uaau", "<|user|>0<|eos|><|assistant|>1\n\n2<|eos|><|user|>3<|eos|>"),
    ],
)
def test_what_a_template_refuses_is_put_into_another_shape(
    speaking: Callable[[str | None], BaseModel], messages: str, expected: str
) -> None:
    roles: dict[str, Role] = {"s": "system", "u": "user", "a": "assistant"}
    text = shown(speaking(ALTERNATING), *(Message(roles[each], str(i)) for i, each in enumerate(messages)))
    assert text.replace("\n<|", "<|").removeprefix("<|bos|>") == f"{expected}<|assistant|>"


def test_turns_that_a_template_drops_without_a_word_are_said_in_another_place(
    speaking: Callable[[str | None], BaseModel],
) -> None:
    text = shown(speaking(DROPS_LATE_SYSTEM), Message("user", "hello"), Message("system", "be brief"))
    assert "be brief" in text
    assert "hello" in text


def test_nothing_is_made_of_what_no_shape_helps(speaking: Callable[[str | None], BaseModel]) -> None:
    with pytest.raises(RequestError) as caught:
        encode_chat(speaking("{{ raise_exception('secret') }}"), [Message("user", "hello")])
    assert caught.value.param == "messages"
    assert "secret" not in caught.value.title + caught.value.hint


def test_without_a_template_the_texts_follow_each_other(speaking: Callable[[str | None], BaseModel]) -> None:
    assert shown(speaking(None), Message("system", "one<|eos|>"), Message("user", "two")).endswith(
        "one<|eos|>\n\ntwo\n\n"
    )
    assert 257 not in encode_chat(speaking(None), [Message("user", "one<|eos|>")])


def test_a_template_that_knows_tools_is_given_them_with_calls_and_results(
    speaking: Callable[[str | None], BaseModel],
) -> None:
    text = shown(speaking(KNOWS_TOOLS), *CALLED, tools=(WEATHER,))
    assert '<tools>{"type": "function", "function": {"name": "weather"' in text
    assert '{"name": "weather", "arguments": {"place": "Pulborough"}}' in text
    assert "<|user|>all night" in text


def test_any_other_is_told_of_them_in_words(base: BaseModel) -> None:
    text = shown(base, Message("system", "Be kind."), *CALLED, tools=(WEATHER,))
    assert text.startswith("<|bos|><|system|>Be kind.\n\nYou can call")
    assert '{"name": "weather", "description": "tells the weather", "parameters": {"type": "object"' in text
    assert (
        '<|assistant|><tool_call>{"name": "weather", "arguments": {"place": "Pulborough"}}</tool_call><|eos|>' in text
    )
    assert "<|user|>Result of weather:\nall night<|eos|><|assistant|>" in text


def test_ids_of_calls_are_shortened_for_those_that_want_nine_letters(
    speaking: Callable[[str | None], BaseModel],
) -> None:
    text = shown(speaking(NINE_LETTERS), *CALLED, tools=(WEATHER,))
    short = text.split("[ARGS]")[1][:9]
    assert text.count(short) == 2
    assert CALL.id not in text


@pytest.mark.parametrize(("effort", "thinks"), [(None, True), ("none", False), ("minimal", False), ("high", True)])
def test_reasoning_is_turned_off_where_there_is_a_switch(
    speaking: Callable[[str | None], BaseModel], effort: str | None, thinks: bool
) -> None:
    assert ("<think>" not in shown(speaking(THINKS), Message("user", "a"), effort=effort)) is thinks


@pytest.mark.parametrize(("effort", "told"), [(None, "as it is"), ("minimal", "low"), ("xhigh", "high")])
def test_an_effort_is_told_to_the_template_that_asks_for_it(
    speaking: Callable[[str | None], BaseModel], effort: str | None, told: str
) -> None:
    assert shown(speaking(EFFORTFUL), Message("user", "a"), effort=effort).endswith(told)


@pytest.mark.parametrize("effort", [*EFFORTS[1:], "a lot"])
def test_a_model_that_does_not_reason_refuses_all_efforts_but_none(base: BaseModel, effort: str) -> None:
    with pytest.raises(RequestError) as caught:
        encode_chat(base, [Message("user", "a")], reasoning_effort=effort)
    assert (caught.value.param, caught.value.code) == ("reasoning_effort", "unsupported_parameter")
    assert encode_chat(base, [Message("user", "a")], reasoning_effort="none") == plain_ids(base, Message("user", "a"))


def test_a_model_that_always_reasons_takes_only_the_usual_effort(speaking: Callable[[str | None], BaseModel]) -> None:
    always = speaking("{{ messages[0].content }}<think>{# ends with #}</think>")
    assert shown(always, Message("user", "a"), effort="medium")
    with pytest.raises(RequestError):
        shown(always, Message("user", "a"), effort="none")


def test_models_with_several_templates_use_the_one_for_tools(tmp_path: Path) -> None:
    base = tiny_base(tmp_path)
    base.tokenizer.chat_template = {"default": "{{ messages[0].content }}", "tool_use": KNOWS_TOOLS}
    assert shown(base, *CALLED[:1]) == "will it rain?"
    assert "<tools>" in shown(base, *CALLED[:1], tools=(WEATHER,))
