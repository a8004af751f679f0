"""Bound answers: whatever a random model draws fits the form, and no schema brings the engine down."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fakes import byte_tokenizer, tiny_base

from dittod.errors import RequestError
from dittod.model.decode import Constraint
from dittod.model.dialect import Dialect, dialect_of
from dittod.model.grammar import AfterOpening, AfterReasoning, Awaited, Grammar, Grammars
from dittod.model.load import BaseModel, load_base
from dittod.model.schema import (
    PATTERNS_MOST,
    PROPERTIES_MOST,
    SCHEMA_BYTES,
    SCHEMA_DEPTH,
    TOOLS_MOST,
    answer_rule,
    calls_rules,
    check_schema,
    check_tools,
)
from dittod.types import Tool

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
TOOLS = (
    Tool("greet", parameters=PERSON, strict=True),
    Tool('say "it"\n', parameters={"type": "object", "properties": {"é": {"enum": [1, None]}}, "required": ["é"]}),
)
HERMES = dialect_of('{{ tools }}<tool_call>\n{"name": 1')
FAMILIES = {
    "in words": Dialect(),
    "tagged": HERMES,
    "listed": dialect_of("{{ tools }}[TOOL_CALLS]"),
    "named": dialect_of("{{ tools }}[TOOL_CALLS][ARGS]"),
    "bare": dialect_of('{{ tools }}ipython"parameters": '),
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    return tiny_base(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def starter() -> BaseModel:
    return starter_base()


@pytest.fixture(scope="module")
def grammars(tiny: BaseModel) -> Grammars:
    return Grammars(tiny)


def drawn(base: BaseModel, constraint: Constraint, *, seed: int, most: int = 400) -> list[int]:
    """Tokens of a model that knows nothing: all allowed ones are as likely. Without the end of the turn."""
    chance = random.Random(seed)
    ids: list[int] = []
    while len(ids) < most:
        mask = constraint.mask()
        assert mask is not None
        assert mask.shape == (base.model.get_input_embeddings().weight.shape[0],)
        token_id = chance.choice(mask.nonzero()[:, 0].tolist())
        constraint.accept(token_id)
        if token_id == base.end_of_turn_id:
            return ids
        ids.append(token_id)
    pytest.fail("the answer did not end")


@lru_cache
def never() -> Awaited:
    return Awaited(byte_tokenizer(), "</think>", frozenset())


def write(constraint: Constraint, base: BaseModel, text: str) -> list[bool]:
    """Accept a text's tokens; for each, whether anything was allowed before it."""
    free = []
    for token_id in base.tokenizer(text, add_special_tokens=False)["input_ids"]:
        mask = constraint.mask()
        assert mask is None or bool(mask[token_id])
        free.append(mask is None)
        constraint.accept(token_id)
    return free


@pytest.mark.parametrize("seed", range(6))
def test_a_document_fits_its_schema_and_then_only_the_turn_can_end(
    tiny: BaseModel, starter: BaseModel, seed: int
) -> None:
    for base in (tiny, starter):
        grammar = Grammars(base).grammar(f"start: answer\n{answer_rule(PERSON)}", "response_format")
        person = json.loads(base.tokenizer.decode(drawn(base, grammar, seed=seed)))
        assert set(person) == {"name", "age"}
        assert len(person["name"]) <= 8
        assert 0 <= person["age"] <= 99


@pytest.mark.parametrize("name", FAMILIES)
def test_forced_calls_are_those_of_the_family(tiny: BaseModel, grammars: Grammars, name: str) -> None:
    syntax = FAMILIES[name].calls
    rules = calls_rules(TOOLS, syntax, {}, several=False)
    texts = [
        tiny.tokenizer.decode(drawn(tiny, grammars.grammar(f"start: calls\n{rules}", "tools"), seed=seed))
        for seed in range(8)
    ]
    for text in texts:
        inner = text.removeprefix(syntax.opening if syntax.form != "bare" else "").removesuffix(syntax.closing)
        if syntax.form == "named":
            called, _, arguments = inner.partition("[ARGS]")
            value = {"name": called, syntax.arguments: json.loads(arguments)}
        else:
            value = json.loads(inner)[0] if syntax.form == "listed" else json.loads(inner)
        assert value["name"] in {tool.name for tool in TOOLS}
        assert set(value[syntax.arguments]) >= ({"name", "age"} if value["name"] == "greet" else {"é"})
    assert len(set(texts)) > 1


