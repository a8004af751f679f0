"""What is shown of a voice: its demonstrations with what becomes of them, its files, and what is edited."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import demonstration
from keyrings import InMemory, Locked
from versions import TEXTS, versions

from dittod.config import Settings, load_settings
from dittod.errors import NotFound, RequestError
from dittod.paths import Home
from dittod.rows import FileRow
from dittod.sealing import NoKey
from dittod.store import Store
from dittod.views import selections, voices

TEA = demonstration("Write about tea.", "Tea is what I drink at noon.", written_at=1.0)
RAIN = demonstration("Write about rain.", "Der Café-Besitzer sah den STRASSENREGEN.", written_at=2.0)
CATS = demonstration("Write about cats.", "Cats sleep, and so do I.", written_at=3.0)


@pytest.fixture
def store(home: Home) -> Iterator[Store]:
    made = Store(home.store)
    counted = {"masked": {"password": 1}, "removed": {"quoted": 3, "signature": 2}, "reasons": {"too short": 1}}
    senders = {"bob@x.example": 2}
    made.record_file(FileRow("a.mbox", "default", 1, 1, "read", "", (), senders, 10.0, {}, **counted), [TEA, RAIN])
    made.record_file(FileRow("b.txt", "default", 1, 1, "read", "", (), {}, 30.0, {}, removed={"quoted": 1}), [CATS])
    made.record_file(FileRow("c.txt", "default", 1, 1, "read", "", (), {}, 40.0))
    made.record_file(FileRow("d.jpg", "default", 1, 1, "set_aside", "unknown kind of file", (), {}, 5.0))
    yield made
    made.close()


def _prompts(document: dict[str, Any]) -> list[str]:
    return [each["prompt"] for each in document["demonstrations"]]


def test_a_voice_has_its_texts_newest_first_each_with_its_use_and_the_reason(settings: Settings, store: Store) -> None:
    document = voices.voice(settings, store, "default", "")
    assert _prompts(document) == [CATS.prompt, RAIN.prompt, TEA.prompt]
    assert [each["use"] for each in document["demonstrations"]] == ["hold out", "learn", "learn"]
    assert document["demonstrations"][0]["reason"] == "held out: among the latest"
    assert (document["alias"], document["more"], document["more_files"]) == ("ditto", 0, 0)
    shown = document["demonstrations"][2]
    assert (shown["id"], shown["completion"], shown["files"], shown["words"]) == (
        TEA.id, TEA.completion, ["a.mbox"], 7)  # fmt: skip
    assert json.loads(json.dumps(document)) == document


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("TEA noon", [TEA]),
        ("cafe", [RAIN]),
        ("straßenregen  CAFÉ", [RAIN]),
        ("tea cats", []),
        ("a.mbox", [RAIN, TEA]),
        ("%", []),
        ("\ud800", []),
        ("  ", [CATS, RAIN, TEA]),
    ],
)
def test_a_search_finds_what_has_all_its_words_whatever_their_case_and_accents(
    settings: Settings, store: Store, search: str, found: list[Any]
) -> None:
    assert _prompts(voices.voice(settings, store, "default", search)) == [each.prompt for each in found]


def test_of_very_many_texts_and_files_the_latest_are_shown_and_the_others_counted(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voices, "MOST_SHOWN", 2)
    document = voices.voice(settings, store, "default", "")
    assert (_prompts(document), document["more"]) == ([CATS.prompt, RAIN.prompt], 1)
    assert ([each["path"] for each in document["files"]], document["more_files"]) == (["d.jpg", "b.txt"], 2)


def test_files_say_what_was_cut_and_masked_and_those_that_have_something_to_tell_come_first(
    settings: Settings, store: Store
) -> None:
    files = voices.voice(settings, store, "default", "")["files"]
    assert [each["path"] for each in files] == ["d.jpg", "b.txt", "a.mbox", "c.txt"]
    assert files[0]["state"] == "set_aside" and files[0]["reason"] == "unknown kind of file"
    assert (files[2]["masked"], files[2]["removed"], files[2]["reasons"], files[2]["senders"]) == (
        {"password": 1}, {"quoted": 3, "signature": 2}, {"too short": 1}, {"bob@x.example": 2})  # fmt: skip


def test_a_search_shows_the_files_of_what_it_finds_and_those_of_that_name(settings: Settings, store: Store) -> None:
    def paths(search: str) -> list[str]:
        return [each["path"] for each in voices.voice(settings, store, "default", search)["files"]]

    assert (paths("noon"), paths("JPG"), paths("nothing")) == (["a.mbox"], ["d.jpg"], [])


def test_every_profile_is_counted_the_default_one_always(settings: Settings, store: Store) -> None:
    store.record_file(FileRow("work/e.txt", "work", 1, 1, "read", "", (), {}, 1.0), [TEA])
    store.exclude("default", CATS.id, excluded=True)
    default, work = voices.voices(settings, store)["profiles"]
    assert default == {
        "name": "default", "alias": "ditto", "demonstrations": 2, "excluded": 1, "learn": 2, "held_out": 0, "files": 4,
        "set_aside": 1, "masked": {"password": 1}, "removed": {"quoted": 4, "signature": 2}, "words": 12,
        "kept_days": None,
    }  # fmt: skip
    assert (work["alias"], work["demonstrations"], work["files"]) == ("ditto/work", 1, 1)


def test_where_answers_are_kept_it_is_said_for_how_long(settings: Settings, store: Store) -> None:
    keeping = settings.model_copy(update={"keep_interactions": {"default": 30.0}})
    assert [each["kept_days"] for each in voices.voices(keeping, store)["profiles"]] == [30.0]


def test_an_empty_home_has_one_voice_that_says_nothing(settings: Settings, tmp_path: Path) -> None:
    store = Store(tmp_path / "home" / "dittod.sqlite")
    (only,) = voices.voices(settings, store)["profiles"]
    assert (only["name"], only["demonstrations"], only["words"]) == ("default", 0, 0)
    assert voices.voice(settings, store, "default", "x")["demonstrations"] == []
    store.close()


def test_a_voice_that_is_not_there_is_said_with_those_that_are(settings: Settings, store: Store) -> None:
    with pytest.raises(NotFound, match="'nobody' does not exist") as error:
        voices.voice(settings, store, "nobody", "")
    assert "default" in error.value.hint


def test_an_edited_prompt_is_masked_and_has_another_id_and_goes_back_to_the_template(
    settings: Settings, store: Store
) -> None:
    edited = voices.set_prompt(settings, store, "default", TEA.id, " Tell Ann the password: hunter2 \n")
    assert (edited["prompt"], edited["masked"]) == ("Tell Ann the password: [masked password]", {"password": 1})
    assert edited["changed"] and edited["prompt_by"] == "user" and edited["id"] != TEA.id
    assert voices.demonstration(settings, store, "default", TEA.id)["id"] == edited["id"], "the former id finds it"
    back = voices.set_prompt(settings, store, "default", edited["id"], None)
    assert (back["id"], back["prompt"], back["changed"]) == (TEA.id, TEA.prompt, True)
    assert not voices.set_prompt(settings, store, "default", TEA.id, TEA.prompt)["changed"]


@pytest.mark.parametrize("prompt", ["", " \n\t ", "half \ud83d a smile"])
def test_a_prompt_that_says_nothing_or_is_no_text_is_refused_by_name(
    settings: Settings, store: Store, prompt: str
) -> None:
    with pytest.raises(RequestError) as error:
        voices.set_prompt(settings, store, "default", TEA.id, prompt)
    assert error.value.param == "prompt" and "smile" not in error.value.title
    assert voices.demonstration(settings, store, "default", TEA.id)["prompt"] == TEA.prompt


def test_a_prompt_that_makes_two_texts_the_same_is_refused(settings: Settings, store: Store) -> None:
    twin = demonstration("Write about noon.", TEA.completion, written_at=4.0)
    store.record_file(FileRow("e.txt", "default", 1, 1, "read", "", (), {}, 50.0), [twin])
    with pytest.raises(RequestError, match="has this prompt and completion already"):
        voices.set_prompt(settings, store, "default", twin.id, TEA.prompt)


def test_what_belongs_to_another_profile_is_not_found(settings: Settings, store: Store) -> None:
    store.record_file(FileRow("work/e.txt", "work", 1, 1, "read", "", (), {}, 1.0))
    for ask in (
        lambda: voices.demonstration(settings, store, "work", TEA.id),
        lambda: voices.set_prompt(settings, store, "work", TEA.id, "x"),
        lambda: voices.exclude(store, "work", TEA.id, True),
    ):
        with pytest.raises(NotFound):
            ask()
    assert not voices.demonstration(settings, store, "default", TEA.id)["excluded"]


def test_what_is_excluded_is_left_aside_until_it_is_taken_back(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selections, "QUIET_SECONDS", 0.0)
    assert not voices.exclude(store, "default", TEA.id[:8], True), "nothing has learnt yet"
    shown = voices.demonstration(settings, store, "default", TEA.id)
    assert (shown["excluded"], shown["use"], shown["reason"]) == (True, "excluded", "excluded by you")
    voices.exclude(store, "default", TEA.id, False)
    assert voices.demonstration(settings, store, "default", TEA.id)["use"] == "learn"


def test_it_is_said_of_which_texts_what_is_served_has_learnt(tmp_path: Path) -> None:
    home = versions(tmp_path / "learnt")
    store, settings = Store(home.store), load_settings(home)
    shown = voices.voice(settings, store, "default", "")["demonstrations"]
    learnt = {each["completion"] for each in shown if each["served_has_learnt"]}
    assert learnt == {each.completion for each in TEXTS[2:6]}
    assert voices.exclude(store, "default", TEXTS[3].id, True) and not voices.exclude(
        store, "default", TEXTS[7].id, True
    )
    store.close()


def test_without_the_key_of_a_sealed_store_that_is_said_with_a_hint(
    settings: Settings, store: Store, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyring.core._keyring_backend", InMemory())
    store.seal(True)
    monkeypatch.setattr("keyring.core._keyring_backend", Locked())
    sealed = Store(home.store)
    for ask in (
        lambda: voices.voices(settings, sealed),
        lambda: voices.voice(settings, sealed, "default", ""),
        lambda: voices.demonstration(settings, sealed, "default", TEA.id),
    ):
        with pytest.raises(NoKey) as error:
            ask()
        assert error.value.hint
    sealed.close()
