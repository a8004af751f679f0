"""The watched folder and the store in step, on a real disk with a clock that the test turns."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dittod.ingest.folder import Folder
from dittod.paths import MARKER
from dittod.store import Store
from dittod.types import Document


def _mail(sender: str, words: str, day: int = 1) -> str:
    return (
        f"From: {sender}\nTo: Ann <ann@x.example>\nSubject: The plan\nDate: Thu, {day:02d} Jan 2026 10:00:00 +0000\n\n"
        f"Hello Ann,\n\n{words} is what I wanted to tell you today.\n\nBest,\nBob\n"
    )


class Bench:
    """A folder with its store; `settle` lets enough time pass for everything to be read."""

    def __init__(self, tmp_path: Path, identities: tuple[str, ...] = ("bob@x.example",)) -> None:
        self.root = tmp_path / "watched"
        self.store = Store(tmp_path / "s.sqlite")
        self.identities = identities
        self.now = 100.0
        self.folder = self._open()

    def _open(self) -> Folder:
        folder = Folder(self.root, self.store, self.identities, settle_seconds=2.0)
        folder.prepare()
        return folder

    def restart(self) -> None:
        self.folder = self._open()

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    def settle(self) -> int:
        self.folder.rescan(self.now)
        self.now += 2.0
        return self.folder.read_settled(self.now)

    def completions(self, profile: str = "default") -> list[str]:
        return [each.completion.split("\n")[2] for each in self.store.demonstrations(profile)]


@pytest.fixture
def bench(tmp_path: Path):
    made = Bench(tmp_path)
    yield made
    made.store.close()


def test_a_dropped_mail_becomes_a_demonstration_of_its_profile(bench: Bench) -> None:
    bench.write("a.eml", _mail("Bob <bob@x.example>", "Tea"))
    bench.write("blog/b.eml", _mail("Bob <bob@x.example>", "Rain"))
    assert bench.settle() == 2
    assert bench.completions() == ["Tea is what I wanted to tell you today."]
    assert bench.completions("blog") == ["Rain is what I wanted to tell you today."]


def test_a_file_that_grows_is_read_when_it_has_stopped(bench: Bench) -> None:
    text = _mail("Bob <bob@x.example>", "Tea")
    path = bench.write("a.eml", text[:80])
    bench.folder.notice([path], bench.now)
    bench.write("a.eml", text)
    bench.now += 2.0
    assert bench.folder.read_settled(bench.now) == 0
    bench.now += 2.0
    assert bench.folder.read_settled(bench.now) == 1
    assert len(bench.completions()) == 1


def test_what_was_read_is_not_read_again_after_a_restart_but_what_changed_is(bench: Bench) -> None:
    bench.write("a.eml", _mail("Bob <bob@x.example>", "Tea"))
    bench.settle()
    bench.restart()
    assert bench.settle() == 0
    bench.write("a.eml", _mail("Bob <bob@x.example>", "Coffee"))
    assert bench.settle() == 1
    assert bench.completions() == ["Coffee is what I wanted to tell you today."]


def test_a_deleted_file_takes_its_demonstrations_along_also_while_dittod_was_off(bench: Bench) -> None:
    path = bench.write("a.eml", _mail("Bob <bob@x.example>", "Tea"))
    bench.settle()
    bench.restart()
    path.unlink()
    bench.settle()
    assert bench.completions() == [] and bench.store.files() == {}


def test_an_unmounted_folder_forgets_nothing(bench: Bench) -> None:
    bench.write("a.eml", _mail("Bob <bob@x.example>", "Tea"))
    bench.settle()
    (bench.root / "a.eml").unlink()
    (bench.root / MARKER).unlink()
    bench.settle()
    bench.restart()
    bench.settle()
    assert len(bench.completions()) == 1


def test_a_broken_file_is_set_aside_with_its_reason_and_the_others_are_read(bench: Bench) -> None:
    bench.write("empty.eml", "")
    bench.write("picture.jpg", "not text")
    bench.write("good.eml", _mail("Bob <bob@x.example>", "Tea"))
    bench.settle()
    files = bench.store.files()
    assert {path: row.state for path, row in files.items()} == {
        "empty.eml": "set_aside", "good.eml": "read", "picture.jpg": "set_aside"
    }  # fmt: skip
    assert "empty" in files["empty.eml"].reason and ".eml" in files["picture.jpg"].reason
    assert len(bench.completions()) == 1


def test_a_fault_in_a_reader_costs_one_file_and_its_text_reaches_no_log(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def explode(document: Document, identities: object) -> None:
        raise RuntimeError(document.text)

    bench.write("a.eml", _mail("Bob <bob@x.example>", "canary"))
    monkeypatch.setattr("dittod.ingest.folder.demonstrations_of", explode)
    bench.settle()
    assert bench.store.files()["a.eml"].reason == "the reader failed (RuntimeError)"
    assert "RuntimeError" in caplog.text and "canary" not in caplog.text


def test_whose_folder_it_is_is_learnt_from_its_senders_and_corrected_when_more_arrives(tmp_path: Path) -> None:
    """One stray mail of Eve's comes first and is taken for the user's; three of Bob's correct that."""
    bench = Bench(tmp_path, identities=())
    bench.write("e.eml", _mail("Eve <eve@x.example>", "Spite"))
    bench.settle()
    assert len(bench.completions()) == 1
    for number in range(3):
        bench.write(f"b{number}.eml", _mail("Bob <bob@x.example>", f"Tea {number}", day=number + 2))
    bench.settle()
    assert bench.completions() == [f"Tea {number} is what I wanted to tell you today." for number in range(3)]
    assert bench.store.files()["e.eml"].reason == "not sent by the user"
    bench.store.close()


