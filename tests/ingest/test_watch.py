"""The watched folder on a real disk."""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dittod.ingest import watch
from dittod.ingest.watch import (
    POLL_SECONDS,
    Watch,
    found_file,
    path_key,
    path_of_key,
    profile_of,
    remote_kind,
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


def test_a_scan_names_links_and_follows_none(tmp_path: Path) -> None:
    fill(tmp_path / "outside", "secret.txt")
    fill(tmp_path / "root", "a.txt", "deep/b.txt")
    (tmp_path / "root" / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "root" / "deep" / "loop").symlink_to(tmp_path / "root")
    (tmp_path / "root" / "dangling").symlink_to(tmp_path / "nothing")
    found = {file.relative: file.is_link for file in scan(tmp_path / "root", _none)}
    assert found == {"a.txt": False, "dangling": True, "deep/b.txt": False, "deep/loop": True, "link": True}


def test_a_file_behind_a_link_is_not_found(tmp_path: Path) -> None:
    """A folder may have been exchanged for a link since its files were noted."""
    fill(tmp_path / "outside", "secret.txt")
    fill(tmp_path / "root", "a.txt")
    (tmp_path / "root" / "mail").symlink_to(tmp_path / "outside")
    assert found_file(tmp_path / "root", tmp_path / "root" / "mail" / "secret.txt") is None
    assert found_file(tmp_path / "root", tmp_path / "root" / "mail" / ".." / ".." / "outside" / "secret.txt") is None
    assert found_file(tmp_path / "root", tmp_path / "root" / "a.txt") is not None
    assert list(scan(tmp_path / "root", _none, tmp_path / "root" / "mail")) == []


def test_a_watched_folder_that_is_itself_a_link_is_looked_at(tmp_path: Path) -> None:
    fill(tmp_path / "there", "mail/a.txt")
    (tmp_path / "root").symlink_to(tmp_path / "there")
    assert [file.relative for file in scan(tmp_path / "root", _none)] == ["mail/a.txt"]
    assert found_file(tmp_path / "root", tmp_path / "root" / "mail" / "a.txt") is not None


def test_fifos_and_sockets_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "s.txt"))
        assert list(scan(tmp_path, _none)) == []
        assert found_file(tmp_path, tmp_path / "pipe.txt") is None


def test_hidden_folders_of_a_maildir_are_looked_into_and_its_tmp_never(tmp_path: Path) -> None:
    for folder in ("", ".Sent/", ".INBOX.Sent/", "mail/"):
        fill(tmp_path, f"{folder}cur/1.host:2,S", f"{folder}new/2.host", f"{folder}tmp/3.host")
    fill(tmp_path, ".git/objects/4", ".hidden/5.eml", "tmp/6.eml", "drafts/tmp/7.eml")
    found = {file.relative: file.profile for file in scan(tmp_path, _none)}
    assert found == {
        "cur/1.host:2,S": "default",
        "new/2.host": "default",
        ".Sent/cur/1.host:2,S": "Sent",
        ".Sent/new/2.host": "Sent",
        ".INBOX.Sent/cur/1.host:2,S": "INBOX.Sent",
        ".INBOX.Sent/new/2.host": "INBOX.Sent",
        "mail/cur/1.host:2,S": "mail",
        "mail/new/2.host": "mail",
        "drafts/tmp/7.eml": "drafts",
    }
    for relative, profile in found.items():
        file = found_file(tmp_path, tmp_path / relative)
        assert file is not None and file.profile == profile
    for relative in (".Sent/tmp/3.host", ".hidden/5.eml", "tmp/3.host"):
        assert found_file(tmp_path, tmp_path / relative) is None


def test_a_folder_named_new_that_is_no_maildir_is_a_profile(tmp_path: Path) -> None:
    fill(tmp_path, "new/a.txt")
    assert [file.profile for file in scan(tmp_path, _none)] == ["new"]


def test_a_part_of_the_folder_can_be_looked_at_alone(tmp_path: Path) -> None:
    fill(tmp_path, "a.txt", "mail/b.txt", "mail/deep/c.txt", ".hidden/d.txt")
    found = [file.relative for file in scan(tmp_path, _none, tmp_path / "mail")]
    assert found == ["mail/b.txt", "mail/deep/c.txt"]
    assert list(scan(tmp_path, _none, tmp_path / ".hidden")) == []


