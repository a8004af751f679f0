"""The parent's handle on the process that reads files: started on demand, timed, replaced, ended when idle.

Knows the process, its pipes and its limits; the messages are `ingest.reading`'s. Does not know the watched folder nor
the store. What the child sends is data: nothing of it is logged but where in the code a reader failed.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from dittod.errors import DittodError, FileSetAside
from dittod.ingest.demonstrations import Owner, Result
from dittod.ingest.mail import Cut
from dittod.ingest.reading import EXIT_OUT_OF_MEMORY, LARGEST_ANSWER_BYTES, MOST_MEMORY_BYTES, Order, encode_order
from dittod.types import Demonstration, Document

log = logging.getLogger("dittod")

COMMAND = (sys.executable, "-P", "-m", "dittod.ingest.reading")  # -P: nothing is imported from the current folder
LONGEST_SECONDS = 60.0  # for one Document
IDLE_SECONDS = 60.0  # without a file until the memory goes back
GUARD_SECONDS = 0.5  # between two looks at time and memory
MOST_DEATHS = 16  # in one file
_GROWN_BYTES = 160 * 2**20  # a child that holds more at a file's end is replaced


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one Document. Of a mail that could not be read, the result's reason says why."""

    result: Result  # its cut only where `detail` was asked for
    sender: str = ""  # the address alone
    removed: Mapping[str, int] = field(default_factory=dict[str, int])  # lines that are not the user's, by reason
    document: Document | None = None  # where `detail` was asked for


class NotNow(FileSetAside):
    """The file cannot be read at the moment; another time it may be."""


class ReaderClosed(Exception):
    """Somebody called `close` while a file was read. Says nothing about the file."""


class _Died(Exception):
    """The child has ended, or was ended; the message says why, for people."""


class Reader:
    """One child process, or none. One file is read at a time; `close` may be called from any thread."""

    def __init__(
        self,
        command: Sequence[str] = COMMAND,
        longest_seconds: float = LONGEST_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._command = command
        self._longest_seconds = longest_seconds
        self._idle_seconds = idle_seconds
        self._lock = threading.RLock()  # over which process there is, and whether it is at work
        self._process: subprocess.Popen[bytes] | None = None
        self._owner: Owner | None = None  # what the process was told
        self._at_work = False  # a file is being read
        self._awaited = False  # and the next answer is the child's to give
        self._since = 0.0  # monotonic seconds: when that began
        self._why = ""  # this side ended it
        self._closed = False

    @property
    def pid(self) -> int | None:
        """Of the child, if there is one."""
        process = self._process
        return process.pid if process is not None else None

    def read(self, path: Path, owner: Owner, *, start: int = 0, detail: bool = False) -> Iterator[Answer]:
        """An Answer for each Document in the file, of an mbox from byte `start` on. Raises FileSetAside with the reason
        when there is none to give.

        A Document that ends the child, or takes too long, costs itself: the child is replaced and told to go on behind
        it. Only where it does not even come so far, the whole file is set aside."""
        order = Order(os.fspath(path), "explain" if detail else "learn", start, owner=owner)
        whole, deaths, last = 0, 0, ""
        while True:
            before, skipped = order.skip, 0
            try:
                for answer in self._documents(order):
                    if answer is None:
                        skipped += 1
                        continue
                    whole += 1
                    order = replace(order, skip=order.skip + 1)
                    yield answer
            except _Died as death:
                deaths, last = deaths + 1, str(death)
                is_stuck = skipped < before  # not even the one that ended it before could be passed
                if is_stuck or deaths == MOST_DEATHS:
                    number = order.skip + (not is_stuck)
                    raise FileSetAside(f"{death} at number {number} in the file", _WHOLE) from None
                order = replace(order, skip=order.skip + 1)
                yield Answer(Result(reason=f"not read: {death}"))
                continue
            if deaths and not whole:
                raise FileSetAside(last, _WHOLE)
            return

    def survey(self, path: Path, most: int) -> Iterator[Answer]:
        """Sender and tail of the first Documents, whoever wrote them. Ends at whatever is wrong with the file: reading
        it in earnest says so."""
        with suppress(_Died, FileSetAside):
            yield from filter(None, self._documents(Order(os.fspath(path), "survey", most=most)))

    def close(self) -> None:
        """End the child. A file that is being read raises ReaderClosed there."""
        with self._lock:
            self._closed = True
            self._end("closed")
            if not self._at_work:
                self._bury()

    def _documents(self, order: Order) -> Iterator[Answer | None]:
        """None for a Document that is skipped. Raises _Died, FileSetAside and ReaderClosed."""
        try:
            process = self._take(order)
            while not (message := _read_message(self._line(process))).get("end"):
                if "place" in message:
                    log.error("a reader failed: %s", message["place"])
                if "set_aside" in message:
                    raise (NotNow if message.get("passing") else FileSetAside)(*message["set_aside"])
                if not message:
                    yield None
                elif "result" in message:
                    yield _answer(message)
        except GeneratorExit:  # nobody wants the rest
            self._end("not needed")
            raise
        except (KeyError, TypeError, ValueError):
            self._end(_NONSENSE)
            raise _Died(_NONSENSE) from None
        finally:
            self._leave()

    # --- the process ---

    def _take(self, order: Order) -> subprocess.Popen[bytes]:
        """A running child that has heard the order."""
        with self._lock:
            self._at_work = True
            process, fresh = self._process, False
            if process is None or process.poll() is not None:
                process, fresh = self._start(), True
        if fresh:
            self._hear_ready(process)
        told = order.owner if order.owner != self._owner else None
        assert process.stdin is not None
        with suppress(OSError):  # it died: the first look for an answer says so
            process.stdin.write(encode_order(replace(order, owner=told)))
            process.stdin.flush()
        self._owner = order.owner or self._owner
        return process

    def _hear_ready(self, process: subprocess.Popen[bytes]) -> None:
        """No file is to blame for a child that does not come up."""
        try:
            _read_message(self._line(process))
        except (_Died, ValueError) as death:
            raise DittodError(f"the process that reads files does not start: {death}", "it is tried again") from None

    def _start(self) -> subprocess.Popen[bytes]:
        if self._closed:
            raise ReaderClosed
        self._bury()
        try:
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C reaches the parent alone
            )
        except OSError as error:
            raise DittodError(f"no process to read files with: {error.strerror}", "it is tried again") from error
        self._process, self._owner, self._why = process, None, ""
        threading.Thread(target=self._guard, args=(process,), name="reader", daemon=True).start()
        return process

    def _line(self, process: subprocess.Popen[bytes]) -> bytes:
        """The next message. The guard ends a child that keeps silent, so this never waits for ever."""
        assert process.stdout is not None
        if self._closed:  # whatever the pipe still holds
            raise ReaderClosed
        self._since, self._awaited = time.monotonic(), True
        line = process.stdout.readline(LARGEST_ANSWER_BYTES + 1)
        self._awaited = False
        if line.endswith(b"\n"):
            return line
        if line:
            self._end(f"gave more than {LARGEST_ANSWER_BYTES // 2**20} MiB")
        if self._closed:
            raise ReaderClosed
        raise _Died(self._why or _cause(process.wait()))

    def _leave(self) -> None:
        """The file is done with. A child that has ended or grown makes room for the next."""
        with self._lock:
            self._at_work, self._since = False, time.monotonic()
            if self._process is not None and (self._why or _resident_bytes(self._process) > _GROWN_BYTES):
                self._process.kill()
                self._bury()

    def _end(self, why: str) -> None:
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                self._why = why
                self._process.kill()

    def _bury(self) -> None:
        """Let go of a child that has ended, or was killed."""
        if self._process is None:
            return
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what was still buffered for it has no reader any more
                    pipe.close()
        self._process = None

    def _guard(self, process: subprocess.Popen[bytes]) -> None:
        """In a thread of its own for as long as the process lives."""
        while process.poll() is None:
            time.sleep(GUARD_SECONDS)
            with self._lock:
                if process is self._process and (why := self._why_to_end(process)):
                    self._end(why)
                    if not self._at_work:
                        self._bury()

    def _why_to_end(self, process: subprocess.Popen[bytes]) -> str:
        since = time.monotonic() - self._since
        if not self._at_work:
            return "idle" if since > self._idle_seconds else ""
        if self._awaited and since > self._longest_seconds:
            return f"took longer than {self._longest_seconds:.0f} s"
        return _TOO_MUCH_MEMORY if _resident_bytes(process) > MOST_MEMORY_BYTES else ""


