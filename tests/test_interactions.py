"""Answers are kept where the user has said so, and nowhere else; for as long as they said, and no longer."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dittod import interactions
from dittod.config import Settings
from dittod.engine.protocol import Accepted, AdapterRef, Delta, Done, Finished, Generate, Sampling
from dittod.errors import DittodError
from dittod.interactions import MOST_CHARACTERS, MOST_RESULT_CHARACTERS, Interactions, expire
from dittod.store import Store
from dittod.store.interactions import FeedbackRow, Interaction
from dittod.types import Message

ASKED = (Message("system", "Be brief."), Message("user", "Ask Bo for tea."))
KEEPS = Settings(keep_interactions={"email": 30.0})
DAY = 86400.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "dittod.sqlite")
    yield store
    store.close()


def request(id: str = "chatcmpl-1", profile: str = "email", messages: tuple[Message, ...] | None = ASKED) -> Generate:
    return Generate(id, AdapterRef("a1", "/adapters/a1"), Sampling(), messages=messages, profile=profile)


def tell(listener: Interactions, asked: Generate, *pieces: str) -> None:
    listener.heard(asked, Accepted(asked.id))
    for piece in pieces:
        listener.heard(asked, Delta(asked.id, 0, piece))
    listener.heard(asked, Finished(asked.id, 0, "stop", len(pieces)))
    listener.heard(asked, Done(asked.id, 3, len(pieces)))


def kept(id: str, profile: str, asked_at: float) -> Interaction:
    return Interaction(id, profile, asked_at, None, ASKED, "Bo! Tea?")


def test_an_answer_is_kept_with_what_was_asked(store: Store) -> None:
    listener = Interactions(store, KEEPS)
    tell(listener, request(), "Bo! ", "Tea?")
    found = listener.kept("chatcmpl-1")
    assert found is not None
    assert replace(found, asked_at=0.0) == Interaction("chatcmpl-1", "email", 0.0, "a1", ASKED, "Bo! Tea?")


@pytest.mark.parametrize("settings", [Settings(), Settings(keep_interactions={"diary": 1.0, "": 9.0})])
def test_nothing_is_stored_without_the_users_word(store: Store, settings: Settings) -> None:
    """Of a profile that is not named, and of base, which is nobody's."""
    listener = Interactions(store, settings)
    tell(listener, request(), "Bo! Tea?")
    tell(listener, request("chatcmpl-2", profile=""), "Bo! Tea?")
    assert listener.kept("chatcmpl-1") is None
    assert store.interactions(None, 9) == []
    assert listener._open == {}


def test_a_plain_text_that_is_continued_is_no_conversation(store: Store) -> None:
    listener = Interactions(store, KEEPS)
    tell(listener, replace(request(messages=None), prompt="Once"), " upon")
    assert listener.kept("chatcmpl-1") is None


def test_the_first_choice_counts_and_what_was_thought_does_not(store: Store) -> None:
    listener, asked = Interactions(store, KEEPS), replace(request(), n=2)
    for event in (
        Accepted(asked.id),
        Delta(asked.id, 0, "Hm.", channel="reasoning"),
        Delta(asked.id, 1, "Dear Bo"),
        Delta(asked.id, 0, "Bo!"),
        Finished(asked.id, 1, "stop"),
        Finished(asked.id, 0, "stop"),
        Done(asked.id, 3, 3),
    ):
        listener.heard(asked, event)
    found = listener.kept(asked.id)
    assert found is not None and found.answer == "Bo!"


@pytest.mark.parametrize("pieces", [(), (" \n",), ("x" * (MOST_CHARACTERS + 1),)])
def test_no_answer_and_an_endless_one_are_not_kept(store: Store, pieces: tuple[str, ...]) -> None:
    listener = Interactions(store, KEEPS)
    tell(listener, request(), *pieces)
    assert listener.kept("chatcmpl-1") is None


