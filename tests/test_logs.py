"""The log: structured, private, bounded, without content, and never a reason to stop."""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import stat
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest

from dittod import logs
from dittod.errors import DittodError
from dittod.logs import LogFile, follow, for_people, log_to_file, log_to_stderr, read_log
from dittod.paths import Home

SECRET = "the heron flies at dusk"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.create()
    return made


def _lines(home: Home) -> list[dict[str, object]]:
    return [json.loads(line) for line in (home.logs / "dittod.log").read_text().splitlines()]


def test_a_line_is_one_json_object_with_a_time_that_has_a_zone(home: Home) -> None:
    log_to_file(home)
    logging.getLogger("dittod").info("run %s of profile %s", "1", "mail")
    (line,) = _lines(home)
    assert {key: line[key] for key in ("level", "logger", "process", "message")} == {
        "level": "INFO",
        "logger": "dittod",
        "process": "daemon",
        "message": "run 1 of profile mail",
    }
    assert str(line["time"])[-6] in "+-" and line["pid"] == os.getpid()


def test_an_error_of_ours_is_logged_with_what_to_do_and_any_other_by_its_place_alone(home: Home) -> None:
    log_to_file(home)
    for error in (DittodError("no room", "delete something"), ValueError(SECRET)):
        try:
            raise error
        except Exception:
            logging.getLogger("dittod").exception("it failed")
    ours, other = _lines(home)
    assert (ours["title"], ours["hint"]) == ("no room", "delete something")
    assert "ValueError" in str(other["message"]) and "test_logs.py" in str(other["message"])
    assert SECRET not in (home.logs / "dittod.log").read_text()


