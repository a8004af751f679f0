"""Which is yours? What is kept of it, and how it is counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from versions import versions

from dittod.errors import NotFound, RequestError
from dittod.store import Store
from dittod.views import judgements


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """default@2 is served."""
    made = Store(versions(tmp_path / "home").store)
    yield made
    made.close()


def judge(store: Store, chosen: str, other: str) -> None:
    judgements.add(store, chosen, other, 5.0)


def blog(store: Store) -> None:
    """One more version, of another profile."""
    store.add_adapter(replace(store.adapter("b" * 64), id="d" * 64, profile="blog", state="candidate"))


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


@pytest.mark.parametrize("name", ["default@2", "b" * 64, "bbbb"])
def test_whatever_a_version_is_called_its_own_name_is_kept(store: Store, name: str) -> None:
    judge(store, name, "base")
    assert store.judgements()[0].chosen == "default@2"


def test_who_answered_counts_and_not_who_is_served_by_then(store: Store) -> None:
    answered = store.adapter("b" * 64)
    store.promote("default", "c" * 64, 9.0)
    judge(store, answered.id, "base")
    assert store.judgements()[0].chosen == "default@2"


@pytest.mark.parametrize(
    ("chosen", "other"),
    [
        ("nope@1", "base"),
        ("default@9", "base"),
        ("base", "ditto"),  # what an alias served by then is not known any more
        ("", "base"),
    ],
)
def test_what_there_is_not_is_refused_and_nothing_is_kept(store: Store, chosen: str, other: str) -> None:
    with pytest.raises(NotFound):
        judge(store, chosen, other)
    assert store.judgements() == []


@pytest.mark.parametrize(("chosen", "other"), [("base", "base"), ("b" * 64, "default@2")])
def test_a_version_is_not_held_against_itself(store: Store, chosen: str, other: str) -> None:
    with pytest.raises(RequestError, match="both answers are by") as refused:
        judge(store, chosen, other)
    assert refused.value.param == "other" and store.judgements() == []


@pytest.mark.parametrize(
    ("chosen", "other", "profile"),
    [("blog@1", "base", "blog"), ("base", "blog@1", "blog"), ("blog@1", "default@2", "blog")],
)
def test_a_judgement_counts_for_the_voice_of_the_chosen_version(
    store: Store, chosen: str, other: str, profile: str
) -> None:
    blog(store)
    judge(store, chosen, other)
    assert [each.profile for each in store.judgements()] == [profile]


def test_with_a_profile_all_judgements_of_its_versions_are_forgotten_and_no_others(store: Store) -> None:
    blog(store)
    for name, letter in (("blog@1", "e"), ("my default", "f")):
        store.add_adapter(replace(store.adapter("b" * 64), id=letter * 64, profile=name, state="candidate"))
    for chosen, other in (
        ("default@2", "base"),
        ("base", "default@3"),
        ("blog@1", "default@2"),
        ("blog@1", "base"),
        ("base", "e" * 64),
        ("my default@1", "base"),
    ):
        judge(store, "d" * 64 if chosen == "blog@1" else chosen, other)
    store.forget_profile("default", 6.0)
    store.forget_profile("blog", 6.0)
    assert [(each.chosen, each.other) for each in store.judgements()] == [
        ("base", "blog@1@1"),
        ("my default@1", "base"),
    ]


def test_of_a_forgotten_version_its_name_stays(store: Store) -> None:
    judge(store, "default@2", "default@1")
    (key,) = [row.key for row in store.demonstration_rows("default")][4:5]
    store.forget_texts("default", [key], "by hand", 6.0)
    assert store.adapter("b" * 64).state == "forgotten"
    assert judgements.tally(store)["tallies"][0]["other"] == "default@2"