def test_ten_thousand_files_are_found_in_a_second_or_so(tmp_path: Path) -> None:
    for folder in range(10):
        fill(tmp_path, *(f"{folder}/{number}.eml" for number in range(1000)))
    begun = time.process_time()
    assert sum(1 for _ in scan(tmp_path, _none)) == 10_000
    assert time.process_time() - begun < 2.0


def test_a_change_that_sets_the_time_back_is_a_change(tmp_path: Path) -> None:
    fill(tmp_path, "a.txt")
    before = found_file(tmp_path, tmp_path / "a.txt")
    (tmp_path / "a.txt").write_text("y")
    os.utime(tmp_path / "a.txt", (0, 0))
    after = found_file(tmp_path, tmp_path / "a.txt")
    assert before is not None and after is not None and before.changed_ns != after.changed_ns


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


class Refusing:
    """An observer that the system does not let watch."""

    def __init__(self, number: int = errno.ENOSPC) -> None:
        self.number = number

    def __call__(self) -> Refusing:
        return self

    def schedule(self, *args: object, **kwargs: object) -> None:
        raise OSError(self.number, "No space left on device")

    def stop(self) -> None:
        pass


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watch]:
    (tmp_path / "root").mkdir()
    made = Watch(tmp_path / "root", Queue())
    yield made
    made.stop()


