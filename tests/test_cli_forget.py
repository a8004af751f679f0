"""`dittod forget` and `dittod receipts`: what is asked, what is told, what goes. No daemon runs."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from versions import TEXTS, versions

from dittod.cli.terminal import out
from dittod.ingest.brake import BRAKE
from dittod.machine.lock import held
from dittod.paths import MARKER, Home
from dittod.rows import FileRow
from dittod.store import Store
from dittod.views import forgetting


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Eight texts in a file each; @1 learnt from 1 to 4, @2 (served) from 3 to 6, @3 from 1 to 6."""
    monkeypatch.setenv("DITTOD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DITTOD_MIN_DEMONSTRATIONS", "3")
    monkeypatch.setenv("COLUMNS", "120")
    made = versions(tmp_path / "home")
    made.watched.mkdir()
    (made.watched / MARKER).touch()
    for day in range(1, 9):
        (made.watched / f"{day}.eml").touch()
    for letter in "abc":
        (made.adapters / (letter * 64)).mkdir()
    return made


def states(home: Home) -> list[str]:
    store = Store(home.store)
    try:
        return [each.state for each in store.adapters()]
    finally:
        store.close()


def test_a_file_is_forgotten_with_its_versions_and_stays_where_it_is(home: Home, dittod) -> None:
    code, printed, _ = dittod("forget", str(home.watched / "5.eml"), "--yes")
    assert code == 0 and "default@2, default@3" in printed and "default@1" in printed
    assert "its text changes" in printed
    assert (home.watched / "5.eml").exists()
    assert states(home) == ["promoted", "forgotten", "forgotten"]
    assert [path.name[0] for path in home.adapters.iterdir()] == ["a"]


@pytest.mark.parametrize("target", ["5.eml", TEXTS[4].id[:8], f"default/{TEXTS[4].id[:12]}"])
def test_a_target_is_a_file_of_the_folder_or_the_beginning_of_an_id(home: Home, dittod, target: str) -> None:
    code, printed, _ = dittod("forget", target, "--yes", "--json")
    (receipt,) = json.loads(printed)["receipts"]
    assert code == 0 and receipt["adapters"] == ["default@2", "default@3"] and receipt["replaced_by"] == "default@1"
    assert receipt["demonstrations"] == 1 and receipt["finished"] and receipt["run_id"]
    code, printed, _ = dittod("demos", "list", "--json")
    assert TEXTS[4].id not in printed and '"forgotten by you' in printed


def test_a_path_is_meant_as_the_shell_means_it_and_else_as_in_the_watched_folder(
    home: Home, dittod, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(home.store)
    store.record_file(FileRow("email/5.eml", "email", 1, 1, "read", "", (), {}, 20.0), [TEXTS[4]])
    store.close()
    (home.watched / "email").mkdir()
    monkeypatch.chdir(home.watched / "email")
    for target, profile in (("5.eml", "email"), ("6.eml", "default"), ("../7.eml", None)):
        code, printed, _ = dittod("forget", target, "--yes", "--json")
        assert (json.loads(printed)["receipts"][0]["profile"] if code == 0 else None) == profile
    monkeypatch.chdir(home.watched)
    code, _, errors = dittod("forget", "", "--yes")
    assert code == 1 and "an empty target names nothing" in errors


def test_what_has_become_more_while_the_user_was_asked_is_not_forgotten(
    home: Home, dittod, monkeypatch: pytest.MonkeyPatch
) -> None:
    def comes_then_yes() -> str:
        store = Store(home.store)
        store.record_file(FileRow("new/a.txt", "new", 1, 1, "read", "", (), {}, 20.0), [TEXTS[4]])
        store.record_file(FileRow("new/b.txt", "new", 1, 1, "read", "", (), {}, 20.0), [TEXTS[5]])
        store.close()
        return "y\n"

    store = Store(home.store)
    store.record_file(FileRow("new/a.txt", "new", 1, 1, "read", "", (), {}, 20.0), [TEXTS[4]])
    store.close()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True, readline=comes_then_yes))
    code, _, errors = dittod("forget", "--profile", "new")
    assert code == 1 and "nothing was forgotten" in errors and "hint: look again" in errors
    store = Store(home.store)
    assert store.counts()["new"] == 2
    store.close()


