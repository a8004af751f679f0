"""What is shown of versions, and serving another one."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from versions import DITTO, HELD_OUT, TEXTS, add, versions

from dittod.errors import NotFound
from dittod.rows import StepRow
from dittod.store import Store
from dittod.types import Recipe, Verdict
from dittod.views import versions as views


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(versions(tmp_path / "home").store)
    yield made
    made.close()


def told(store: Store, name: str) -> dict[str, Any]:
    return next(each for each in views.versions(store)["versions"] if each["name"] == name)


def test_versions_come_the_newest_first_with_what_each_profile_serves(store: Store) -> None:
    store.add_adapter(replace(store.adapter("a" * 64), id="d" * 64, profile="blog", created_at=9e9, state="candidate"))
    found = views.versions(store)
    assert [each["name"] for each in found["versions"]] == ["blog@1", "default@3", "default@2", "default@1"]
    assert found["served"] == {"blog": "base", "default": "default@2"} and found["receipts"] == []


def test_a_version_is_described_in_words(store: Store) -> None:
    found = told(store, "default@3")
    assert (found["recipe_in_words"], found["state_in_words"]) == ("DITTO after round 2, 3 examples", "candidate")
    assert (found["model"], found["texts"], found["served"], found["gone"]) == ("ditto/default@3", 6, False, False)
    assert found["promoted"] is False and found["first_reason"].startswith("3 of 4 answers")
    assert found["tripped"] == found["against"] == ["3 of 4 answers of this version copy a demonstration."]
    assert told(store, "default@2")["panel"] == "+2.31 (1.02 to 3.43)"


def test_the_list_goes_without_what_versions_wrote_and_one_by_itself_has_it(store: Store) -> None:
    assert told(store, "default@2")["verdict"]["outputs"] == ()
    written = views.version(store, "default@2")["written"]
    assert [each["prompt"] for each in written] == [each.prompt for each in HELD_OUT]
    assert written[0]["answers"] == [
        {"title": "base", "text": "Tea is a drink."},
        {"title": "what was served", "text": "Dear Ann, some tea."},
        {"title": "default@2: DITTO", "text": "Dear Ann,\n\nno tea."},
    ]


def test_judges_and_guards_are_tables(store: Store) -> None:
    found = views.version(store, "default@2")
    assert found["judges"]["columns"] == ("panel", "nats/token", "authorship", "style")
    assert found["judges"]["rows"][-1] == {
        "chosen": True,
        "name": "DITTO",
        "values": ("2.314", "3.250", "0.750", "1"),
    }
    assert found["judges"]["note"] == "nats/token and style: less is better"
    assert found["guards"]["rows"][-1]["values"] == ("4", "1 copied", "2.500")
    assert found["reasons"] == list(DITTO.reasons)


def test_a_version_without_figures_has_empty_tables(store: Store) -> None:
    add(store, "d", Recipe(), Verdict(True, (), {}), learnt=range(1))
    found = views.version(store, "default@4")
    assert found["judges"] == found["guards"] == {"columns": (), "rows": (), "note": ""}


def test_the_course_has_the_first_and_the_last_of_each_figure(store: Store) -> None:
    for step in (1, 2):
        store.record_step("run-b", StepRow("dpo", step, 0, {"margin": step / 2}))
    found = views.version(store, "default@2")
    assert found["course"] == [{"phase": "dpo", "steps": 2, "figure": "margin", "first": 0.5, "last": 1.0}]
    assert [each["step"] for each in found["steps"]] == [1, 2]


def test_a_figure_that_is_no_number_is_none_so_that_json_can_hold_it(store: Store) -> None:
    add(store, "d", Recipe(), Verdict(True, (), {"ditto_style": math.inf, "ditto_pairwise": math.nan}), learnt=range(1))
    store.record_step("run-d", StepRow("dpo", 1, 0, {"loss": math.nan}))
    found = views.version(store, "default@4")
    assert found["verdict"]["figures"] == {"ditto_style": None, "ditto_pairwise": None}
    assert found["judges"]["rows"][0]["values"] == ("-", "-") and found["course"][0]["last"] is None
    assert json.dumps(found, allow_nan=False) and json.dumps(views.versions(store), allow_nan=False)


def test_promoting_serves_it_at_once_and_says_what_spoke_against_it(store: Store) -> None:
    found = views.promote(store, "default@3")
    assert found["served"] and found["against"] == ["3 of 4 answers of this version copy a demonstration."]
    assert views.versions(store)["served"] == {"default": "default@3"}


@pytest.mark.parametrize(
    ("name", "against"),
    [
        ("default@3", "it was rolled back before: It loops."),
        ("default@1", "it was rolled back before, by itself"),
    ],
)
def test_every_version_that_was_rolled_back_by_itself_is_known_and_not_only_the_latest(
    store: Store, name: str, against: str
) -> None:
    note = {"version": "default@3", "versions": ["default@1", "default@3"], "sentence": "It loops.", "served": "base"}
    store.note("rolled_back", {"default": note})
    assert told(store, name)["against"][0] == against
    assert told(store, "default@2")["against"] == []


def test_rolling_back_serves_what_was_before_and_base_at_the_end(store: Store) -> None:
    before = views.roll_back(store, "default")
    assert before is not None and before["name"] == "default@1" and before["served"]
    assert views.roll_back(store, "default") is None
    with pytest.raises(NotFound, match="serves base already"):
        views.roll_back(store, "default")


def test_a_pinned_version_says_so(store: Store) -> None:
    assert views.pin(store, "default@1", True)["state_in_words"] == "retired, pinned"
    assert views.pin(store, "default@1", False)["state_in_words"] == "retired"


def test_a_forgotten_version_names_its_receipt_and_is_gone(store: Store) -> None:
    (receipt,) = store.forget_texts("default", [TEXTS[5].id], "by hand", 172800.0)
    found = told(store, "default@2")
    assert found["gone"] and found["state_in_words"].startswith("forgotten 1970-01-0")
    assert found["receipt"]["id"] == receipt.id == views.versions(store)["receipts"][0]["id"]


def test_an_empty_name_is_not_that_of_the_only_version(tmp_path: Path) -> None:
    store = Store(versions(tmp_path / "home").store)
    only = store.adapter("a" * 64)
    store.close()
    other = Store(tmp_path / "other.sqlite")
    other.add_adapter(only)
    with pytest.raises(NotFound, match="no version answers to ''"):
        views.promote(other, "")
    other.close()


@pytest.mark.parametrize("wanted", ["base", "default@9", "", "nope@1", "%", "default@1\0"])
def test_what_is_no_version_is_refused(store: Store, wanted: str) -> None:
    with pytest.raises(NotFound):
        views.promote(store, wanted)
    assert views.versions(store)["served"] == {"default": "default@2"}
