"""Which is yours? What is kept of it, and how it is counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from versions import versions

from dittod.config import Settings
from dittod.errors import NotFound, RequestError
from dittod.store import Store
from dittod.views import judgements

SETTINGS = Settings(base_model="starter")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """default@2 is served."""
    made = Store(versions(tmp_path / "home").store)
    yield made
    made.close()


def judge(store: Store, chosen: str, other: str, profile: str = "default") -> None:
    judgements.add(store, SETTINGS, profile, chosen, other, 5.0)


def test_a_pair_is_counted_whichever_of_the_two_was_chosen(store: Store) -> None:
    judge(store, "default@2", "base")
    judge(store, "base", "default@2")
    judge(store, "default@2", "base")
    assert judgements.tally(store) == {
        "tallies": [
            {"profile": "default", "one": "default@2", "other": "base", "one_chosen": 2, "other_chosen": 1},
        ],
        "total": 3,
    }


def test_the_elder_version_comes_first_and_base_last(store: Store) -> None:
    judge(store, "default@3", "default@1")
    judge(store, "base", "default@3")
    pairs = [(each["one"], each["other"]) for each in judgements.tally(store)["tallies"]]
    assert pairs == [("default@1", "default@3"), ("default@3", "base")]


def test_where_nothing_was_chosen_the_tally_is_empty(store: Store) -> None:
    assert judgements.tally(store) == {"tallies": [], "total": 0}


@pytest.mark.parametrize("name", ["ditto", "ditto/default", "ditto/default@2", "default@2", "b" * 64])
def test_whatever_a_version_is_called_its_own_name_is_kept(store: Store, name: str) -> None:
    judge(store, name, "base")
    assert store.judgements()[0].chosen == "default@2"


def test_an_alias_for_which_base_answers_is_base(store: Store) -> None:
    judge(store, "default@1", "ditto/default")
    store.add_adapter(replace(store.adapter("b" * 64), id="d" * 64, base_model="some/model", state="candidate"))
    store.promote("default", "d" * 64, 9.0)
    judge(store, "default@1", "ditto")
    assert [each.other for each in store.judgements()] == ["default@2", "base"]


@pytest.mark.parametrize(
    ("profile", "chosen", "other"),
    [
        ("nope", "default@2", "base"),
        ("default", "default@9", "base"),
        ("default", "base", "ditto/nope"),
        ("default", "", "base"),
    ],
)
def test_what_there_is_not_is_refused_and_nothing_is_kept(store: Store, profile: str, chosen: str, other: str) -> None:
    with pytest.raises(NotFound):
        judge(store, chosen, other, profile)
    assert store.judgements() == []


@pytest.mark.parametrize(("chosen", "other"), [("base", "base"), ("ditto", "default@2")])
def test_a_version_is_not_held_against_itself(store: Store, chosen: str, other: str) -> None:
    with pytest.raises(RequestError, match="both answers are by") as refused:
        judge(store, chosen, other)
    assert refused.value.param == "other" and store.judgements() == []


def test_with_a_profile_its_judgements_are_forgotten_and_no_others(store: Store) -> None:
    store.add_adapter(replace(store.adapter("b" * 64), id="d" * 64, profile="blog", state="candidate"))
    judge(store, "default@2", "base")
    judge(store, "blog@1", "base", "blog")
    store.forget_profile("default", 6.0)
    assert [each.profile for each in store.judgements()] == ["blog"]


def test_of_a_forgotten_version_its_name_stays(store: Store) -> None:
    judge(store, "default@2", "default@1")
    (key,) = [row.key for row in store.demonstration_rows("default")][4:5]
    store.forget_texts("default", [key], "by hand", 6.0)
    assert store.adapter("b" * 64).state == "forgotten"
    assert judgements.tally(store)["tallies"][0]["other"] == "default@2"
