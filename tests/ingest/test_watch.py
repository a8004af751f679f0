"""The watched folder on a real disk."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path
from queue import Queue

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dittod.ingest import watch
from dittod.ingest.watch import (
    found_file,
    path_key,
    path_of_key,
    profile_of,
    scan,
    start_watching,
    why_no_events,
)


def _none(folder: str) -> None:
    raise AssertionError(f"{folder} could not be listed")


def fill(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")


def test_a_scan_finds_every_file_with_its_profile(tmp_path: Path) -> None:
    fill(tmp_path, "top.txt", "mail/a.eml", "mail/cur/deep/b.eml", "blog/c.md", ".dittod", ".git/d.txt", "mail/e.tmp")
    found = {file.relative: (file.profile, file.size) for file in scan(tmp_path, _none)}
    assert found == {
        "top.txt": ("default", 1),
        "mail/a.eml": ("mail", 1),
        "mail/cur/deep/b.eml": ("mail", 1),
        "blog/c.md": ("blog", 1),
    }


def test_a_scan_follows_no_link_to_a_folder(tmp_path: Path) -> None:
    fill(tmp_path / "outside", "secret.txt")
    fill(tmp_path / "root", "a.txt")
    (tmp_path / "root" / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "root" / "loop").symlink_to(tmp_path / "root")
    (tmp_path / "root" / "dangling").symlink_to(tmp_path / "nothing")
    assert [file.relative for file in scan(tmp_path / "root", _none)] == ["a.txt"]


def test_a_folder_that_cannot_be_listed_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    unreadable: list[str] = []
    assert list(scan(tmp_path / "unmounted", unreadable.append)) == []
    assert unreadable == [""]


def test_a_name_that_is_no_utf8_can_be_stored_and_found_again(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9 100%.txt")
    fill(tmp_path, name)
    [file] = scan(tmp_path, _none)
    assert file.relative == "caf%E9 100%25.txt"
    store = sqlite3.connect(":memory:")
    assert store.execute("select ?", (file.relative,)).fetchone() == (file.relative,)
    store.close()
    assert (tmp_path / path_of_key(file.relative)).read_text() == "x"


@given(st.binary(min_size=1, max_size=30))
def test_the_key_of_a_path_leads_back_to_it(raw: bytes) -> None:
    path = os.fsdecode(raw)
    path_key(path).encode("utf-8")
    assert path_of_key(path_key(path)) == path


def test_a_profile_is_the_first_folder(tmp_path: Path) -> None:
    assert profile_of(tmp_path, tmp_path / "a.txt") == "default"
    assert profile_of(tmp_path, tmp_path / "mail" / "cur" / "a.eml") == "mail"


def test_a_file_that_is_gone_or_outside_is_not_found(tmp_path: Path) -> None:
    assert found_file(tmp_path, tmp_path / "gone.txt") is None
    assert found_file(tmp_path, Path("/etc/hostname")) is None
    assert found_file(tmp_path, tmp_path) is None


def test_a_new_file_and_a_renamed_one_come_into_the_queue(tmp_path: Path) -> None:
    queue: Queue[Path] = Queue()
    observer = start_watching(tmp_path, queue)
    try:
        fill(tmp_path, "mail/a.txt")
        (tmp_path / "mail" / "a.txt").rename(tmp_path / "mail" / "b.txt")
        seen = set()
        while tmp_path / "mail" / "b.txt" not in seen:
            seen.add(queue.get(timeout=5))
    finally:
        observer.stop()
        observer.join(5)


def test_polling_takes_over_when_the_system_refuses_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Refusing:
        def schedule(self, *args: object, **kwargs: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(watch, "Observer", Refusing)
    monkeypatch.setattr(watch, "POLL_SECONDS", 0.05)
    queue: Queue[Path] = Queue()
    observer = start_watching(tmp_path, queue)
    try:
        fill(tmp_path, "a.txt")
        while queue.get(timeout=5) != tmp_path / "a.txt":
            pass
    finally:
        observer.stop()
        observer.join(5)
    assert "fs.inotify.max_user_watches" in caplog.text and "space" not in caplog.text


def test_the_message_about_inotify_names_the_sysctl_and_its_value(tmp_path: Path) -> None:
    (tmp_path / "max_user_watches").write_text("8192\n")
    said = why_no_events(OSError(errno.ENOSPC, "No space left on device"), tmp_path / "max_user_watches")
    assert "fs.inotify.max_user_watches is 8192" in said
    assert "max_user_instances is unknown" in why_no_events(OSError(errno.EMFILE, ""), tmp_path / "max_user_watches")