def test_several_calls_may_follow_each_other_where_they_are_wanted(tiny: BaseModel, grammars: Grammars) -> None:
    call = '<tool_call>\n{"name": "greet", "arguments": {"name":"a", "age": 3}}\n</tool_call>'
    for several in (True, False):
        rules = calls_rules(TOOLS, HERMES.calls, {}, several=several)
        grammar = grammars.grammar(f"start: calls\n{rules}", "tools")
        write(grammar, tiny, call)
        assert bool(grammar.mask()[tiny.end_of_turn_id])
        assert grammar.complete is not several
        assert int(grammar.mask().sum()) == 1 + several


def test_markers_that_are_tokens_are_written_with_them(tiny: BaseModel, grammars: Grammars) -> None:
    user = tiny.tokenizer.convert_tokens_to_ids("<|user|>")
    syntax = replace(HERMES.calls, opening="<|user|>")
    grammar = grammars.grammar(
        f"start: calls\n{calls_rules(TOOLS, syntax, {'<|user|>': user}, several=False)}", "tools"
    )
    assert grammar.mask().nonzero()[:, 0].tolist() == [user]


def test_rows_of_one_request_go_their_own_ways(tiny: BaseModel, grammars: Grammars) -> None:
    one = grammars.grammar(f"start: answer\n{answer_rule(PERSON)}", "response_format")
    other = one.copy()
    write(one, tiny, '{"name"')
    assert not bool((one.mask() & other.mask()).any())


def test_who_reaches_a_limit_fails_and_leaves_others_of_the_same_schema_theirs(starter: BaseModel) -> None:
    many_states = {"type": "string", "pattern": "^(.*a.{14}|.*e.{15}|.*o.{13}|.*i.{18}){3}$"}
    grammars = Grammars(starter)
    lark = f"start: answer\n{answer_rule(many_states)}"
    earlier, failing = grammars.grammar(lark, "response_format"), grammars.grammar(lark, "response_format")
    chance = random.Random(0)
    for _ in range(60):
        allowed = failing.mask().nonzero()[:, 0].tolist()
        if allowed:
            failing.accept(chance.choice(allowed))
    assert failing.failed
    assert AfterReasoning(failing, never(), thinking=False, opening_id=None).failed
    assert not failing.complete
    for other in (earlier, grammars.grammar(lark, "response_format")):
        write(other, starter, '"abc')
        assert not other.failed
    assert not AfterReasoning(earlier, never(), thinking=False, opening_id=None).failed


def test_arguments_that_reach_a_limit_do_not_go_on_freely(
    tiny: BaseModel, grammars: Grammars, monkeypatch: pytest.MonkeyPatch
) -> None:
    grammar = grammars.grammar(f"start: opened\n{calls_rules(TOOLS, HERMES.calls, {}, several=True)}", "tools")
    constraint = AfterOpening(grammar, Awaited(tiny.tokenizer, "<tool_call>", frozenset()))
    write(constraint, tiny, '<tool_call>\n{"name": "greet"')
    assert not constraint.failed
    monkeypatch.setattr(Grammar, "failed", True)
    constraint.accept(tiny.tokenizer(",", add_special_tokens=False)["input_ids"][0])
    assert constraint.failed
    mask = constraint.mask()
    assert mask is not None
    assert not bool(mask.any())


@pytest.mark.parametrize("limit", ["_FUEL", "_GRAMMAR_SIZE"])
def test_compiling_has_limits(grammars: Grammars, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    lark = f"start: answer\n{answer_rule(PERSON)}"
    grammars.grammar(lark, "response_format")
    monkeypatch.setattr(f"dittod.model.grammar.{limit}", 1)
    with pytest.raises(RequestError):
        grammars.grammar(lark, "response_format")


def test_an_object_has_room_for_as_many_optional_properties_as_are_taken(tiny: BaseModel, grammars: Grammars) -> None:
    schema = {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(PROPERTIES_MOST)}}
    grammar = grammars.grammar(f"start: answer\n{answer_rule(schema)}", "response_format")
    write(grammar, tiny, '{"p999": "x"}')
    other = {"type": "object", "properties": {f"q{i}": {"type": "string"} for i in range(PROPERTIES_MOST)}}
    with pytest.raises(RequestError, match="uses properties in"):
        grammars.grammar(f"start: answer\n{answer_rule({'anyOf': [schema, other]})}", "response_format")


