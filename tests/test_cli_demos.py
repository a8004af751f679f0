"""What the user changes about demonstrations and identities at the command line."""

from __future__ import annotations

import io
import json
import stat
from pathlib import Path

import pytest
from fakes import demonstration

from dittod.config import load_settings
from dittod.ingest.demonstrations import Owner, demonstrations_of
from dittod.ingest.readers import read
from dittod.paths import Home
from dittod.rows import FileRow
from dittod.store import Store

TEXTS = [demonstration(f"Write about {name}.", f"Some words on {name} and me.", written_at=day * 86400.0)
         for day, name in enumerate(("tea", "rain", "cats", "boats"))]  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("DITTOD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "160")
    made = Home(tmp_path / "home")
    made.create()
    store = Store(made.store)
    row = FileRow("a.mbox", "default", 1, 1, "read", "", ("bob@x.org",), {"bob@x.org": 9, "ann@x.org": 2}, 1.0)
    store.record_file(row, TEXTS)
    store.close()
    return made


def _listed(dittod) -> dict[str, dict[str, object]]:
    return {each["completion"]: each for each in json.loads(dittod("demos", "list", "--json")[1])["demonstrations"]}


def test_the_list_says_what_the_next_update_does_with_each_and_why(home: Home, dittod) -> None:
    table = dittod("demos", "list")[1]
    assert [line.split()[5:7] for line in table.splitlines()[1:3]] == [["learn", "Write"], ["learn", "Write"]]
    assert "hold out" in table.splitlines()[4]
    assert _listed(dittod)[TEXTS[3].completion]["reason"] == "held out: among the latest"


def test_an_edited_prompt_is_kept_with_its_template_and_can_go_back(home: Home, dittod) -> None:
    code, _, said = dittod("demos", "edit", TEXTS[0].id[:8], "--prompt", " My own words. ")
    edited = _listed(dittod)[TEXTS[0].completion]
    assert code == 0 and said.startswith(str(edited["id"])[:8])
    assert (edited["prompt"], edited["prompt_by"], edited["template"]) == (
        "My own words.", "user", "Write about tea.")  # fmt: skip
    shown = dittod("demos", "show", str(edited["id"])[:8])[1]
    assert "prompt, by the user\nMy own words." in shown and "prompt of the template\nWrite about tea." in shown
    dittod("demos", "edit", str(edited["id"])[:8], "--template")
    assert _listed(dittod)[TEXTS[0].completion]["id"] == TEXTS[0].id


def test_two_ways_to_a_prompt_at_once_are_refused(home: Home, dittod) -> None:
    assert dittod("demos", "edit", TEXTS[0].id[:8], "--template", "--prompt", "x")[0] == 1


def test_a_secret_in_an_edited_prompt_is_masked(home: Home, dittod) -> None:
    said = dittod("demos", "edit", TEXTS[0].id[:8], "--prompt", "Tell Ann the password: hunter2")[2]
    assert "masked in it: 1" in said
    assert _listed(dittod)[TEXTS[0].completion]["prompt"] == "Tell Ann the password: [masked password]"


def test_the_editor_gets_a_private_file_that_is_gone_afterwards(
    home: Home, dittod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor = tmp_path / "editor.sh"
    editor.write_text(f'#!/bin/sh\nls -l "$1" > {tmp_path}/seen\ncat "$1" >> {tmp_path}/seen\necho Changed. > "$1"\n')
    editor.chmod(0o700)
    monkeypatch.setenv("VISUAL", str(editor))
    assert dittod("demos", "edit", TEXTS[1].id[:8])[0] == 0
    seen = (tmp_path / "seen").read_text()
    assert seen.startswith("-rw-------") and "Write about rain." in seen
    assert _listed(dittod)[TEXTS[1].completion]["prompt"] == "Changed."
    assert not list((home.root / "editing").iterdir())


def test_an_editor_that_fails_or_leaves_nothing_changes_nothing(
    home: Home, dittod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISUAL", "false")
    code, _, said = dittod("demos", "edit", TEXTS[1].id[:8])
    assert code == 1 and "'false' did not end well" in said and not list((home.root / "editing").iterdir())
    assert dittod("demos", "edit", TEXTS[1].id[:8], "--prompt", " ")[0] == 1
    assert _listed(dittod)[TEXTS[1].completion]["prompt"] == "Write about rain."


def test_excluded_ones_are_left_aside_until_they_are_included(home: Home, dittod) -> None:
    assert dittod("demos", "exclude", TEXTS[0].id[:8], TEXTS[3].id[:8])[0] == 0
    found = _listed(dittod)
    assert [found[each.completion]["excluded"] for each in TEXTS] == [True, False, False, True]
    assert found[TEXTS[0].completion]["reason"] == "excluded by you"
    assert "excluded" in dittod("demos", "list")[1].splitlines()[1]
    dittod("demos", "include", TEXTS[0].id[:8])
    assert _listed(dittod)[TEXTS[0].completion]["excluded"] is False


def test_a_name_that_fits_none_or_several_changes_nothing(home: Home, dittod) -> None:
    code, _, said = dittod("demos", "exclude", TEXTS[0].id[:8], "zzz")
    assert code == 1 and "no demonstration begins with 'zzz'" in said and "hint: list them" in said
    assert not _listed(dittod)[TEXTS[0].completion]["excluded"]


def test_an_added_pair_is_a_private_file_in_the_watched_folder_that_reads_back(
    home: Home, dittod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = 'Say "no": kindly, in two\nlines — ü'
    monkeypatch.setattr("sys.stdin", io.StringIO("No, thank you very much indeed.\nBob\n"))
    code, printed, _ = dittod("demos", "add", "--prompt", prompt, "--profile", "notes")
    path = Path(printed.splitlines()[0])
    assert code == 0 and path.parent == home.watched / "notes"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and len(list(path.parent.iterdir())) == 1
    [pair] = [demonstrations_of(each, Owner()).demonstrations[0] for each in read(path)]
    assert (pair.prompt, pair.completion) == (prompt, "No, thank you very much indeed.\nBob")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--prompt", " "), "needs a prompt and a text"),
        (("--prompt", "x", "--profile", "../out"), "'../out' cannot be a profile"),
        (("--prompt", "x", "/nowhere/at/all.txt"), "cannot be read as text"),
    ],
)
def test_what_cannot_be_added_is_refused(
    home: Home, dittod, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("Some text."))
    code, _, error = dittod("demos", "add", *arguments)
    assert code == 1 and said in error


def test_guessed_identities_are_shown_and_confirmed_into_the_settings(home: Home, dittod) -> None:
    shown = dittod("identities")[1]
    assert shown.splitlines()[1].split() == ["bob@x.org", "9", "yes"]
    assert shown.splitlines()[2].split() == ["ann@x.org", "2", "no"] and "--confirm keeps it" in shown
    home.settings.write_text("# mine\nport = 1\n[learner]\ndpo_steps = 3\n")
    assert dittod("identities", "--confirm")[0] == 0
    settings = load_settings(home)
    assert (settings.identities, settings.port, settings.learner) == (("bob@x.org",), 1, {"dpo_steps": 3.0})
    assert "# mine" in home.settings.read_text() and stat.S_IMODE(home.settings.stat().st_mode) == 0o600
    code, _, said = dittod("identities", "--confirm")
    assert code == 1 and "set already: bob@x.org" in said


def test_confirmed_identities_stand_below_the_line_that_shows_them(home: Home, dittod) -> None:
    """As `dittod init` writes them, which is the only way to write settings."""
    dittod("init", "--yes")
    assert dittod("identities", "--confirm")[0] == 0
    lines = home.settings.read_text().splitlines()
    place = lines.index('identities = ["bob@x.org"]')
    assert lines[place - 1].startswith("# identities = ") and lines[place + 1].startswith("# watched_folder = ")


def test_nobody_is_confirmed_where_nobody_was_guessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dittod) -> None:
    monkeypatch.setenv("DITTOD_HOME", str(tmp_path / "empty"))
    assert "no mail has been read yet" in dittod("identities")[1]
    code, _, said = dittod("identities", "--confirm")
    assert code == 1 and "nobody to confirm" in said