def test_several_targets_are_one_receipt(home: Home, dittod) -> None:
    _, printed, _ = dittod("forget", "1.eml", "6.eml", TEXTS[6].id[:8], "--yes", "--json")
    (receipt,) = json.loads(printed)["receipts"]
    assert receipt["demonstrations"] == 3 and receipt["replaced_by"] == "base"


def test_a_profile_is_forgotten_as_a_whole(home: Home, dittod) -> None:
    code, printed, _ = dittod("forget", "--profile", "default", "--yes", "--json")
    assert code == 0 and sum(each["demonstrations"] for each in json.loads(printed)["receipts"]) == 8
    assert states(home) == ["forgotten"] * 3 and list(home.adapters.iterdir()) == []


def test_a_profile_of_which_only_a_pruned_version_is_left_can_be_forgotten(home: Home, dittod) -> None:
    store = Store(home.store)
    store.add_adapter(replace(store.adapter("c" * 64), id="d" * 64, profile="blog", state="candidate"))
    store.prune("d" * 64)
    store.close()
    code, printed, _ = dittod("forget", "--profile", "blog", "--yes", "--json")
    (receipt,) = json.loads(printed)["receipts"]
    assert code == 0 and receipt["adapters"] == ["blog@1"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nothing.eml",), "no file that was read is 'nothing.eml'"),
        (("",), "an empty target names nothing"),
        ((" ",), "an empty target names nothing"),
        ((TEXTS[0].id[:3],), "too short for the beginning of an id"),
        (("default/",), "too short for the beginning of an id"),
        (("%\udcff",), "no file that was read is"),  # bytes that are no text
        (("[red]x[/red]",), "is '[red]x[/red]'"),
        (("../../etc",), "no file that was read is"),
        (("--profile", "blog"), "there is no profile 'blog'"),
        (("1.eml", "--profile", "default"), "a profile is forgotten as a whole"),
        ((), "nothing waits for a word from you"),
        (("1.eml",), "there is no terminal"),  # without --yes
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_goes(
    home: Home, dittod, arguments: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    code, printed, errors = dittod("forget", *arguments, *(["--yes"] if arguments != ("1.eml",) else []))
    assert code == 1 and said in errors and "hint: " in errors and printed == ""
    assert states(home) == ["retired", "promoted", "candidate"]


def test_beside_a_command_that_clears_nothing_away_the_weights_go_and_the_rest_is_told(
    home: Home, dittod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "PATIENCE_SECONDS", 0.0)
    with held(home.lock):
        code, printed, _ = dittod("forget", "5.eml", "--yes")
    assert code == 0 and "not all of it is gone yet" in printed
    assert [path.name[0] for path in home.adapters.iterdir()] == ["a"]
    _, printed, _ = dittod("forget", "1.eml", "--yes", "--json")
    assert json.loads(printed)["finished"]
    _, printed, _ = dittod("receipts", "--json")
    assert [each["finished"] for each in json.loads(printed)["receipts"]] == [True, True]


def test_what_cannot_be_removed_is_told_in_the_end(home: Home, dittod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(shutil, "rmtree", lambda path, ignore_errors: None)
    code, printed, _ = dittod("forget", "5.eml", "--yes")
    assert code == 0 and "not all of it is gone yet" in printed


def test_what_was_forgotten_is_not_forgotten_twice(home: Home, dittod) -> None:
    dittod("forget", "1.eml", "--yes")
    code, _, errors = dittod("forget", "1.eml", "--yes")
    assert code == 1 and "nothing was learnt from that" in errors


@pytest.mark.parametrize(("answer", "kept"), [("n\n", True), ("y\n", False), ("", True)])
def test_the_user_is_shown_what_goes_and_asked(
    home: Home, dittod, monkeypatch: pytest.MonkeyPatch, answer: str, kept: bool
) -> None:
    lines = iter([answer] if answer else [])
    stdin = SimpleNamespace(isatty=lambda: True, readline=lambda: next(lines, ""))
    monkeypatch.setattr(sys, "stdin", stdin)
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: stdin.readline().strip() or _end())
    code, printed, _ = dittod("forget", "5.eml")
    assert printed.splitlines()[0] == "for good:"
    assert printed.splitlines()[2].split() == ["default", "1", "default@2,", "default@3", "default@1"]
    assert (states(home)[1] == "promoted") == kept and (code == 1) == kept


def test_where_no_version_is_touched_what_is_served_is_unchanged(
    home: Home, dittod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True, readline=_end))
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: _end())
    _, printed, asked = dittod("forget", "7.eml")
    assert printed.splitlines()[2].split() == ["default", "1", "-", "unchanged"]
    assert "(1 text)" in asked


