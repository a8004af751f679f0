"""The text of an answer to content, reasoning and calls: whole or piece by piece, with the same outcome."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dittod.engine.parts import Called, Parts, Said
from dittod.model.dialect import PLAIN, CallSyntax, Dialect, dialect_of

HERMES = dialect_of('{{ tools }}<think></think><tool_call>\n{"name": "{{ x }}", "arguments": {{ y }}}\n</tool_call>')
LISTED = dialect_of("{{ tools }}[TOOL_CALLS]")
NAMED = dialect_of("{{ tools }}[TOOL_CALLS]name[CALL_ID]1[ARGS]{}")
LLAMA = dialect_of('{{ tools }}ipython {"name": "f", "parameters": {}}')
DIALECTS = {"tagged": HERMES, "listed": LISTED, "named": NAMED, "bare": LLAMA, "in words": Dialect()}
TOOLS = frozenset({"rain", "sun"})
RAIN, SUN = Called("rain", '{"at": "Pulborough }]</tool_call>"}'), Called("sun", "{}")


def written(dialect: Dialect, *calls: Called) -> str:
    """As a model of that family writes them."""
    syntax = dialect.calls
    objects = [f'{{"name": "{each.name}", "{syntax.arguments}": {each.arguments}}}' for each in calls]
    match syntax.form:
        case "tagged":
            return "\n".join(f"<tool_call>\n{each}\n</tool_call>" for each in objects)
        case "listed":
            return f"[TOOL_CALLS] [{', '.join(objects)}]"
        case "named":
            return "".join(f"[TOOL_CALLS]{each.name}[ARGS]{each.arguments}" for each in calls)
        case "bare":
            return objects[0]


def parts(
    text: str,
    dialect: Dialect = HERMES,
    *,
    size: int = 10_000,
    thinking: bool = False,
    tools: frozenset[str] = TOOLS,
    several: bool = True,
) -> tuple[str, str, list[Called]]:
    """Content, reasoning and calls of a text that comes in pieces of `size`; what was said is where it says it is."""
    reader = Parts(dialect, thinking=thinking, tools=tools, several=several)
    out: list[Said | Called] = []
    for at in range(0, len(text), size):
        out += reader.push(text[at : at + size])
    out += reader.finish()
    said = [each for each in out if isinstance(each, Said)]
    assert all(text[each.start : each.end] == each.text for each in said)
    content = "".join(each.text for each in said if each.channel == "content")
    reasoning = "".join(each.text for each in said if each.channel == "reasoning")
    return content, reasoning, [each for each in out if isinstance(each, Called)]


@pytest.mark.parametrize("size", [1, 3, 10_000])
@pytest.mark.parametrize("name", DIALECTS)
def test_each_family_calls_a_tool_in_its_own_way(name: str, size: int) -> None:
    content, _, calls = parts(written(DIALECTS[name], RAIN), DIALECTS[name], size=size)
    assert content == ""
    assert [(each.name, json.loads(each.arguments)) for each in calls] == [("rain", json.loads(RAIN.arguments))]


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("name", ["tagged", "listed", "named", "in words"])
def test_several_calls_with_words_before_and_behind(name: str, size: int) -> None:
    text = f"  Let me see.\n\n{written(DIALECTS[name], RAIN, SUN)}\n Done. "
    content, _, calls = parts(text, DIALECTS[name], size=size)
    assert [each.name for each in calls] == ["rain", "sun"]
    assert content == "  Let me see.Done. "


def test_the_answer_ends_after_one_call_where_only_one_is_wanted() -> None:
    for name in ("tagged", "listed", "named"):
        calls = parts(written(DIALECTS[name], RAIN, SUN), DIALECTS[name], several=False)[2]
        assert [each.name for each in calls] == ["rain"]


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>{"name": "rain", "arguments": {"at": "Pul',
        '<tool_call>\n{"name": "rain", "arguments": {}',
        '<tool_call>{"name": "snow", "arguments": {}}</tool_call>',
        '<tool_call>{"name": "rain", "arguments": [1]}</tool_call>',
        '<tool_call>{"name": "rain", "arguments": {"at": 1e999}}</tool_call>',
        '<tool_call>{"name": ["rain"], "arguments": {}}</tool_call>',
        '<tool_call>["rain"]</tool_call>',
        "<tool_call>rain()</tool_call>",
        "<tool_call>{rain}</tool_call>",
        "<tool_call>",
        "<tool_",
        "<tool_call>" + "[" * 5000,
        '<tool_call>{"name": "rain", "arguments": ' + '{"a":' * 5000,
        '{"name": "rain", "arguments": {}}',
    ],
)
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_what_is_no_whole_call_of_a_known_tool_is_content(text: str, size: int) -> None:
    assert parts(f"See: {text}", size=size) == (f"See: {text}", "", [])


@pytest.mark.parametrize("dialect", [LISTED, NAMED, LLAMA])
@pytest.mark.parametrize(
    "text",
    [
        '[TOOL_CALLS][{"name": "snow"}]',
        "[TOOL_CALLS][]",
        "[TOOL_CALLS]",
        "[TOOL_CALLS] no",
        "[TOOL_CALLS]rain{}",
        "[TOOL_CALLS]snow[ARGS]{}",
        "[TOOL_CALLS]rain[ARGS]{oh}",
        '{"name": "snow", "parameters": {}}',
        '{"temperature": 3}',
        "{not json",
        "<|python_tag|>print(1)",
    ],
)
def test_nor_in_the_other_families(dialect: Dialect, text: str) -> None:
    assert parts(text, dialect) == parts(text, dialect, size=1) == (text, "", [])


def test_a_call_after_a_malformed_one_is_still_a_call() -> None:
    content, _, calls = parts(f"<tool_call>oh</tool_call>{written(HERMES, RAIN)}")
    assert content == "<tool_call>oh</tool_call>"
    assert [each.name for each in calls] == ["rain"]


def test_what_models_often_get_wrong_is_understood() -> None:
    text = '<tool_call>{"name": "rain", "parameters": "{\\"at\\": 1}"} <tool_call>{"name": "sun"}</tool_call>'
    assert parts(text)[2] == [Called("rain", '{"at": 1}'), Called("sun", "{}")]
    assert parts('<tool_call>{"name": "rain", "arguments": {"at": "a\nb"}}')[2] == [Called("rain", '{"at": "a\\nb"}')]
    assert parts('<|python_tag|>{"name": "rain", "parameters": {}}', LLAMA)[2] == [Called("rain", "{}")]


@pytest.mark.parametrize("name", DIALECTS)
def test_without_tools_nothing_is_a_call(name: str) -> None:
    text = written(DIALECTS[name], RAIN)
    assert parts(text, DIALECTS[name], tools=frozenset()) == (text, "", [])


@pytest.mark.parametrize("size", [1, 5, 10_000])
@pytest.mark.parametrize(
    ("text", "thinking", "expected"),
    [
        ("<think>\nhm,\n so\n</think>\n\nYes. ", False, ("Yes. ", "hm,\n so")),
        ("hm\n</think>\n\nYes", True, ("Yes", "hm")),
        ("\n\n</think>Yes", True, ("Yes", "")),
        ("hm </thi", True, ("", "hm </thi")),
        ("Yes. <think>no</think>", False, ("Yes. <think>no</think>", "")),
        ("  \n<think>a</think> b", False, ("b", "a")),
        (" \n Yes", False, (" \n Yes", "")),
        ("<thi", False, ("<thi", "")),
        ("   ", False, ("   ", "")),
    ],
)
def test_reasoning_is_apart_and_white_space_around_it_belongs_to_none(
    text: str, thinking: bool, expected: tuple[str, str], size: int
) -> None:
    assert parts(text, size=size, thinking=thinking)[:2] == expected
    assert parts(text, size=size, thinking=thinking, tools=frozenset())[:2] == expected


def test_calls_come_after_reasoning_and_none_is_made_in_it() -> None:
    text = f"<think>{written(HERMES, SUN)}</think>\n{written(HERMES, RAIN)}"
    content, reasoning, calls = parts(text, size=2)
    assert (content, reasoning) == ("", written(HERMES, SUN))
    assert [each.name for each in calls] == ["rain"]


def test_a_model_without_reasoning_may_write_about_it() -> None:
    assert parts("<think>a</think>b", Dialect())[0] == "<think>a</think>b"


def test_text_comes_as_soon_as_it_is_certain() -> None:
    reader = Parts(HERMES, thinking=False, tools=TOOLS, several=True)
    pushed = [reader.push(each) for each in ("Hel", "lo ", "<", "b> ", "x")]
    assert [[each.text for each in out if isinstance(each, Said)] for out in pushed] == [
        ["Hel"],
        ["lo"],
        [],
        [" <b>"],
        [" x"],
    ]


MARKERS = ["<think>", "</think>", "<tool_call>", "</tool_call>", "[TOOL_CALLS]", "[ARGS]", "rain", "<", "</t"]
CALLS = [written(HERMES, RAIN), written(LLAMA, SUN), written(LISTED, RAIN, SUN), written(NAMED, SUN)]
FRAGMENTS = st.sampled_from([*"ab {}[]\n", *MARKERS, *CALLS])


@settings(deadline=None, max_examples=400)
@given(st.lists(FRAGMENTS, max_size=12).map("".join), st.sampled_from(list(DIALECTS)), st.booleans(), st.integers(1, 9))
def test_in_pieces_or_whole_is_the_same(text: str, name: str, thinking: bool, size: int) -> None:
    dialect = DIALECTS[name]
    thinking = thinking and dialect.reasoning is not None
    assert parts(text, dialect, thinking=thinking, size=size) == parts(text, dialect, thinking=thinking)


def test_dialects_are_known_by_what_their_templates_write() -> None:
    assert [each.calls.form for each in DIALECTS.values()] == ["tagged", "listed", "named", "bare", "tagged"]
    assert HERMES.reasoning == ("<think>", "</think>")
    assert dialect_of("{{ tools }}<tool_call>\n<function=f>").calls == PLAIN
    assert not dialect_of("{{ tools }}<tool_call>\n<function=f>").takes_tools
    assert dialect_of('<tool_call>{"name": "f"}').calls == PLAIN, "it never reads `tools`"
    assert dialect_of(None) == Dialect()
    assert dialect_of("{% generation %}{{ enable_thinking }}{% endgeneration %}").reasons
    assert CallSyntax("named", "[T]").markers == ("[T]", "[CALL_ID]", "[ARGS]")
