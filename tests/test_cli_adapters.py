"""`dittod adapters`: what is listed and shown of a version, and what serving another one says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from versions import DITTO, HELD_OUT, TEXTS, add, versions

from dittod.cli.terminal import day
from dittod.paths import Home
from dittod.rows import StepRow
from dittod.store import Store
from dittod.types import Adapter, Recipe, Run, Verdict, Written

COURSE = (
    *(StepRow("supervised", step, 0, {"loss": 3.0 - step}) for step in (1, 2)),
    StepRow("sampling", 1, 0, {"eos_rate": 0.75}),
    *(StepRow("dpo", step, 0, {"margin": 0.125 * (step - 1), "chosen_drift": -2.0 * step}) for step in (1, 2, 3)),
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Two adapters: one whose run left figures, and one of a time when none were kept."""
    monkeypatch.setenv("DITTOD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "80")
    made = Home(tmp_path / "home")
    made.create()
    store = Store(made.store)
    for letter in "ab":
        run = store.request_run(Run(f"run-{letter}", letter, "done", 7, "clean", 5.0))
        verdict = Verdict(True, ("likelier",), {"base_nats_per_token": 4.0})
        store.add_adapter(
            Adapter(
                letter * 64, letter, 0, "candidate", "/none", run.id, "starter", "1", "t", (), 7, 1.0, None, verdict
            )
        )
    for step in COURSE:
        store.record_step("run-a", step)
    store.close()
    return made


def shown(dittod, *arguments: str) -> str:
    code, printed, _ = dittod("adapters", "show", *arguments)
    assert not code
    return printed


def test_each_figure_is_shown_with_its_first_and_its_last_value(home: Home, dittod) -> None:
    lines = [line.split() for line in shown(dittod, "a@1").splitlines()]
    table = lines[lines.index(["stage", "steps", "figure", "first", "last"]) + 1 :]
    assert table == [
        ["supervised", "2", "loss", "2", "1"],
        ["sampling", "1", "eos_rate", "0.75", "0.75"],
        ["dpo", "3", "margin", "0", "0.25"],
        ["dpo", "3", "chosen_drift", "-2", "-6"],
    ]


def test_the_document_has_every_step(home: Home, dittod) -> None:
    steps = json.loads(shown(dittod, "a@1", "--json"))["steps"]
    assert [StepRow(**each) for each in steps] == list(COURSE)


def test_an_adapter_without_figures_is_shown_without_them(home: Home, dittod) -> None:
    assert "learning" not in shown(dittod, "b@1")
    assert json.loads(shown(dittod, "b@1", "--json"))["steps"] == []


def test_a_pinned_version_is_shown_as_such_until_it_is_unpinned(home: Home, dittod) -> None:
    assert dittod("adapters", "pin", "a@1")[1].strip() == "a@1 stays until it is unpinned"
    assert "(candidate, pinned)" in shown(dittod, "a@1") and "candidate, pinned" in dittod("adapters", "list")[1]
    listed = json.loads(dittod("adapters", "list", "--json")[1])["adapters"]
    assert {each["profile"]: each["pinned"] for each in listed} == {"a": True, "b": False}
    dittod("adapters", "unpin", "a@1")
    assert "pinned" not in dittod("adapters", "list")[1]


def test_a_pruned_version_is_shown_with_its_figures_and_refused_where_its_weights_are_needed(
    home: Home, dittod
) -> None:
    store = Store(home.store)
    store.prune("a" * 64)
    store.close()
    assert "(pruned)" in shown(dittod, "a@1") and "base       4" in shown(dittod, "a@1")
    for command in ("promote", "pin"):
        code, _, said = dittod("adapters", command, "a@1")
        assert code == 1 and "a@1 was pruned: its weights are gone" in said


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("DITTOD_HOME", str(tmp_path / "versions"))
    monkeypatch.setenv("COLUMNS", "80")
    return versions(tmp_path / "versions")


def forget(home: Home, place: int) -> str:
    """The id of the receipt."""
    store = Store(home.store)
    (receipt,) = store.forget_texts("default", [TEXTS[place].id], "by hand", 172800.0)
    store.close()
    return receipt.id


def test_the_list_names_recipe_and_panel_and_fits_the_terminal(made: Home, dittod, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    listed = dittod("adapters", "list")[1]
    assert max(map(len, listed.splitlines())) <= 120
    line = next(line for line in listed.splitlines() if line.startswith("default@2"))
    assert line.split("  ")[:2] == ["default@2", "promoted"]
    assert "DITTO " in line and "+2.3 (1.0 to 3.4)  3.250" in line
    assert "DITTO after round 2, 3 examples" in listed and "supervised" in listed


def test_in_a_narrow_terminal_figures_are_left_out_before_state_and_recipe_break(
    made: Home, dittod, monkeypatch
) -> None:
    dittod("adapters", "pin", "default@2")
    _, listed, said = dittod("adapters", "list")
    lines = listed.splitlines()
    assert max(map(len, lines)) <= 80 and len(lines) == 4
    assert lines[0].split() == ["version", "state", "recipe", "made", "texts"] and "nats, panel" in said
    assert "promoted, pinned" in lines[2] and "DITTO after round 2, 3 examples" in lines[3]
    monkeypatch.setenv("COLUMNS", "40")
    lines = dittod("adapters", "list")[1].splitlines()
    assert [line.split()[0] for line in lines if line][:3] == ["version", "state", "recipe"], "one below the other"
    assert max(map(len, lines)) <= 40


def test_a_profile_that_there_is_not_is_refused(made: Home, dittod) -> None:
    for command in ("list", "rollback"):
        code, out, err = dittod("adapters", command, "nope")
        assert (code, out) == (1, "") and "the profile 'nope' does not exist\nhint: choose one of: default" in err


def test_a_profile_of_which_only_gone_versions_are_left_is_listed(home: Home, dittod) -> None:
    store = Store(home.store)
    store.prune("a" * 64)
    assert "a" not in store.profiles()
    store.close()
    assert "a@1" in dittod("adapters", "list", "a")[1]


def test_promoting_base_points_to_the_rollback(made: Home, dittod) -> None:
    code, _, err = dittod("adapters", "promote", "base")
    assert code == 1 and "dittod adapters rollback" in err


def test_where_another_has_the_higher_panel_it_is_said_why_it_may(made: Home, dittod) -> None:
    assert "need not have the highest panel" not in shown(dittod, "default@2")
    store = Store(made.store)
    figures = {"ditto_advantage": 2.0, "ditto_few_shot_advantage": 2.25}
    add(store, "d", Recipe("ditto"), Verdict(True, (), figures), learnt=range(1))
    store.close()
    assert "examples in the prompt must earn half a unit" in shown(dittod, "default@4")


def test_a_version_with_examples_has_the_ability_of_its_weights(made: Home, dittod) -> None:
    store = Store(made.store)
    figures = {"ditto_few_shot_outputs": 4.0, "ditto_bits_per_byte": 2.5, "ditto_right_share": 0.625}
    add(store, "d", Recipe("ditto", examples=3), Verdict(True, (), figures), learnt=range(1))
    store.close()
    lines = [" ".join(line.split()) for line in shown(dittod, "default@4").splitlines()]
    assert "* DITTO, with examples 4 none 2.500 0.625" in lines


def test_the_decisive_reason_stands_first(made: Home, dittod) -> None:
    lines = shown(dittod, "default@2").splitlines()
    at = lines.index("verdict: better than what was served")
    assert [line.strip() for line in lines[at + 1 : at + 3]] == list(DITTO.reasons)
    assert "verdict: kept" in shown(dittod, "default@3")


def test_each_judge_is_shown_for_each_candidate_and_the_version_has_a_star(made: Home, dittod) -> None:
    lines = [" ".join(line.split()) for line in shown(dittod, "default@2").splitlines()]
    at = lines.index("candidate panel nats/token authorship style")
    assert lines[at + 1 : at + 8] == [
        "what was served - 3.750 0.400 1.500",
        "base - 4 0.125 -",
        "base, with examples - 3.900 - -",
        "supervised - 3.300 - -",
        "DITTO after round 1 - 3.290 - -",
        "* DITTO 2.314 3.250 0.750 1",
        "nats/token and style: less is better",
    ]
    assert "panel +2.31 (1.02 to 3.43) against what was served, in its units" in lines


def test_guards_say_how_many_answers_tripped_them(made: Home, dittod) -> None:
    lines = [" ".join(line.split()) for line in shown(dittod, "default@2").splitlines()]
    at = lines.index("candidate answers tripped bits/byte")
    assert lines[at + 1 : at + 3] == ["base - - 2.250", "* DITTO 4 1 copied 2.500"]


def test_answers_to_a_held_out_prompt_stand_under_it_base_first(made: Home, dittod) -> None:
    printed = shown(dittod, "default@2")
    first, second = printed.split("\n> ")[1:]
    assert first.startswith(HELD_OUT[0].prompt)
    places = [first.index(each) for each in ("Tea is a drink.", "Dear Ann, some tea.", "no tea.")]
    assert places == sorted(places), "one under the other, since 80 columns are too few for three"
    assert second.startswith(HELD_OUT[1].prompt) and "(nothing)" in second


def test_answers_stand_side_by_side_where_there_is_room(made: Home, dittod, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    lines = shown(dittod, "default@2").splitlines()
    at = lines.index(f"> {HELD_OUT[0].prompt}")
    assert lines[at + 1].split() == ["base", "what", "was", "served", "default@2:", "DITTO"]
    assert [lines[at + 2][place:].split("  ")[0] for place in (0, 40, 80)] == [
        "Tea is a drink.",
        "Dear Ann, some tea.",
        "Dear Ann,",
    ]
    assert lines[at + 4].strip() == "no tea."


def test_what_a_model_wrote_does_not_steer_the_terminal(made: Home, dittod) -> None:
    printed = shown(dittod, "default@2")
    assert "\x1b" not in printed and "\ufffd[2Jgone" in printed


def test_the_prompt_of_a_text_that_is_gone_is_not_known(made: Home, dittod) -> None:
    store = Store(made.store)
    verdict = Verdict(True, (), {}, (Written("ditto", "f" * 64, "Hm."), Written("", "", "Of an older dittod.")))
    add(store, "d", Recipe("ditto"), verdict, learnt=range(1))
    store.close()
    printed = shown(dittod, "default@4")
    assert printed.count("(the prompt is not known any more)") == 2 and "Of an older dittod." in printed
    assert json.loads(shown(dittod, "default@4", "--json"))["prompts"] == {"f" * 64: None, "": None}


def test_the_document_has_the_recipe_the_figures_and_the_prompts(made: Home, dittod) -> None:
    value = json.loads(shown(dittod, "default@2", "--json"))
    assert value["recipe"] == {"policy": "ditto", "iteration": 0, "examples": 0}
    assert value["verdict"]["figures"] == DITTO.figures and len(value["verdict"]["outputs"]) == 5
    assert value["prompts"] == {each.id: each.prompt for each in HELD_OUT}


def test_a_forgotten_version_is_listed_with_its_day_and_shown_without_a_text(made: Home, dittod) -> None:
    receipt = forget(made, 5)
    listed = dittod("adapters", "list")[1]
    assert listed.count("forgotten") == listed.count(day(172800.0)[:10]) == 2, "default@1 has not seen it"
    printed = shown(dittod, "default@2")
    assert f"by hand, at {day(172800.0)}: receipt {receipt}" in printed
    assert "written for the gate" not in printed and "Tea" not in printed


def test_a_forgotten_version_is_not_promoted_again(made: Home, dittod) -> None:
    forget(made, 5)
    code, out, err = dittod("adapters", "promote", "default@2")
    assert (code, out) == (1, "") and "default@2 was forgotten" in err


def test_a_promotion_over_a_guard_is_done_and_names_the_guard(made: Home, dittod) -> None:
    code, out, err = dittod("adapters", "promote", "default@3")
    assert (code, out.strip()) == (0, "ditto serves default@3 now: DITTO after round 2, 3 examples")
    assert err.strip() == "warning: 3 of 4 answers of this version copy a demonstration."


def test_a_promotion_over_the_verdict_says_why_it_was_kept(made: Home, dittod) -> None:
    store = Store(made.store)
    add(store, "d", Recipe("base", examples=1), Verdict(False, ("No candidate is better.",), {}), learnt=range(1))
    store.close()
    code, out, err = dittod("adapters", "promote", "default@4")
    assert (code, out.strip()) == (0, "ditto serves default@4 now: base, 1 example")
    assert err.strip() == "warning: its verdict: No candidate is better."


def test_a_version_that_was_rolled_back_by_itself_is_promoted_with_a_warning(made: Home, dittod) -> None:
    store = Store(made.store)
    store.note(
        "rolled_back", {"default": {"version": "default@1", "served": "base", "at": 1.0, "sentence": "It loops."}}
    )
    store.close()
    assert dittod("adapters", "promote", "default@1")[2].strip() == "warning: it was rolled back before: It loops."
    assert dittod("adapters", "promote", "default@2")[2] == ""


def test_one_that_passed_is_promoted_without_a_warning(made: Home, dittod) -> None:
    assert dittod("adapters", "promote", "default@1") == (0, "ditto serves default@1 now: supervised\n", "")


def test_a_version_of_another_base_model_is_promoted_with_a_warning(made: Home, dittod) -> None:
    store = Store(made.store)
    add(store, "d", Recipe(), Verdict(True, (), {}), learnt=range(1), base="some/model")
    store.close()
    assert "until that is set, base answers" in dittod("adapters", "promote", "default@4")[2]


def test_rolling_back_says_what_is_served_base_at_the_end(made: Home, dittod) -> None:
    assert dittod("adapters", "rollback")[1] == "ditto serves default@1 now: supervised\n"
    assert dittod("adapters", "rollback")[1] == "ditto serves base now\n"
    assert "serves base already" in dittod("adapters", "rollback")[2]