def test_padding_of_the_vocabulary_is_never_allowed(tiny: BaseModel) -> None:
    wide = load_wide(tiny)
    mask = Grammars(wide).grammar("start: /(.|\\n)*/", "tools").mask()
    assert mask.shape == (300,)
    assert not bool(mask[262:].any())
    assert bool(mask[wide.end_of_turn_id])


def load_wide(base: BaseModel) -> BaseModel:
    class Wide:
        """A model with more rows of embeddings than there are tokens."""

        def get_input_embeddings(self) -> Any:
            return torch.nn.Embedding(300, 1)

    return replace(base, model=Wide())


def test_the_model_thinks_freely_and_answers_in_form(tiny: BaseModel, grammars: Grammars) -> None:
    document = grammars.grammar(f'start: ("\\n"){{0,2}} answer\n{answer_rule(PERSON)}', "response_format")
    closing = Awaited(tiny.tokenizer, "</think>", frozenset())
    begun = AfterReasoning(document.copy(), closing.copy(), thinking=True, opening_id=None).copy()
    assert all(write(begun, tiny, "so {} </thin </think>"))
    assert not any(write(begun, tiny, '\n\n{"name": "a"'))
    user = tiny.tokenizer.convert_tokens_to_ids("<|user|>")  # as the token that begins reasoning
    for text, free in (("<|user|>hm</think>", [False, *[True] * 10]), ('{"name', [False] * 6)):
        may_begin = AfterReasoning(document.copy(), closing.copy(), thinking=False, opening_id=user).copy()
        assert write(may_begin, tiny, text) == free
        assert not any(write(may_begin, tiny, "{" if free[-1] else '":'))


@pytest.mark.parametrize("rest", ["\n", ""])
def test_arguments_are_bound_as_soon_as_a_call_is_opened_and_free_behind_it(
    tiny: BaseModel, grammars: Grammars, rest: str
) -> None:
    opened = grammars.grammar(f"start: opened\n{calls_rules(TOOLS, HERMES.calls, {}, several=True)}", "tools")
    bound = AfterOpening(opened, Awaited(tiny.tokenizer, "<tool_call>", frozenset())).copy()
    assert all(write(bound, tiny, "I shall <tool_call>"))
    assert not any(write(bound, tiny, '\n{"name": "greet", "arguments": {"name":"a", "age": 3}}\n</tool_call>'))
    assert all(write(bound, tiny, f"{rest}and more {{"))
    assert all(write(bound, tiny, "<tool_call>"))
    assert not any(write(bound, tiny, '\n{"na'))


def test_where_calls_have_no_opening_an_answer_that_begins_like_one_is_one(tiny: BaseModel, grammars: Grammars) -> None:
    rules = calls_rules(TOOLS, FAMILIES["bare"].calls, {}, several=False)
    opened = grammars.grammar(f"start: opened\n{rules}", "tools")
    bare = AfterOpening(opened, Awaited(tiny.tokenizer, "{", frozenset(), at_start=True))
    call, words = bare.copy(), bare.copy()
    assert write(call, tiny, ' {"name": "greet", "parameters": ')[:3] == [True, True, False]
    assert all(write(words, tiny, 'No {"name": 3'))


def test_what_stands_in_one_token_with_the_opening_counts(starter: BaseModel) -> None:
    pair = next(text for text in (" the", " of", "ing") if len(starter.tokenizer.tokenize(text)) == 1)
    opened = Grammars(starter).grammar(f'start: "{pair[2:]}" "x"', "tools")
    bound = AfterOpening(opened, Awaited(starter.tokenizer, pair[:2], frozenset()))
    write(bound, starter, pair)
    mask = bound.mask()
    assert mask is not None
    assert [starter.tokenizer.decode([i]) for i in mask.nonzero()[:, 0].tolist()] == ["x"]


