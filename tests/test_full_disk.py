"""A disk that is full, or read-only, met by everything that dittod writes: said in words, nothing torn, nothing lost.

The disk is a real one of a few MiB, in memory; to mount it takes root, and Linux. Where there is neither, these tests
are skipped.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import torch
from daemons import START, DaemonProcess, mail, wait_for
from fakes import demonstration, make_tiny_model, tiny_base
from safetensors import SafetensorError

from dittod import adapters
from dittod.engine.protocol import AdapterRef, Ready, Update, Updated
from dittod.engine.update import keep
from dittod.errors import DittodError, SettingsError, disk_is_full
from dittod.ingest.folder import Folder
from dittod.judge.gate import Judgement
from dittod.learner import checkpoint
from dittod.learner.checkpoint import Checkpoint, TrainingState
from dittod.learner.workbench import Workbench
from dittod.model.decode import Decoder
from dittod.model.lora import LoraAdapters, LoraShape
from dittod.paths import MARKER, Home
from dittod.rows import FileRow
from dittod.store import Store
from dittod.types import Recipe, Run, Verdict


class Disk:
    """A file system of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._filling = root / "something-else"

    def fill(self) -> None:
        """To the last byte, as another program would."""
        file = os.open(self._filling, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for size in (1 << 16, 1 << 12):
            try:
                while os.write(file, bytes(size)):
                    pass
            except OSError:
                continue
        os.close(file)

    def free(self) -> None:
        self._filling.unlink()


@pytest.fixture
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Disk]:
    root = tmp_path / "disk"
    root.mkdir()
    size = getattr(request, "param", "4m")
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "dittod-test", str(root)]
    if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(mounting, check=False).returncode != 0:
        pytest.skip("a disk of its own cannot be mounted here: that takes root, and Linux")
    yield Disk(root)
    subprocess.run(["umount", "--lazy", str(root)], check=True)


@pytest.fixture
def home(disk: Disk) -> Home:
    made = Home(disk.root / "home")
    made.create()
    return made


def _row(path: str) -> FileRow:
    return FileRow(path, "default", 1, 1, "read", "", (), {}, 1.0)


def test_the_store_refuses_in_words_and_goes_on_when_there_is_room(disk: Disk, home: Home) -> None:
    store = Store(home.store)
    first, second = demonstration("p", "Words of mine."), demonstration("q", "Others. " * 1000)
    store.record_file(_row("a.eml"), [first])
    disk.fill()
    with pytest.raises(DittodError, match="the disk is full") as error:
        store.record_file(_row("b.eml"), [second])
    assert "goes on by itself" in error.value.hint
    assert store.demonstrations("default") == [first] and list(store.files()) == ["a.eml"]
    disk.free()
    store.record_file(_row("b.eml"), [second])
    assert {each.prompt for each in store.demonstrations("default")} == {"p", "q"}
    assert store._rows("PRAGMA integrity_check")[0][0] == "ok"
    store.close()


def test_a_store_that_cannot_be_opened_for_want_of_room_says_so_and_is_whole_afterwards(disk: Disk, home: Home) -> None:
    store = Store(home.store)
    store.note("x", {"y": 1})
    store.close()
    disk.fill()
    with pytest.raises(DittodError, match=r"dittod\.sqlite cannot be used: the disk is full"):
        Store(home.store)
    disk.free()
    store = Store(home.store)
    assert store.noted("x") == {"y": 1}
    store.close()


WRITE_UNTIL_KILLED = """
import resource, sys, time
from pathlib import Path
from dittod.rows import FileRow
from dittod.errors import DittodError
from dittod.store import Store
from dittod.types import Demonstration
store = Store(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
for number in range(10_000):
    pair = Demonstration(f"{number:064}", f"prompt {number}", "words " * 700, "s", float(number))
    try:
        store.record_file(FileRow(f"{number}.eml", "default", 1, 1, "read", "", (), {}, 1.0), [pair])
    except DittodError as error:
        print(error.title, flush=True)
        time.sleep(60)
    print(number, flush=True)
"""


def _write_until_killed(store: Path, most_bytes: int = -1) -> tuple[set[str], str]:
    """In a process that is killed when it is refused something: the ids that it was told are in, and the refusal."""
    command = [sys.executable, "-c", WRITE_UNTIL_KILLED, str(store), str(most_bytes)]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    acknowledged: set[str] = set()
    while (line := writer.stdout.readline().strip()).isdigit():
        acknowledged.add(f"{int(line):064}")
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    return acknowledged, line


def _ids_in_a_whole(store: Path) -> set[str]:
    with sqlite3.connect(store) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        kept = {row[0] for row in db.execute("SELECT id FROM demonstrations")}
    db.close()
    return kept


