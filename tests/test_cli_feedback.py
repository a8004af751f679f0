"""Feedback at the command line, without a daemon."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from dittod.paths import Home
from dittod.rows import FileRow
from dittod.store import Store
from dittod.store.interactions import Interaction
from dittod.types import Message

EDIT = "Bo! Tea at four, by the weir. A.\n"
GIVEN = "Dear Bo, would you like to have tea with me?\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("DITTOD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "160")
    made = Home(tmp_path / "home")
    made.create()
    store = Store(made.store)
    asked = (Message("user", "Ask Bo for tea."),)
    store.add_interaction(Interaction("chatcmpl-1", "email", 1.0, None, asked, GIVEN))
    store.record_file(FileRow("diary/1.md", "diary", 1, 1, "read", "", (), {}, 1.0))
    store.close()
    return made


@pytest.fixture
def edit(tmp_path: Path) -> str:
    path = tmp_path / "edit.txt"
    path.write_text(EDIT)
    return str(path)


@pytest.fixture
def given(tmp_path: Path) -> str:
    path = tmp_path / "given.txt"
    path.write_text(GIVEN)
    return str(path)


def listed(dittod) -> list[dict[str, Any]]:
    return list(json.loads(dittod("feedback", "list", "--json")[1]))


def test_a_kept_answer_is_edited_by_its_id(home: Home, dittod, edit: str) -> None:
    code, said, _ = dittod("feedback", "add", "chatcmpl-1", "--edit", edit)
    assert code == 0
    (found,) = listed(dittod)
    assert (found["profile"], found["rating"], found["outcome"]) == ("email", "edited", "demonstration")
    assert said.startswith(found["id"])
    (file,) = (home.watched / "email").glob("*.md")
    assert file.read_text().endswith(EDIT)


def test_an_answer_that_is_not_kept_comes_with_what_was_asked(
    home: Home, dittod, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(EDIT))
    code, _, _ = dittod("feedback", "add", "--prompt", "Ask Bo.", "--given", given, "--edit", "-", "--profile", "diary")
    assert code == 0
    assert [each["profile"] for each in listed(dittod)] == ["diary"]


def test_a_rating_is_listed_without_texts(home: Home, dittod) -> None:
    assert dittod("feedback", "add", "chatcmpl-1", "--rate", "down")[0] == 0
    table = dittod("feedback", "list")[1]
    assert "email" in table and "down" in table and "rejected" in table
    assert "Bo" not in table + json.dumps(listed(dittod))
    assert "no feedback yet" in dittod("feedback", "list", "diary")[1]


def test_feedback_is_taken_back_by_the_beginning_of_its_id(home: Home, dittod, edit: str) -> None:
    dittod("feedback", "add", "chatcmpl-1", "--edit", edit)
    assert dittod("feedback", "remove", listed(dittod)[0]["id"][:8])[0] == 0
    assert listed(dittod) == []
    assert list(home.watched.rglob("*.md")) == []


def test_none_is_taken_back_where_one_cannot_be_told(home: Home, dittod) -> None:
    dittod("feedback", "add", "chatcmpl-1", "--rate", "up")
    code, _, said = dittod("feedback", "remove", listed(dittod)[0]["id"], "fb-nothing")
    assert code == 1 and "begins with 'fb-nothing'" in said
    assert len(listed(dittod)) == 1


def test_kept_answers_are_shown_with_their_ids(home: Home, dittod) -> None:
    table = dittod("feedback", "answers")[1]
    assert "chatcmpl-1" in table and "Ask Bo for tea." in table
    (found,) = json.loads(dittod("feedback", "answers", "email", "--json")[1])
    assert found["messages"] == [{"role": "user", "content": "Ask Bo for tea."}]
    assert found["answer"] == GIVEN
    assert "keep_interactions" in dittod("feedback", "answers", "diary")[1]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("chatcmpl-1",), "--rate up"),
        (("chatcmpl-1", "--rate", "sideways"), "--rate up"),
        (("chatcmpl-1", "--rate", "up", "--prompt", "Ask"), "--prompt"),
        (("--rate", "up"), "--given FILE"),
        (("--rate", "up", "--prompt", "Ask"), "--given FILE"),
        (("chatcmpl-2", "--rate", "up"), "keep_interactions"),
        (("chatcmpl-1", "--edit", "/no/such/file"), "there is no file /no/such/file"),
        (("chatcmpl-1", "--edit", "/"), "cannot be read"),
        (("--rate", "up", "--prompt", "Ask", "--given", "nofile"), "there is no file nofile"),
        (("", "--rate", "down"), "an empty id"),
        (("cha", "--rate", "down"), "at least 4 characters"),
    ],
)
def test_what_cannot_be_taken_is_refused_with_what_to_do(
    home: Home, dittod, arguments: tuple[str, ...], named: str
) -> None:
    code, _, said = dittod("feedback", "add", *arguments)
    assert code == 1
    assert named in said
    assert listed(dittod) == []


def test_a_profile_that_cannot_be_is_refused(home: Home, dittod, given: str) -> None:
    said = dittod("feedback", "add", "--prompt", "Ask", "--given", given, "--rate", "down", "--profile", "../x")
    assert said[0] == 1 and "the profile '../x' does not exist" in said[2]


def test_feedback_makes_no_profile_that_there_is_not(home: Home, dittod, given: str) -> None:
    brought = ("--prompt", "Ask", "--given", given, "--rate", "down")
    code, _, said = dittod("feedback", "add", *brought, "--profile", "nope")
    assert code == 1 and "the profile 'nope' does not exist\nhint: choose one of: default, diary" in said
    assert listed(dittod) == []
    assert dittod("feedback", "add", *brought)[0] == 0, "the default profile is always there"


def test_a_kept_answer_may_be_named_by_the_beginning_of_its_id(home: Home, dittod) -> None:
    assert dittod("feedback", "add", "chat", "--rate", "up")[1].endswith(": noted\n")
    assert [each["outcome"] for each in listed(dittod)] == ["noted"]
    store = Store(home.store)
    for id in ("chatcmpl-10", "chatcmpl-20"):
        store.add_interaction(Interaction(id, "email", 1.0, None, (Message("user", id),), GIVEN))
    store.close()
    assert "the ids of several begin with 'chatcmpl-'" in dittod("feedback", "add", "chatcmpl-", "--rate", "up")[2]
    dittod("feedback", "add", "chatcmpl-1", "--rate", "up")
    assert len(listed(dittod)) == 1, "a whole id is no beginning of another"


def test_an_empty_beginning_takes_not_even_the_only_feedback_back(home: Home, dittod) -> None:
    dittod("feedback", "add", "chatcmpl-1", "--rate", "up")
    assert dittod("feedback", "remove", "")[0] == dittod("feedback", "remove", "fb-")[0] == 1
    assert len(listed(dittod)) == 1
