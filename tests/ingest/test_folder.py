"""The watched folder and the store in step, on a real disk with a clock that the test turns."""

from __future__ import annotations

import errno
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from dittod.errors import DittodError, SettingsError
from dittod.ingest import folder as folder_module
from dittod.ingest import growth
from dittod.ingest.brake import BRAKE
from dittod.ingest.demonstrations import Owner
from dittod.ingest.folder import Folder, missing_files
from dittod.ingest.process import Answer, NotNow, Reader
from dittod.ingest.watch import FoundFile, found_file, relative_key
from dittod.paths import MARKER, is_mounted
from dittod.store import Store
from dittod.types import Adapter, Verdict


def _mail(sender: str, words: str, day: int = 1) -> str:
    return (
        f"From: {sender}\nTo: Ann <ann@x.example>\nSubject: The plan\nDate: Thu, {day:02d} Jan 2026 10:00:00 +0000\n\n"
        f"Hello Ann,\n\n{words} is what I wanted to tell you today.\n\nBest,\nBob\n"
    )


class Bench:
    """A folder with its store; `settle` lets enough time pass for everything to be read."""

    def __init__(
        self,
        tmp_path: Path,
        identities: tuple[str, ...] = ("bob@x.example",),
        reader: Callable[[], Reader] = Reader,
    ) -> None:
        self.root = tmp_path / "watched"
        self.store = Store(tmp_path / "s.sqlite")
        self.identities = identities
        self.secrets: tuple[str, ...] = ()
        self.reader = reader
        self.now = 100.0
        self.folder = self._open()

    def _open(self) -> Folder:
        folder = Folder(self.root, self.store, self.identities, 2.0, self.secrets, self.reader())
        folder.prepare()
        return folder

    def restart(self) -> None:
        """As after a kill: what was in memory is gone."""
        self.folder.close()
        self.folder = self._open()

    def close(self) -> None:
        self.folder.close()
        self.store.close()

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
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


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


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOTCONN, errno.ESTALE, errno.EIO])
def test_a_folder_that_cannot_be_looked_into_counts_as_unmounted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    """Its permissions were taken away, or the server of a network's folder is gone."""
    path = bench.write("a.eml", _mail("Bob <bob@x.example>", "Tea"))
    bench.settle()
    looked_at = Path.stat

    def stat(self: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if self.is_relative_to(bench.root) and self != bench.root:
            raise OSError(number, os.strerror(number))
        return looked_at(self, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", stat)
    assert not is_mounted(bench.root)
    bench.folder.notice([path, bench.root / "new"], bench.now)
    bench.settle()
    bench.settle()
    assert len(bench.completions()) == 1 and not bench.folder.settling
    assert caplog.text.count("missing or cannot be read: nothing is read or forgotten") == 1


def test_what_happens_in_a_folder_inside_that_cannot_be_looked_into_is_no_fault(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bench.write("blog/a.eml", _mail("Bob <bob@x.example>", "Tea"))
    bench.settle()
    looked_at = Path.stat

    def stat(self: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if self.parent == path.parent:
            raise PermissionError(errno.EACCES, "Permission denied")
        return looked_at(self, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", stat)
    bench.folder.notice([path, path.parent / "b" / "c.eml", path.parent / "b"], bench.now)


def test_a_file_that_never_stops_changing_keeps_nothing_from_being_learnt_or_forgotten(bench: Bench) -> None:
    gone = bench.write("a.eml", _mail("Bob <bob@x.example>", "Tea"))
    bench.settle()
    gone.unlink()
    settling = 0
    for second in range(1300):
        path = bench.write("log/journal.txt", "x" * second)
        os.utime(path, ns=(second, second))
        if second % 300 == 0:
            bench.folder.rescan(bench.now)
        bench.folder.read_settled(bench.now)
        settling += bench.folder.settling
        bench.now += 1.0
    assert 600 <= settling <= 610
    assert bench.completions() == []
    assert bench.settle() == 1, "when it has stopped, it is read"


def test_a_broken_file_is_set_aside_with_its_reason_and_the_others_are_read(bench: Bench) -> None:
    bench.write("empty.eml", "")
    bench.write("picture.jpg", "not text")
    bench.write("good.eml", _mail("Bob <bob@x.example>", "Tea"))
    bench.settle()
    files = bench.store.files()
    assert {path: row.state for path, row in files.items()} == {
        "empty.eml": "set_aside", "good.eml": "read", "picture.jpg": "set_aside"
    }  # fmt: skip
    assert "empty" in files["empty.eml"].reason and "picture" in files["picture.jpg"].reason
    assert len(bench.completions()) == 1


def patched(code: str) -> Callable[[], Reader]:
    """Readers whose child begins with `code`; `reading` is the module and `read` its reader as it was."""
    start = f"import os, time\nimport dittod.ingest.reading as reading\nread = reading.read\n{code}\nreading.main()"
    return lambda: Reader((sys.executable, "-c", start))


def test_a_fault_in_a_reader_costs_one_file_and_its_text_reaches_no_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fault = "def explode(path, start):\n    raise RuntimeError(path.read_text())\nreading.read = explode"
    bench = Bench(tmp_path, reader=patched(fault))
    bench.write("a.eml", _mail("Bob <bob@x.example>", "canary"))
    bench.settle()
    assert bench.store.files()["a.eml"].reason.startswith("the reader failed (RuntimeError); ")
    assert "RuntimeError" in caplog.text and "canary" not in caplog.text
    bench.close()


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
    bench.close()


def test_a_thousand_files_at_once_are_all_read_once(bench: Bench) -> None:
    for number in range(1000):
        bench.write(f"{number}.eml", _mail("Bob <bob@x.example>", f"Number {number}"))
    seen: list[tuple[int, int, int]] = []
    bench.folder.rescan(bench.now)
    bench.now += 2.0
    bench.folder.read_settled(bench.now, lambda *progress: seen.append(progress))
    assert seen[-1] == (1000, 1000, 1000)
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
    bench.close()


def _news_since(bench: Bench, read_at: float) -> int:
    return sum(bench.store.count_demonstrations(profile, since=read_at) for profile in bench.store.profiles())


@pytest.mark.parametrize("new", ["b.eml", "A.eml", "kept/a.eml", "caf\udce9.eml"])
def test_a_renamed_file_is_no_news_to_learn_from(bench: Bench, new: str) -> None:
    """Also where only the case changes."""
    path = bench.write("a.eml", _mail("Bob <bob@x.example>", "Tea"))
    bench.settle()
    (row,) = bench.store.files().values()
    (bench.root / "kept").mkdir()
    path.rename(bench.root / new)
    bench.settle()
    assert [each.path for each in bench.store.files().values()] == [new.replace("\udce9", "%E9")]
    profile = "kept" if "/" in new else "default"
    assert len(bench.completions(profile)) == 1
    if profile == "default":
        assert _news_since(bench, row.read_at) == 0


def test_a_change_of_case_on_a_disk_that_knows_no_case_is_no_news(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There the old name leads to the file too; only a look at the folder shows its name."""

    def found(root: Path, path: Path) -> FoundFile | None:
        names = [each for each in path.parent.iterdir() if each.name.lower() == path.name.lower()]
        file = found_file(root, names[0]) if names else None
        return replace(file, path=names[0], relative=relative_key(root, path)) if file else None

    monkeypatch.setattr(folder_module, "found_file", found)
    path = bench.write("a.eml", _mail("Bob <bob@x.example>", "Tea"))
    bench.settle()
    (row,) = bench.store.files().values()
    path.rename(bench.root / "A.EML")
    bench.folder.notice([path, bench.root / "A.EML"], bench.now)
    bench.now += 2.0
    bench.folder.read_settled(bench.now)
    bench.settle()
    assert list(bench.store.files()) == ["A.EML"]
    assert _news_since(bench, row.read_at) == 0 and len(bench.completions()) == 1 and not bench.folder.settling


def test_a_marker_that_is_put_back_ends_the_wait_at_once(bench: Bench) -> None:
    bench.write("a.eml", _mail("Bob <bob@x.example>", "Tea"))
    (bench.root / MARKER).unlink()
    assert bench.settle() == 0
    (bench.root / MARKER).touch()
    bench.folder.notice([bench.root / MARKER], bench.now)
    assert bench.folder.read_settled(bench.now + 2.0) == 1


def test_a_moved_folder_keeps_what_is_in_it_and_one_moved_in_or_out_is_noticed(bench: Bench, tmp_path: Path) -> None:
    for number in range(5):
        bench.write(f"mail/{number}.eml", _mail("Bob <bob@x.example>", f"Tea {number}"))
    bench.settle()
    read_at = max(row.read_at for row in bench.store.files().values())
    (bench.root / "mail").rename(tmp_path / "elsewhere")
    (bench.root / "mail").mkdir()
    (tmp_path / "elsewhere").rename(bench.root / "mail" / "2025")
    bench.folder.notice([bench.root / "mail", bench.root / "mail" / "2025"], bench.now)
    bench.settle()
    assert sorted(bench.store.files()) == [f"mail/2025/{number}.eml" for number in range(5)]
    assert len(bench.completions("mail")) == 5 and _news_since(bench, read_at) == 0
    (bench.root / "mail" / "2025").rename(tmp_path / "out")
    bench.folder.notice([bench.root / "mail" / "2025"], bench.now)
    bench.now += 2.0
    bench.folder.read_settled(bench.now)
    assert bench.store.files() == {}


def test_a_file_that_an_editor_replaces_is_not_forgotten_in_between(bench: Bench) -> None:
    """A look falls between the removal of the old file and the renaming of the new one."""
    path = bench.write("a.eml", _mail("Bob <bob@x.example>", "Tea"))
    bench.settle()
    (row,) = bench.store.files().values()
    text = path.read_text()
    path.unlink()
    bench.folder.notice([path], bench.now)
    bench.folder.read_settled(bench.now + 1.0)
    path.write_text(text)
    bench.folder.notice([path], bench.now + 1.5)
    bench.now += 4.0
    bench.folder.read_settled(bench.now)
    assert _news_since(bench, row.read_at) == 0 and len(bench.completions()) == 1
    assert not bench.folder.settling


def test_a_file_that_is_saved_by_renaming_gives_its_new_text_alone(bench: Bench) -> None:
    path = bench.write("a.eml", _mail("Bob <bob@x.example>", "Tea"))
    bench.settle()
    fresh = bench.write("a.eml.tmp", _mail("Bob <bob@x.example>", "Rain"))
    bench.folder.notice([fresh], bench.now)
    fresh.rename(path)
    bench.folder.notice([fresh, path], bench.now)
    bench.now += 2.0
    assert bench.folder.read_settled(bench.now) == 1
    assert bench.completions() == ["Rain is what I wanted to tell you today."]
    assert list(bench.store.files()) == ["a.eml"]


def test_a_change_that_keeps_size_and_time_is_seen(bench: Bench) -> None:
    path = bench.write("a.eml", _mail("Bob <bob@x.example>", "Tea"))
    before = path.stat()
    bench.settle()
    bench.write("a.eml", _mail("Bob <bob@x.example>", "Ale"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert bench.settle() == 1
    assert bench.completions() == ["Ale is what I wanted to tell you today."]


@pytest.mark.parametrize("seconds", [0, 4_000_000_000])
def test_a_file_from_another_time_is_read_once(bench: Bench, seconds: int) -> None:
    os.utime(bench.write("a.eml", _mail("Bob <bob@x.example>", "Tea")), (seconds, seconds))
    assert bench.settle() == 1
    assert bench.settle() == 0 and not bench.folder.settling


def test_a_file_that_grows_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    """The child itself appends to it, once: nothing else could be in time."""
    grow = (
        "def growing(path, start):\n"
        "    yield from read(path, start)\n"
        "    os.utime(path, (1, os.stat(path).st_size))\n"  # all that a process without leave to write can do
        "reading.read = growing"
    )
    bench = Bench(tmp_path, reader=patched(grow))
    bench.write("a.eml", _mail("Bob <bob@x.example>", "Tea"))
    assert bench.settle() == 1
    assert bench.settle() == 1
    bench.close()


def test_a_link_is_named_and_never_followed(bench: Bench, tmp_path: Path) -> None:
    outside = tmp_path / "private.eml"
    outside.write_text(_mail("Bob <bob@x.example>", "Canary"))
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "b.eml").write_text(_mail("Bob <bob@x.example>", "Canary"))
    bench.write("mail/a.eml", _mail("Bob <bob@x.example>", "Tea"))
    (bench.root / "link.eml").symlink_to(outside)
    (bench.root / "folder").symlink_to(tmp_path / "there")
    (bench.root / "mail" / "loop").symlink_to(bench.root)
    bench.settle()
    rows = bench.store.files()
    assert {path for path, row in rows.items() if row.reason.startswith("a link")} == {
        "link.eml",
        "folder",
        "mail/loop",
    }
    assert bench.completions() == [] and len(bench.completions("mail")) == 1
    bench.folder.notice([bench.root / "folder" / "b.eml"], bench.now)
    (bench.root / "mail" / "a.eml").unlink()
    (bench.root / "mail" / "loop").unlink()
    (bench.root / "mail").rmdir()
    (tmp_path / "there" / "b.eml").rename(tmp_path / "there" / "a.eml")
    (bench.root / "mail").symlink_to(tmp_path / "there")
    bench.settle()
    assert all("Canary" not in each for each in (*bench.completions(), *bench.completions("mail")))


def test_what_is_no_plain_file_is_never_opened(bench: Bench) -> None:
    """Opening a FIFO would wait for ever."""
    os.mkfifo(bench.root / "pipe.eml")
    bench.folder.notice([bench.root / "pipe.eml"], bench.now)
    assert bench.settle() == 0 and bench.store.files() == {}


def test_a_file_that_cannot_be_read_now_keeps_what_it_gave_and_is_tried_again(tmp_path: Path) -> None:
    """The child meets the error while the switch is there; the tests may run as root, whom no permission stops."""
    switch = tmp_path / "failing"
    failing = (
        "from dittod.errors import DittodError, FileSetAside\n"
        "def fail(path, start):\n"
        f"    if os.path.exists({str(switch)!r}):\n"
        "        raise FileSetAside('the file cannot be read: Stale file handle', 'check') from OSError(116, 'Stale')\n"
        "    yield from read(path, start)\n"
        "reading.read = fail"
    )
    bench = Bench(tmp_path, reader=patched(failing))
    bench.write("a.eml", _mail("Bob <bob@x.example>", "Tea"))
    bench.settle()
    (row,) = bench.store.files().values()
    switch.touch()
    bench.write("a.eml", _mail("Bob <bob@x.example>", "Coffee"))
    bench.write("b.eml", _mail("Bob <bob@x.example>", "Rain", day=2))
    bench.settle()
    rows = bench.store.files()
    assert "Stale" in rows["a.eml"].reason and rows["b.eml"].state == "set_aside"
    assert bench.completions() == ["Tea is what I wanted to tell you today."]
    bench.write("c/c.eml", _mail("Bob <bob@x.example>", "Snow")).unlink()
    bench.store.record_file(replace(row, path="c/c.eml"))
    bench.restart()
    bench.settle()
    assert "c/c.eml" not in bench.store.files(), "it is forgotten though others cannot be read"
    bench.now += 2.0
    bench.folder.read_settled(bench.now)
    assert not bench.folder.settling
    bench.restart()
    switch.unlink()
    assert bench.settle() == 2
    assert [words.split()[0] for words in bench.completions()] == ["Coffee", "Rain"]
    assert bench.settle() == 0 and _news_since(bench, row.read_at) == 2
    bench.close()


def test_a_full_disk_marks_no_file_as_read(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.write("a.eml", _mail("Bob <bob@x.example>", "Tea"))
    bench.write("b.eml", _mail("Bob <bob@x.example>", "Rain", day=2))

    def full(*arguments: object) -> int:
        raise DittodError("the store cannot be written: database or disk is full", "make room on the disk")

    with monkeypatch.context() as patch:
        patch.setattr(bench.store, "record_file", full)
        with pytest.raises(DittodError, match="full"):
            bench.settle()
    assert bench.settle() == 2 and len(bench.completions()) == 2


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


def test_another_watched_folder_is_made_ready_and_what_was_in_the_first_waits_for_a_word(bench: Bench) -> None:
    bench.write("a.eml", _mail("Bob <bob@x.example>", "Tea"))
    bench.settle()
    bench.root = bench.root.with_name("elsewhere")
    bench.restart()
    bench.write("b.eml", _mail("Bob <bob@x.example>", "Rain"))
    bench.settle()
    assert bench.completions() == [f"{what} is what I wanted to tell you today." for what in ("Tea", "Rain")]
    assert bench.store.noted(BRAKE)["demonstrations"] == 1


def test_a_folder_exchanged_for_another_forgets_nothing_until_its_own_is_back(bench: Bench) -> None:
    bench.write("a.eml", _mail("Bob <bob@x.example>", "Tea"))
    bench.settle()
    away = bench.root.rename(bench.root.with_name("away"))
    bench.root.mkdir()
    bench.write("b.eml", _mail("Bob <bob@x.example>", "Rain"))
    bench.folder.notice([bench.root / "a.eml", bench.root / "b.eml"], bench.now)
    for _ in range(3):
        assert bench.settle() == 0
    assert len(bench.completions()) == 1 and not bench.folder.settling
    (bench.root / "b.eml").unlink()
    bench.root.rmdir()
    away.rename(bench.root)
    assert bench.settle() == 0 and len(bench.completions()) == 1


@pytest.mark.parametrize("other", [False, True])
def test_a_folder_that_is_unmounted_while_it_is_looked_at_forgets_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, other: bool
) -> None:
    """Also when another folder with a marker of its own comes in its place."""
    bench.write("a.eml", _mail("Bob <bob@x.example>", "Tea"))
    bench.settle()
    scan = folder_module.scan

    def unmounting(root: Path, *arguments: Callable[[str], None]) -> Iterator[object]:
        (root / "a.eml").unlink(missing_ok=True)
        yield from scan(root, *arguments)
        root.rename(root.with_name(f"away {bench.now}"))
        root.mkdir()
        if other:
            (root / MARKER).touch()

    monkeypatch.setattr(folder_module, "scan", unmounting)
    bench.settle()
    bench.settle()
    assert len(bench.completions()) == 1


def test_a_file_that_fails_after_some_batches_leaves_none_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "BATCH_DEMONSTRATIONS", 2)
    failing = "def fail(path, start):\n    yield from read(path, start)\n    raise ValueError\nreading.read = fail"
    bench = Bench(tmp_path, reader=patched(failing))
    mails = [_mail("Bob <bob@x.example>", f"Tea {number}") for number in range(5)]
    bench.write("sent.mbox", "".join(f"From b@x Thu Jan  1 10:00:00 2026\n{each}\n" for each in mails))
    bench.settle()
    assert bench.completions() == []
    assert bench.store.files()["sent.mbox"].reason.startswith("the reader failed (ValueError) after number 5")
    bench.close()


def test_a_folder_whose_making_was_interrupted_is_made_at_the_next_start(tmp_path: Path) -> None:
    """Killed after the folder was made and before its marker was."""
    (tmp_path / "watched").mkdir()
    bench = Bench(tmp_path)
    assert (bench.root / MARKER).is_file()
    bench.close()


def test_a_kill_between_two_batches_leaves_nothing_behind_that_is_not_read_or_forgotten_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "BATCH_DEMONSTRATIONS", 2)
    mails = [_mail("Bob <bob@x.example>", f"Tea {number}") for number in range(5)]
    for name in ("stays.mbox", "goes.mbox"):
        bench.write(f"{name[:-5]}/{name}", "".join(f"From b@x Thu Jan  1 10:00:00 2026\n{each}\n" for each in mails))

    def killed(*arguments: object) -> int:
        raise KeyboardInterrupt

    for _ in range(2):
        with monkeypatch.context() as patch:
            for name in ("record_file", "record_reading"):
                patch.setattr(bench.store, name, killed)
            with pytest.raises(KeyboardInterrupt):
                bench.settle()
        bench.restart()
    half = [name for name in ("stays", "goes") if bench.completions(name)]
    assert half and all(len(bench.completions(name)) == 4 for name in half)
    (bench.root / "goes" / "goes.mbox").unlink()
    bench.settle()
    assert len(bench.completions("stays")) == 5 and bench.completions("goes") == []
    assert bench.settle() == 0


def test_a_long_file_is_stored_in_batches_and_tells_how_far_it_is(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "BATCH_DEMONSTRATIONS", 100)
    mails = [_mail("Bob <bob@x.example>", f"Tea {number}") for number in range(250)]
    bench.write("sent.mbox", "".join(f"From b@x Thu Jan  1 10:00:00 2026\n{each}\n" for each in mails))
    stored: list[tuple[int, int, int]] = []
    bench.folder.rescan(bench.now)
    bench.folder.read_settled(
        bench.now + 2.0,
        lambda done, of, documents: stored.append((done, documents, bench.store.count_demonstrations("default"))),
    )
    assert stored[:-1] == [(0, 50, 0), (0, 100, 0), (0, 150, 100), (0, 200, 100), (0, 250, 200)]
    assert stored[-1][:2] == (1, 250) and bench.store.count_demonstrations("default") == 250


def test_reading_ends_at_once_when_the_folder_is_closed_and_the_file_is_read_at_the_next_start(bench: Bench) -> None:
    mails = [_mail("Bob <bob@x.example>", f"Tea {number}") for number in range(250)]
    bench.write("sent.mbox", "".join(f"From b@x Thu Jan  1 10:00:00 2026\n{each}\n" for each in mails))
    bench.folder.rescan(bench.now)
    bench.now += 2.0
    assert bench.folder.read_settled(bench.now, lambda *progress: bench.folder.close()) == 0
    assert bench.store.files() == {}
    bench.restart()
    assert bench.settle() == 1 and len(bench.completions()) == 250


def test_a_deleted_file_among_thousands_costs_one_look(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(50):
        bench.write(f"{number}.eml", _mail("Bob <bob@x.example>", f"Number {number}"))
    bench.settle()
    looks: list[Path] = []
    scan = folder_module.scan
    monkeypatch.setattr(folder_module, "scan", lambda *a: looks.append(a[0]) or scan(*a))
    gone = [bench.root / f"{number}.eml" for number in range(20)]
    for path in gone:
        path.unlink()
    bench.folder.notice([*gone, bench.root / "never.eml", bench.root / "4913", bench.root / ".swp"], bench.now)
    assert len(looks) == 1
    bench.folder.notice([bench.root / "never.eml", bench.root.parent / "outside.eml"], bench.now)
    assert len(looks) == 1
    bench.now += 2.0
    bench.folder.read_settled(bench.now)
    assert len(bench.store.files()) == 30


def test_a_secret_that_the_user_names_is_masked_in_what_was_read_before(bench: Bench) -> None:
    bench.write("a.eml", _mail("Bob <bob@x.example>", "Rosebud"))
    bench.settle()
    bench.secrets = ("Rosebud",)
    bench.restart()
    assert bench.settle() == 1
    assert "Rosebud" not in "".join(bench.completions())
    bench.restart()
    assert bench.settle() == 0


SIGNATURE = "Bob Builder\nHead of Harbour Works\nBuilding Ltd, Seaport"


def _signed(words: str) -> str:
    return _mail("Bob <bob@x.example>", words).replace("Best,\nBob\n", f"Best,\nBob\n\n{SIGNATURE}\n")


def test_a_signature_that_shows_later_is_cut_from_what_was_stored_before(bench: Bench) -> None:
    """The first mail cannot show that its last lines are in every mail."""
    bench.write("0.eml", _signed("Tea"))
    bench.settle()
    assert "Builder" in bench.store.demonstrations("default")[0].completion
    bench.folder.close()
    for number in range(1, 5):
        bench.write(f"{number}.eml", _signed(f"Rain {number}"))
    bench.restart()
    bench.settle()
    completions = [each.completion for each in bench.store.demonstrations("default")]
    assert len(completions) == 5
    assert all("Builder" not in text and text.endswith("Best,\nBob") for text in completions), completions
    bench.restart()
    assert bench.settle() == 0


def test_what_is_cut_or_masked_is_found_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """In what the message answered quotes itself, in secrets and in a signature. Looked for in every byte of the home,
    the temporary folder and what was printed."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    caplog.set_level(logging.DEBUG)
    (tmp_path / "home").mkdir()
    bench = Bench(tmp_path / "home")
    bench.root.rename(tmp_path / "watched")
    bench.root = tmp_path / "watched"
    bench.secrets = ("canary-listed",)
    bench.restart()
    quoted = "\n\nOn Thu, 1 Jan 2026, Ann wrote:\n> What of tea?\n> On Wed, Eve wrote:\n>> it is canary-quoted\n"
    for number in range(5):
        words = f"Tea {number}, password: canary-password and canary-listed,"
        signed = _signed(words).replace("Building Ltd", "canary-signature Ltd").replace("Seaport", "canary-port")
        bench.write(f"mail/{number}.eml", signed.rstrip() + quoted)
    bench.write("mail/broken.eml", "\x00\x01 canary-broken")
    bench.write("mail/nobody.eml", _mail("Eve <eve@x.example>", "canary-eve"))
    bench.settle()
    assert len(bench.store.demonstrations("mail")) == 5
    bench.close()
    written = capfd.readouterr()
    places = {str(path): path.read_bytes() for top in ("home", "temporary") for path in (tmp_path / top).rglob("*.*")}
    places["log"] = f"{caplog.text}{written.out}{written.err}".encode()
    assert any(name.endswith(".sqlite") for name in places)
    assert [name for name, content in places.items() if b"canary" in content] == []


def test_a_mail_that_was_little_more_than_a_signature_is_not_learnt_from_once_that_is_known(bench: Bench) -> None:
    bench.write("0.eml", _signed("").replace("Hello Ann,\n\n is what I wanted to tell you today.", "Tea."))
    bench.settle()
    assert len(bench.store.demonstrations("default")) == 1
    for number in range(1, 5):
        bench.write(f"{number}.eml", _signed(f"Rain {number}"))
    bench.settle()
    assert len(bench.store.demonstrations("default")) == 4
    assert not any("Builder" in row.demonstration.completion for row in bench.store.demonstration_rows("default"))


def test_a_mailbox_that_fails_in_the_middle_keeps_what_it_gave_and_every_edit(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fails at the 599th of 600 mails: two batches had been stored by then."""
    head = "From bob@x.example Mon Jan  5 15:04:05 2015\n"
    mails = [f"{head}{_mail('Bob <bob@x.example>', f'Tea {number}')}\n" for number in range(600)]
    bench.write("a.mbox", "".join(mails))
    bench.settle()
    edited = [each.id for each in bench.store.demonstrations("default")[:50]]
    for number, each in enumerate(edited):
        bench.store.set_prompt("default", each, f"mine {number}", "user")
    bench.write("a.mbox", "".join(mails).replace("Tea 599", "Tea 599, late"))
    read = bench.folder._reader.read

    def fails(path: Path, owner: Owner, *, start: int) -> Iterator[Answer]:
        yield from islice(read(path, owner, start=start), 598)
        raise NotNow("the file cannot be read: Input/output error", "check the disk")

    with monkeypatch.context() as patch:
        patch.setattr(bench.folder._reader, "read", fails)
        bench.settle()
    found = bench.store.demonstrations("default")
    assert len(found) == 600 and sum(each.prompt_by == "user" for each in found) == 50
    bench.settle()
    found = bench.store.demonstrations("default")
    assert len(found) == 600 and sum(each.prompt_by == "user" for each in found) == 50


def test_a_file_that_grows_does_not_keep_others_from_being_forgotten(bench: Bench) -> None:
    growing = bench.write("grows.eml", _mail("Bob <bob@x.example>", "Tea"))
    bench.write("gone.eml", _mail("Bob <bob@x.example>", "Rain", day=2))
    bench.settle()
    (bench.root / "gone.eml").unlink()
    for _ in range(4):
        with growing.open("a") as file:
            file.write("and more of it\n")
        bench.settle()
    assert bench.completions() == ["Tea is what I wanted to tell you today."]


def _mbox(numbers: Iterable[int]) -> bytes:
    mails = (_mail("Bob <bob@x.example>", f"Tea {number}", day=1 + number % 28) for number in numbers)
    return "".join(f"From bob@x.example Mon Jan  5 15:04:05 2015\n{mail}\n" for mail in mails).encode()


def _state(store: Store) -> object:
    """What a reading leaves, times apart."""
    rows = [replace(row, read_at=0.0, mtime_ns=0) for row in store.files().values()]
    return rows, sorted(each.id for each in store.demonstrations("default"))


def _state_read_afresh(mailbox: Path, folder: Path) -> object:
    folder.mkdir()
    other = Bench(folder)
    (other.root / mailbox.name).write_bytes(mailbox.read_bytes())
    other.settle()
    state = _state(other.store)
    other.close()
    return state


@pytest.fixture
def orders(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """At which byte each reading began; any file is large enough to be gone on with."""
    monkeypatch.setattr(growth, "SMALLEST_BYTES", 1)
    read, begun = Reader.read, []

    def noted(self: Reader, path: Path, owner: Owner, *, start: int = 0, detail: bool = False) -> Iterator[Answer]:
        begun.append(start)
        return read(self, path, owner, start=start, detail=detail)

    monkeypatch.setattr(Reader, "read", noted)
    return begun


def test_of_a_mailbox_that_was_appended_to_only_the_new_mails_are_read(
    bench: Bench, orders: list[int], tmp_path: Path
) -> None:
    path = bench.root / "a.mbox"
    path.write_bytes(_mbox(range(5)))
    bench.settle()
    edited = bench.store.set_prompt("default", bench.store.demonstrations("default")[0].id, "mine", "user")
    first = path.stat().st_size
    for end in (6, 9):
        with path.open("ab") as file:
            file.write(_mbox(range(end - 1, end)))
        bench.settle()
    assert orders[:2] == [0, first] and len(orders) == 3 and orders[2] > first
    bench.store.set_prompt("default", edited, bench.store.demonstration(edited).template, "template")
    assert len(bench.completions()) == 7
    assert _state_read_afresh(path, tmp_path / "other") == _state(bench.store)


@pytest.mark.parametrize(
    "change",
    [
        lambda old: old.replace(b"Tea 1 is", b"Tee 1 is") + _mbox([9]),  # an earlier mail has changed
        lambda old: old[: len(old) // 2] + _mbox([9]),  # compacted
        lambda old: old.rstrip() + b"\nand one more line.\n\n" + _mbox([9]),  # the last mail has grown
        lambda old: old[:-400] + _mbox(range(20, 30)),
    ],
)
def test_a_mailbox_in_which_anything_else_has_changed_is_read_whole(
    bench: Bench, orders: list[int], change: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    path = bench.root / "a.mbox"
    path.write_bytes(_mbox(range(5)))
    bench.settle()
    path.write_bytes(change(path.read_bytes()))
    bench.settle()
    assert orders == [0, 0]
    assert _state_read_afresh(path, tmp_path / "other") == _state(bench.store)


def test_what_is_appended_and_holds_no_mail_of_the_users_takes_nothing_away(bench: Bench, orders: list[int]) -> None:
    path = bench.root / "a.mbox"
    path.write_bytes(_mbox(range(5)))
    bench.settle()
    with path.open("ab") as file:
        file.write(
            b"From x@x.example Mon Jan  5 15:04:05 2015\nX-Mozilla-Status: 0008\nFrom: Bob <bob@x.example>\n\nGone.\n\n"
        )
    bench.settle()
    assert len(bench.completions()) == 5 and bench.store.files()["a.mbox"].state == "read"


def test_a_mailbox_that_grows_while_it_is_read_is_read_whole_the_next_time(
    bench: Bench, orders: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bench.root / "a.mbox"
    path.write_bytes(_mbox(range(5)))
    read = bench.folder._reader.read

    def grows(*arguments: object, **named: object) -> Iterator[Answer]:
        yield from read(*arguments, **named)  # type: ignore[arg-type]
        with path.open("ab") as file:
            file.write(_mbox([7]))

    with monkeypatch.context() as patch:
        patch.setattr(bench.folder._reader, "read", grows)
        bench.settle()
    assert bench.store.files()["a.mbox"].content_sha256 == ""
    bench.settle()
    assert orders == [0, 0] and len(bench.completions()) == 6


def test_a_reading_that_failed_halfway_is_begun_anew_though_the_mailbox_has_only_grown(
    bench: Bench, orders: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Half of it is stored as of the reading that failed: what is added next must not drop that half."""
    monkeypatch.setattr(folder_module, "BATCH_DEMONSTRATIONS", 2)
    path = bench.root / "a.mbox"
    path.write_bytes(_mbox(range(6)))
    bench.settle()
    read = bench.folder._reader.read

    def fails(path: Path, owner: Owner, *, start: int) -> Iterator[Answer]:
        yield from islice(read(path, owner, start=start), 5)
        raise NotNow("the file cannot be read: Input/output error", "check the disk")

    with monkeypatch.context() as patch:
        patch.setattr(bench.folder._reader, "read", fails)
        os.utime(path, (5, 5))
        bench.settle()
    with path.open("ab") as file:
        file.write(_mbox([7]))
    bench.settle()
    assert orders == [0, 0, 0] and len(bench.completions()) == 7
    assert _state_read_afresh(path, tmp_path / "other") == _state(bench.store)


@pytest.mark.parametrize("name", [".git", "pyproject.toml"])
def test_a_source_tree_is_not_watched_unless_it_has_been_before(tmp_path: Path, name: str) -> None:
    root = tmp_path / "watched"
    (root / name).mkdir(parents=True)
    with pytest.raises(SettingsError, match=f"holds {name}") as refused:
        Bench(tmp_path)
    assert "watched_folder" in refused.value.hint and not is_mounted(root)
    (root / MARKER).touch()
    Bench(tmp_path).close()


# --- what is forgotten, and what is not ---


def _learn(bench: Bench, profile: str = "default") -> None:
    """A version that has learnt from all that the profile has, and is served."""
    ids = tuple(each.id for each in bench.store.demonstrations(profile))
    verdict = Verdict(True, (), {})
    values = (f"{len(bench.store.adapters()):064}", profile, 0, "candidate", "", "r", "starter", "1", "t", ids, 1, 1.0)
    made = bench.store.add_adapter(Adapter(*values, None, verdict))  # type: ignore[arg-type]
    bench.store.promote(profile, made.id, 1.0)


def _is_served(bench: Bench, profile: str = "default") -> bool:
    return any(each.state == "promoted" for each in bench.store.adapters(profile))


LONG = (
    "The heron stands in the shallow water near the old mill and waits for the evening, as it does on every day of May"
)


@pytest.mark.parametrize(
    ("new", "stays"),
    [
        (LONG.replace("evening", "night"), True),
        (f"{LONG}. Then it flies home over the fields, slowly.", True),
        (LONG.replace(" near the old mill and waits for the evening", ""), False),
        ("Something else entirely that says nothing of birds.", False),
    ],
)
def test_an_edited_text_is_forgotten_only_where_something_was_taken_out_of_it(
    bench: Bench, new: str, stays: bool
) -> None:
    bench.write("a.txt", LONG)
    bench.settle()
    _learn(bench)
    bench.write("a.txt", new)
    bench.settle()
    assert _is_served(bench) == stays
    assert [each.cause for each in bench.store.receipts()] == [] if stays else ["a file was changed"]
    (bench.root / "a.txt").unlink()
    bench.settle()
    assert not _is_served(bench), "what it became is gone"


def test_an_edit_keeps_a_text_aside_that_was_excluded(bench: Bench) -> None:
    bench.write("a.txt", LONG)
    bench.settle()
    bench.store.exclude("default", bench.store.demonstrations("default")[0].id, excluded=True)
    bench.write("a.txt", LONG.replace("evening", "night"))
    bench.settle()
    assert bench.store.demonstrations("default") == [] and bench.store.counts() == {"default": 1}


@pytest.mark.parametrize("new", ["b.txt", "deep/er/a.txt"])
def test_a_moved_file_is_not_forgotten_wherever_it_goes(bench: Bench, new: str) -> None:
    path = bench.write("a.txt", LONG)
    bench.settle()
    _learn(bench)
    (bench.root / new).parent.mkdir(parents=True, exist_ok=True)
    path.rename(bench.root / new)
    bench.settle()
    assert _is_served(bench) and bench.store.receipts() == []
    (bench.root / new).unlink()
    bench.settle()
    assert not _is_served(bench)


def test_a_secret_that_is_named_later_takes_the_versions_that_have_seen_it(bench: Bench) -> None:
    for number in range(9):
        bench.write(f"{number}.txt", f"{LONG}, number {number}, and the word is rosebud")
    bench.settle()
    _learn(bench)
    bench.secrets = ("rosebud",)
    bench.restart()
    bench.settle()
    assert not _is_served(bench) and bench.store.counts() == {"default": 9} and not bench.store.noted(BRAKE)
    assert [each.cause for each in bench.store.receipts()] == ["a secret was named"]


def test_who_is_found_not_to_be_the_user_is_forgotten(bench: Bench) -> None:
    bench.write("e.eml", _mail("Eve <eve@x.example>", "Spite"))
    bench.identities = ("bob@x.example", "eve@x.example")
    bench.restart()
    bench.write("b.eml", _mail("Bob <bob@x.example>", "Tea"))
    bench.settle()
    _learn(bench)
    bench.identities = ("bob@x.example",)
    bench.restart()
    bench.settle()
    assert not _is_served(bench)
    (receipt,) = bench.store.receipts()
    assert (receipt.cause, receipt.demonstrations) == ("identities changed", 1)


def _write_many(bench: Bench, count: int, folder: str = "") -> list[Path]:
    return [
        bench.write(f"{folder}{number}.eml", _mail("Bob <bob@x.example>", f"Number {folder}{number}"))
        for number in range(count)
    ]


def test_many_files_that_are_gone_at_once_are_not_forgotten_until_the_user_says_so(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    gone = _write_many(bench, 15)[:8]
    bench.settle()
    for path in gone:
        path.unlink()
    for _ in range(3):
        bench.settle()
    assert len(bench.completions()) == 15 and not bench.folder.settling
    note = bench.store.noted(BRAKE)
    assert (note["profile"], note["files"], note["demonstrations"], note["of"]) == ("default", 8, 8, 15)
    assert caplog.text.count("8 of 15 texts of profile default are no longer in the watched folder") == 1
    bench.restart()
    bench.settle()
    assert len(bench.completions()) == 15 and bench.store.noted(BRAKE) == note


def test_files_that_come_back_release_the_brake_and_nothing_was_lost(bench: Bench) -> None:
    paths = _write_many(bench, 9)
    bench.settle()
    edited = bench.store.set_prompt("default", bench.store.demonstrations("default")[0].id, "mine", "user")
    away = [path.rename(bench.root.parent / path.name) for path in paths]
    bench.settle()
    assert bench.store.noted(BRAKE)
    for path, old in zip(away, paths, strict=True):
        path.rename(old)
    bench.settle()
    assert bench.store.noted(BRAKE) == {} and bench.store.receipts() == []
    assert len(bench.completions()) == 9 and edited in {each.id for each in bench.store.demonstrations("default")}


def test_once_the_user_has_said_so_files_that_come_back_are_read_like_new_ones(bench: Bench) -> None:
    paths = _write_many(bench, 9)
    bench.settle()
    text = paths[0].read_text()
    for path in paths:
        path.unlink()
    bench.settle()
    assert missing_files(bench.root, bench.store.files()) == [f"{number}.eml" for number in range(9)]
    bench.store.forget_files(missing_files(bench.root, bench.store.files()), 5.0)
    bench.store.note(BRAKE, {})
    bench.settle()
    assert bench.completions() == []
    paths[0].write_text(text)
    bench.settle()
    assert len(bench.completions()) == 1 and bench.store.noted(BRAKE) == {}


def test_while_the_brake_holds_what_is_deleted_besides_is_held_too_and_what_is_new_is_read(bench: Bench) -> None:
    paths = _write_many(bench, 9)
    few = _write_many(bench, 20, "blog/")[0]
    bench.settle()
    for path in (*paths, few):
        path.unlink()
    bench.settle()
    bench.write("new.eml", _mail("Bob <bob@x.example>", "Tea"))
    bench.settle()
    assert len(bench.completions()) == 10 and len(bench.completions("blog")) == 20
    assert bench.store.noted(BRAKE)["files"] == 10


def test_a_mailbox_that_was_emptied_does_not_take_what_was_learnt_along(bench: Bench) -> None:
    path = bench.root / "a.mbox"
    path.write_bytes(full := _mbox(range(12)))
    bench.settle()
    _learn(bench)
    path.write_bytes(b"")
    bench.settle()
    bench.restart()
    bench.settle()
    assert _is_served(bench) and len(bench.completions()) == 12
    assert bench.store.noted(BRAKE)["demonstrations"] == 12
    path.write_bytes(full)
    bench.settle()
    assert bench.store.noted(BRAKE) == {} and _is_served(bench)


def test_identities_that_were_mistyped_do_not_take_what_was_learnt_along(bench: Bench) -> None:
    _write_many(bench, 9)
    bench.settle()
    _learn(bench)
    bench.identities = ("bib@x.example",)
    bench.restart()
    bench.settle()
    assert _is_served(bench) and bench.store.noted(BRAKE)["files"] == 0
    bench.identities = ("bob@x.example",)
    bench.restart()
    bench.settle()
    assert _is_served(bench) and bench.store.noted(BRAKE) == {} and bench.store.receipts() == []


def _watch(bench: Bench, root: Path) -> None:
    """From the next start on, which is now."""
    bench.root = root
    bench.restart()
    bench.settle()


def test_where_another_folder_is_watched_not_even_one_text_goes_until_the_user_says_so(
    bench: Bench, tmp_path: Path
) -> None:
    _write_many(bench, 3)
    bench.settle()
    before = bench.root
    _watch(bench, tmp_path / "new")
    bench.restart()
    bench.settle()
    bench.settle()
    assert len(bench.completions()) == 3 and "another folder is watched" in bench.store.noted(BRAKE)["sentence"]
    _watch(bench, before)
    assert len(bench.completions()) == 3 and bench.store.noted(BRAKE) == {} and bench.store.receipts() == []
    (before / "0.eml").unlink()
    bench.settle()
    assert len(bench.completions()) == 2 and bench.store.noted(BRAKE) == {}


def test_once_the_user_has_said_so_another_folder_is_watched_like_any(bench: Bench, tmp_path: Path) -> None:
    _write_many(bench, 3)
    bench.settle()
    _watch(bench, tmp_path / "new")
    bench.store.forget_files(missing_files(bench.root, bench.store.files()), 5.0)
    bench.store.note(BRAKE, {})
    paths = _write_many(bench, 2)
    bench.settle()
    assert len(bench.completions()) == 2
    paths[0].unlink()
    bench.settle()
    assert len(bench.completions()) == 1 and bench.store.noted(BRAKE) == {}


def test_a_folder_that_was_moved_with_its_files_is_no_news(bench: Bench, tmp_path: Path) -> None:
    paths = _write_many(bench, 3)
    bench.settle()
    bench.root.rename(tmp_path / "moved")
    _watch(bench, tmp_path / "moved")
    (bench.root / paths[0].name).unlink()
    bench.settle()
    assert len(bench.completions()) == 2 and bench.store.noted(BRAKE) == {}


def test_what_lies_under_the_same_name_in_another_folder_does_not_take_the_text_along(
    bench: Bench, tmp_path: Path
) -> None:
    bench.write("a.eml", _mail("Bob <bob@x.example>", "Tea"))
    bench.settle()
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "a.eml").write_text(_mail("Bob <bob@x.example>", "Rain and hail"))
    _watch(bench, tmp_path / "new")
    bench.settle()
    assert len(bench.completions()) == 2 and bench.store.noted(BRAKE)["demonstrations"] == 1


def test_a_kill_between_reading_and_forgetting_is_made_up_for_at_the_next_start(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.write("a.txt", LONG)
    bench.settle()
    _learn(bench)
    bench.write("a.txt", "Something else entirely that says nothing of birds.")

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(bench.store, "forget_outdated", killed)
        with pytest.raises(KeyboardInterrupt):
            bench.settle()
    assert _is_served(bench)
    bench.restart()
    bench.settle()
    assert not _is_served(bench) and bench.store.counts() == {"default": 1}


def test_a_passage_taken_out_of_a_long_text_is_forgotten(bench: Bench) -> None:
    flock = " ".join(f"sheep{number}" for number in range(90))
    bench.write("a.txt", f"{flock}. The key lies under the third flower pot. {LONG}")
    bench.settle()
    _learn(bench)
    bench.write("a.txt", f"{flock}. {LONG}")
    bench.settle()
    assert not _is_served(bench)
    assert [each.cause for each in bench.store.receipts()] == ["a file was changed"]


@pytest.mark.parametrize("text", [b"\x00" * 4096, b"\x89PNG\r\n\x1a\n" + b"\x00\xff" * 99])
def test_a_file_that_becomes_unreadable_keeps_what_it_gave_until_it_is_deleted(bench: Bench, text: bytes) -> None:
    path = bench.write("a.txt", LONG)
    bench.settle()
    _learn(bench)
    path.write_bytes(text)
    bench.settle()
    row = bench.store.files()["a.txt"]
    assert _is_served(bench) and bench.store.counts() == {"default": 1}
    assert row.state == "set_aside" and "is kept until you delete the file" in row.reason
    bench.restart()
    assert bench.settle() == 0, "nothing is new"
    path.unlink()
    bench.settle()
    assert not _is_served(bench) and bench.store.counts() == {}


def test_a_damaged_file_that_was_mended_is_read_as_it_is(bench: Bench) -> None:
    path = bench.write("a.txt", LONG)
    bench.settle()
    _learn(bench)
    path.write_bytes(b"\x00" * 4096)
    bench.settle()
    bench.write("a.txt", LONG)
    bench.settle()
    row = bench.store.files()["a.txt"]
    assert (row.state, row.reason) == ("read", "") and _is_served(bench) and bench.store.receipts() == []


@pytest.mark.parametrize(("name", "text"), [("a.txt", ""), ("a.txt", " \n\n"), ("a.html", "<p> </p>")])
def test_a_file_that_its_user_emptied_is_forgotten(bench: Bench, name: str, text: str) -> None:
    bench.write(name, LONG)
    bench.settle()
    _learn(bench)
    bench.write(name, text)
    bench.settle()
    assert not _is_served(bench) and bench.store.counts() == {}


def _mailbox(sender: str, count: int) -> str:
    mails = (_mail(sender, f"{sender[:5]} {number}", day=1 + number % 28) for number in range(count))
    return "".join(f"From x@x.example Mon Jan  5 15:04:05 2015\n{mail}\n" for mail in mails)


@pytest.fixture
def guessing(tmp_path: Path) -> Iterator[Bench]:
    """Nobody has said who the user is."""
    made = Bench(tmp_path, identities=())
    yield made
    made.close()


def _bury_bob(bench: Bench, mails: int, others: int) -> None:
    """A version has learnt from Bob; then a box of Carla's comes, with more mails than he has."""
    bench.write("bob.mbox", _mailbox("Bob <bob@x.example>", mails))
    bench.settle()
    _learn(bench)
    bench.write("carla.mbox", _mailbox("Carla <carla@y.example>", others))
    bench.settle()


@pytest.mark.parametrize(("mails", "others"), [(25, 60), (5, 12)])
def test_who_was_guessed_to_be_the_user_is_not_forgotten_for_a_box_of_somebody_else(
    guessing: Bench, mails: int, others: int
) -> None:
    _bury_bob(guessing, mails, others)
    guessing.restart()
    guessing.settle()
    note = guessing.store.noted(BRAKE)
    assert _is_served(guessing) and guessing.store.receipts() == []
    assert (note["demonstrations"], note["of"]) == (mails, mails) and "set identities" in note["sentence"]


def test_once_the_user_says_who_they_are_only_what_came_from_the_other_goes(guessing: Bench) -> None:
    _bury_bob(guessing, 25, 60)
    guessing.identities = ("bob@x.example",)
    guessing.restart()
    guessing.settle()
    assert _is_served(guessing) and guessing.store.noted(BRAKE) == {}
    assert guessing.store.counts() == {"default": 25}


def test_what_comes_at_the_same_look_does_not_outweigh_what_goes(bench: Bench) -> None:
    gone = _write_many(bench, 9)
    bench.settle()
    for path in gone:
        path.unlink()
    bench.write("new.mbox", _mailbox("Bob <bob@x.example>", 40))
    bench.settle()
    bench.restart()
    bench.settle()
    assert bench.store.noted(BRAKE)["of"] == 9 and bench.store.counts() == {"default": 49}


def test_naming_a_secret_does_not_wait_for_the_brake(bench: Bench) -> None:
    paths = [bench.write(f"{number}.txt", f"{LONG}, number {number}, the word is rosebud") for number in range(20)]
    bench.write("clean.txt", LONG)
    bench.settle()
    _learn(bench)
    for path in paths[:15]:
        path.unlink()
    bench.settle()
    assert bench.store.noted(BRAKE)["demonstrations"] == 15
    bench.secrets = ("rosebud",)
    bench.restart()
    bench.settle()
    assert not _is_served(bench)
    assert {each.cause for each in bench.store.receipts()} == {"a secret was named"}
    assert not any("rosebud" in each.completion for each in bench.store.demonstrations("default"))
    assert bench.store.counts() == {"default": 6}


def test_a_file_that_was_away_when_a_secret_was_named_is_read_anew_when_it_is_back(bench: Bench) -> None:
    paths = [bench.write(f"{number}.txt", f"{LONG}, number {number}, the word is rosebud") for number in range(9)]
    plain = [bench.write(f"plain{number}.txt", f"{LONG}, number {number}") for number in range(9)]
    kept = [(path, path.read_text(), path.stat().st_mtime_ns) for path in (*paths, *plain)]
    bench.settle()
    for path, _, _ in kept:
        path.unlink()
    bench.settle()
    bench.secrets = ("rosebud",)
    bench.restart()
    bench.settle()
    assert bench.store.counts() == {"default": 9}
    for path, text, changed in kept:
        path.write_text(text)
        os.utime(path, ns=(changed, changed))
    bench.settle()
    assert bench.store.counts() == {"default": 18}


def test_naming_a_secret_does_not_let_an_emptied_mailbox_through_the_brake(bench: Bench) -> None:
    bench.write("a.mbox", _mailbox("Bob <bob@x.example>", 20))
    bench.settle()
    _learn(bench)
    bench.write("a.mbox", _mailbox("Bob <bob@x.example>", 1))
    bench.secrets = ("rosebud",)
    bench.restart()
    bench.settle()
    assert _is_served(bench) and bench.store.counts() == {"default": 20}
    assert bench.store.noted(BRAKE)["demonstrations"] == 19
