"""`dittod adapters diff`: what two versions were made of, how they were judged, and what both wrote."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import keyring
import pytest
from deleting import forget_file
from keyrings import InMemory, Locked
from versions import DITTO, HELD_OUT, TEXTS, add, versions, written

from dittod.paths import Home
from dittod.store import Store
from dittod.types import Recipe, Run, Verdict


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("DITTOD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "80")
    return versions(tmp_path / "home")


def diff(dittod, one: str = "default@1", other: str = "default@2") -> dict[str, Any]:
    code, printed, _ = dittod("adapters", "diff", one, other, "--json")
    assert not code
    return dict(json.loads(printed))


def learnt(found: dict[str, Any]) -> dict[str, list[str]]:
    return {each["id"]: each["by"] for each in found["learnt"]}


def test_each_text_is_counted_for_those_that_have_learnt_from_it(home: Home, dittod) -> None:
    one, other = ["default@1"], ["default@2"]
    expected = [one, one, one + other, one + other, other, other]
    assert learnt(diff(dittod)) == {text.id: by for text, by in zip(TEXTS, expected, strict=False)}


def test_a_text_whose_prompt_was_edited_in_between_is_still_the_same_text(home: Home, dittod) -> None:
    store = Store(home.store)
    new = store.set_prompt("default", TEXTS[2].id, "Write about the third tea.", "user")
    add(store, "d", Recipe(), Verdict(True, (), {}), learnt=range(1))
    store.close()
    assert learnt(diff(dittod))[new] == ["default@1", "default@2"]


def test_texts_are_named_by_the_beginning_of_their_prompt_or_said_to_be_gone(home: Home, dittod) -> None:
    store = Store(home.store)
    forget_file(store, "1.eml")
    store.close()
    lines = dittod("adapters", "diff", "default@1", "default@3")[1].splitlines()
    assert f"  {TEXTS[0].id[:8]}  (gone)" in lines
    assert f"  {TEXTS[1].id[:8]}  {TEXTS[1].prompt}" in lines
    assert lines[lines.index("learnt from") + 1 :][:2] == ["only default@1: 0", "only default@3: 2"]


def test_figures_of_both_stand_side_by_side_with_their_difference(home: Home, dittod) -> None:
    figures = {each["name"]: each for each in diff(dittod)["figures"]}
    assert figures["nats_per_token"] == {"name": "nats_per_token", "one": 3.5, "other": 3.25, "difference": -0.25}
    assert figures["copies"] == {"name": "copies", "one": None, "other": 1, "difference": None}
    lines = [" ".join(line.split()) for line in dittod("adapters", "diff", "default@1", "default@2")[1].splitlines()]
    assert "nats/token 3.500 3.250 -0.250" in lines and "copied - 1" in lines


def test_a_version_is_not_held_against_itself(home: Home, dittod) -> None:
    code, out, err = dittod("adapters", "diff", "default@1", "a" * 64)
    assert (code, out) == (1, "") and "both are the same version, default@1" in err


def test_the_panel_is_one_line_whichever_figure_says_it(home: Home, dittod) -> None:
    figures = diff(dittod)["figures"]
    assert figures[0] == {"name": "advantage", "one": 1.0, "other": 2.314, "difference": pytest.approx(1.314)}
    printed = dittod("adapters", "diff", "default@1", "default@2")[1]
    assert printed.count("panel") == 1 and "panel, against what was served then" in printed


def test_a_difference_of_counts_is_a_whole_number(home: Home, dittod) -> None:
    store = Store(home.store)
    add(store, "d", Recipe(), Verdict(True, (), {"ditto_outputs": 8.0}), learnt=range(1))
    store.close()
    lines = [" ".join(line.split()) for line in dittod("adapters", "diff", "default@4", "default@2")[1].splitlines()]
    assert "answers 8 4 -4" in lines


def test_the_ability_of_the_same_weights_counts_for_a_recipe_with_examples(home: Home, dittod) -> None:
    store = Store(home.store)
    figures = {"ditto_few_shot_outputs": 4.0, "ditto_bits_per_byte": 2.75}
    add(store, "d", Recipe("ditto", examples=3), Verdict(True, (), figures), learnt=range(1))
    store.close()
    found = {each["name"]: each["other"] for each in diff(dittod, "default@2", "default@4")["figures"]}
    assert found["bits_per_byte"] == 2.75


def test_figures_are_not_to_be_compared_where_other_texts_were_held_out(home: Home, dittod) -> None:
    assert diff(dittod)["judged_by_the_same_texts"] is True
    assert "figures, judged by the same texts" in dittod("adapters", "diff", "default@1", "default@2")[1]
    store = Store(home.store)
    run = store.request_run(Run("run-d", "default", "done", 7, "clean", 6.0, held_out_ids=(TEXTS[0].id,)))
    store.add_adapter(replace(store.adapter("b" * 64), id="d" * 64, state="candidate", run_id=run.id))
    store.close()
    assert diff(dittod, "default@2", "default@4")["judged_by_the_same_texts"] is False
    assert "do not compare too closely" in dittod("adapters", "diff", "default@2", "default@4")[1]


def test_only_what_the_versions_wrote_themselves_to_the_same_prompt_is_shown(home: Home, dittod) -> None:
    assert diff(dittod)["written"] == [
        {
            "prompt": HELD_OUT[0].prompt,
            "answers": [["default@1", "Dear Ann, tea. Bob"], ["default@2", "Dear Ann,\n\nno tea."]],
        }
    ]
    assert "nothing that both answered" in dittod("adapters", "diff", "default@1", "default@3")[1]


def test_recipes_bases_and_seeds_are_told_apart(home: Home, dittod) -> None:
    store = Store(home.store)
    verdict = Verdict(True, (), DITTO.figures, (written("few_shot", 0, "Hm."),))
    add(store, "d", Recipe("base", examples=3), verdict, learnt=range(1), base="some/model")
    store.close()
    lines = [" ".join(line.split()) for line in dittod("adapters", "diff", "default@2", "default@4")[1].splitlines()]
    assert lines[:5] == [
        "default@2 default@4",
        "state promoted candidate",
        "recipe DITTO base, 3 examples",
        "base starter some/model",
        "seed 7 7",
    ]
    figures = {each["name"]: each for each in diff(dittod, "default@2", "default@4")["figures"]}
    assert figures["nats_per_token"]["other"] == 3.9, "of the recipe, not of its rivals"


def test_a_version_that_is_not_there_is_refused(home: Home, dittod) -> None:
    code, out, err = dittod("adapters", "diff", "default@1", "default@9")
    assert (code, out) == (1, "") and "no version answers to 'default@9'" in err and "adapters list" in err


def test_without_the_key_of_an_encrypted_store_versions_are_told_apart_as_far_as_they_are_known(
    home: Home, dittod
) -> None:
    before = keyring.get_keyring()
    keyring.set_keyring(InMemory())
    store = Store(home.store)
    store.seal(True)
    store.close()
    keyring.set_keyring(Locked())
    try:
        found = diff(dittod)
        assert len(learnt(found)) == 6 and {each["prompt"] for each in found["learnt"]} == {None}
        assert found["figures"] == [] == found["written"] and found["judged_by_the_same_texts"]
        assert "the verdict cannot be read" in dittod("adapters", "show", "default@2")[1]
        assert "its verdict: the verdict cannot be read" in dittod("adapters", "promote", "default@1")[2]
    finally:
        keyring.set_keyring(before)
