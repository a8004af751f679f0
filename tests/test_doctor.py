"""dittod doctor: each check by what it finds and what it says to do."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import Command
from keyring.backends import fail
from keyrings import InMemory

from dittod import doctor
from dittod.cli import doctor as command
from dittod.config import Settings
from dittod.doctor import Check
from dittod.errors import DittodError, EngineUnavailable
from dittod.learner.memory import Device
from dittod.machine.lock import held
from dittod.model.shape import config_path
from dittod.paths import Home
from dittod.schedule import Conditions
from dittod.starter import starter_path
from dittod.store import Store

GIB = 2**30


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """As `dittod init` makes it, and its settings."""
    monkeypatch.setenv("DITTOD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DITTOD_PORT", "0")
    place = Home(tmp_path / "home")
    place.create()
    place.watched.mkdir()
    place.token()
    Store(place.store).close()
    place.store.chmod(0o600)
    return place


@pytest.fixture
def shape(monkeypatch: pytest.MonkeyPatch) -> None:
    """What torch would say, without waiting for it."""
    from transformers import AutoConfig

    from dittod.model.shape import shape_of

    found = shape_of(AutoConfig.from_pretrained(starter_path()).to_dict())
    device = Device("cpu", 2, 64 * GIB, four_bits=True)
    monkeypatch.setattr(command, "ask", lambda name: (device, found))
    monkeypatch.setattr(command, "_service", lambda pid: doctor.service(installed=False, serves=False, pid=pid))


def files_of(home: Home) -> dict[str, tuple[int, int]]:
    states = {str(each): each.stat() for each in home.root.rglob("*")}
    return {name: (state.st_size, state.st_mtime_ns) for name, state in states.items()}


@pytest.mark.usefixtures("shape")
def test_a_fresh_home_is_in_order_and_stays_as_it_is(home: Home, dittod: Command) -> None:
    before = files_of(home)
    code, out, _ = dittod("doctor", "--json")
    told = json.loads(out)
    assert code == 0, out
    assert [each for each in told["checks"] if each["state"] == "broken"] == []
    names = {each["name"] for each in told["checks"]}
    assert names >= {"python", "settings", "permissions", "token", "clock", "store", "port", "service"}
    assert names >= {"watched folder", "disk of the watched folder", "model", "torch", "bitsandbytes", "memory"}
    assert files_of(home) == before


@pytest.mark.usefixtures("shape")
def test_settings_that_cannot_be_read_are_told_and_the_rest_is_looked_at(home: Home, dittod: Command) -> None:
    home.settings.write_text("port = [")
    code, out, _ = dittod("doctor")
    assert code == 1
    assert "broken   settings:" in out and "is not valid TOML" in out
    assert "remedy: correct that line" in out
    assert "ok       model: starter" in out


@pytest.mark.usefixtures("shape")
def test_beside_a_daemon_that_runs_the_port_is_its_own(home: Home, dittod: Command) -> None:
    store = Store(home.store)
    store.note("endpoint", {"url": "http://127.0.0.1:7777"})
    store.note("engine", {"state": "failed", "trouble": "the engine died 4 times in 5 minutes"})
    with held(home.lock):
        code, out, _ = dittod("doctor")
    store.close()
    assert "ok       port: dittod serves at http://127.0.0.1:7777" in out
    assert "warning  engine: the engine died 4 times in 5 minutes" in out
    assert code == 0


@pytest.mark.usefixtures("shape")
def test_before_init_nothing_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dittod: Command) -> None:
    monkeypatch.setenv("DITTOD_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("DITTOD_PORT", "0")
    code, out, _ = dittod("doctor")
    assert (code, list(tmp_path.iterdir())) == (0, [])
    assert "is not there yet" in out and "remedy: dittod init" in out


@pytest.mark.usefixtures("shape")
def test_a_home_that_is_a_file_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dittod: Command) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DITTOD_HOME", str(tmp_path / "file"))
    code, out, _ = dittod("doctor")
    assert code == 1
    assert "is no folder that you can read and write" in out


def test_a_torch_that_does_not_start_is_broken(
    home: Home, dittod: Command, shape: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(name: str) -> None:
        raise EngineUnavailable("torch could not be asked about this machine", "run it")

    monkeypatch.setattr(command, "ask", ask)
    code, out, _ = dittod("doctor")
    assert code == 1
    assert "broken   learning: torch could not be asked about this machine" in out


def test_a_check_that_fails_leaves_the_others(home: Home) -> None:
    def refused() -> Check:
        raise PermissionError(13, "Permission denied")

    def unknown() -> Check:
        raise DittodError("no service manager", "start it yourself")

    assert command._made("clock", refused) == Check("clock", "warning", "could not be looked at: Permission denied")
    assert command._made("service", unknown) == Check("service", "warning", "no service manager", "start it yourself")


def test_an_old_or_small_python_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.python().state == "ok"
    monkeypatch.setattr(sys, "maxsize", 2**31 - 1)
    assert doctor.python().state == "broken"


def test_a_card_that_torch_does_not_use_is_told() -> None:
    assert doctor.torch("cuda", Conditions(free_gpu_memory_bytes=GIB)).state == "ok"
    assert doctor.torch("cpu", Conditions()).state == "ok"
    found = doctor.torch("cpu", Conditions(free_gpu_memory_bytes=GIB))
    assert (found.state, found.found.endswith("though there is an NVIDIA card")) == ("warning", True)


@pytest.mark.parametrize(
    ("there", "quantisation", "state"), [(True, "nf4", "ok"), (False, "auto", "ok"), (False, "nf4", "broken")]
)
def test_bitsandbytes_matters_where_four_bits_are_asked_for(there: bool, quantisation: str, state: str) -> None:
    assert doctor.bitsandbytes(there, Settings(quantisation=quantisation)).state == state


def test_memory_that_other_programs_have_is_told() -> None:
    assert doctor.memory(GIB, 2 * GIB, "cpu", Conditions(free_memory_bytes=GIB)).state == "ok"
    assert doctor.memory(GIB, 2 * GIB, "cpu", Conditions(free_memory_bytes=GIB - 1)).state == "warning"
    assert doctor.memory(GIB, 2 * GIB, "cuda", Conditions(free_memory_bytes=0)).state == "ok"
    assert doctor.memory(GIB, 2 * GIB, "cuda", Conditions(free_gpu_memory_bytes=0)).state == "warning"


def test_the_starter_has_the_hashes_it_was_published_with() -> None:
    assert doctor.model("starter", config_path("starter").parent).state == "ok"


def _copy(source: Path, target: Path, change: Callable[[bytes], bytes] = lambda content: content) -> Path:
    target.mkdir()
    for name in doctor.STARTER_SHA256:
        (target / name).write_bytes(change((source / name).read_bytes()))
    return target


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda content: content[:-1], "is damaged or cut off"),
        (lambda content: b"", "is damaged or cut off"),
        (lambda content: b"<html>" * 100, "is damaged or cut off"),
        (lambda content: content[:-1] + bytes([content[-1] ^ 1]), "its hash differs"),
    ],
    ids=["cut", "empty", "a page", "a bit"],
)
def test_a_model_whose_files_are_not_as_published_is_broken(
    tmp_path: Path, change: Callable[[bytes], bytes], sentence: str
) -> None:
    found = doctor.model("starter", _copy(starter_path(), tmp_path / "copy", change))
    assert found.state == "broken" and sentence in found.found


def test_a_model_of_the_hub_is_compared_with_the_name_in_its_cache(tmp_path: Path) -> None:
    blobs, snapshot = _copy(starter_path(), tmp_path / "blobs"), tmp_path / "snapshot"
    snapshot.mkdir()
    right, wrong = doctor.STARTER_SHA256["model.safetensors"], "0" * 64
    for name, state in ((right, "ok"), (wrong, "broken")):
        (blobs / "model.safetensors").rename(blobs / name)
        (snapshot / "model.safetensors").symlink_to(blobs / name)
        assert doctor.model("someone/something", snapshot).state == state
        (snapshot / "model.safetensors").unlink()
        (blobs / name).rename(blobs / "model.safetensors")


def test_a_folder_without_weights_is_no_model(tmp_path: Path) -> None:
    assert doctor.model(str(tmp_path), tmp_path).state == "broken"


def test_a_watched_folder_that_is_gone_is_broken(tmp_path: Path) -> None:
    assert doctor.watching(tmp_path, running=False).state == "ok"
    assert doctor.watching(tmp_path / "none", running=False).state == "broken"


def test_more_folders_than_the_system_watches_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one" / "two").mkdir(parents=True)
    monkeypatch.setattr(doctor, "inotify_limit", lambda: 3)
    found = doctor.watching(tmp_path, running=False)
    assert (found.state, found.remedy) == ("warning", "sudo sysctl fs.inotify.max_user_watches=6")
    assert doctor.watching(tmp_path, running=True).state == "ok"


def test_a_limit_that_is_reached_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(doctor, "ask_for_one_more", refuse)
    found = doctor.watching(tmp_path, running=True)
    assert found.state == "warning" and "max_user_watches" in found.found


def mounted(*mounts: tuple[Path, str]) -> Callable[..., list[SimpleNamespace]]:
    return lambda all: [SimpleNamespace(mountpoint=str(point), fstype=kind, opts="") for point, kind in mounts]


@pytest.mark.parametrize(
    ("folder", "home", "states"),
    [
        ("ext4", "ext4", ["ok"]),
        ("nfs4", "ext4", ["warning"]),
        ("fuse.something", "ext4", ["warning"]),
        ("ext4", "cifs", ["ok", "warning"]),
        ("vfat", "exfat", ["ok", "warning"]),
    ],
)
def test_a_disk_that_tells_of_no_changes_or_keeps_no_locks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, home: str, states: list[str]
) -> None:
    mounts = mounted((Path("/"), "ext4"), (tmp_path / "watched", folder), (tmp_path / "home", home))
    monkeypatch.setattr("psutil.disk_partitions", mounts)
    found = list(doctor.file_systems(tmp_path / "watched", tmp_path / "home"))
    assert [each.state for each in found] == states


def test_a_folder_in_which_case_counts_says_nothing_of_it(tmp_path: Path) -> None:
    (tmp_path / "Name").touch()
    assert not doctor.ignores_case(tmp_path)
    (tmp_path / "nAME").hardlink_to(tmp_path / "Name")  # as such a disk would show it
    assert doctor.ignores_case(tmp_path)
    assert not doctor.ignores_case(tmp_path / "none")


def test_a_port_that_another_program_has_is_broken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        found = doctor.port(Settings(port=other.getsockname()[1]), None)
    assert found.state == "broken" and "taken by another program" in found.found
    assert doctor.port(Settings(port=0), None).state == "ok"
    assert doctor.port(Settings(host="203.0.113.9"), None).state == "broken"


def test_a_token_is_needed_where_others_can_reach_the_endpoint(home: Home) -> None:
    assert doctor.token(home, Settings()).state == "ok"
    assert doctor.token(home, Settings(require_token=False)).state == "ok"
    assert doctor.token(home, Settings(require_token=False, host="0.0.0.0")).state == "warning"
    for content in (b"", b"\xff\xfe"):
        home.token_file.write_bytes(content)
        assert doctor.token(home, Settings()).state == "broken"
    home.token_file.unlink()
    assert doctor.token(home, Settings()).state == "ok"
    assert not home.token_file.exists()


@pytest.mark.skipif(os.name != "posix", reason="needs permissions")
def test_what_others_may_read_is_told_but_for_the_watched_folder(home: Home) -> None:
    (home.watched / "mail.eml").touch(mode=0o644)
    assert doctor.permissions(home).state == "ok"
    (home.adapters / "weights").touch()
    (home.adapters / "weights").chmod(0o640)
    found = doctor.permissions(home)
    assert (found.state, found.remedy) == ("warning", f"chmod -R go= {home.root}")
    assert str(home.adapters / "weights") in found.found


@pytest.mark.skipif(os.name != "posix", reason="needs permissions")
def test_what_belongs_to_another_user_is_broken(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4242)
    assert doctor.permissions(home).state == "broken"


def test_a_store_that_is_damaged_or_newer_is_broken(home: Home) -> None:
    assert doctor.store(home).state == "ok"
    with sqlite3.connect(home.store) as db:
        db.execute("PRAGMA user_version = 999")
    db.close()
    assert "newer dittod" in doctor.store(home).found
    home.store.write_bytes(b"nothing of the kind" * 500)
    assert doctor.store(home).state == "broken" and "backup" in doctor.store(home).remedy
    assert doctor.noted(home, "engine") == {}


@pytest.mark.parametrize(
    ("code", "free", "state", "found"),
    [
        (sqlite3.SQLITE_IOERR_SHMSIZE, 0, "warning", "could not be checked: the disk is full"),
        (sqlite3.SQLITE_IOERR_READ, GIB, "broken", "cannot be read"),
        (sqlite3.SQLITE_CANTOPEN, GIB, "broken", "cannot be read"),
        (sqlite3.SQLITE_BUSY, GIB, "warning", "could not be checked: another program has locked it"),
    ],
)
def test_a_store_that_cannot_be_looked_at_is_not_said_to_be_damaged(
    home: Home, monkeypatch: pytest.MonkeyPatch, code: int, free: int, state: str, found: str
) -> None:
    def refuse(path: Path) -> sqlite3.Connection:
        error = sqlite3.OperationalError("refused")
        error.sqlite_errorcode = code
        raise error

    monkeypatch.setattr(doctor, "_opened", refuse)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=free))
    check = doctor.store(home)
    assert check.state == state and found in check.found and "backup" not in check.remedy


@pytest.mark.usefixtures("shape")
def test_a_model_that_may_not_be_read_is_told(
    home: Home, monkeypatch: pytest.MonkeyPatch, dittod: Command, tmp_path: Path
) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    home.settings.write_text(f'base_model = "{tmp_path}"\n')
    monkeypatch.setattr(Path, "is_file", refuse)
    code, out, _ = dittod("doctor")
    assert code == 1 and f"base model '{tmp_path}' cannot be read: Permission denied" in out


def test_encryption_needs_its_packages_and_its_key(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.encryption(home, Settings()).found == "off"
    monkeypatch.setattr("keyring.core._keyring_backend", InMemory())
    assert doctor.encryption(home, Settings(encrypt=True)).found == "begins at the next start"
    assert doctor.encryption(Home(home.root / "new"), Settings(encrypt=True)).state == "ok"
    monkeypatch.setattr("keyring.core._keyring_backend", fail.Keyring())
    refused = doctor.encryption(home, Settings(encrypt=True))
    assert refused.state == "broken" and "no keyring" in refused.found and "encrypt = false" in refused.remedy
    store = Store(home.store)
    store.note("sealed", {"key": "k", "check": "c"})
    store.close()

    def gone(marker: object) -> None:
        raise DittodError("the key is not in the keyring", "unlock it")

    monkeypatch.setattr("dittod.sealing.seal_of", gone)
    assert "no setting says" in doctor.encryption(home, Settings()).found
    assert doctor.encryption(home, Settings(encrypt=True)).found == "the key is not in the keyring"
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    assert "cryptography and keyring are not" in doctor.encryption(home, Settings(encrypt=False)).found


@pytest.mark.parametrize(("seconds", "state"), [(0.0, "ok"), (-1800.0, "ok"), (-7200.0, "warning"), (-3e9, "warning")])
def test_a_clock_behind_its_own_files_is_told(home: Home, seconds: float, state: str) -> None:
    assert doctor.clock(home, time.time() + seconds).state == state


def test_a_disk_below_its_limit_is_told() -> None:
    settings = Settings(min_free_disk=GIB)
    assert doctor.disk(Conditions(free_disk_bytes=GIB), settings).state == "ok"
    assert doctor.disk(Conditions(free_disk_bytes=GIB - 1), settings).state == "warning"
    assert doctor.disk(Conditions(free_disk_bytes=0), settings).state == "broken"
    assert doctor.disk(Conditions(), settings).state == "ok"


def test_probes_that_cannot_be_read_are_told() -> None:
    found = doctor.probes(Conditions(unreadable=("lid: no answer", "battery: Permission denied")))
    assert (found.state, found.found) == ("warning", "cannot be read: lid: no answer; battery: Permission denied")
    assert "keyboard and mouse, battery" in doctor.probes(Conditions(idle_seconds=1.0, on_battery=False)).found


@pytest.mark.parametrize(
    ("installed", "serves", "pid", "state"),
    [
        (False, False, None, "ok"),
        (True, True, 7, "ok"),
        (True, False, None, "warning"),
        (True, False, 7, "warning"),
    ],
)
def test_a_service_that_another_daemon_keeps_out_is_told(
    installed: bool, serves: bool, pid: int | None, state: str
) -> None:
    assert doctor.service(installed=installed, serves=serves, pid=pid).state == state
