"""What becomes of what the user says: texts to learn from, answers to be avoided, and nothing once it is taken back."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keyrings import InMemory

from dittod import feedback
from dittod.config import Settings
from dittod.errors import DittodError, NotFound, RequestError, SettingsError
from dittod.feedback import MOST_PROMPT_CHARACTERS, Desk, check_profile, demonstration_of, file_text, prompt_of, tidy
from dittod.ingest.demonstrations import Owner, demonstrations_of
from dittod.ingest.folder import Folder
from dittod.ingest.process import Reader
from dittod.ingest.readers.decode import clean
from dittod.ingest.readers.text import read_text
from dittod.ingest.readers.titles import Origin
from dittod.ingest.secrets import mask
from dittod.serving import Remark
from dittod.store import Store
from dittod.store.interactions import Interaction
from dittod.types import Message, Rejected

EDIT = "Bo! Tea at four, by the weir. A."
GIVEN = "Dear Bo, would you like to have tea with me this afternoon?"
ASKED = (Message("user", "Ask Bo for tea."),)


class Bench:
    """A desk over a watched folder that is read when a test says so, with a clock that it turns."""

    def __init__(self, tmp_path: Path, **settings: object) -> None:
        self.root = tmp_path / "watched"
        self.store = Store(tmp_path / "dittod.sqlite")
        self.settings = Settings(watched_folder=self.root, **settings)  # type: ignore[arg-type]
        self.folder = Folder(self.root, self.store, (), 2.0, self.settings.secrets, Reader())
        self.folder.prepare()
        self.desk = Desk(self.store, self.settings, self.store.interaction)
        self.now = 100.0

    def read(self) -> None:
        for _ in range(2):  # what is missing counts as gone at the second look
            self.folder.rescan(self.now)
            self.now += 3.0
            self.folder.read_settled(self.now)

    def files(self) -> list[Path]:
        return sorted(path for path in self.root.rglob("*.md") if path.is_file())

    def close(self) -> None:
        self.folder.close()
        self.store.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def remark(**said: object) -> Remark:
    return Remark(**{"profile": "email", "messages": ASKED, "answer": GIVEN, **said})  # type: ignore[arg-type]


# --- edited ---


def test_an_edited_answer_is_a_private_file_that_is_read_as_a_demonstration(bench: Bench) -> None:
    taken = bench.desk.take(remark(edited=EDIT))
    assert (taken.profile, taken.rating, taken.outcome) == ("email", "edited", "demonstration")
    (file,) = bench.files()
    assert file.parent == bench.root / "email"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    bench.read()
    (found,) = bench.store.demonstrations("email")
    assert (found.prompt, found.completion, found.kind, found.prompt_by) == ("Ask Bo for tea.", EDIT, "pair", "file")


def test_it_is_preferred_over_the_answer_from_when_it_is_read_until_its_file_goes(bench: Bench) -> None:
    bench.desk.take(remark(edited=EDIT))
    assert bench.store.rejected("email") == []
    bench.read()
    (found,) = bench.store.demonstrations("email")
    assert bench.store.rejected("email") == [Rejected("Ask Bo for tea.", GIVEN, found.id)]
    bench.files()[0].unlink()
    bench.read()
    assert bench.store.demonstrations("email") == []
    assert bench.store.rejected("email") == []
    tidy(bench.store, bench.settings)
    assert bench.desk.all() == []


def test_an_excluded_demonstration_is_preferred_over_nothing(bench: Bench) -> None:
    bench.desk.take(remark(edited=EDIT))
    bench.read()
    bench.store.exclude("email", bench.store.demonstrations("email")[0].id, excluded=True)
    assert bench.store.rejected("email") == []


def test_the_pair_follows_an_edited_prompt_to_its_new_id(bench: Bench) -> None:
    bench.desk.take(remark(edited=EDIT))
    bench.read()
    new = bench.store.set_prompt("email", bench.store.demonstrations("email")[0].id, "Invite Bo.", "user")
    assert bench.store.rejected("email")[0].demonstration_id == new


def test_the_same_feedback_twice_is_one(bench: Bench) -> None:
    first, second = bench.desk.take(remark(edited=EDIT)), bench.desk.take(remark(edited=f" {EDIT}\r\n"))
    assert first == second
    assert len(bench.files()) == len(bench.desk.all()) == 1


def test_what_is_said_last_of_an_answer_counts(bench: Bench) -> None:
    bench.desk.take(remark(edited=EDIT))
    bench.desk.take(remark(edited="Bo, tea at five then, and bring the dog."))
    (file,) = bench.files()
    assert "at five" in file.read_text(encoding="utf-8")
    bench.desk.take(remark(rating="down"))
    assert bench.files() == []
    assert [(each.rating, each.outcome) for each in bench.desk.all()] == [("down", "rejected")]


def test_a_file_that_was_deleted_is_written_again_when_it_is_said_again(bench: Bench) -> None:
    bench.desk.take(remark(edited=EDIT))
    bench.files()[0].unlink()
    bench.desk.take(remark(edited=EDIT))
    assert len(bench.files()) == 1


def test_of_many_remarks_on_one_answer_at_once_one_is_left_with_its_file(bench: Bench) -> None:
    edits = [f"Bo! Tea at {hour}, by the weir. A." for hour in range(8)]
    with ThreadPoolExecutor(8) as at_once:
        taken = list(at_once.map(lambda edited: bench.desk.take(remark(edited=edited)), edits))
    assert len({each.id for each in taken}) == len(bench.desk.all()) == len(bench.files()) == 1


def test_two_answers_that_were_edited_into_the_same_are_two_pairs_of_one_demonstration(bench: Bench) -> None:
    bench.desk.take(remark(edited=EDIT))
    other = bench.desk.take(remark(edited=EDIT, answer="Hi Bo, tea?"))
    bench.read()
    (found,) = bench.store.demonstrations("email")
    assert {each.demonstration_id for each in bench.store.rejected("email")} == {found.id}
    assert {each.completion for each in bench.store.rejected("email")} == {GIVEN, "Hi Bo, tea?"}
    bench.desk.take_back(other.id)
    bench.read()
    assert bench.store.demonstrations("email") == [found]
    assert [each.completion for each in bench.store.rejected("email")] == [GIVEN]


def test_an_edit_that_is_too_short_to_learn_from_says_that_the_answer_was_not_wanted(bench: Bench) -> None:
    taken = bench.desk.take(remark(edited="Bo! Tea?"))
    assert (taken.rating, taken.outcome) == ("edited", "rejected")
    assert bench.files() == []
    assert bench.store.rejected("email") == [Rejected("Ask Bo for tea.", GIVEN)]


def test_an_edit_that_changes_nothing_counts_as_rated_up(bench: Bench) -> None:
    taken = bench.desk.take(remark(edited=f"{GIVEN} \n", rating="down"))
    assert (taken.rating, taken.outcome) == ("up", "noted")
    assert bench.store.rejected("email") == []


def test_of_an_answer_that_is_edited_and_rated_down_the_edit_counts(bench: Bench) -> None:
    assert bench.desk.take(remark(edited=EDIT, rating="down")).rating == "edited"


def test_feedback_on_the_default_voice_is_a_file_at_the_top(bench: Bench) -> None:
    bench.desk.take(remark(edited=EDIT, profile="default"))
    assert bench.files()[0].parent == bench.root


# --- rated ---


def test_an_answer_that_was_rated_down_is_rejected_and_nothing_stands_in_its_place(bench: Bench) -> None:
    taken = bench.desk.take(remark(rating="down"))
    assert taken.outcome == "rejected"
    assert bench.store.rejected("email") == [Rejected("Ask Bo for tea.", GIVEN)]
    assert bench.store.rejected("default") == []
    assert bench.files() == []


def test_the_newest_rejected_answers_come_last(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, day in enumerate((3.0, 1.0, 2.0)):
        monkeypatch.setattr(feedback.time, "time", lambda day=day: day)
        bench.desk.take(remark(rating="down", answer=f"Dear Bo, {number}"))
    assert [each.completion for each in bench.store.rejected("email")] == ["Dear Bo, 1", "Dear Bo, 2", "Dear Bo, 0"]


def test_of_an_answer_that_was_rated_up_no_text_is_kept(bench: Bench, tmp_path: Path) -> None:
    taken = bench.desk.take(remark(rating="up", answer="the heron at the weir waits for fish"))
    assert taken.outcome == "noted"
    assert all(b"heron" not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert bench.desk.all() == [taken]


def test_accepted_answers_are_learnt_from_where_the_setting_says_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path, learn_accepted=True)
    try:
        assert bench.desk.take(remark(rating="up")).outcome == "demonstration"
        bench.read()
        assert [each.completion for each in bench.store.demonstrations("email")] == [GIVEN]
        assert bench.store.rejected("email") == []
    finally:
        bench.close()


# --- of kept answers ---


def test_a_kept_answer_is_named_by_its_id(bench: Bench) -> None:
    bench.store.add_interaction(Interaction("chatcmpl-1", "diary", 1.0, None, ASKED, GIVEN))
    taken = bench.desk.take(Remark("chatcmpl-1", rating="down"))
    assert taken.profile == "diary"
    assert bench.store.rejected("diary") == [Rejected("Ask Bo for tea.", GIVEN)]


def test_an_answer_that_is_not_kept_is_not_found(bench: Bench) -> None:
    with pytest.raises(NotFound) as lost:
        bench.desk.take(Remark("chatcmpl-2", rating="down"))
    assert "keep_interactions" in lost.value.hint


# --- taken back ---


def test_what_is_taken_back_is_gone_with_its_file_its_demonstration_and_its_pair(bench: Bench) -> None:
    taken = bench.desk.take(remark(edited=EDIT))
    bench.read()
    bench.desk.take_back(taken.id)
    assert (bench.files(), bench.desk.all(), bench.store.rejected("email")) == ([], [], [])
    bench.read()
    assert bench.store.demonstrations("email") == []
    with pytest.raises(NotFound):
        bench.desk.take_back(taken.id)


def test_feedback_stays_while_the_watched_folder_is_away(bench: Bench, tmp_path: Path) -> None:
    """An unmounted disk is no word of the user's; nothing is written beside it either."""
    taken = bench.desk.take(remark(edited=EDIT))
    bench.root.rename(tmp_path / "away")
    tidy(bench.store, bench.settings)
    assert bench.desk.all() == [taken]
    for say in (lambda: bench.desk.take_back(taken.id), lambda: bench.desk.take(remark(edited=EDIT, answer="Hm."))):
        with pytest.raises(DittodError, match="watched folder"):
            say()
    assert bench.desk.all() == [taken]
    assert not bench.root.exists()