def test_of_a_librarys_words_only_the_place_is_kept_and_only_of_warnings(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    log_to_stderr()
    log_to_file(home)
    library = logging.getLogger("somelib.deep")
    library.info("reads %s", SECRET)
    library.warning("cannot read %s", SECRET)
    logging.getLogger("uvicorn.error").error("Cancel %s running task(s), timeout graceful shutdown exceeded", 2)
    (line,) = _lines(home)
    assert str(line["message"]).startswith("somelib.deep said something at test_logs.py:")
    shown = capsys.readouterr().err
    assert "somelib.deep said something" in shown and shown.count("\n") == 1
    assert SECRET not in shown + str(line)


def test_a_warning_is_logged_by_kind_and_place(home: Home) -> None:
    log_to_file(home)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = logs._log_warning
        warnings.warn(SECRET, UserWarning, stacklevel=1)
        warnings.warn(SECRET, FutureWarning, stacklevel=1)
    (line,) = _lines(home)
    assert str(line["message"]).startswith("UserWarning at test_logs.py:")


def test_a_full_file_is_kept_beside_and_the_oldest_is_dropped(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MOST_BYTES", 1000)
    log_to_file(home)
    for number in range(100):
        logging.getLogger("dittod").info("line %d", number)
    files = sorted(home.logs.iterdir())
    assert [path.name for path in files] == ["dittod.log", *(f"dittod.log.{number}" for number in (1, 2, 3, 4))]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert all(path.stat().st_size <= 1300 for path in files)
    shown = read_log(home, 1000)
    numbers = [int(line.rsplit(" ", 1)[1]) for line in shown]
    assert numbers == list(range(numbers[0], 100)) and numbers[0] > 0


def test_a_file_that_others_could_read_is_made_private(home: Home) -> None:
    (home.logs / "dittod.log").touch(0o644)
    log_to_file(home)
    assert stat.S_IMODE((home.logs / "dittod.log").stat().st_mode) == 0o600


def test_who_has_the_file_open_writes_to_it_after_it_was_rotated(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MOST_BYTES", 10)
    file = LogFile(home.logs / "engine.log")
    descriptor = file.open()
    os.write(descriptor, b"abort: long ago\n")
    file.rotate_if_full()
    os.write(descriptor, b"abort: now\n")
    os.close(descriptor)
    assert (home.logs / "engine.log").read_bytes() == b"abort: now\n"
    assert (home.logs / "engine.log.1").read_bytes() == b"abort: long ago\n"


def test_a_disk_without_room_is_said_once_and_stops_nothing(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log_to_file(home)
    write, room = os.write, False

    def full(descriptor: int, data: bytes) -> int:
        if not room:
            raise OSError(28, "No space left on device")
        return write(descriptor, data)

    monkeypatch.setattr(logs.os, "write", full)
    logging.getLogger("dittod").info("lost")
    logging.getLogger("dittod").info("lost too")
    assert capsys.readouterr().err == "the log cannot be written: No space left on device\n"
    room = True
    logging.getLogger("dittod").info("there")
    assert [line["message"] for line in _lines(home)] == ["there"]


def test_half_a_line_does_not_spoil_the_next(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    log_to_file(home)
    write = os.write
    monkeypatch.setattr(logs.os, "write", lambda descriptor, data: write(descriptor, data[:20]))
    logging.getLogger("dittod").info("cut off")
    monkeypatch.setattr(logs.os, "write", write)
    logging.getLogger("dittod").info("whole")
    last = (home.logs / "dittod.log").read_text().splitlines()[-1]
    assert json.loads(last)["message"] == "whole"


def test_a_folder_that_cannot_be_written_is_no_reason_to_stop(home: Home) -> None:
    home.logs.rmdir()
    log_to_file(home)
    logging.getLogger("dittod").info("to nowhere")


def test_a_log_that_was_removed_is_there_again_with_the_next_line_and_so_are_crashes(home: Home) -> None:
    log = home.logs / "dittod.log"
    log_to_file(home)
    logging.getLogger("dittod").info("one")
    for kept in (log.unlink, lambda: log.rename(home.logs / "moved")):
        kept()
        logging.getLogger("dittod").info("two")
        assert [line["message"] for line in _lines(home)] == ["two"]
        assert stat.S_IMODE(log.stat().st_mode) == 0o600
    faulthandler.dump_traceback(logging.getLogger().handlers[-1].descriptor)  # type: ignore[attr-defined]
    assert "test_logs.py" in log.read_text()


def test_a_log_that_could_not_be_made_at_the_start_is_made_when_it_can_be(home: Home) -> None:
    home.logs.rmdir()
    log_to_file(home)
    logging.getLogger("dittod").info("to nowhere")
    home.logs.mkdir()
    logging.getLogger("dittod").info("there")
    assert [line["message"] for line in _lines(home)] == ["there"]


def test_a_terminal_that_was_closed_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w", buffering=1) as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        log_to_stderr()
        logging.getLogger("dittod").info("nobody reads this")
        monkeypatch.undo()
        os.dup2(os.open(os.devnull, os.O_WRONLY), write)  # so that closing it finds somewhere to write to


def test_the_engine_says_the_same_lines_and_crashes_into_its_file(tmp_path: Path) -> None:
    code = (
        "import faulthandler, logging, os\n"
        "from dittod.logs import log_as_engine\n"
        "log_as_engine()\n"
        "logging.getLogger('dittod.engine').info('ready')\n"
        f"logging.getLogger('torch').warning({SECRET!r})\n"
        "faulthandler._sigsegv()\n"
    )
    with (tmp_path / "engine.log").open("wb") as file:
        subprocess.run([sys.executable, "-c", code], stderr=file, check=False, timeout=50)
    first, second, *rest = (tmp_path / "engine.log").read_text().splitlines()
    assert json.loads(first)["process"] == "engine" and json.loads(first)["message"] == "ready"
    assert json.loads(second)["message"].startswith("torch said something at")
    assert any(line.startswith("Fatal Python error: Segmentation fault") for line in rest)
    assert SECRET not in "".join(rest).replace(repr(SECRET), "")


def test_the_daemon_crashes_into_its_file_which_is_shown_as_it_stands(home: Home) -> None:
    code = (
        "import faulthandler, sys\n"
        "from pathlib import Path\n"
        "from dittod import logs, paths\n"
        "logs.log_to_file(paths.Home(Path(sys.argv[1])))\n"
        "faulthandler._sigabrt()\n"
    )
    subprocess.run([sys.executable, "-c", code, str(home.root)], check=False, timeout=50)
    assert read_log(home, 100)[0] == "Fatal Python error: Aborted"


def test_lines_are_read_as_people_read_them(home: Home) -> None:
    log_to_file(home)
    for number in range(5):
        logging.getLogger("dittod").warning("number %d", number)
    with (home.logs / "dittod.log").open("a") as file:
        file.write("Fatal Python error: Aborted\n")
    *_, last_but_one, last = read_log(home, 3)
    assert last_but_one.endswith("WARNING number 4") and last == "Fatal Python error: Aborted"
    assert len(read_log(home, 3)) == 3 and read_log(home, 0) == []


def test_without_a_log_there_is_nothing_to_read(home: Home) -> None:
    assert read_log(home, 10) == []


@pytest.mark.parametrize("line", ["", "{", "[]", '{"time": 1}', '{"time": "x", "level": "INFO", "message": "m"}'])
def test_a_line_that_is_not_ours_is_shown_as_it_stands(line: str) -> None:
    assert for_people(line) == line


def test_a_log_that_grows_and_rotates_is_followed(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "POLL_SECONDS", 0.001)
    log_to_file(home)
    logging.getLogger("dittod").info("before")
    stopped = threading.Event()
    lines = follow(home, stopped)
    found: list[str] = []
    reading = threading.Thread(target=lambda: found.extend(lines))
    reading.start()
    try:
        _until(lambda: reading.is_alive())
        for number in range(3):
            logging.getLogger("dittod").info("news %d, which is a longer line", number)
            _until(lambda number=number: len(found) == number + 1)
        with (home.logs / "dittod.log").open("r+") as file:
            file.truncate(0)
        logging.getLogger("dittod").info("rotated")
        _until(lambda: len(found) == 4)
    finally:
        stopped.set()
        reading.join()
    assert [line.split(" INFO ")[1] for line in found] == [
        *(f"news {number}, which is a longer line" for number in range(3)),
        "rotated",
    ]


def _until(condition: object) -> None:
    assert callable(condition)
    for _ in range(5000):
        if condition():
            return
        threading.Event().wait(0.002)
    raise AssertionError("waited too long")
