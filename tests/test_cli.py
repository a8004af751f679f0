"""The command line over a home without a daemon: tables, JSON, errors with a hint."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fakes import demonstration
from rich.progress import ProgressColumn

from dittod import adapters, runs
from dittod.cli.terminal import about, clock, day, one_line, print_table, progress_bars
from dittod.cli.update import report
from dittod.config import load_settings
from dittod.paths import Home
from dittod.rows import FileRow
from dittod.store import Store
from dittod.types import Adapter, Verdict, Written

TEXT = demonstration("Write [bold]to Ann[/bold] about tea.", "Dear Ann,\n\nno tea today.\n\nBob", written_at=86400.0)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("DITTOD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "100")
    made = Home(tmp_path / "home")
    made.create()
    return made


@pytest.fixture
def filled(home: Home) -> Home:
    store = Store(home.store)
    store.record_file(FileRow("a.eml", "default", 1, 1, "read", "", (), {}, 1.0), [TEXT])
    store.record_file(FileRow("b.jpg", "default", 1, 1, "set_aside", "unknown kind of file", (), {}, 1.0), [])
    for letter, verdict in (
        ("a", Verdict(True, ("likelier",), {"base_nats_per_token": 4.0}, (Written("ditto", TEXT.id, "Dear Tom"),))),
        ("b", Verdict(False, ("no",), {})),
    ):
        folder = home.adapters / letter
        folder.mkdir()
        row = Adapter(
            letter * 64,
            "default",
            0,
            "candidate",
            str(folder),
            "r",
            "starter",
            "1",
            "t",
            (TEXT.id,),
            1,
            1.0,
            None,
            verdict,
        )
        store.add_adapter(row)
    adapters.promote(store, store.adapter("a" * 64))
    store.close()
    return home


def test_init_makes_everything_and_can_be_called_again(home: Home, dittod) -> None:
    assert dittod("init")[0] == 0
    token = home.token()
    home.settings.write_text("port = 1234\n")
    code, out, _ = dittod("init")
    assert code == 0 and str(home.watched) in out
    assert (home.watched / ".dittod").is_file()
    assert load_settings(home).port == 1234 and dittod("token")[1].strip() == token


def test_status_of_an_empty_home_says_what_is_missing(home: Home, dittod) -> None:
    value = json.loads(dittod("status", "--json")[1])
    (profile,) = value["profiles"]
    assert value["endpoint"] is None and value["engine"]["state"] == "stopped"
    assert (profile["name"], profile["waiting"]) == ("default", "no demonstration, waiting for 6")
    code, out, _ = dittod("status")
    assert code == 0 and "not running" in out and "no demonstration, waiting for 6" in out


def test_status_names_what_is_served_and_counts_what_was_set_aside(filled: Home, dittod) -> None:
    value = json.loads(dittod("status", "--json")[1])
    (profile,) = value["profiles"]
    assert profile["adapter"]["id"] == "a" * 64 and profile["adapter"]["number"] == 1
    assert value["set_aside"] == 1
    assert "default@1" in dittod("status")[1]


def test_demonstrations_are_listed_with_the_files_that_gave_none(filled: Home, dittod) -> None:
    _, out, _ = dittod("demos", "list")
    assert "Write [bold]to Ann[/bold] about tea." in out and "b.jpg" in out and "unknown kind of file" in out
    value = json.loads(dittod("demos", "list", "--json")[1])
    assert [each["id"] for each in value["demonstrations"]] == [TEXT.id]
    assert [each["path"] for each in value["files"]] == ["b.jpg"]


def test_a_demonstration_is_shown_whole(filled: Home, dittod) -> None:
    _, out, _ = dittod("demos", "show", TEXT.id[:8])
    assert TEXT.prompt in out and TEXT.completion in out
    assert json.loads(dittod("demos", "show", TEXT.id[:8], "--json")[1])["completion"] == TEXT.completion


def test_adapters_are_listed_shown_promoted_and_rolled_back(filled: Home, dittod) -> None:
    assert [each["state"] for each in json.loads(dittod("adapters", "list", "--json")[1])["adapters"]] == [
        "promoted",
        "candidate",
    ]
    _, out, _ = dittod("adapters", "show", "default@1")
    assert "likelier" in out and "Dear Tom" in out and "4" in out
    assert "ditto serves default@2 now" in dittod("adapters", "promote", "default@2")[1]
    assert "ditto serves default@1 now" in dittod("adapters", "rollback")[1]
    assert "ditto serves base now" in dittod("adapters", "rollback")[1]


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (("adapters", "show", "nobody@7"), "no version answers to 'nobody@7'", "adapters list"),
        (("adapters", "rollback"), "serves base already", "nothing to roll back"),
        (("demos", "show", "ffff"), "no demonstration begins with 'ffff'", "demos list"),
    ],
)
def test_errors_go_to_stderr_with_a_hint(home: Home, dittod, arguments: tuple[str, ...], error: str, hint: str) -> None:
    code, out, err = dittod(*arguments)
    assert (code, out) == (1, "")
    assert error in err and hint in err


def test_wrong_usage_exits_with_2(home: Home, dittod) -> None:
    assert dittod("demos", "shwo")[0] == 2


def test_an_update_without_demonstrations_is_an_error(home: Home, dittod) -> None:
    code, out, err = dittod("update", "--json")
    assert (code, out) == (1, "") and "no demonstration to learn from" in err


def test_a_waiting_run_is_shown_instead_of_a_sentence(filled: Home, dittod) -> None:
    store = Store(filled.store)
    run = runs.request(store, load_settings(filled), "default")
    store.close()
    (profile,) = json.loads(dittod("status", "--json")[1])["profiles"]
    assert profile["waiting"] is None and profile["run"]["id"] == run.id


def test_one_line_cuts_and_flattens() -> None:
    assert one_line("a\n b", 10) == "a b" and one_line("abcdef", 4) == "abc…"


def test_init_says_that_what_lies_in_the_folder_will_be_read(home: Home, dittod) -> None:
    (home.watched / "mail").mkdir(parents=True)
    (home.watched / "mail" / "a.txt").write_text("one")
    (home.watched / "b.txt").write_text("two")
    assert "lie there already: 2; they will be read" in dittod("init")[1]
    assert "already" not in dittod("init")[1]


def test_init_refuses_a_source_tree_as_the_watched_folder(home: Home, dittod) -> None:
    (home.watched / ".git").mkdir(parents=True)
    code, _, err = dittod("init")
    assert code == 1 and "holds .git" in err and "set watched_folder" in err


def test_why_the_last_update_failed_is_said_once_on_a_line_of_its_own(filled: Home, dittod) -> None:
    store = Store(filled.store)
    run = runs.request(store, load_settings(filled), "default")
    store.change_run(run.id, state="failed", finished_at=run.requested_at, error="no plan fits 100 MB; give it more")
    store.close()
    out = dittod("status")[1]
    assert out.count("fits 100 MB") == 1
    assert "\ndefault: last update failed: no plan fits 100 MB; give it more\n" in out


def test_an_error_of_update_stands_without_an_empty_line(home: Home, dittod) -> None:
    assert dittod("update")[2].startswith("error: ")


def noted(home: Home, key: str, value: dict[str, object]) -> None:
    store = Store(home.store)
    store.note(key, value)
    store.close()


def test_status_names_the_recipe_that_a_profile_serves(filled: Home, dittod) -> None:
    (profile,) = json.loads(dittod("status", "--json")[1])["profiles"]
    assert profile["adapter"]["recipe"] == "DITTO" and profile["rolled_back"] is None and profile["forgotten"] == []
    assert "default@1: DITTO" in dittod("status")[1]


def test_status_says_that_a_deletion_waits_for_a_word(filled: Home, dittod) -> None:
    assert json.loads(dittod("status", "--json")[1])["brake"] is None
    noted(filled, "brake", {"profile": "default", "sentence": "9 of 9 texts are gone: say so with dittod forget"})
    assert "\n          9 of 9 texts are gone: say so with dittod forget\n" in dittod("status")[1]


def test_status_tells_of_a_rollback_until_something_else_is_served(filled: Home, dittod) -> None:
    note = {"version": "default@2", "at": 86400.0, "guard": "loops", "served": "default@1", "sentence": "It looped."}
    noted(filled, "rolled_back", {"default": note})
    (profile,) = json.loads(dittod("status", "--json")[1])["profiles"]
    assert profile["rolled_back"] == note
    assert f"\ndefault: rolled back at {day(86400.0)}. It looped.\n" in dittod("status")[1]
    dittod("adapters", "rollback")
    assert "It looped." not in dittod("status")[1]


def test_status_says_that_the_last_update_was_kept_back_until_its_version_is_promoted(filled: Home, dittod) -> None:
    store = Store(filled.store)
    run = runs.request(store, load_settings(filled), "default")
    store.change_run(run.id, state="done", adapter_id="b" * 64)
    store.close()
    (profile,) = json.loads(dittod("status", "--json")[1])["profiles"]
    assert profile["kept_back"] == {"version": "default@2", "reason": "no"}
    assert "\ndefault: the last update was kept back: no; dittod adapters show default@2" in dittod("status")[1]
    dittod("adapters", "promote", "default@2")
    assert "kept back" not in dittod("status")[1]


def test_status_names_forgotten_versions_until_the_update_without_their_texts_begins(filled: Home, dittod) -> None:
    store = Store(filled.store)
    run = runs.request(store, load_settings(filled), "default")
    (receipt,) = store.forget_texts("default", [TEXT.id], "by hand", 5.0)
    store.finish_receipt(receipt.id, run.id)
    store.close()
    says = "\ndefault: forgotten: default@1, default@2; an update without their texts is asked for\n"
    assert says in dittod("status")[1]
    store = Store(filled.store)
    store.change_run(run.id, state="running")
    store.add_note(run.id, "it begins anew")
    assert "default: forgotten" not in dittod("status")[1] and "default: it begins anew" in dittod("status")[1]
    store.change_run(run.id, state="done")
    store.close()
    assert "default: forgotten" not in dittod("status")[1]


def test_an_update_is_reported_with_its_verdict_and_what_is_served(filled: Home, capsys) -> None:
    store = Store(filled.store)
    for letter, verdict in (("a", True), ("b", False)):
        run = runs.request(store, load_settings(filled), "default")
        store.change_run(run.id, state="done", adapter_id=letter * 64)
        report(filled, store.run(run.id), as_json=False)
        lines = capsys.readouterr().out.splitlines()
        served = "it is served now; to go back: dittod adapters rollback default"
        assert lines[0] == f"version default@{1 if verdict else 2}: DITTO"
        assert lines[1] == ("  likelier" if verdict else "  no")
        assert lines[-1] == (served if verdict else "default@1 (DITTO) is served, as before")
    store.roll_back("default", None)
    report(filled, store.run(run.id), as_json=False)
    assert capsys.readouterr().out.endswith("base is served, as before\n")
    report(filled, store.run(run.id), as_json=True)
    assert json.loads(capsys.readouterr().out) == {
        "run": run.id,
        "adapter": "b" * 64,
        "verdict": "kept",
        "recipe": "DITTO",
        "reasons": ["no"],
        "figures": {},
    }
    store.close()


LONG = "correspondence with publishers"


@pytest.fixture
def wide(home: Home) -> Home:
    """With names and sentences longer than most."""
    store = Store(home.store)
    prompt = "Write a reply to the publisher about the long delay of the third chapter."
    text = demonstration(prompt, "Dear Ann,\n\n" + "no tea today. " * 20, written_at=86400.0)
    path = f"{LONG}/archive/2024/a rather long name of a folder/message.eml"
    store.record_file(FileRow(path, LONG, 1, 1, "read", "", ("b@x.example",), {"b@x.example": 3}, 1.0), [text])
    reason = "unknown kind of file: it is a picture, and mails, texts and chat logs are read"
    store.record_file(FileRow(f"{LONG}/sea.jpeg", LONG, 1, 1, "set_aside", reason, (), {}, 1.0))
    (home.adapters / "a").mkdir()
    verdict = Verdict(True, ("it writes more like you than what is served",), {"base_nats_per_token": 4.0})
    made = Adapter("a" * 64, LONG, 0, "candidate", "a", "r", "s", "1", "t", (text.id,), 1, 1.0, None, verdict)
    store.add_adapter(made)
    store.close()
    return home


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize(
    ("command", "whole"),
    [
        ("demos list", "set aside"),
        ("adapters list", f"{LONG}@1"),
        ("status", "not running"),
        ("identities", "b@x.example"),
        ("plan", "sampling_rows"),
        ("receipts", "nothing was forgotten"),
    ],
)
def test_tables_fit_the_terminal(
    command: str, whole: str, width: int, wide: Home, dittod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    code, out, _ = dittod(*command.split())
    unbroken = ("watching", "          ", "mail from")  # paths and addresses, which are to be copied
    assert code == 0 and whole in " ".join(out.split())
    assert max(len(line) for line in out.splitlines() if not line.startswith(unbroken)) <= width


def test_nothing_is_lost_of_a_table_that_is_too_wide(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two columns of 30 characters that keep their width do not fit into 40: each row becomes lines."""
    monkeypatch.setenv("COLUMNS", "40")
    print_table(("id", "note"), [("x" * 30, "y" * 30), ("z" * 30, "")], empty="")
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [f"id    {'x' * 30}", f"note  {'y' * 30}", "", f"id  {'z' * 30}"]


