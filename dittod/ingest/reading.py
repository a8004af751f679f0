"""The child process that reads files: readers, cleaning, masking and templates, where a hostile file does little harm.

`python -m dittod.ingest.reading` takes orders on stdin and answers on stdout, one JSON object a line; the pipes are the
only way in which text moves. It can write no file and leave no core dump, its memory is limited, and what a library
prints goes nowhere. It ends when the parent's end of the pipes is gone, whatever it does.

Knows limits and the order of the steps. Does not know the watched folder, the store, or who asks (`ingest.process`).
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, BinaryIO, Literal

from dittod.errors import FileSetAside, place_of
from dittod.ingest.demonstrations import Owner, Result, demonstrations_of
from dittod.ingest.identity import address_of
from dittod.ingest.readers import read
from dittod.types import Document

MOST_MEMORY_BYTES = 2**30  # address space; the interpreter with all readers takes about 0.15 GiB
LARGEST_ANSWER_BYTES = 16 * 2**20  # of one Document
MOST_OPEN_FILES = 64
NICENESS = 10
EXIT_OUT_OF_MEMORY = 12
_LONELY_SECONDS = 120  # for one Document, when nobody is left who would end this process sooner

_FAULT = "a fault of dittod's: the file stays as it is, the others are read"

Purpose = Literal["learn", "explain", "survey"]


@dataclass(frozen=True, slots=True)
class Order:
    """Read one file."""

    path: str
    purpose: Purpose = "learn"  # explain: with the Document and its Cut; survey: senders and tails of anybody's mails
    start: int = 0  # byte of an mbox at which to begin
    skip: int = 0  # Documents that were answered for already
    most: int | None = None  # Documents to answer for; None: all
    owner: Owner | None = None  # None: the same as before


def encode_order(order: Order) -> bytes:
    """One line. Names that are no UTF-8 survive, as escapes."""
    values = asdict(order)
    if order.owner is not None:
        values["owner"]["signatures"] = sorted(order.owner.signatures)
    return json.dumps(values).encode("ascii") + b"\n"


def decode_order(line: bytes) -> Order:
    """The order in a line."""
    values = json.loads(line)
    if (owner := values.pop("owner")) is None:
        return Order(**values)
    return Order(
        **values,
        owner=Owner(tuple(owner["identities"]), frozenset(owner["signatures"]), tuple(owner["secrets"])),
    )


def main() -> None:
    """Until the parent lets go of the pipe."""
    sys.dont_write_bytecode = True
    orders, answers = _take_pipes()
    _limit_itself()
    received: SimpleQueue[Order] = SimpleQueue()
    Thread(target=_listen, args=(orders, received), daemon=True).start()
    _say(answers, {"ready": True})
    owner = Owner()
    while True:
        order = received.get()
        owner = order.owner or owner
        try:
            for answer in _in_time(_obey(order, owner)):
                _say(answers, answer)
        except MemoryError:
            os._exit(EXIT_OUT_OF_MEMORY)  # what is left of the heap is in pieces
        except OSError:
            os._exit(0)  # nobody listens


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Orders and answers get descriptors that no library knows; what is printed goes nowhere."""
    orders, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    return orders, answers


def _limit_itself() -> None:
    """As far as the platform can. Elsewhere the parent's clock and its look at the memory remain."""
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    try:
        import resource
    except ImportError:  # Windows
        return
    limits = {
        resource.RLIMIT_AS: MOST_MEMORY_BYTES,
        resource.RLIMIT_CORE: 0,  # a core dump would hold texts
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: MOST_OPEN_FILES,
    }
    for kind, wanted in limits.items():
        with suppress(ValueError, OSError):  # macOS refuses any limit of the address space
            hard = resource.getrlimit(kind)[1]
            limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(kind, (limit, limit))


def _listen(orders: BinaryIO, received: SimpleQueue[Order]) -> None:
    """In a thread of its own, so that the parent's end is noticed in the middle of a file."""
    for line in orders:
        received.put(decode_order(line))
    os._exit(0)


def _say(answers: BinaryIO, answer: Mapping[str, Any]) -> None:
    """At once: what is not answered when this process dies is read again."""
    answers.write(_line(answer))
    answers.flush()


def _line(answer: Mapping[str, Any]) -> bytes:
    line = json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
    if len(line) > LARGEST_ANSWER_BYTES:
        too_much = Result(reason=f"more than {LARGEST_ANSWER_BYTES // 2**20} MiB of text")
        return _line({"sender": answer.get("sender", ""), "result": asdict(too_much), "removed": {}})
    return line


def _obey(order: Order, owner: Owner) -> Iterator[dict[str, Any]]:
    """An answer per Document, {} for one that is skipped, `alive` between them where that takes long, and a last one
    with `end` or `set_aside`."""
    number = 0
    try:
        for document in read(Path(order.path), order.start):
            if document is None:
                yield {"alive": True}
                continue
            number += 1
            yield _answer(document, owner, order.purpose) if number > order.skip else {}
            if number == order.most:
                break
        yield {"end": True}
    except FileSetAside as error:
        yield {"set_aside": (error.title, error.hint), "passing": isinstance(error.__cause__, OSError)}
    except MemoryError:
        raise
    except Exception as error:  # a reader's fault costs this file, and its message may quote the text
        where = f" after number {number} in the file" if number else ""
        yield {"set_aside": (f"the reader failed ({type(error).__name__}){where}", _FAULT), "place": place_of(error)}


def _in_time(answers: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Where the parent was killed and a regular expression holds the interpreter, the kernel ends this process."""
    alarm = getattr(signal, "alarm", lambda seconds: None)
    while True:
        alarm(_LONELY_SECONDS)
        answer = next(answers, None)
        alarm(0)
        if answer is None:
            return
        yield answer


def _answer(document: Document, owner: Owner, purpose: Purpose) -> dict[str, Any]:
    sender = address_of(document.sender)
    if purpose == "survey":
        owner = Owner(identities=(sender,))
    try:
        result = demonstrations_of(document, owner)
    except MemoryError:
        raise
    except Exception as error:  # costs this Document alone
        failed = Result(reason=f"the cleaner failed ({type(error).__name__})")
        return {"sender": sender, "result": asdict(failed), "removed": {}, "place": place_of(error)}
    removed = Counter(reason for _, reason in result.cut.removed) if result.cut else Counter[str]()
    if purpose != "explain":
        result = replace(result, cut=None, demonstrations=result.demonstrations if purpose == "learn" else ())
    extra = {"document": asdict(document)} if purpose == "explain" else {}
    return {"sender": sender, "result": asdict(result), "removed": removed, **extra}


if __name__ == "__main__":
    main()
