"""What the shell completes, by the protocol that it asks with, and in a real bash."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Command
from fakes import demonstration

from dittod.cli import completion
from dittod.paths import Home
from dittod.rows import FileRow
from dittod.store import Store
from dittod.types import Adapter, Run, Verdict

TEXT = demonstration("Write to Ann.", "Dear Ann,\n\nno tea today.\n\nBob", written_at=86400.0)
START = "import sys; sys.argv = ['dittod']; from dittod.cli import main; main()"
BASH = shutil.which("bash")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("DITTOD_HOME", str(tmp_path / "home"))
    return Home(tmp_path / "home")


@pytest.fixture
def filled(home: Home) -> Home:
    home.create()
    store = Store(home.store)
    for profile in ("default", "email"):
        store.record_file(FileRow(f"{profile}/ann.eml", profile, 1, 1, "read", "", (), {}, 1.0), [TEXT])
    for letter in "abc":
        folder = home.adapters / letter
        folder.mkdir()
        verdict = Verdict(True, (), {})
        made = Adapter(
            letter * 64, "email", 0, "candidate", str(folder), "r", "starter", "1", "t", (), 1, 1.0, None, verdict
        )
        store.add_adapter(made)
    store.request_run(Run("5d1e", "email", "done", 1, "clean", 1.0))
    store.close()
    return home


Complete = Callable[..., list[str]]


@pytest.fixture
def complete(dittod: Command, monkeypatch: pytest.MonkeyPatch) -> Complete:
    """What `dittod` answers a shell whose user has typed this, and pressed Tab."""

    def answer(line: str, shell: str = "bash") -> list[str]:
        words = line.split(" ")
        monkeypatch.setenv("_DITTOD_COMPLETE", f"complete_{shell}")
        monkeypatch.setenv("COMP_WORDS", "\n".join(words))
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        monkeypatch.setenv("_TYPER_COMPLETE_ARGS", line)
        monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
        code, out, err = dittod()
        assert (code, err) == (0, "")
        return list(filter(None, out.splitlines()))

    return answer


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("dittod adap", ["adapters"]),
        ("dittod adapters show ", ["email@3", "email@2", "email@1"]),
        ("dittod adapters diff email@1 email@", ["email@3", "email@2", "email@1"]),
        ("dittod update e", ["email"]),
        ("dittod demos list ", ["default", "email"]),
        ("dittod demos show ", [TEXT.id[:8], TEXT.id[:8]]),
        ("dittod demos exclude xyz ", [TEXT.id[:8], TEXT.id[:8]]),
        ("dittod forget email", ["email/ann.eml"]),
        ("dittod forget --profile ", ["default", "email"]),
        ("dittod feedback add --rate ", ["up", "down"]),
        ("dittod chat ditto/email@2", ["ditto/email@2"]),
        ("dittod connect ze", ["zed"]),
        ("dittod runs 5d", ["5d1e"]),
        ("dittod feedback remove ", []),
        ("dittod feedback add ", []),
    ],
)
def test_values_are_completed_from_the_store(line: str, found: list[str], filled: Home, complete: Complete) -> None:
    assert complete(line) == found


def test_whatever_can_be_asked_is_completed_by_each_of_its_names(filled: Home) -> None:
    versions = ["email@3", "email@2", "email@1"]
    expected = ["base", "ditto", "ditto/email", *versions, *(f"ditto/{each}" for each in versions)]
    assert [name for name, _ in completion.models("")] == expected
    assert [name for name, _ in completion.models("ditto/email@")] == [f"ditto/{each}" for each in versions]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_told_what_it_is_too(shell: str, filled: Home, complete: Complete) -> None:
    assert "version, candidate" in "\n".join(complete("dittod adapters show email@2", shell))


def test_without_a_home_nothing_is_found_or_made(home: Home, complete: Complete) -> None:
    for line in ("dittod adapters show ", "dittod update ", "dittod forget "):
        assert complete(line) == []
    assert [name for name, _ in completion.models("")] == ["base", "ditto"]
    assert not home.root.exists()


def test_a_store_that_is_busy_or_broken_or_of_another_version_completes_nothing(filled: Home) -> None:
    store = Store(filled.store)
    with store.together():
        store.note("busy", {})
        assert completion.profiles("e") == [("email", "profile")], "who reads does not wait for who writes"
    store.close()
    filled.store.write_bytes(b"no database at all" * 100)
    begun = time.monotonic()
    assert completion.versions("") == [] and completion.profiles("") == []
    assert time.monotonic() - begun < 5


def test_completion_changes_nothing_in_the_home(filled: Home) -> None:
    before = {path: path.stat().st_mtime_ns for path in filled.root.rglob("*") if path.is_file()}
    completion.forgettable("")
    after = {path: path.stat().st_mtime_ns for path in filled.root.rglob("*") if path.is_file()}
    assert after == before


def test_completion_loads_neither_models_nor_the_daemon(filled: Home) -> None:
    code = (
        "import sys; from dittod.cli import app, completion; "
        "assert completion.models('') and completion.forgettable(''); print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers", "pydantic", "rich", "dittod.config", "dittod.daemon"} & set(loaded)


@pytest.mark.skipif(BASH is None, reason="there is no bash here")
def test_bash_completes_the_piece_behind_an_at_sign(
    filled: Home, dittod: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a word with '@' bash takes back the piece behind it alone."""
    monkeypatch.setattr("typer._completion_shared._completion_scripts", {"bash": ""})
    monkeypatch.setattr("typer.completion._get_shell_name", lambda: "bash")
    script = dittod("--show-completion")[1]
    assert "complete -o default -F _dittod_completion dittod" in script
    session = f"""
env() {{ while [[ $1 == *=* ]]; do export "$1"; shift; done; {sys.executable} -c "{START}"; }}
{script}
COMP_WORDBREAKS=$' \\t\\n"@><=;|&(:'
for COMP_LINE in 'dittod adapters show em' 'dittod adapters show email@' 'dittod demos list '; do
    COMP_POINT=${{#COMP_LINE}}
    _dittod_completion dittod
    echo "${{COMPREPLY[@]}}"
done
"""
    done = subprocess.run([str(BASH), "-c", session], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["email@3 email@2 email@1", "3 2 1", "default email"]
