"""What a process and a home keep to themselves."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import keyring
import pytest
from keyrings import InMemory

from dittod.config import load_settings
from dittod.daemon import Daemon
from dittod.errors import DittodError
from dittod.paths import Home
from dittod.private import keep_sealed
from dittod.store import Store

CODE = """
import os, pathlib, resource, subprocess, sys
os.umask(0)
from dittod.private import keep_to_itself
keep_to_itself()
pathlib.Path(sys.argv[1]).write_text("x")
limit = "import resource; print(*resource.getrlimit(resource.RLIMIT_CORE))"
print(subprocess.run([sys.executable, "-c", limit], capture_output=True, text=True).stdout)
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """With a checkpoint of an unfinished update."""
    monkeypatch.setattr("keyring.core._keyring_backend", InMemory())
    made = Home(tmp_path / "home")
    made.create()
    (made.runs / "r1").mkdir()
    (made.runs / "r1" / "state.json").write_text("token ids")
    return made


@pytest.mark.skipif(sys.platform == "win32", reason="modes and limits as Unix has them")
def test_what_a_process_and_its_children_make_is_private_and_they_leave_no_core_dump(tmp_path: Path) -> None:
    made = tmp_path / "made"
    done = subprocess.run([sys.executable, "-c", CODE, str(made)], capture_output=True, text=True, check=True)
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert done.stdout.split() == ["0", "0"]


def test_checkpoints_of_the_other_state_go_and_those_of_this_one_stay(home: Home) -> None:
    store = Store(home.store)
    keep_sealed(home, store, wanted=False)
    assert (home.runs / "r1").exists()
    for wanted in (True, False):
        (home.runs / "r1").mkdir(exist_ok=True)
        keep_sealed(home, store, wanted=wanted)
        assert store.is_sealed == wanted and not (home.runs / "r1").exists()
        (home.runs / "r2").mkdir()
        keep_sealed(home, store, wanted=wanted)
        assert (home.runs / "r2").exists()
    store.close()


def test_a_sealed_home_is_converted_back_only_where_a_setting_says_so(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start() -> None:
        daemon = Daemon(home, load_settings(home), store := Store(home.store))
        daemon.folder.close()
        store.close()

    monkeypatch.delenv("DITTOD_ENCRYPT", raising=False)
    start()  # nothing is sealed: nothing need be said
    home.settings.write_text("encrypt = true\n")
    start()
    home.settings.unlink()
    with pytest.raises(DittodError, match="no setting says") as error:
        start()
    assert "encrypt = true" in error.value.hint and "encrypt = false" in error.value.hint
    monkeypatch.setenv("DITTOD_ENCRYPT", "true")
    start()
    monkeypatch.delenv("DITTOD_ENCRYPT")
    store = Store(home.store)
    assert store.is_sealed
    home.settings.write_text("encrypt = false\n")
    start()
    assert not store.is_sealed
    store.close()


def test_without_a_keyring_the_home_stays_as_it_is(home: Home) -> None:
    from keyring.backends.fail import Keyring

    keyring.set_keyring(Keyring())
    store = Store(home.store)
    with pytest.raises(DittodError, match="keyring"):
        keep_sealed(home, store, wanted=True)
    assert (home.runs / "r1").exists() and not store.is_sealed
    store.close()