def test_a_column_that_gives_way_folds_and_a_prompt_is_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    print_table(("id", "reason", "prompt"), [("1", "r" * 30, "p" * 30)], empty="")
    first, second = (line.split() for line in capsys.readouterr().out.splitlines()[1:])
    assert first[1] + second[0] == "r" * 30
    assert first[2].endswith("…") and len(first[2]) >= 16


def test_a_table_for_a_program_is_as_wide_as_it_needs_to_be(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    print_table(("file", "reason"), [("f" * 90, "[b]r[/b] " * 20)], empty="")
    assert capsys.readouterr().out.splitlines()[1].rstrip() == f"{'f' * 90}  {('[b]r[/b] ' * 20).rstrip()}"


def test_bars_say_how_long_the_rest_takes() -> None:
    """Two of eight steps took 10 s: the other six take 30."""
    now, bars = [0.0], progress_bars()
    bars.get_time = lambda: now[0]
    task = bars.add_task("steps", total=8, note="")
    (times,) = [column for column in bars.columns if isinstance(column, ProgressColumn) and "_Time" in repr(column)]
    shown = [times.render(bars.tasks[0])]
    for done in (0, 1, 2, 8):
        bars.update(task, completed=done)
        shown.append(times.render(bars.tasks[0]))
        now[0] += 5.0
    assert [str(each) for each in shown] == ["0:00", "0:00", "0:05", "0:10, 0:30 left", "0:15"]
    bars.reset(task, left="about 5 min left in all")
    assert str(times.render(bars.tasks[0])).endswith("about 5 min left in all"), "somebody knows better"
    assert [about(each) for each in (3.0, 150.0, 3600.0, 7500.0)] == [
        "about 1 min",
        "about 2 min",
        "about 1 h",
        "about 2 h 5 min",
    ]
    assert clock(30.4) == "0:30" and clock(3661.0) == "1:01:01" and clock(None) == ""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("status",), 0), (("adapters", "show", "nobody@7"), 1), (("status", "--wide"), 2), (("chatt",), 2)],
)
def test_exit_codes_are_as_documented(arguments: tuple[str, ...], code: int, home: Home, dittod) -> None:
    assert dittod(*arguments)[0] == code


def test_an_interrupt_exits_with_130(home: Home, dittod, monkeypatch: pytest.MonkeyPatch) -> None:
    def raising(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dittod.logs.read_log", raising)
    assert dittod("logs")[0] == 130


@pytest.mark.parametrize("command", ["status", "status --json", "--help"])
def test_a_reader_that_goes_away_ends_a_command_quietly(command: str, filled: Home) -> None:
    """As `| head -1` does, here before the first line."""
    reading, writing = os.pipe()
    os.close(reading)
    start = [sys.executable, "-c", "from dittod.cli import main; main()", *command.split()]
    done = subprocess.run(start, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_with_json_an_error_is_still_a_sentence_on_stderr(home: Home, dittod) -> None:
    code, out, err = dittod("demos", "show", "ffff", "--json")
    assert (code, out) == (1, "") and err.startswith("error: no demonstration begins with 'ffff'\nhint: ")