def test_an_answer_that_its_client_has_left_is_dropped_when_others_come(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(interactions, "clock", lambda: now)
    listener = Interactions(store, KEEPS)
    listener.heard(request("left"), Accepted("left"))
    listener.heard(request("left"), Delta("left", 0, "Bo"))
    now += KEEPS.request_seconds + 1
    listener.heard(request("next"), Accepted("next"))
    assert list(listener._open) == ["next"]


def test_secrets_are_masked_in_what_is_kept(store: Store) -> None:
    listener = Interactions(store, Settings(keep_interactions={"email": 1.0}, secrets=("Project Otter",)))
    tell(listener, request(messages=(Message("user", "The password: hunter2"),)), "Project", " Otter it is.")
    found = listener.kept("chatcmpl-1")
    assert found is not None
    assert (found.messages[0].content, found.answer) == ("The password: [masked password]", "[masked] it is.")


def test_what_a_tool_said_is_cut_and_secrets_across_the_cut_are_masked(store: Store) -> None:
    listener = Interactions(store, KEEPS)
    said = "x" * (MOST_RESULT_CHARACTERS - 30) + " the password: correct-horse-battery and more"
    tell(listener, request(messages=(*ASKED, Message("tool", said, tool_call_id="1", name="look"))), "Done.")
    found = listener.kept("chatcmpl-1")
    assert found is not None
    assert found.messages[-1].role == "tool"
    assert len(found.messages[-1].content) <= MOST_RESULT_CHARACTERS
    assert "correct" not in found.messages[-1].content


def test_of_a_long_conversation_the_last_turns_are_kept(store: Store) -> None:
    turns = tuple(Message("user", f"{number}" + "x" * 40_000) for number in range(4))
    listener = Interactions(store, KEEPS)
    tell(listener, request(messages=turns), "Yes.")
    found = listener.kept("chatcmpl-1")
    assert found is not None
    assert [each.content[0] for each in found.messages] == ["2", "3"]


def test_what_is_older_than_its_profile_wants_goes(store: Store) -> None:
    settings = Settings(keep_interactions={"email": 2.0, "diary": 0.5})
    for name, profile, age in (("new", "email", 1.9), ("old", "email", 2.1), ("diary", "diary", 1.0)):
        store.add_interaction(kept(name, profile, 100 * DAY - age * DAY))
    expire(store, settings, 100 * DAY)
    assert [each.id for each in store.interactions(None, 9)] == ["new"]


def test_each_answer_that_is_kept_lets_go_of_what_is_too_old(store: Store) -> None:
    store.add_interaction(kept("old", "email", 1.0))
    listener = Interactions(store, KEEPS)
    tell(listener, request(), "Bo!")
    assert listener.kept("old") is None
    assert listener.kept("chatcmpl-1") is not None


def test_a_setting_that_names_nobody_any_more_deletes_everything(store: Store, tmp_path: Path) -> None:
    store.add_interaction(replace(kept("old", "email", 100.0), answer="the heron at the weir"))
    expire(store, Settings(), 101.0)
    assert store.interactions(None, 9) == []
    assert all(b"heron" not in path.read_bytes() for path in tmp_path.iterdir())


def test_a_profile_that_is_forgotten_takes_its_answers_and_what_was_said_of_them_along(store: Store) -> None:
    for profile in ("email", "diary"):
        store.add_interaction(kept(profile, profile, 1.0))
        store.put_feedback(FeedbackRow(f"fb-{profile}", profile, 1.0, "down", "Ask", "Dear Bo", ""))
    store.forget_profile("email", 2.0)
    assert [each.id for each in store.interactions(None, 9)] == ["diary"]
    assert [each.id for each in store.all_feedback()] == ["fb-diary"]


def test_an_answer_that_was_kept_by_a_clock_that_was_ahead_is_as_old_as_the_others(store: Store) -> None:
    store.add_interaction(kept("ahead", "email", 200 * DAY))
    store.set_clock_back(100 * DAY)
    (found,) = store.interactions(None, 9)
    assert 100 * DAY - 1.0 < found.asked_at <= 100 * DAY
    expire(store, KEEPS, 131 * DAY)
    assert store.interactions(None, 9) == []


def test_the_newest_come_first(store: Store) -> None:
    for number in range(3):
        store.add_interaction(kept(str(number), "email", float(number)))
    assert [each.id for each in store.interactions("email", 2)] == ["2", "1"]
    assert store.interactions("diary", 2) == []


def test_a_fault_of_the_store_is_logged_without_a_word_of_the_text(
    store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = Interactions(store, KEEPS)
    for error in (DittodError("the disk is full", "make room"), ValueError("Bo! Tea?")):

        def fail(interaction: Interaction, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(store, "add_interaction", fail)
        with caplog.at_level(logging.ERROR):
            tell(listener, request(), "Bo! Tea?")
            assert listener.kept("chatcmpl-1") is None
    assert "the disk is full" in caplog.text and "ValueError" in caplog.text
    assert "Tea" not in caplog.text
