"""What a file would teach, shown line by line, and the watched folder read by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dittod.machine.lock import held
from dittod.paths import MARKER, Home

MAIL = """From: Bob Ray <bob@example.com>
To: Ann Lee <ann@example.com>
Subject: Re: Lunch {number}

Hi Ann,

day {number} at noon suits me well. The password: hunter{number}

Bob

Bob Ray
Acme Industries
12 High Street
Tel. +1 212 555 0100

On 5 Jan 2015, at 15:04, Ann Lee <ann@example.com> wrote:
> Can we meet for lunch?
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("DITTOD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DITTOD_SETTLE_SECONDS", "0")
    monkeypatch.setenv("COLUMNS", "140")
    return Home(tmp_path / "home")


def _fill(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(3):
        (folder / f"{number}.eml").write_text(MAIL.format(number=number))
    (folder / "other.eml").write_text(MAIL.replace("Bob Ray <bob", "Cy Roe <cy"))
    (folder / "picture.jpg").write_bytes(b"\xff\xd8\xff\xe0 no text")


def test_a_dry_run_shows_what_is_learnt_and_what_is_cut_and_stores_nothing(home: Home, dittod, tmp_path: Path) -> None:
    _fill(tmp_path / "mails")
    code, shown, _ = dittod("ingest", "--dry-run", str(tmp_path / "mails"))
    lines = [line.strip() for line in shown.splitlines()]
    assert code == 0 and not home.root.exists()
    assert 'prompt  Write a reply to this e-mail from Ann about "Lunch 0":' in lines
    assert "yours │ day 0 at noon suits me well. The password: [masked password]" in lines
    assert "signature ┆ Acme Industries" in lines and "quoted ┆ > Can we meet for lunch?" in lines
    assert "nothing is learnt from it: not sent by the user" in lines
    assert any(line.startswith("picture.jpg") and "set aside" in line for line in lines)
    assert lines[-1] == "mail counts as yours from bob@example.com"


def test_a_dry_run_for_programs_has_every_document(home: Home, dittod, tmp_path: Path) -> None:
    _fill(tmp_path / "mails")
    value = json.loads(dittod("ingest", "--dry-run", "--json", str(tmp_path / "mails"))[1])
    first = value["documents"][0]
    assert (first["file"], first["kind"], first["masked"]) == ("0.eml", "reply", {"password": 1})
    assert first["completion"].endswith("Bob") and [12, "attribution"] in first["removed"]
    assert {each["file"]: each["demonstrations"] for each in value["files"]} == {
        "0.eml": 1, "1.eml": 1, "2.eml": 1, "other.eml": 0, "picture.jpg": 0}  # fmt: skip


def test_the_watched_folder_is_read_by_hand_where_no_daemon_runs(home: Home, dittod) -> None:
    assert dittod("init")[0] == 0
    _fill(home.watched / "email")
    code, shown, _ = dittod("ingest")
    assert code == 0 and "profile email: 3 demonstrations" in shown
    value = json.loads(dittod("ingest", "--json")[1])
    assert value["demonstrations"] == {"email": 3}
    masked = {each["path"]: each["masked"] for each in value["files"]}
    assert masked["email/0.eml"] == {"password": 1}
    assert (home.watched / MARKER).exists()


def test_changed_settings_count_without_any_changed_file(home: Home, dittod, monkeypatch: pytest.MonkeyPatch) -> None:
    dittod("init")
    _fill(home.watched)
    dittod("ingest")
    monkeypatch.setenv("DITTOD_SECRETS", '["noon suits"]')
    dittod("ingest")
    texts = [each["completion"] for each in json.loads(dittod("demos", "list", "--json")[1])["demonstrations"]]
    assert len(texts) == 3 and all("[masked] me well" in text for text in texts)
    monkeypatch.setenv("DITTOD_IDENTITIES", '["cy@example.com"]')
    assert json.loads(dittod("ingest", "--json")[1])["demonstrations"] == {"default": 1}


def test_with_a_daemon_running_the_folder_is_left_to_it(home: Home, dittod) -> None:
    home.create()
    with held(home.lock):
        code, _, said = dittod("ingest")
    assert code == 1 and "reads the folder by itself" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--dry-run",), "no file or folder was named"),
        (("--dry-run", "/nowhere/at/all"), "there is no /nowhere/at/all"),
        (("/tmp",), "put it into the watched folder"),
    ],
)
def test_what_cannot_be_read_is_refused(home: Home, dittod, arguments: tuple[str, ...], said: str) -> None:
    code, _, error = dittod("ingest", *arguments)
    assert code == 1 and said in error
