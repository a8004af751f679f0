"""`dittod uninstall`: what it removes, what it leaves, and that a purge cut short is finished by the next."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from background.programs import SYSTEMCTL, Program, put_on_path

from dittod.cli import uninstall as module
from dittod.machine.lock import held
from dittod.paths import Home
from dittod.store import Store

ADAPTER = "adapters/" + "ab" * 32


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    put_on_path(tmp_path / "bin", monkeypatch)
    return Program(tmp_path / "bin", "systemctl", SYSTEMCTL)


@pytest.fixture
def home(systemctl: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dittod) -> Home:
    """A home after some use, its watched folder inside."""
    for name in [name for name in os.environ if name.startswith("DITTOD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DITTOD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    assert dittod("init")[0] == 0
    home = Home(tmp_path / "home")
    for name in (
        f"{ADAPTER}/adapter_model.safetensors",
        f"{ADAPTER}/manifest.json",
        "adapters/.0123456789ab/adapter_config.json",
        "runs/0123456789ab/checkpoint-1/state.json",
        "editing/prompt-7.md",
        "quantised/starter-0123456789abcdef/model.safetensors",
        "backups/continue-.env-20261122-041245-0123abcd",
        "logs/dittod.log",
        "logs/dittod.log.1",
        "logs/engine.log",
        "logs/launchd.log",
        "token.0123abcd",
        ".dittod.toml.0123abcd",
        "dittod.toml.new",
        "lock",
    ):
        (home.root / name).parent.mkdir(parents=True, exist_ok=True)
        (home.root / name).write_text("x" * 100)
    return home


def left_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")} if folder.exists() else set()


def test_without_purge_the_home_stays(home: Home, dittod) -> None:
    dittod("service", "install")
    before = left_in(home.root)
    code, said, _ = dittod("uninstall")
    assert code == 0 and left_in(home.root) == before and str(home.root) in said and "--purge" in said
    assert not list((home.root.parent / "config").rglob("*.service"))


def test_a_purge_removes_all_that_dittod_made_and_says_what(home: Home, dittod) -> None:
    code, said, _ = dittod("uninstall", "--purge", "--yes")
    assert code == 0 and not home.root.exists()
    for kind in (*module.KINDS, "marker .dittod"):
        assert kind in said
    assert "quantised models     1 file, 100 bytes" in said
    assert "uninstall dittod" in said.splitlines()[-1], "the package itself is removed by the one who installed it"


def test_texts_in_the_watched_folder_stay_and_the_marker_goes(home: Home, dittod) -> None:
    (home.watched / "work").mkdir()
    (home.watched / "work" / "letter.md").write_text("mine")
    (home.watched / "dittod.toml").write_text("mine too")
    code, said, _ = dittod("uninstall", "--purge", "--yes")
    assert code == 0 and f"stays, with your texts: {home.watched}" in said
    assert dittod("uninstall", "--purge", "--yes")[0] == 0, "once more does no harm"
    assert left_in(home.root) == {"watched", "watched/work", "watched/work/letter.md", "watched/dittod.toml"}


def test_a_watched_folder_elsewhere_loses_its_marker_only(home: Home, tmp_path: Path, dittod) -> None:
    elsewhere = tmp_path / "texts"
    elsewhere.mkdir()
    (elsewhere / ".dittod").write_text("")
    home.settings.write_text(f'watched_folder = "{elsewhere}"\n')
    code, said, _ = dittod("uninstall", "--purge", "--yes")
    assert code == 0 and f"stays: {elsewhere}" in said, "no texts are said to be where there are none"
    assert elsewhere.is_dir() and left_in(elsewhere) == set()


def test_files_of_others_stay_and_are_named(home: Home, dittod) -> None:
    foreign = (
        "notes.txt",
        "logs/holiday.jpg",
        "adapters/mine/adapter_model.safetensors",
        "dittod.toml.backup of mine",
        "backups/letters.zip",
    )
    for name in foreign:
        (home.root / name).parent.mkdir(exist_ok=True)
        (home.root / name).write_text("mine")
    said = dittod("uninstall", "--purge", "--yes")[1]
    assert all(f"did not make it: {home.root / name}" in said for name in foreign)
    assert {name for name in left_in(home.root) if (home.root / name).is_file()} == set(foreign)


def test_links_are_not_followed(home: Home, tmp_path: Path, dittod) -> None:
    outside = tmp_path / "outside"
    (outside / ("cd" * 32)).mkdir(parents=True)
    (outside / ("cd" * 32) / "manifest.json").write_text("mine")
    (outside / "x.log").write_text("mine")
    (home.adapters / ("cd" * 32)).symlink_to(outside / ("cd" * 32))
    (home.logs / "x.log").symlink_to(outside / "x.log")
    said = dittod("uninstall", "--purge", "--yes")[1]
    assert (outside / ("cd" * 32) / "manifest.json").exists() and (outside / "x.log").exists()
    assert str(home.logs / "x.log") in said and (home.logs / "x.log").is_symlink()


def test_a_home_that_is_a_link_is_left_alone(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dittod
) -> None:
    (tmp_path / "link").symlink_to(home.root)
    monkeypatch.setenv("DITTOD_HOME", str(tmp_path / "link"))
    code, _, error = dittod("uninstall", "--purge", "--yes")
    assert code == 1 and f"set DITTOD_HOME to {home.root}" in error and home.store.exists()


def test_a_folder_that_is_no_home_is_left_alone(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dittod
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "token").write_text("of another program")
    monkeypatch.setenv("DITTOD_HOME", str(tmp_path / "other"))
    code, _, error = dittod("uninstall", "--purge", "--yes")
    assert code == 1 and "does not look like a home" in error and left_in(tmp_path / "other") == {"token"}


def test_while_a_daemon_runs_nothing_is_removed(home: Home, dittod) -> None:
    dittod("service", "install")
    before = left_in(home.root)
    with held(home.lock):
        code, _, error = dittod("uninstall", "--purge", "--yes")
    assert code == 1 and f"process {os.getpid()}" in error and left_in(home.root) == before
    assert list((home.root.parent / "config").rglob("*.service")), "the service stays too"


def test_without_a_terminal_a_purge_needs_yes(home: Home, dittod) -> None:
    before = left_in(home.root)
    code, _, error = dittod("uninstall", "--purge")
    assert code == 1 and "--yes" in error and left_in(home.root) == before


@pytest.mark.parametrize(("answer", "gone"), [("y\n", True), ("n\n", False), ("", False)])
def test_at_a_terminal_a_purge_asks(
    home: Home, answer: str, gone: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dittod
) -> None:
    (tmp_path / "answer").write_text(answer)
    with (tmp_path / "answer").open() as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        monkeypatch.setattr(module, "_at_terminal", lambda: True)
        said = dittod("uninstall", "--purge")[1]
    assert "texts and history" in said and home.root.exists() is not gone


def test_a_purge_cut_short_is_finished_by_the_next(home: Home, monkeypatch: pytest.MonkeyPatch, dittod) -> None:
    """Ended again and again after two files: the lock, which each of them makes anew, and one more."""
    unlink, budget = Path.unlink, [0]

    def until_killed(path: Path, missing_ok: bool = False) -> None:
        if path.is_relative_to(home.root):
            budget[0] -= 1
            if budget[0] < 0:
                raise OSError(5, "killed here")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", until_killed)
    ended, errors = 1, []
    while ended and len(errors) < 30:
        budget[0] = 2
        ended, _, error = dittod("uninstall", "--purge", "--yes")
        errors.append(error)
    assert (errors[-1], left_in(home.root)) == ("", set()) and len(errors) > 5
    assert all("cannot be removed" in error and "repeat" in error for error in errors[:-1])


def test_a_purge_of_what_is_not_there_is_no_error(home: Home, dittod) -> None:
    dittod("uninstall", "--purge", "--yes")
    code, said, _ = dittod("uninstall", "--purge", "--yes")
    assert code == 0 and "there is no" in said


def test_settings_that_cannot_be_read_are_removed_too(home: Home, dittod) -> None:
    home.settings.write_text("watched_folder = [broken")
    (home.watched / "letter.md").write_text("mine")
    code, _, warned = dittod("uninstall", "--purge", "--yes")
    assert code == 0 and "its file .dittod stays" in warned
    assert left_in(home.root) == {"watched", "watched/.dittod", "watched/letter.md"}


def test_a_damaged_store_is_removed_and_its_key_named(home: Home, dittod) -> None:
    home.store.write_bytes(b"no database" * 1000)
    code, _, warned = dittod("uninstall", "--purge", "--yes")
    assert code == 0 and "keyring would stay" in warned and not home.root.exists()


def test_the_key_of_an_encrypted_store_leaves_the_keyring(home: Home, monkeypatch: pytest.MonkeyPatch, dittod) -> None:
    forgotten: list[object] = []
    monkeypatch.setattr(module, "forget_key", forgotten.append)
    store = Store(home.store)
    store.note("sealed", {"key": "0011", "check": "x"})
    store.note("scrub", {"due": True, "key": {"key": "0022", "check": "y"}})
    store.close()
    assert dittod("uninstall", "--purge", "--yes")[0] == 0
    assert forgotten == [{"key": "0011", "check": "x"}, {"key": "0022", "check": "y"}]


@pytest.mark.parametrize(
    ("prefix", "command"),
    [
        ("/usr/lib/unpacked", "-m pip uninstall dittod"),
        ("/opt/dittod", "-m pip uninstall dittod"),
        ("/home/ann/.local/share/pipx/venvs/dittod", "pipx uninstall dittod"),
        ("/home/ann/.local/share/uv/tools/dittod", "uv tool uninstall dittod"),
        ("/usr/lib/dittod", "apt remove dittod"),
        ("/home/ann/venv", "-m pip uninstall dittod"),
    ],
)
def test_the_package_is_removed_by_what_installed_it(
    home: Home, prefix: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dittod
) -> None:
    Program(tmp_path / "bin", "dpkg-query", '[ "$*" = "--search /usr/lib/dittod" ]')
    monkeypatch.setattr("sys.prefix", prefix)
    assert dittod("uninstall")[1].rstrip().endswith(command)


def test_in_a_container_without_pip_no_command_is_named(home: Home, monkeypatch: pytest.MonkeyPatch, dittod) -> None:
    monkeypatch.setattr("sys.prefix", "/opt/dittod")
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    said = dittod("uninstall")[1]
    assert "container" in said and "pip" not in said and "apt" not in said