def test_what_was_acknowledged_before_the_disk_was_full_survives_a_kill(disk: Disk, home: Home) -> None:
    acknowledged, refusal = _write_until_killed(home.store)
    assert "the disk is full" in refusal and len(acknowledged) > 20
    disk.fill()
    with pytest.raises(DittodError, match="full"):
        Store(home.store).record_file(_row("z.eml"), [demonstration("z", "words " * 2000)])
    disk.free()
    assert _ids_in_a_whole(home.store) == acknowledged


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files as Linux does")
def test_what_was_acknowledged_before_files_could_not_grow_survives_a_kill(tmp_path: Path) -> None:
    """A limit of the process's instead of the disk's: this one needs no root."""
    acknowledged, refusal = _write_until_killed(tmp_path / "dittod.sqlite", 2 * 2**20)
    assert "cannot be used: the disk fails, or is full" in refusal and len(acknowledged) > 20
    assert _ids_in_a_whole(tmp_path / "dittod.sqlite") == acknowledged


def test_a_token_is_made_whole_or_not_at_all(disk: Disk, home: Home) -> None:
    disk.fill()
    with pytest.raises(DittodError, match="the disk is full: token"):
        home.token()
    assert [each.name for each in home.root.iterdir() if "token" in each.name] == []
    disk.free()
    assert len(home.token()) > 40


def test_a_home_that_finds_no_room_says_so(disk: Disk) -> None:
    subprocess.run(["mount", "-o", "remount,nr_inodes=3", str(disk.root)], check=True)
    with pytest.raises(DittodError, match="the disk is full"):
        Home(disk.root / "home").create()


def test_a_watched_folder_that_finds_no_room_says_so_and_is_made_later(disk: Disk, home: Home) -> None:
    store = Store(home.store)
    watched = disk.root / "watched"
    disk.fill()
    with pytest.raises(DittodError, match="the disk is full: the watched folder"):
        Folder(watched, store, (), 0.0).prepare()
    disk.free()
    Folder(watched, store, (), 0.0).prepare()
    assert (watched / MARKER).is_file()
    disk.fill()
    Folder(watched, store, (), 0.0).prepare()
    store.close()


def test_what_could_not_be_recorded_is_read_again_without_another_event(disk: Disk, home: Home) -> None:
    store = Store(home.store)
    folder = Folder(home.watched, store, ("bob@x.example",), 1.0)
    root = disk.root.parent / "watched"  # on another disk, which has room
    folder.root = root
    folder.prepare()
    for day in (1, 2):
        (root / f"{day}.eml").write_bytes(mail(f"Dear Ann, on day {day} there was tea. Bob", day=day))
    folder.notice(root.iterdir(), 0.0)
    disk.fill()
    with pytest.raises(DittodError, match="full"):
        folder.read_settled(1.0)
    assert folder.settling, "so that nothing is learnt before it is in"
    disk.free()
    assert folder.read_settled(1.5) == 0
    assert folder.read_settled(2.0) == 2 and store.count_demonstrations("default") == 2
    folder.close()
    store.close()


def _checkpoint(step: int) -> Checkpoint:
    weights = {"a": torch.full((50_000,), float(step))}
    return Checkpoint(TrainingState("supervised", step), weights, {}, {})


def test_a_checkpoint_that_finds_no_room_leaves_the_one_before(disk: Disk, home: Home) -> None:
    folder = home.runs / "r1"
    checkpoint.save(folder, "f", _checkpoint(1), "round")
    disk.fill()
    with pytest.raises(OSError, match="No space") as error:
        checkpoint.save(folder, "f", _checkpoint(2), "step")
    assert disk_is_full(error.value)
    found = checkpoint.load(folder, "f")
    assert found is not None and found.state.step == 1
    disk.free()
    checkpoint.save(folder, "f", _checkpoint(2), "step")
    found = checkpoint.load(folder, "f")
    assert found is not None and found.state.step == 2


def test_an_adapter_that_finds_no_room_is_not_there_and_later_is_whole(disk: Disk, home: Home, tmp_path: Path) -> None:
    base = tiny_base(tmp_path / "model")
    learnt = LoraAdapters(base)
    learnt.create("policy", LoraShape(4, 8.0, "all-linear"), seed=1)
    bench = Workbench(base, learnt, Decoder(base, learnt, max_rows=1))
    update = Update("r1", str(home.runs / "r1"), str(home.adapters), "clean", 1, (), (), None)
    judgement = Judgement(Recipe(), "policy", Verdict(True, (), {}))
    disk.fill()
    with pytest.raises((OSError, SafetensorError)) as error:
        keep(bench, update, judgement)
    assert disk_is_full(error.value)
    assert [each.name for each in home.adapters.iterdir() if not each.name.startswith(".")] == []
    disk.free()
    made = keep(bench, update, judgement)
    learnt.load("again", Path(made.path))
    assert [each.name for each in home.adapters.iterdir()] == [made.id]


def test_a_version_is_not_entered_while_its_manifest_finds_no_room(disk: Disk, home: Home) -> None:
    store = Store(home.store)
    run = store.request_run(Run("r1", "default", "running", 7, "clean", 5.0, tuple("d" * 64 for _ in range(100))))
    folder = home.adapters / "a1"
    folder.mkdir()
    updated = Updated(run.id, AdapterRef("a1", str(folder)), Verdict(True, ("likelier",), {}))
    disk.fill()
    with pytest.raises(DittodError, match="the disk is full"):
        adapters.add(store, run, updated, Ready("m", "1", "t", 2048, 0))
    assert store.adapters() == [] and list(folder.iterdir()) == []
    disk.free()
    assert adapters.add(store, run, updated, Ready("m", "1", "t", 2048, 0)) == store.adapter("a1")
    assert [each.name for each in folder.iterdir()] == [adapters.MANIFEST]
    store.close()