@pytest.mark.parametrize(
    ("schema", "named"),
    [
        ({"not": {"type": "string"}}, "not"),
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"if": {"type": "string"}, "then": {}}, "if"),
        ({"type": "string", "format": "postal address of Ann"}, "format"),
        ({"type": "string", "pattern": "(?=a)secret"}, "pattern"),
        ({"type": "string", "minLength": 3, "maxLength": 2}, "maxLength"),
        ({"type": "secret"}, "type"),
        ({"$ref": "#/secret"}, r"uses \$ref in"),
        ({"$ref": "#"}, r"uses \$ref in"),
        ({"$ref": "https://127.0.0.1/secret"}, r"uses \$ref or \$schema in"),
        ({"$schema": "https://127.0.0.1/secret"}, r"uses \$ref or \$schema in"),
        ({"patternProperties": {"^a.*": {}, "^ab.*": {}}}, "uses patternProperties in"),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "uses oneOf in"),
        ({"type": "object", "properties": {"not": False}, "required": ["not"]}, "uses required in"),
        ({"type": "integer", "multipleOf": 7, "minimum": 1, "maximum": 3}, "uses multipleOf in"),
        ({"properties": ["secret"]}, "properties"),
        ({"x-guidance": {"lenient": True}, "not": {}}, "not"),
    ],
)
def test_what_cannot_be_enforced_is_refused_by_its_name(
    grammars: Grammars, schema: dict[str, object], named: str
) -> None:
    with pytest.raises(RequestError, match=named) as caught:
        grammars.grammar(f"start: answer\n{answer_rule(schema)}", "response_format")
    assert caught.value.param == "response_format"
    assert "secret" not in caught.value.title + caught.value.hint


def test_a_tool_that_is_not_strict_may_use_any_keyword(grammars: Grammars) -> None:
    schema = {"properties": {"a": {"oneOf": [{"type": "object"}, {"type": "object"}]}}, "not": {}}
    for strict in (False, True):
        rules = calls_rules((Tool("f", parameters=schema, strict=strict),), Dialect().calls, {}, several=True)
        with pytest.raises(RequestError) if strict else nullcontext():
            grammars.grammar(f"start: calls\n{rules}", "tools")


def test_tools_take_no_arguments_that_they_do_not_describe(tiny: BaseModel, grammars: Grammars) -> None:
    for parameters, others in (({"properties": {"a": {}}}, False), ({}, True), ({"anyOf": [{"type": "object"}]}, True)):
        rules = calls_rules((Tool("f", parameters=parameters),), FAMILIES["bare"].calls, {}, several=True)
        grammar = grammars.grammar(f"start: calls\n{rules}", "tools")
        write(grammar, tiny, '{"name": "f", "parameters": {"')
        (other,) = tiny.tokenizer("b", add_special_tokens=False)["input_ids"]
        assert bool(grammar.mask()[other]) is others


def test_parameters_are_an_object() -> None:
    with pytest.raises(RequestError) as caught:
        calls_rules((Tool("f", parameters={"type": "string"}),), Dialect().calls, {}, several=True)
    assert caught.value.param == "tools"


def test_schemas_and_tools_have_a_size() -> None:
    deep: dict[str, object] = {}
    for _ in range(SCHEMA_DEPTH):
        deep = {"items": deep}
    deeper = deep
    for _ in range(50_000):
        deeper = {"items": deeper}
    large_ones: list[dict[str, object]] = [
        {"enum": ["x" * SCHEMA_BYTES]},
        {"properties": {f"{i}": {} for i in range(PROPERTIES_MOST + 1)}},
        {"anyOf": [{"patternProperties": {f"{i}": {} for i in range(PATTERNS_MOST + 1)}}]},
        {"allOf": [{"pattern": f".*{i}.*"} for i in range(9)]},
        {"allOf": [{"properties": {"a": {"items": {"pattern": f".*{i}.*"}}}} for i in range(9)]},
        {"$ref": "#/$defs/8", "$defs": {f"{i}": {"pattern": f".*{i}.*", "$ref": f"#/$defs/{i - 1}"} for i in range(9)}},
        {"$defs": {f"{i}": {"allOf": [{"$ref": f"#/$defs/{i + 1}"}] * 2, "format": "date"} for i in range(60)}},
        {"items": {"multipleOf": 99_991}},
        {"allOf": [{"multipleOf": 0.97}, {"multipleOf": 89}, {"multipleOf": 83}]},
    ]
    large_ones += [
        {
            "$ref": f"{document}#/{place}/0",
            place: {f"{i}": _leading(f"{document}#/{place}/{i + 1}") for i in range(400)},
        }
        for document in ("", "json-schema:///")
        for place in ("$defs", "%24defs")
    ]
    large_ones += [{"anyOf": [_leading(f"#/anyOf/{i + 1}") for i in range(400)]}]
    large_ones += [{"$id": "urn:a", "anyOf": [{"$anchor": f"a{i}", "not": {"$ref": f"#a{i + 1}"}} for i in range(50)]}]
    for schema in (deep, deeper, *large_ones):
        with pytest.raises(RequestError) as caught:
            check_schema(schema, "response_format")
        assert caught.value.param == "response_format"
    check_schema(
        {"$ref": "#/$defs/0", "$defs": {f"{i}": _leading(f"#/$defs/{(i + 1) % 200}") for i in range(200)}}, "x"
    )
    check_schema({"properties": {f"{i}": {"format": "date"} for i in range(99)}, "$ref": "#/properties/1"}, "x")
    check_schema({"anyOf": [{"multipleOf": each} for each in (10_000_000, 0.01, 7, "x", float("inf"))]}, "x")
    check_schema({"enum": ["x" * (SCHEMA_BYTES - 100)]}, "response_format")
    large = Tool("f", parameters={"enum": ["x" * (SCHEMA_BYTES - 100)]})
    for tools in ([Tool("f")] * (TOOLS_MOST + 1), [large] * 5):
        with pytest.raises(RequestError):
            check_tools(tools)
    check_tools([Tool("f")] * TOOLS_MOST)