def test_a_thousand_files_at_once_are_all_read_once(bench: Bench) -> None:
    for number in range(1000):
        bench.write(f"{number}.eml", _mail("Bob <bob@x.example>", f"Number {number}"))
    seen: list[tuple[int, int]] = []
    bench.folder.rescan(bench.now)
    bench.now += 2.0
    bench.folder.read_settled(bench.now, lambda done, of: seen.append((done, of)))
    assert seen[-1] == (1000, 1000)
    assert bench.store.count_demonstrations("default") == 1000


@pytest.mark.parametrize("first", [(), ("typo@x.example",)])
def test_identities_that_are_corrected_count_for_what_was_read_before(tmp_path: Path, first: tuple[str, ...]) -> None:
    """Guessed or given wrongly at first: after a restart with the right ones, without any new file."""
    bench = Bench(tmp_path, identities=first)
    for number in range(3):
        bench.write(f"e{number}.eml", _mail("Eve <eve@x.example>", f"Spite {number}"))
    bench.write("b.eml", _mail("Bob <bob@x.example>", "Tea"))
    bench.settle()
    bench.identities = ("bob@x.example",)
    bench.restart()
    bench.settle()
    assert bench.completions() == ["Tea is what I wanted to tell you today."]
    bench.restart()
    assert bench.settle() == 0
    bench.store.close()


def test_a_renamed_file_is_no_news_to_learn_from(bench: Bench) -> None:
    path = bench.write("a.eml", _mail("Bob <bob@x.example>", "Tea"))
    bench.settle()
    (row,) = bench.store.files().values()
    path.rename(path.with_name("b.eml"))
    bench.settle()
    assert [each.path for each in bench.store.files().values()] == ["b.eml"]
    assert bench.store.count_demonstrations("default", since=row.read_at) == 0 and len(bench.completions()) == 1


def test_a_folder_that_cannot_be_listed_forgets_nothing_and_stops_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.write("locked/a.eml", _mail("Bob <bob@x.example>", "Tea"))
    bench.settle()
    scandir = os.scandir

    def refuse(folder: str | Path) -> object:
        if Path(folder).name == "locked":
            raise PermissionError
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    bench.write("b.eml", _mail("Bob <bob@x.example>", "Rain"))
    bench.settle()
    assert len(bench.completions("locked")) == 1 and len(bench.completions()) == 1


def test_another_watched_folder_is_made_ready_and_what_was_in_the_first_is_gone(bench: Bench) -> None:
    bench.write("a.eml", _mail("Bob <bob@x.example>", "Tea"))
    bench.settle()
    bench.root = bench.root.with_name("elsewhere")
    bench.restart()
    bench.write("b.eml", _mail("Bob <bob@x.example>", "Rain"))
    bench.settle()
    assert bench.completions() == ["Rain is what I wanted to tell you today."]