def test_a_pair_of_the_users_own_is_added_whole_or_not_at_all(
    disk: Disk, home: Home, dittod, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DITTOD_HOME", str(home.root))
    home.watched.mkdir()
    (tmp_path / "text.txt").write_text("Words of mine. " * 500)
    add = ("demos", "add", "--prompt", "What is there?", str(tmp_path / "text.txt"))
    disk.fill()
    code, _, said = dittod(*add)
    assert code == 1 and "error: the disk is full: added-" in said and "Words" not in said
    assert list(home.watched.iterdir()) == []
    disk.free()
    assert dittod(*add)[0] == 0 and len(list(home.watched.iterdir())) == 1


def test_commands_that_find_no_room_say_to_try_again_and_doctor_says_why(
    disk: Disk, home: Home, dittod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DITTOD_HOME", str(home.root))
    monkeypatch.setenv("DITTOD_BASE_MODEL", str(disk.root / "none"))  # no torch is asked
    assert dittod("init")[0] == 0
    open_store = Store(home.store)  # what a command that found no room left: files beside the store
    copies = {each: each.read_bytes() for each in home.root.glob("dittod.sqlite-wal")}
    open_store.close()
    for path, content in copies.items():
        path.write_bytes(content)
    disk.fill()
    for command in (("init",), ("pause",), ("status",)):
        code, _, said = dittod(*command)
        assert code == 1 and "the disk is full" in said and "hint: make room on it, then try again" in said
    told = {each["name"]: each for each in json.loads(dittod("doctor", "--json")[1])["checks"]}
    assert (told["store"]["state"], told["free disk"]["state"]) == ("warning", "broken")
    assert "could not be checked: the disk is full" in told["store"]["found"]


def test_a_read_only_disk_is_said_to_be_one(disk: Disk, home: Home) -> None:
    store = Store(home.store)
    store.close()
    token = home.token()
    subprocess.run(["mount", "-o", "remount,ro", str(disk.root)], check=True)
    assert home.token() == token
    with pytest.raises(DittodError, match=r"dittod\.sqlite cannot be used"):
        Store(home.store)
    with pytest.raises(SettingsError, match="Read-only") as error:
        Home(disk.root / "other").create()
    assert "DITTOD_HOME" in error.value.hint


def test_a_drive_without_hard_links_that_cannot_sync_folders_is_used_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = os.fsync

    def sync_files(file: int) -> None:
        if stat.S_ISDIR(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(file)

    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "fsync", sync_files)
    monkeypatch.setattr(Path, "hardlink_to", no_links)
    home = Home(tmp_path / "home")
    home.create()
    assert home.token() == home.token()
    assert stat.S_IMODE(home.token_file.stat().st_mode) == 0o600


# --- the whole daemon ---


WORDS = [f"Dear Ann, note {number} says: there is tea. Bob" for number in range(7)]


def _answer(daemon: DaemonProcess) -> int:
    url, token = daemon.status()["endpoint"], daemon.cli("token").stdout.strip()
    body = {"model": "base", "messages": [{"role": "user", "content": "Tea?"}], "max_tokens": 4}
    return httpx.post(
        f"{url}/chat/completions", json=body, headers={"Authorization": f"Bearer {token}"}, timeout=60
    ).status_code


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("disk", ["48m"], indirect=True)
def test_the_daemon_answers_on_a_full_disk_and_reads_and_learns_when_there_is_room(disk: Disk, tmp_path: Path) -> None:
    model = make_tiny_model(tmp_path / "model")
    daemon = DaemonProcess(disk.root / "home", base_model=str(model), consider_seconds="1000", min_free_disk="8MB")
    daemon.output = tmp_path / "output"
    daemon.watched.mkdir(parents=True)
    try:
        daemon.start(START)
        for number, words in enumerate(WORDS):
            (daemon.watched / f"{number}.eml").write_bytes(mail(words, day=number + 1))
        disk.fill()
        assert _answer(daemon) == 200, "the engine starts on a full disk"
        daemon.kill(signal.SIGKILL)
        disk.free()
        daemon.start(START)
        wait_for(lambda: daemon.profile()["demonstrations"] == len(WORDS), 30)
        disk.fill()
        (daemon.watched / "0.eml").unlink()
        time.sleep(1)
        assert not daemon.ended and _answer(daemon) == 200
        disk.free()
        wait_for(lambda: daemon.profile()["demonstrations"] == len(WORDS) - 1, 30)
        ids = [each["id"] for each in daemon.json("demos", "list")["demonstrations"]]
        assert len(set(ids)) == len(ids) == len(WORDS) - 1
        assert "the disk is full" in daemon.output.read_text()
        assert "Traceback" not in daemon.output.read_text()
    finally:
        daemon.kill()