def test_an_empty_target_means_not_even_the_only_text(home: Home, dittod) -> None:
    store = Store(home.store)
    store.forget_files([f"{day}.eml" for day in range(2, 9)], 1.0)
    store.close()
    for target in ("", "default/", TEXTS[0].id[:3]):
        assert dittod("forget", target, "--yes")[0] == 1
    store = Store(home.store)
    assert store.counts() == {"default": 1}
    store.close()


def _end() -> str:
    raise EOFError


def test_without_a_target_what_the_brake_holds_is_forgotten(home: Home, dittod) -> None:
    for day in range(1, 9):
        (home.watched / f"{day}.eml").unlink()
    store = Store(home.store)
    store.note(BRAKE, {"profile": "default", "sentence": "8 of 8"})
    store.close()
    code, printed, _ = dittod("forget", "--yes", "--json")
    (receipt,) = json.loads(printed)["receipts"]
    assert code == 0 and (receipt["cause"], receipt["demonstrations"]) == ("a file was deleted", 8)
    store = Store(home.store)
    assert store.noted(BRAKE) == {} and store.files() == {}
    store.close()


def test_while_the_folder_is_not_there_nothing_that_it_held_counts_as_gone(home: Home, dittod) -> None:
    store = Store(home.store)
    store.note(BRAKE, {"profile": "default", "sentence": "8 of 8"})
    store.close()
    home.watched.rename(home.root / "away")
    code, _, errors = dittod("forget", "--yes")
    assert code == 1 and "the watched folder is not there" in errors
    assert states(home) == ["retired", "promoted", "candidate"]


def test_receipts_are_listed_without_texts_or_names_of_files(home: Home, dittod) -> None:
    assert dittod("receipts") == (0, "nothing was forgotten so far\n", "")
    dittod("forget", "5.eml", "--yes")
    code, printed, _ = dittod("receipts")
    assert code == 0 and "by hand" in printed and "default@2, default@3" in printed and "default@1" in printed
    _, as_json, _ = dittod("receipts", "--json")
    (receipt,) = json.loads(as_json)["receipts"]
    assert (receipt["cause"], receipt["finished"], len(receipt["id"])) == ("by hand", True, 8)
    for told in (printed, as_json):
        assert "5.eml" not in told and "Tea" not in told and TEXTS[4].id not in told


@pytest.mark.parametrize("width", [80, 200])
def test_receipts_fit_the_terminal(home: Home, dittod, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    dittod("forget", "5.eml", "--yes")
    monkeypatch.setattr(out, "_width", None)  # an import under another width has fixed it
    monkeypatch.setenv("COLUMNS", str(width))
    _, printed, _ = dittod("receipts")
    assert all(len(line.rstrip()) <= width for line in printed.splitlines()), printed
    assert "by hand; default@2, default@3" in printed and "update" in printed
