"""Fixtures that several folders of tests share."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes import make_tiny_model

from dittod.cli import main

Command = Callable[..., tuple[int, str, str]]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what it puts into the background
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random two-layer model over bytes. Read it; never write into it."""
    return make_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def dittod(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command of the command line. Returns its exit code, stdout and stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["dittod", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return run


@pytest.fixture(autouse=True)
def logging_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A command that was run in this process logs as a process of its own would: to everywhere, until its end."""
    monkeypatch.setattr("dittod.logs.faulthandler.enable", lambda file: None)  # pytest has its own
    root = logging.getLogger()
    handlers, level, raises, shows = list(root.handlers), root.level, logging.raiseExceptions, warnings.showwarning
    hooks = sys.excepthook, threading.excepthook
    yield
    for handler in [each for each in root.handlers if each not in handlers]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)
    logging.raiseExceptions, warnings.showwarning = raises, shows
    sys.excepthook, threading.excepthook = hooks
