"""Whether git would take a file along: tracked, ignored, neither, and where nobody can say."""

from __future__ import annotations

import subprocess
from pathlib import Path
from shutil import which

import pytest

from dittod.clients.git import is_published


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True)


@pytest.fixture
def variables(tmp_path: Path) -> Path:
    """In a folder of a repository."""
    if which("git") is None:
        pytest.skip("needs git")
    git(tmp_path, "init")
    (tmp_path / "chats").mkdir()
    (tmp_path / "chats" / ".env").write_text("X=1\n")
    return tmp_path / "chats" / ".env"


def test_a_file_that_is_not_ignored_would_be_taken(variables: Path) -> None:
    assert is_published(variables)


def test_a_file_that_is_ignored_would_not(variables: Path, tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text(".env\n")
    assert not is_published(variables)


def test_a_file_that_is_ignored_and_tracked_would_be(variables: Path, tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text(".env\n")
    git(tmp_path, "add", "--force", str(variables))
    assert is_published(variables)


def test_outside_of_every_repository_nobody_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert not is_published(tmp_path / ".env")


def test_where_git_is_not_to_be_had_it_counts_as_taken(variables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert is_published(variables)
