"""Merging into files that people have written: everything else stays, comments and indentation too."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dittod.clients import all_clients, json_text, yaml_text
from dittod.clients.combining import combined
from dittod.clients.formats import parsed, text_of, to_yaml
from dittod.clients.merging import merged
from dittod.clients.shape import Part
from dittod.clients.spans import CannotMerge

from .texts import ADDRESS, part

ZED = """\
// Zed's settings
{
  "theme": "One Dark", // dark
  "language_models": {
    /* mine */
    "ollama": {"api_url": "http://127.0.0.1:11434"},
    "openai_compatible": {
      "Somewhere": {
        "api_url": "http://somewhere.example/v1",
        "available_models": [],
      },
    },
  },
  // the end
}
"""
CONTINUE = """\
# my assistant
name: Mine   # as I call it
version: 2.0.0
schema: v1
models:
  - name: small   # fast
    provider: ollama
    model: small:1b
    roles: [chat, edit]

  # for later
  - name: large
    provider: ollama
    model: large:70b
    # not tried yet

rules:
- Write plain words.
"""


def lines_lost(old: str, new: str) -> list[str]:
    """Those whose words do not stand in the new text in this order; commas do not matter."""
    left = iter(line.strip().rstrip(",") for line in new.splitlines())
    return [line for line in old.splitlines() if line.strip().rstrip(",") not in left]


@pytest.mark.parametrize(
    ("text", "which"),
    [
        (ZED, part("zed")),
        (ZED.replace("\n", "\r\n"), part("zed")),
        (ZED.replace("  ", "\t"), part("zed")),
        ("\ufeff" + ZED, part("zed")),
        (CONTINUE, part("continue")),
        (CONTINUE.replace("models:", "models:   # all of them"), part("continue")),
        (CONTINUE.replace("\n", "\r\n"), part("continue")),
        ("export OPENAI_BASE_URL=http://x.example # old\nPATH=/bin\n", part("continue", 1)),
        ("# nothing yet\n", part("continue")),
        ('[{"name": "Somewhere", "vendor": "customendpoint", "models": []}]', part("vscode")),
        ("[]", part("vscode")),
        ("[\n\t// none yet\n]\n", part("vscode")),
        ("{}", part("opencode")),
        ("{ }\n", part("opencode")),
        ("- model_id: other\n  model_name: other\n", part("llm")),
        ("-   model_id: other\n    model_name: other", part("llm")),
    ],
    ids=lambda given: None if isinstance(given, Part) else repr(given[:12]),
)
def test_all_that_a_file_has_stays_in_it_and_a_second_time_changes_nothing(text: str, which: Part) -> None:
    new = merged(text, which)
    assert lines_lost(text, new) == [] or which.path == "{xdg}/opencode/opencode.json" or "[" in text[:4]
    before, after = (parsed(which.language, each.lstrip("\ufeff")) for each in (text, new))
    assert after == combined(before, which.settings) if before is not None else which.settings
    assert merged(new, which) == new
    assert ("\r\n" in new) == ("\r\n" in text) and new.count("\n") - new.count("\r\n") in (0, new.count("\n"))


def test_the_settings_stand_where_a_person_would_put_them() -> None:
    new = merged(ZED, part("zed"))
    somewhere, ours = new.index('"Somewhere"'), new.index('\n      "dittod": {\n        "api_url"')
    assert somewhere < ours < new.index("// the end")
    new = merged(CONTINUE, part("continue"))
    assert "    # not tried yet\n" in new and "\n  - name: ditto\n    provider: openai\n" in new
    assert new.index("large:70b") < new.index("- name: ditto") < new.index("rules:")
    assert "name: Mine   # as I call it" in new and "version: 2.0.0" in new  # its own stay


def test_what_was_written_for_another_address_is_brought_up_to_date() -> None:
    for client in all_clients("http://127.0.0.1:9999", token="an-older-token"):
        newer = {each.name: each for each in all_clients(ADDRESS, token="a-newer-token")}[client.name]
        for old, new in zip(client.parts, newer.parts, strict=True):
            if old.settings is not None:
                assert merged(text_of(old), new) == text_of(new)


def test_a_file_in_toml_that_has_all_of_it_is_left_as_it_is() -> None:
    text = f'# mine\nmodel_reasoning_effort = "low"\n{text_of(part("codex"))}'
    assert merged(text, part("codex")) == text


def test_another_model_comes_beside_the_first() -> None:
    both = merged(text_of(part("zed")), part("zed", model="ditto/email"))
    models = json.loads(both)["language_models"]["openai_compatible"]["dittod"]["available_models"]
    assert [each["name"] for each in models] == ["ditto", "ditto/email"]


@pytest.mark.parametrize(
    ("text", "which", "because"),
    [
        ("{", part("zed"), "line 1 is not valid JSON"),
        ('{"a": 1}\n}', part("zed"), "line 2 is not valid JSON"),
        ('{"a": 1, "a": 2}', part("zed"), "not valid JSON"),
        ('{"a": [1 2]}', part("zed"), "not valid JSON"),
        ("[" * 5000, part("zed"), "not valid JSON"),
        ("[1]", part("zed"), "not laid out"),
        ('{"language_models": [ // none\n]}', part("zed"), "a comment would be lost"),
        ("models: [\n", part("continue"), "not valid YAML"),
        ("a: 1\n---\nb: 2\n", part("continue"), "not valid YAML"),
        ("models: [{name: a}, # one\n {name: b}]\n", part("continue"), "a comment would be lost"),
        ("models:\n  - &one {name: ditto}\nrules: [*one]\n", part("continue"), "would not stay as it is"),
        ("a: !!python/object:os.system x\n", part("continue"), "not valid YAML"),
        ('{"a": NaN}', part("zed"), "line 1 is not valid JSON"),
        ('{"a":\n-Infinity}', part("zed"), "line 2 is not valid JSON"),
        ('{"a": ' + "9" * 5000 + "}", part("zed"), "line 1 is not valid JSON"),
        ('{"a":\n"b\n"}', part("zed"), "line 2 is not valid JSON"),
        ("model = \n", part("codex"), "line 1 is not valid TOML"),
        ('model = "ditto"\n\n[tui]\nnotifications = true\n', part("codex"), "TOML is not merged"),
        ('model = "y" # mine\n', part("codex"), "TOML is not merged"),
        ("# mine\n", part("codex"), "TOML is not merged"),
        ("null\n", part("llm", 1), "would not stay as it is"),
        ("~\n", part("llm"), "would not stay as it is"),
        ("---\n...\n", part("llm"), "would not stay as it is"),
        ("x: &b\n  models: []\n<<: *b\nname: a\n", part("continue"), "from an anchor"),
        ("models: &a\n  - *a\n", part("continue"), "nested without an end"),
        ('{"a": \u0661}', part("zed"), "line 1 is not valid JSON"),
        ('A=1\nK="a\nOPENAI_MODEL=inside\nb"\n', part("env"), "line 2 does not end its value"),
        ("OPENAI_MODEL=a\\\nb\n", part("env"), "line 1 does not end its value"),
    ],
)
def test_what_cannot_be_merged_is_left_as_it_is(text: str, which: Part, because: str) -> None:
    with pytest.raises(CannotMerge, match=because):
        merged(text, which)


@pytest.mark.parametrize(
    ("line", "new"),
    [
        ("OPENAI_MODEL=gpt-4 # the good one", "OPENAI_MODEL=ditto # the good one"),
        ("export OPENAI_MODEL='gpt # 4'\t# quoted", "export OPENAI_MODEL=ditto\t# quoted"),
        ('OPENAI_MODEL="a \\" # b" # c "d', 'OPENAI_MODEL=ditto # c "d'),
        ("OPENAI_MODEL= # none yet", "OPENAI_MODEL=ditto # none yet"),
        ("OPENAI_MODEL=a#b", "OPENAI_MODEL=ditto"),
        ("OPENAI_MODEL=my own model  ", "OPENAI_MODEL=ditto"),
    ],
)
def test_a_variable_keeps_the_comment_behind_it(line: str, new: str) -> None:
    assert merged(f"# it's mine\n{line}\nX=1\n", part("env")).startswith(f"# it's mine\n{new}\nX=1\n")


def test_no_reason_quotes_the_file() -> None:
    secret = "kq-5521-8890"
    for text, which in [
        (f"x: &b\n  models: [{secret}]\n<<: *b\n", part("continue")),
        (f"X='{secret}\n", part("env")),
        (f'{{"{secret}": }}', part("zed")),
        (f"{secret}: [\n", part("continue")),
        (f"{secret} = = 3\n", part("codex")),
        (f'x = "{secret}\n', part("codex")),
    ]:
        with pytest.raises(CannotMerge) as raised:
            merged(text, which)
        assert secret not in str(raised.value)


def test_a_number_that_json_has_no_exact_form_for_stays_as_it_was_typed() -> None:
    assert "1.10e2" in merged('{"buffer_font_size": 1.10e2}', part("zed"))


KEYS = st.sampled_from(["a", "b", "language_models", "openai_compatible", "dittod", "models", "name", "ditto", "é\n"])
SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab#:/'\"\\ é{[-", max_size=6)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3))
DOCUMENTS = st.dictionaries(KEYS, VALUES, max_size=4)


@settings(max_examples=150, deadline=None)
@given(DOCUMENTS, DOCUMENTS, st.sampled_from([None, 1, 2, "\t"]), st.randoms(use_true_random=False))
def test_any_json_can_be_merged_into_and_keeps_its_comments(
    have: dict[str, Any], wanted: dict[str, Any], indent: Any, random: Any
) -> None:
    written = json.dumps(have, indent=indent, ensure_ascii=False)
    comments = [f"// note {number}" for number in range(written.count("\n"))]
    rows = written.split("\n")
    text = "\n".join(f"{row} {note}" for row, note in zip(rows, [*comments, ""], strict=True))
    try:
        new = json_text.edited(text, wanted)
    except CannotMerge:
        return
    assert json_text.read(new).value == combined(have, wanted)
    assert all(f"{note}\n" in new for note in comments)


@settings(max_examples=150, deadline=None)
@given(DOCUMENTS, DOCUMENTS, st.sampled_from([True, False, None]))
def test_any_yaml_is_merged_into_or_left_alone(have: dict[str, Any], wanted: dict[str, Any], flow: Any) -> None:
    text = yaml.safe_dump(have, default_flow_style=flow, allow_unicode=True)
    assert parsed("yaml", to_yaml(wanted)) == wanted
    try:
        new = merged(text, Part("yaml", "x", wanted))
    except CannotMerge as reason:
        assert str(reason) != "it is not valid YAML"
        return
    assert yaml.safe_load(new) == combined(have, wanted)


def test_most_yaml_is_merged_into() -> None:
    """The test above would pass if nothing ever was."""
    text = yaml.safe_dump({"a": {"b": [1, {"name": "x"}]}, "models": [{"name": "y", "z": None}]})
    wanted = {"a": {"c": {"d": 1}, "b": "now a text"}, "models": [{"name": "y", "z": [1]}, {"name": "new"}], "e": []}
    assert yaml.safe_load(yaml_text.edited(text, wanted)) == combined(yaml.safe_load(text), wanted)
