"""Clients' own files: what is shown of a change, and that it is made whole, with what was there kept in our home."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from dittod.clients import files
from dittod.clients.files import Change, difference, planned
from dittod.clients.formats import text_of
from dittod.clients.shape import Part
from dittod.errors import SettingsError

from .texts import KEY, part


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where '~' is, and nothing in it."""
    for name in ("XDG_CONFIG_HOME", "LLM_USER_PATH", "CODEX_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    return tmp_path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def write(change: Change) -> Path | None:
    return files.write(change, Path.home() / "dittods" / "backups", "a-client")


def backups(home: Path) -> list[Path]:
    return list((home / "dittods" / "backups").glob("*"))


def test_a_file_that_is_not_there_is_made_with_its_folders_for_its_owner_alone(home: Path) -> None:
    change = planned(part("llm", 1), None, KEY)
    assert write(change) is None and change.brings_token
    keys = home / ".config" / "io.datasette.llm" / "keys.json"
    assert KEY in keys.read_text() and mode(keys) == 0o600
    assert [each.name for each in keys.parent.iterdir()] == ["keys.json"]


def test_what_was_there_is_kept_in_dittods_home_for_its_owner_alone(home: Path) -> None:
    settings = home / ".config" / "zed" / "settings.json"
    settings.parent.mkdir(parents=True)
    settings.write_text('{"theme": "One"}')
    settings.chmod(0o644)
    kept = write(planned(part("zed"), None, KEY))
    assert kept is not None and kept.read_text() == '{"theme": "One"}' and mode(kept) == 0o600
    assert mode(settings) == 0o644  # no key came into it
    assert backups(home) == [kept] and mode(kept.parent) == 0o700
    assert re.fullmatch(r"a-client-settings\.json-\d{8}-\d{6}-[0-9a-f]{8}", kept.name)
    assert [each.name for each in settings.parent.iterdir()] == ["settings.json"]
    assert not planned(part("zed"), None, KEY).is_needed


def test_a_file_that_gets_the_token_is_closed_to_others(home: Path) -> None:
    (home / ".continue").mkdir()
    variables = home / ".continue" / ".env"
    variables.write_text("MISTRAL_API_KEY=other\n")
    variables.chmod(0o644)
    write(planned(part("continue", 1), None, KEY))
    assert mode(variables) == 0o600 and variables.read_text() == f"MISTRAL_API_KEY=other\nDITTO_TOKEN={KEY}\n"


def test_a_link_stays_a_link_and_its_target_is_changed(home: Path) -> None:
    dotfiles = home / "dotfiles"
    dotfiles.mkdir()
    (dotfiles / "zed.json").write_text("{}")
    link = home / ".config" / "zed" / "settings.json"
    link.parent.mkdir(parents=True)
    link.symlink_to(dotfiles / "zed.json")
    write(planned(part("zed"), None, KEY))
    assert link.is_symlink() and "127.0.0.1" in (dotfiles / "zed.json").read_text()
    assert len(list(dotfiles.iterdir())) == len(list(link.parent.iterdir())) == len(backups(home)) == 1


def test_a_link_to_nothing_gets_its_target(home: Path) -> None:
    link = home / ".config" / "zed" / "settings.json"
    link.parent.mkdir(parents=True)
    link.symlink_to(home / "dotfiles" / "zed.json")
    write(planned(part("zed"), None, KEY))
    assert link.is_symlink() and (home / "dotfiles" / "zed.json").is_file()


def test_a_file_that_changes_meanwhile_is_left_alone(home: Path) -> None:
    settings = home / ".aider.dittod.conf.yml"
    settings.write_text("dark-mode: true\n")
    change = planned(part("aider"), None, KEY)
    settings.write_text("dark-mode: false\n")
    with pytest.raises(SettingsError, match="has changed meanwhile"):
        write(change)
    assert settings.read_text() == "dark-mode: false\n" and backups(home) == []


def test_a_file_that_changes_while_the_new_one_is_made_is_left_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = home / ".aider.dittod.conf.yml"
    settings.write_text("dark-mode: true\n")
    change, sync = planned(part("aider"), None, KEY), os.fsync

    def another_writes(descriptor: int) -> None:
        sync(descriptor)
        settings.write_text("dark-mode: false\n")

    monkeypatch.setattr(os, "fsync", another_writes)
    with pytest.raises(SettingsError, match="has changed meanwhile"):
        write(change)
    assert settings.read_text() == "dark-mode: false\n" and backups(home) == []
    assert {each.name for each in home.iterdir()} == {settings.name, "dittods"}


def test_two_writes_within_a_second_keep_two_backups(home: Path) -> None:
    settings = home / ".aider.dittod.conf.yml"
    for text in ("dark-mode: true\n", "dark-mode: false\n"):
        settings.write_text(text)
        write(planned(part("aider"), None, KEY))
    assert {each.read_text() for each in backups(home)} == {"dark-mode: true\n", "dark-mode: false\n"}


def test_a_full_disk_leaves_the_file_as_it_was(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = home / ".aider.dittod.conf.yml"
    settings.write_text("dark-mode: true\n")
    change = planned(part("aider"), None, KEY)
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(SettingsError, match="No space left"):
        write(change)
    assert settings.read_text() == "dark-mode: true\n"
    assert [each.name for each in home.iterdir()] == [settings.name]


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe{\x00}\x00"])
def test_a_file_that_cannot_be_read_is_left_as_it_is_and_the_error_names_it(home: Path, content: bytes) -> None:
    settings = home / ".config" / "zed" / "settings.json"
    settings.parent.mkdir(parents=True)
    settings.write_bytes(content)
    with pytest.raises(SettingsError, match="is left as it is") as raised:
        planned(part("zed"), None, KEY)
    assert raised.value.hint and settings.read_bytes() == content


def test_a_folder_in_the_place_of_a_file_is_an_error_with_a_hint(home: Path) -> None:
    (home / ".config" / "zed" / "settings.json").mkdir(parents=True)
    with pytest.raises(SettingsError, match="cannot be read"):
        planned(part("zed"), None, KEY)


def shown(which: Part, folder: Path | None = None) -> list[str]:
    return difference(planned(which, folder, KEY), KEY)


def test_of_a_change_nothing_is_shown_but_our_own_lines(home: Path) -> None:
    """No list of what a secret looks like is complete."""
    (home / ".env").write_text(
        "PASSPHRASE=correcthorse\nDB=postgres://u:hunterpass@h/x\nOPENAI_API_KEY=sk-somebody-elses\n"
        "OPENAI_MODEL=gpt-4 # of Ann's\n"
    )
    assert shown(part("env"), home) == [
        "+OPENAI_API_KEY=«TOKEN»",
        "+OPENAI_BASE_URL=http://127.0.0.1:3488/v1",
        "+OPENAI_API_BASE=http://127.0.0.1:3488/v1",
        "not shown, as other keys may be in them: lines that go: 2, lines that come: 1",
    ]


def test_a_line_of_ours_that_stands_beside_others_things_is_not_shown(home: Path) -> None:
    keys = home / ".config" / "io.datasette.llm" / "keys.json"
    keys.parent.mkdir(parents=True)
    keys.write_text('{"anthropic": "onlylettershere", "x": "a/b/c=d"}')
    assert shown(part("llm", 1)) == ["not shown, as other keys may be in them: lines that go: 1, lines that come: 1"]
    keys.write_text('{\n  "anthropic": "onlylettershere"\n}')
    assert shown(part("llm", 1))[:-1] == ['+  "dittod": "«TOKEN»"']


def test_of_a_new_file_all_is_shown_but_the_token(home: Path) -> None:
    for which in (part("continue"), part("codex"), part("llm", 1)):
        assert shown(which) == [f"+{line}" for line in text_of(which).replace(KEY, "«TOKEN»").splitlines()]


def test_folders_of_clients_are_where_their_variables_say(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEX_HOME", str(home / "codex"))
    monkeypatch.setenv("LLM_USER_PATH", str(home / "llm"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "xdg"))
    found = {name: planned(part(name), None, KEY).path for name in ("codex", "llm", "zed", "vscode")}
    assert {name: str(path.relative_to(home)) for name, path in found.items()} == {
        "codex": "codex/dittod.config.toml",
        "llm": "llm/extra-openai-models.yaml",
        "zed": "xdg/zed/settings.json",
        "vscode": "xdg/Code/User/chatLanguageModels.json",
    }


def test_on_macos_and_windows_they_are_where_those_have_them(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    assert planned(part("zed"), None, KEY).path == home / ".config" / "zed" / "settings.json"
    assert planned(part("llm"), None, KEY).path.parent == home / "Library/Application Support/io.datasette.llm"
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("APPDATA", str(home / "AppData"))
    assert planned(part("vscode"), None, KEY).path.parent == home / "AppData" / "Code" / "User"


def test_only_the_named_parts_have_a_place() -> None:
    with pytest.raises(AssertionError):
        planned(Part("text", text="address: x\n"), None, KEY)
    assert files.PRIVATE == 0o600