_WHOLE = "split the file, or take out what stands there, and it is read"
_NONSENSE = "the reader answered nonsense"
_TOO_MUCH_MEMORY = f"needed more than {MOST_MEMORY_BYTES // 2**30} GiB of memory"


def _resident_bytes(process: subprocess.Popen[bytes]) -> int:
    try:
        return int(psutil.Process(process.pid).memory_info().rss)
    except psutil.Error:
        return 0


def _cause(code: int) -> str:
    """What an exit code says, in words."""
    if code == EXIT_OUT_OF_MEMORY:
        return _TOO_MUCH_MEMORY
    if hasattr(signal, "SIGALRM") and code == -signal.SIGALRM:
        return "took too long"
    return f"the reader crashed ({signal.Signals(-code).name if code < 0 else f'exit code {code}'})"


def _read_message(line: bytes) -> dict[str, Any]:
    message = json.loads(line)
    if not isinstance(message, dict):
        raise ValueError
    return message


def _answer(message: Mapping[str, Any]) -> Answer:
    result, document = message["result"], message.get("document")
    return Answer(
        Result(
            demonstrations=tuple(Demonstration(**each) for each in result["demonstrations"]),
            reason=result["reason"],
            masked=result["masked"],
            cut=Cut(**_with_tuples(result["cut"])) if result["cut"] else None,
            tail=tuple(result["tail"]),
        ),
        sender=message["sender"],
        removed=message["removed"],
        document=Document(**_with_tuples(document)) if document else None,
    )


def _with_tuples(value: Any) -> Any:
    """JSON has lists where the values had tuples."""
    if isinstance(value, dict):
        return {key: _with_tuples(each) for key, each in value.items()}
    return tuple(_with_tuples(each) for each in value) if isinstance(value, list) else value
