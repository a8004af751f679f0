"""`dittod logs`: the file of the home, whoever wrote it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Command

from dittod.paths import Home

START = "from dittod.cli import main; main()"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("DITTOD_HOME", str(tmp_path / "home"))
    made = Home(tmp_path / "home")
    made.create()
    return made


def line(number: int) -> str:
    return json.dumps({"time": f"2026-01-0{number}T10:00:00+00:00", "level": "INFO", "message": f"line [b]{number}"})


@pytest.fixture
def written(home: Home) -> Path:
    log = home.logs / "dittod.log"
    log.write_text("".join(line(number) + "\n" for number in (1, 2, 3)))
    return log


def test_the_latest_lines_are_shown_as_sentences(written: Path, dittod: Command) -> None:
    said = dittod("logs", "-n", "2")[1].splitlines()
    assert [each.partition(" INFO ")[2] for each in said] == ["line [b]2", "line [b]3"]
    assert len(dittod("logs")[1].splitlines()) == 3


def test_json_is_the_lines_of_the_file(written: Path, dittod: Command) -> None:
    assert dittod("logs", "-n", "2", "--json")[1].splitlines() == [line(2), line(3)]


def test_a_home_without_any_is_said_on_stderr(home: Home, dittod: Command) -> None:
    assert dittod("logs") == (0, "", "nothing is logged yet: dittod run\n")


@pytest.mark.parametrize(("options", "shown"), [((), "2026-01-04"), (("--json",), line(4))])
def test_following_shows_what_comes_until_it_is_interrupted(
    options: tuple[str, ...], shown: str, written: Path
) -> None:
    command = [sys.executable, "-c", START, "logs", "-f", "-n", "1", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        assert process.stdout is not None
        assert "line [b]3" in process.stdout.readline()
        with written.open("a") as log:
            log.write(line(4) + "\n")
        assert shown in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130


def test_they_are_no_part_of_service_any_more(dittod: Command) -> None:
    assert dittod("service", "logs")[0] == 2