def test_feedback_stays_while_the_brake_holds_its_file(bench: Bench) -> None:
    """Files that went by mistake come back with what was said of them."""
    bench.root.joinpath("email").mkdir(exist_ok=True)
    for number in range(9):
        (bench.root / f"email/{number}.md").write_text(f"The goat of the year {number} had a beard and a bell.")
    taken = bench.desk.take(remark(edited=EDIT))
    bench.read()
    kept = [(path, path.read_text()) for path in bench.files()]
    for path, _ in kept:
        path.unlink()
    bench.read()
    tidy(bench.store, bench.settings)
    for path, text in kept:
        path.write_text(text)
    bench.read()
    assert bench.desk.all() == [taken] and len(bench.store.rejected("email")) == 1


def test_feedback_follows_its_file_to_another_name_and_goes_with_it(bench: Bench) -> None:
    taken = bench.desk.take(remark(edited=EDIT))
    bench.read()
    (path,) = bench.files()
    path.write_text(path.read_text().replace("four", "five"))  # it is the user's to edit
    bench.read()
    moved = path.rename(path.with_name("tea.md"))
    bench.read()
    tidy(bench.store, bench.settings)
    assert bench.desk.all() == [taken] and len(bench.store.rejected("email")) == 1
    bench.desk.take_back(taken.id)
    assert not moved.exists()


