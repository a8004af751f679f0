"""What the next update would do is chosen anew after each change that matters, and after no other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import demonstration

from dittod import runs
from dittod.config import Settings, load_settings
from dittod.paths import Home
from dittod.rows import FileRow
from dittod.store import Store
from dittod.views import selections
from dittod.views.selections import QUIET_SECONDS, chosen
from dittod.views.voices import exclude, set_prompt, voice

TEXTS = [demonstration(f"Write {n}.", f"{n} words of mine, {n} and no more", written_at=float(n)) for n in range(7)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    home = Home(tmp_path / "home")
    home.create()
    made = Store(home.store)
    for n, text in enumerate(TEXTS[:6]):
        made.record_file(FileRow(f"{n}.txt", "default", 1, 1, "read", "", (), {}, float(n)), [text])
    yield made
    made.close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(Home(tmp_path / "home"))


@pytest.fixture
def choices(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The profiles that were chosen from, in order."""
    made: list[str] = []
    choose = runs.next_selection
    monkeypatch.setattr(
        runs, "next_selection", lambda store, settings, name: made.append(name) or choose(store, settings, name)
    )
    return made


def test_while_nothing_changes_nothing_is_chosen_again(store: Store, settings: Settings, choices: list[str]) -> None:
    first = chosen(store, settings, "default")
    store.note("engine", {"memory_bytes": 1})
    assert chosen(store, settings, "default") is first and choices == ["default"]
    assert (first.learn, first.held_out, len(first.reasons)) == (4, 2, 6)


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.exclude("default", TEXTS[0].id, excluded=True),
        lambda store: store.set_prompt("default", TEXTS[0].id, "Say it.", "user"),
        lambda store: store.forget_files(["0.txt"], 1.0),
        lambda store: store.record_file(FileRow("6.txt", "default", 1, 1, "read", "", (), {}, 9.0), [TEXTS[6]]),
    ],
)
def test_a_change_of_texts_counts_at_once(store: Store, settings: Settings, choices: list[str], change) -> None:
    chosen(store, settings, "default")
    change(store)
    found = chosen(store, settings, "default")
    assert choices == ["default"] * 2 and found.reasons == runs.next_selection(store, settings, "default").reasons


def test_other_settings_choose_otherwise(store: Store, settings: Settings) -> None:
    assert chosen(store, settings, "default").learn == 4
    assert chosen(store, settings.model_copy(update={"demonstrations": 2}), "default").learn == 2


def test_while_files_are_read_what_was_chosen_stands_and_new_ones_are_said_to_be_new(
    store: Store, settings: Settings, choices: list[str]
) -> None:
    chosen(store, settings, "default")
    store.note("reading", {"busy": True})
    store.record_file(FileRow("6.txt", "default", 1, 1, "read", "", (), {}, 9.0), [TEXTS[6]])
    newest = voice(settings, store, "default", "")["demonstrations"][0]
    assert (newest["use"], newest["reason"]) == ("spare", "not looked at yet: files are being read")
    store.note("reading", {"busy": False})
    assert voice(settings, store, "default", "")["demonstrations"][0]["use"] == "hold out"
    assert choices == ["default"] * 2


def test_while_the_user_edits_what_was_chosen_stands_and_then_it_is_chosen_anew_once(
    store: Store, settings: Settings, choices: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(selections, "clock", lambda: now[0])
    shown = {each["prompt"]: each for each in voice(settings, store, "default", "")["demonstrations"]}
    for text in TEXTS[:3]:
        now[0] += QUIET_SECONDS - 0.1
        edited = set_prompt(settings, store, "default", text.id, f"Say it: {text.prompt}")
        assert (edited["use"], edited["reason"]) == (shown[text.prompt]["use"], shown[text.prompt]["reason"])
    exclude(store, "default", TEXTS[3].id, True)
    uses = {each["prompt"]: each["use"] for each in voice(settings, store, "default", "")["demonstrations"]}
    assert (uses["Say it: Write 0."], uses["Write 3."]) == ("learn", "excluded")
    assert choices == ["default"] and selections.is_being_edited(store)
    now[0] += QUIET_SECONDS
    found = chosen(store, settings, "default")
    assert not selections.is_being_edited(store) and (found.learn, found.held_out) == (4, 1)
    assert chosen(store, settings, "default") is found and choices == ["default"] * 2


def test_what_was_left_aside_before_is_said_to_be_new_when_it_is_taken_back(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(selections, "clock", lambda: now[0])
    store.exclude("default", TEXTS[0].id, excluded=True)
    voice(settings, store, "default", "")
    exclude(store, "default", TEXTS[0].id, False)
    oldest = voice(settings, store, "default", "")["demonstrations"][-1]
    assert (oldest["use"], oldest["reason"]) == ("spare", "not looked at yet: texts are being edited")
    now[0] += QUIET_SECONDS
    assert voice(settings, store, "default", "")["demonstrations"][-1]["use"] == "learn"


def test_where_nothing_was_chosen_yet_an_edit_is_answered_by_what_is_chosen_with_it(
    store: Store, settings: Settings, choices: list[str]
) -> None:
    assert set_prompt(settings, store, "default", TEXTS[0].id, "Say it.")["use"] == "learn"
    assert choices == ["default"] and not selections.is_being_edited(store)
