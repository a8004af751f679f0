"""The log: one JSON object a line in private files that rotate, sentences for people at the terminal and the journal.

No content, of nobody. The daemon's own messages hold none; of other libraries' only the place is kept, and of
exceptions only kind and place, since their messages may quote a text. Knows nothing of what is logged.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import logging
import os
import shutil
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TextIO

from dittod.errors import DittodError, keep_texts_out_of_tracebacks, place_of
from dittod.paths import Home

MOST_BYTES = 2**20  # of one file
KEPT = 4  # older files beside it: name.1 is the youngest
POLL_SECONDS = 0.2  # between two looks at a log that is followed
OURS = ("dittod", "dittod_service")
NOISE = (  # beginnings of messages that tell nobody anything
    "Cancel %s running task(s)",  # uvicorn, when answers are cut off at the end
    "Failed to load CPU gemm_4bit_forward",  # bitsandbytes, which then computes without it
)
QUIET = ("apscheduler", "dittod.scheduler", "uvicorn.error")  # loggers of which only warnings count


class LogFile:
    """A file that only its user can read, and that makes room for itself when it is full.

    Unless somebody else removes it, it stays the same file: what it held is copied beside it. So whoever has it open, a
    crashing interpreter say or another process at its end, goes on to write to where it is looked for.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self) -> int:
        """For writing at its end. Where it cannot be made, what is written goes nowhere: no log, no reason to stop."""
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError:
            return os.open(os.devnull, os.O_WRONLY)
        if os.name != "nt":
            os.fchmod(descriptor, 0o600)
        return descriptor

    def is_open_as(self, descriptor: int) -> bool:
        """Whether what is written there is found at its path: nobody has removed it, and it could be made."""
        try:
            return os.path.samestat(self.path.stat(), os.fstat(descriptor))
        except OSError:
            return False

    def rotate_if_full(self) -> None:
        """On a full disk the old lines are dropped rather than kept."""
        with contextlib.suppress(OSError):
            if self.path.stat().st_size < MOST_BYTES:
                return
            with contextlib.suppress(OSError):
                self._copy()
            os.truncate(self.path, 0)

    def _copy(self) -> None:
        for number in range(KEPT - 1, 0, -1):
            with contextlib.suppress(FileNotFoundError):
                self._older(number).replace(self._older(number + 1))
        descriptor = os.open(self._older(1), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as copy, self.path.open("rb") as full:
            shutil.copyfileobj(full, copy)

    def _older(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")


class _ToFile(logging.Handler):
    """Whole lines into a LogFile. What cannot be written, on a full disk say, is lost; that is said once."""

    def __init__(self, file: LogFile, process: str) -> None:
        super().__init__()
        self.setFormatter(_Structured(process))
        self._file = file
        self.descriptor = file.open()
        self._is_torn = False  # the last line was not written to its end
        self._has_complained = False

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record).encode("utf-8", "replace") + b"\n"
        try:
            self._find_again()
            self._file.rotate_if_full()
            written = os.write(self.descriptor, b"\n" + line if self._is_torn else line)
            self._is_torn = written < len(line)
            self._has_complained = False
        except OSError as error:
            self._complain(error)

    def _find_again(self) -> None:
        """The descriptor keeps its number: a crashing interpreter writes to it too."""
        if not self._file.is_open_as(self.descriptor):
            found = self._file.open()
            os.dup2(found, self.descriptor, inheritable=False)
            os.close(found)
            self._is_torn = False

    def _complain(self, error: OSError) -> None:
        if not self._has_complained:
            self._has_complained = True
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write(f"the log cannot be written: {error.strerror}\n")

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
        super().close()


class _ToStream(logging.StreamHandler[TextIO]):
    """To a terminal or the journal. One that is gone, such as a terminal that was closed, is no fault."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Nowhere to say it."""


class _Structured(logging.Formatter):
    """One JSON object a line."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        values: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "process": self._process,
            "pid": record.process,
            "message": message_of(record),
        }
        if isinstance(error := _error_of(record), DittodError):
            values |= {"title": error.title, "hint": error.hint}
        return json.dumps(values, ensure_ascii=False)


class _Sentence(logging.Formatter):
    """For people."""

    def format(self, record: logging.LogRecord) -> str:
        return f"{self.formatTime(record)} {record.levelname} {message_of(record)}"


def message_of(record: logging.LogRecord) -> str:
    """What may be kept of it: our own words, or the place where somebody else spoke."""
    if record.name.split(".")[0] not in OURS:
        return f"{record.name} said something at {Path(record.pathname).name}:{record.lineno}"
    message = record.getMessage()
    match _error_of(record):
        case None:
            return message
        case DittodError() as error:
            return f"{message}: {error.title}; {error.hint}"
        case error:
            return f"{message}: {place_of(error)}"


def _error_of(record: logging.LogRecord) -> BaseException | None:
    return record.exc_info[1] if record.exc_info else None


def _tells_something(record: logging.LogRecord) -> bool:
    if record.name.split(".")[0] in OURS and record.name not in QUIET:
        return True
    return record.levelno >= logging.WARNING and not str(record.msg).startswith(NOISE)


def log_to_stderr() -> None:
    """Times, levels and sentences without content."""
    handler = _ToStream(sys.stderr)
    handler.setFormatter(_Sentence())
    _take(handler)
    keep_texts_out_of_tracebacks(logging.getLogger("dittod"))


def log_to_file(home: Home) -> None:
    """What the daemon says, and where it crashed if the interpreter does."""
    handler = _ToFile(LogFile(home.logs / "dittod.log"), "daemon")
    _take(handler)
    faulthandler.enable(handler.descriptor)


def log_as_engine() -> None:
    """In the engine, whose stderr is a file: its log, torch's words, and where it crashed. The parent rotates it."""
    handler = _ToStream(sys.stderr)
    handler.setFormatter(_Structured("engine"))
    _take(handler)
    faulthandler.enable(sys.stderr)


def _take(handler: logging.Handler) -> None:
    """Everything that any logger says goes through here."""
    logging.raiseExceptions = False  # a log that cannot be written ends nothing
    handler.addFilter(_tells_something)
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    warnings.showwarning = _log_warning


def _log_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Its message and its line of code are left out. What a library will do one day concerns nobody here."""
    if issubclass(category, FutureWarning | DeprecationWarning | PendingDeprecationWarning):
        return
    logging.getLogger("dittod").warning("%s at %s:%d", category.__name__, Path(filename).name, lineno)


def read_log(home: Home, lines: int, *, raw: bool = False) -> list[str]:
    """The latest lines of the daemon's log for people, or `raw` as they stand in it, the oldest first."""
    found: list[str] = []
    log = home.logs / "dittod.log"
    for path in (log, *(log.with_name(f"{log.name}.{number}") for number in range(1, KEPT + 1))):
        if len(found) >= lines:
            break
        with contextlib.suppress(FileNotFoundError):
            found = path.read_text("utf-8", "replace").splitlines() + found
    latest = found[-lines:] if lines else []
    return latest if raw else [for_people(line) for line in latest]


def follow(home: Home, stopped: threading.Event | None = None, *, raw: bool = False) -> Iterator[str]:
    """Lines for people, or `raw`, as they are written from now on, until `stopped`."""
    log = home.logs / "dittod.log"
    lines = _grown(log, log.stat().st_size if log.exists() else 0, stopped)
    return lines if raw else map(for_people, lines)


def _grown(log: Path, place: int, stopped: threading.Event | None) -> Iterator[str]:
    rest = b""
    while stopped is None or not stopped.is_set():
        news, place = _read_on(log, place)
        *whole, rest = (rest + news).split(b"\n")
        yield from (line.decode("utf-8", "replace") for line in whole if line)
        if not news:
            time.sleep(POLL_SECONDS)


def _read_on(log: Path, place: int) -> tuple[bytes, int]:
    """What was written after that place, and where it ends. A file that has become shorter was rotated."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(place if place <= size else 0)
            news = file.read()
            return news, file.tell()
    except FileNotFoundError:
        return b"", 0


def for_people(line: str) -> str:
    """A line of the log as it is read; one that is no JSON, from a crash say, as it stands."""
    try:
        values = json.loads(line)
        moment = datetime.fromisoformat(values["time"]).strftime("%Y-%m-%d %H:%M:%S")
        return f"{moment} {values['level']} {values['message']}"
    except (ValueError, KeyError, TypeError):
        return line
