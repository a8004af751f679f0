"""The errors a user can meet: what happened, with the value seen, and what to do about it.

    DittodError
    ├── SettingsError      a setting, flag or environment variable cannot be used
    ├── FileSetAside       one watched file cannot become demonstrations; the daemon goes on
    ├── NotFound           a profile, adapter, run or demonstration that does not exist
    ├── ModelError         the base model or an adapter cannot be loaded or used
    ├── RequestError       a request that this model cannot serve as it was asked
    ├── TooFewDemonstrations  there is not enough of the user's writing to learn from
    ├── HasChanged         what was confirmed is not what there is by now
    ├── EngineUnavailable  the engine died, is starting, or refuses work; try again later
    └── AlreadyRunning     another dittod holds this home

Each is translated once per border: the CLI prints title and hint to stderr, the service makes OpenAI's error object,
the daemon logs and stores it. Neither field may ever hold the user's text.
"""

import errno
import logging
import sys
import threading
import traceback

FULL = (errno.ENOSPC, errno.EDQUOT)


def place_of(error: BaseException) -> str:
    """The kind of an error and where it was raised, for logs: its message is left out, since it may quote a text."""
    return f"{type(error).__name__}\n{''.join(traceback.format_tb(error.__traceback__))}"


def disk_is_full(error: BaseException) -> bool:
    """Whether the disk, or the user's share of it, takes no more. A library that has no number for it says so in
    words."""
    return getattr(error, "errno", None) in FULL or any(f"os error {each}" in str(error) for each in FULL)


def keep_texts_out_of_tracebacks(log: logging.Logger) -> None:
    """What nobody caught is logged without its message, in every thread of this process."""
    sys.excepthook = lambda kind, error, _: log.critical("not caught: %s", place_of(error))
    threading.excepthook = lambda args: log.critical("not caught: %s", place_of(args.exc_value or args.exc_type()))


class DittodError(Exception):
    """Something the user can act on. `title` says what happened, `hint` what to do."""

    def __init__(self, title: str, hint: str = "") -> None:
        super().__init__(title)
        self.title = title
        self.hint = hint


class SettingsError(DittodError):
    """A setting cannot be used."""


class FileSetAside(DittodError):
    """This file is left alone, with the reason; every other file goes on."""


class NotFound(DittodError):
    """The named thing does not exist."""


class ModelError(DittodError):
    """The base model or an adapter cannot be loaded or used."""


class RequestError(DittodError):
    """A request that cannot be served as asked. `param` names the offending parameter in OpenAI's terms."""

    def __init__(self, title: str, hint: str = "", *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(title, hint)
        self.param = param
        self.code = code


class TooFewDemonstrations(DittodError):
    """An update was asked for, but there is too little to learn from."""


class HasChanged(DittodError):
    """Somebody confirmed what they were shown, and it is something else by now: nothing was done."""


class EngineUnavailable(DittodError):
    """The engine cannot answer now. `retry_after_seconds` is when to try again."""

    def __init__(self, title: str, hint: str = "", *, retry_after_seconds: float = 2.0) -> None:
        super().__init__(title, hint)
        self.retry_after_seconds = retry_after_seconds


class AlreadyRunning(DittodError):
    """Another process holds the lock of this home."""