def test_feedback_does_not_move_into_a_file_that_holds_more(bench: Bench) -> None:
    bench.desk.take(remark(edited=EDIT))
    bench.read()
    (path,) = bench.files()
    path.unlink()
    other = '{"prompt": "Ask Eve", "completion": "Eve, the key to the shed is in the blue jar."}'
    both = path.with_name("all.jsonl")
    both.write_text(f'{{"prompt": "Ask Bo for tea.", "completion": "{EDIT}"}}\n{other}\n')
    bench.read()
    tidy(bench.store, bench.settings)
    assert bench.desk.all() == [] and len(bench.store.demonstrations("email")) == 2 and both.exists()


def test_feedback_that_waits_to_be_read_is_not_tidied_away(bench: Bench) -> None:
    bench.desk.take(remark(edited=EDIT))
    tidy(bench.store, bench.settings)
    assert len(bench.desk.all()) == 1


def test_a_file_that_its_user_emptied_of_meaning_takes_the_feedback_along(bench: Bench) -> None:
    bench.desk.take(remark(edited=EDIT))
    bench.read()
    bench.files()[0].write_text("---\nprompt: Ask Bo\n---\nNo.\n")
    bench.read()
    tidy(bench.store, bench.settings)
    assert bench.desk.all() == []


# --- what is refused, and what cannot be done ---


@pytest.mark.parametrize(
    ("said", "param"),
    [
        ({"edited": " \n"}, "edited"),
        ({"edited": "\x00\x07"}, "edited"),
        ({"answer": " ", "rating": "up"}, "answer"),
        ({"messages": (Message("user", "\x00"),), "rating": "up"}, "messages"),
        ({"messages": (), "rating": "up"}, "messages"),
        ({"messages": (Message("system", "Be kind."), Message("assistant", "Hi")), "rating": "up"}, "messages"),
    ],
)
def test_what_says_nothing_is_refused(bench: Bench, said: dict[str, object], param: str) -> None:
    with pytest.raises(RequestError) as refused:
        bench.desk.take(remark(**said))
    assert refused.value.param == param
    assert bench.desk.all() == []