def test_looking_takes_over_when_the_system_refuses_events_which_are_asked_for_again_later(
    watched: Watch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(watch, "Observer", Refusing())
        looks = [now for now in range(100, 400) if watched.tend(float(now))]
    assert looks[:3] == [100, 110, 120] and len(looks) == 30
    assert caplog.text.count("too many folders") == 1 and "space" not in caplog.text
    assert [now for now in range(400, 900) if watched.tend(float(now))][-1] == 520, "asked at 100, 160, 280, 520"
    fill(watched.root, "a.txt")
    assert watched._queue.get(timeout=5).name == "a.txt"


def test_one_look_is_due_when_events_begin_and_none_while_they_come(watched: Watch) -> None:
    assert [watched.tend(float(now)) for now in range(100)] == [True, *[False] * 99]


def test_a_watch_that_dies_is_noticed_and_started_again(watched: Watch, caplog: pytest.LogCaptureFixture) -> None:
    assert watched.tend(0.0)
    assert watched._observer is not None
    for emitter in watched._observer.emitters:
        emitter.stop()
        emitter.join(5)
    assert watched.tend(1.0) and "has ended" in caplog.text
    assert [watched.tend(float(now)) for now in range(61, 63)] == [True, False]
    fill(watched.root, "a.txt")
    assert watched._queue.get(timeout=5).name == "a.txt"


def test_a_folder_that_goes_and_comes_back_is_watched_again(watched: Watch) -> None:
    assert watched.tend(0.0)
    away = watched.root.rename(watched.root.with_name("away"))
    assert not watched.tend(1.0) and not watched.tend(2.0)
    watched.root.mkdir()
    assert watched.tend(3.0), "another folder in its place"
    watched.root.rmdir()
    away.rename(watched.root)
    assert watched.tend(4.0)
    while not watched._queue.empty():
        watched._queue.get()
    fill(watched.root, "a.txt")
    assert watched._queue.get(timeout=5).name == "a.txt"


def give_watches(number: int, patch: pytest.MonkeyPatch) -> None:
    """inotify's limit as watchdog meets it: the kernel's own cannot be lowered by a test."""
    inotify = pytest.importorskip("watchdog.observers.inotify_c", exc_type=ImportError)
    give, asked = inotify.inotify_add_watch, itertools.count(1)

    def limited(descriptor: int, path: bytes, mask: int) -> int:
        if next(asked) <= number:
            return int(give(descriptor, path, mask))
        ctypes.set_errno(errno.ENOSPC)
        return -1

    patch.setattr(inotify, "inotify_add_watch", limited)


def test_a_limit_that_leaves_some_folders_unwatched_is_told_and_looking_takes_over(
    watched: Watch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fill(watched.root, *(f"{number}/a.txt" for number in range(20)))
    with monkeypatch.context() as patch:
        give_watches(15, patch)
        assert [now for now in range(35) if watched.tend(float(now))] == [0, 10, 20, 30]
    assert caplog.text.count("sudo sysctl fs.inotify.max_user_watches=") == 1
    assert [now for now in range(60, 100) if watched.tend(float(now))] == [60], "events are asked for again"
    fill(watched.root, "19/b.txt")
    assert watched._queue.get(timeout=5) == watched.root / "19" / "b.txt"


def test_a_limit_that_is_reached_by_folders_that_come_later_is_noticed(
    watched: Watch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    give_watches(5, monkeypatch)
    assert watched.tend(0.0) and not watched.tend(1.0)
    for number in range(20):
        (watched.root / str(number)).mkdir()
    while watched._queue.get(timeout=5).name != "19":
        pass
    assert [now for now in range(2, 32) if watched.tend(float(now))] == [10, 20, 30]
    assert "too many folders" in caplog.text


@pytest.mark.parametrize("number", [0, 3])
def test_asking_for_events_in_vain_leaves_no_thread_behind(
    watched: Watch, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Each would hold one of the user's 128 inotify instances."""
    fill(watched.root, "1/a.txt", "2/a.txt", "3/a.txt")
    give_watches(number, monkeypatch)
    before = threading.active_count()
    for asked in range(3):
        watched.tend(asked * 1000.0)
    assert threading.active_count() == before


def _mounts(*mounts: tuple[Path | str, str]) -> Callable[..., list[SimpleNamespace]]:
    return lambda all: [SimpleNamespace(mountpoint=str(place), fstype=kind, opts="rw") for place, kind in mounts]


@pytest.mark.parametrize(
    ("mounts", "kind"),
    [
        ([("/", "ext4")], ""),
        ([("/", "ext4"), ("", "nfs4")], "nfs4"),
        ([("/", "ext4"), ("", "fuse.sshfs")], "fuse.sshfs"),
        ([("/", "9p"), ("", "ext4")], ""),
        ([("/", "cifs")], "cifs"),
        ([("/", "ext4"), ("root/mail", "cifs")], "cifs"),
        ([("/", "ext4"), ("rootless", "cifs"), ("root/mail", "tmpfs")], ""),
        ([("/", "ext4"), ("", "ext4"), ("", "nfs")], "nfs"),
    ],
)
def test_a_network_file_system_is_known_by_its_mount(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mounts: list[tuple[str, str]], kind: str
) -> None:
    (tmp_path / "root").mkdir()
    found = [(tmp_path / place if place else tmp_path / "root", each) for place, each in mounts]
    monkeypatch.setattr(watch.psutil, "disk_partitions", _mounts(*found))
    assert remote_kind(tmp_path / "root") == kind


def test_a_network_mount_is_looked_at_instead_of_watched(
    watched: Watch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watch.psutil, "disk_partitions", _mounts(("/", "nfs4")))
    monkeypatch.setattr(watch, "Observer", Refusing(errno.EIO))
    assert [now for now in range(35) if watched.tend(float(now))] == [0, POLL_SECONDS, 20, 30]
    assert caplog.text.count("network or shared file system (nfs4)") == 1


def test_this_machines_own_mounts_can_be_told(tmp_path: Path) -> None:
    assert remote_kind(tmp_path) in {"", *watch.REMOTE}


def test_the_message_about_inotify_names_the_sysctl_its_value_and_one_that_is_enough(tmp_path: Path) -> None:
    (tmp_path / "max_user_watches").write_text("8192\n")
    for number in range(5000):
        (tmp_path / "root" / str(number)).mkdir(parents=True)
    said = why_no_events(OSError(errno.ENOSPC, "No space left on device"), tmp_path / "root", tmp_path)
    assert said.startswith("too many folders to watch: the limit fs.inotify.max_user_watches is 8192 ")
    assert "sudo sysctl fs.inotify.max_user_watches=18194)" in said
    said = why_no_events(OSError(errno.EMFILE, ""), tmp_path / "root", tmp_path)
    assert "max_user_instances is unknown (enough would be: sudo sysctl fs.inotify.max_user_instances=128)" in said


@pytest.mark.parametrize(("name", "key"), [("a\x1b[31mb.txt", "a%1B[31mb.txt"), ("a\nb\x7f.txt", "a%0Ab%7F.txt")])
def test_a_name_that_a_terminal_would_obey_is_shown_harmless(name: str, key: str) -> None:
    assert path_key(name) == key and path_of_key(key) == name
