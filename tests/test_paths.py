"""The home: private, and one token that is made once."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from dittod.errors import SettingsError
from dittod.paths import Home


def test_folders_and_token_are_readable_by_the_user_alone(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.create()
    home.token()
    modes = {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in [home.root, *home.root.iterdir()]}
    assert modes == {"home": "0o700", "adapters": "0o700", "runs": "0o700", "logs": "0o700", "token": "0o600"}


def test_of_many_first_starts_all_get_the_same_token_and_no_file_is_left_over(tmp_path: Path) -> None:
    home = Home(tmp_path)
    tokens: list[str] = []
    threads = [threading.Thread(target=lambda: tokens.append(home.token())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tokens) == 8 and len(set(tokens)) == 1 and len(tokens[0]) > 40
    assert [path.name for path in tmp_path.iterdir()] == ["token"]


def test_a_home_that_cannot_be_made_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError) as caught:
        Home(tmp_path / "file" / "home").create()
    assert "DITTOD_HOME" in caught.value.hint


def test_a_folder_that_is_used_for_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_text("")
    tmp_path.chmod(0o755)
    with pytest.raises(SettingsError, match=r"holiday\.jpg"):
        Home(tmp_path).create()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_an_empty_token_file_is_an_error_and_no_open_door(tmp_path: Path) -> None:
    Home(tmp_path).token_file.write_text("")
    with pytest.raises(SettingsError, match="is empty"):
        Home(tmp_path).token()