def test_a_disk_that_takes_nothing_leaves_no_feedback(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: object, **named: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(DittodError, match="full"):
        bench.desk.take(remark(edited=EDIT))
    monkeypatch.undo()
    assert bench.desk.all() == []


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "..", "a\\b", "x.tmp"])
def test_what_cannot_be_a_profile_is_refused(name: str) -> None:
    with pytest.raises(SettingsError):
        check_profile(name)


# --- texts ---


def test_secrets_are_masked_before_anything_is_written(tmp_path: Path) -> None:
    bench = Bench(tmp_path, secrets=("Project Otter",))
    try:
        asked = (Message("user", "Send Bo the password: hunter2-swordfish"),)
        said = "Bo, here it is, as promised for Project Otter: 4111 1111 1111 1111 and that is all I know."
        bench.desk.take(remark(messages=asked, edited=said, answer="Dear Bo, the password: hunter2-swordfish."))
        bench.desk.take(remark(messages=asked, rating="down", answer="Project Otter it is."))
        written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        assert all(secret not in written for secret in (b"hunter2", b"Otter", b"4111"))
        bench.read()
        (found,) = bench.store.demonstrations("email")
        assert "[masked card]" in found.completion
        assert {each.demonstration_id for each in bench.store.rejected("email")} == {"", found.id}
    finally:
        bench.close()


def test_a_secret_that_the_longest_prompt_would_cut_in_half_is_masked(bench: Bench) -> None:
    asked = "the password: correct-horse-battery " + "x" * (MOST_PROMPT_CHARACTERS - 10)
    bench.desk.take(remark(messages=(Message("user", asked),), rating="down"))
    (found,) = bench.store.rejected("email")
    assert len(found.prompt) <= MOST_PROMPT_CHARACTERS
    assert "battery" not in found.prompt


def test_a_single_question_is_the_prompt_as_it_stands() -> None:
    turns = (Message("system", "Be kind."), Message("user", " Ask Bo. "), Message("assistant", "Dear Bo"))
    assert prompt_of(turns) == "Ask Bo."


def test_several_turns_are_one_prompt_that_ends_with_the_last_question() -> None:
    turns = (
        Message("user", "Ask Bo."),
        Message("assistant", "Dear Bo, tea?"),
        Message("assistant", "", tool_calls=()),
        Message("tool", "It rains.", tool_call_id="1"),
        Message("user", "Shorter."),
    )
    assert prompt_of(turns) == "user: Ask Bo.\n\nassistant: Dear Bo, tea?\n\nuser: Shorter."


@given(st.text(max_size=300), st.text(min_size=1, max_size=400))
def test_what_is_written_is_read_again_as_the_same_demonstration(prompt: str, completion: str) -> None:
    """Whatever it holds: rules of YAML and of Markdown, quotes, and letters of any script."""
    asked, said = (
        mask(clean(each)).text.strip() for each in (f"Ask {prompt}", f"one two three four five {completion}")
    )
    expected = demonstration_of(asked, said, ())
    assert expected is not None
    document = read_text(file_text(expected).encode(), Origin("feedback", "0" * 64, 1.0))
    (found,) = demonstrations_of(document, Owner()).demonstrations
    assert (found.id, found.prompt, found.completion) == (expected.id, expected.prompt, expected.completion)


def test_texts_lie_sealed_where_the_home_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that were there before, and those that come afterwards."""
    monkeypatch.setattr("keyring.core._keyring_backend", InMemory())
    bench = Bench(tmp_path)
    try:
        bench.desk.take(remark(rating="down", answer="the heron at the weir"))
        bench.store.seal(True)
        bench.desk.take(remark(rating="down", answer="a second heron"))
        bench.store.add_interaction(Interaction("chatcmpl-1", "email", 1.0, None, ASKED, "a third heron"))
        bench.store.close()
        left = b"".join(path.read_bytes() for path in tmp_path.glob("dittod.sqlite*"))
        assert b"heron" not in left
        bench.store = Store(tmp_path / "dittod.sqlite")
        assert [each.completion for each in bench.store.rejected("email")] == [
            "the heron at the weir",
            "a second heron",
        ]
        kept = bench.store.interaction("chatcmpl-1")
        assert kept is not None and (kept.messages, kept.answer) == (ASKED, "a third heron")
    finally:
        bench.close()