def _leading(pointer: str) -> dict[str, object]:
    return {"type": "object", "properties": {"next": {"$ref": pointer}}}


HOSTILE: list[dict[str, Any]] = [
    {"$ref": "#/$defs/0", "$defs": {f"{i}": _leading(f"#/$defs/{i + 1}") for i in range(330)} | {"330": {}}},
    {"$ref": "#/$defs/0", "$defs": {f"{i}": {"items": {"$ref": f"#/$defs/{i + 1}"}} for i in range(490)} | {"490": {}}},
    {"type": "string", "pattern": "(a{1000}){1000}"},
    {"type": "string", "pattern": "(x+x+)+y"},
    {"type": "string", "pattern": "(" * 5000 + ")" * 5000},
    {"type": "string", "pattern": ".*a.{500}"},
    {"type": "string", "pattern": "[\\u0000-\\uffff]{0,5000}"},
    {"type": "string", "minLength": 10**9, "maxLength": 10**9},
    {"type": "array", "items": {"type": "string"}, "minItems": 10**7},
    {"type": "array", "minItems": 10**30},
    {"type": "array", "minItems": -1},
    {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
    {"$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"},
    {"allOf": [{"anyOf": [{"properties": {f"{i}{j}": {}}} for j in range(4)]} for i in range(9)]},
    {"properties": {f"p{i}": {"type": "string"} for i in range(PROPERTIES_MOST)}},
    {"enum": [f"v{i}" for i in range(5000)]},
    {"type": "integer", "multipleOf": 9973},
    {"patternProperties": {f"^a{i}$": {} for i in range(PATTERNS_MOST)}},
    {"type": "number", "minimum": -1e308, "maximum": 1e308},
    {"type": "integer", "maximum": 10**400},
    {"const": "x" * 60_000},
]


def test_hostile_schemas_neither_crash_nor_hang() -> None:
    """In a process of its own, which would be missed."""
    done = subprocess.run(
        [sys.executable, "-c", "import test_grammar; test_grammar.survive()"],
        env={"PYTHONPATH": ":".join([str(Path(__file__).parent), *sys.path])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(done.stdout.split()) == len(HOSTILE)
    assert set(done.stdout.split()) == {"refused", "taken"}


@lru_cache
def starter_base() -> BaseModel:
    return load_base(device="cpu")


def survive() -> None:
    """Compile each hostile schema, and draw some tokens of it."""
    model = SimpleNamespace(get_input_embeddings=lambda: SimpleNamespace(weight=torch.empty(262, 1)))
    grammars = Grammars(SimpleNamespace(model=model, tokenizer=byte_tokenizer(), end_of_turn_id=257))  # type: ignore[arg-type]
    for number, schema in enumerate(HOSTILE):
        check_schema(schema, "response_format")
        chance = random.Random(number)
        try:
            grammar = grammars.grammar(f"start: answer\n{answer_rule(schema)}", "response_format")
        except RequestError:
            sys.stdout.write("refused\n")
            continue
        for _ in range(30):
            grammar.accept(chance.choice(grammar.mask().nonzero()[:, 0].tolist()))
        sys.stdout.write("taken\n")
