"""Reads an mbox file mail by mail, without ever holding the file: any size, also one that is being appended to.

Knows `From ` lines (with the dates that mail programs write there), `>From ` escapes, and what Thunderbird and Gmail
Takeout say about a mail in its headers. `Content-Length` is not believed. Does not know what is in a mail. One larger
than `LARGEST_KEPT_BYTES` is read from its beginning, where its text is; its hash covers all of it.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from typing import BinaryIO

from dittod.errors import FileSetAside
from dittod.ingest.readers.eml import document_of, header, parsed
from dittod.ingest.readers.gmail import why_not_sent
from dittod.types import Document

LARGEST_KEPT_BYTES = 8 * 2**20  # attachments follow the text; more would only cost memory
BLOCK_BYTES = 2**20
SILENT_BYTES = 2**20  # passed over in a row until a None says that the reading goes on: a second at most
_HELD_BACK_BYTES = 2**10  # of a block: room for a `From ` line and the beginning of the line below it
_LONGEST_FROM_LINE = 300
_MOST_WAITING_BYTES = 2**16
# 'From ann@x Mon Jan  5 15:04:05 2015', Gmail Takeout's '… +0000 2015', Thunderbird's 'From - Mon …' and bare 'From '
_FROM_LINE = re.compile(rb"From (?:.*\d{1,2}:\d\d.*\b(?:19|20)\d\d\b.*|-?\s*)$")
_UNFINISHED_FROM_LINE = re.compile(rb"From (?:-|\S+@\S*)?(?: [A-Z].*)?$")
_ESCAPED_FROM = re.compile(rb"^>(>*From )", re.MULTILINE)
_GAP = re.compile(rb"\n\r?\n(?=F|\Z)")  # an empty line with a `From ` line below it, perhaps
_LONGEST_GAP = 3
_HEADER_LINE = re.compile(rb"[!-9;-~]{1,76}(?::|\Z)|>From ")
_END_OF_HEADER = re.compile(rb"\r?\n\r?\n|\A\r?\n")
_EXPUNGED = 0x0008  # of X-Mozilla-Status: deleted, and not yet compacted away


def read_mbox(file: BinaryIO, modified_at: float) -> Iterator[Document | None]:
    """Each mail in the file's order. The same mail keeps its hash when others are appended after it.

    What is no mail to learn from is passed over, with a None now and then. When that was all, FileSetAside says why.
    """
    passed_over: Counter[str] = Counter()
    found, silent = False, 0
    for mail in _mails(file):
        document = _document_or_reason(mail, modified_at)
        if isinstance(document, Document):
            found, silent = True, 0
            yield document
            continue
        passed_over[document] += 1
        silent += mail.size
        if silent >= SILENT_BYTES:
            silent = 0
            yield None
    if not found:
        raise _nothing_found(passed_over)


def _document_or_reason(mail: _Mail, modified_at: float) -> Document | str:
    """The Document, or why the mail is passed over."""
    try:
        message = parsed(mail.raw())
        return _why_passed_over(message) or document_of(message, modified_at, mail.sha256.hexdigest())
    except FileSetAside as error:
        return error.title
    except MemoryError:
        raise
    except Exception as error:  # one mail must not cost the others
        return f"the reader failed ({type(error).__name__})"


def begins_mbox(head: bytes) -> bool:
    """Whether a file that begins like this is an mbox, whatever its name: a `From ` line and a header below it."""
    first, _, rest = head.lstrip(b"\r\n").partition(b"\n")
    return bool(_FROM_LINE.match(first.rstrip(b"\r")) and _HEADER_LINE.match(rest))


def _nothing_found(passed_over: Counter[str]) -> FileSetAside:
    if not passed_over:
        return FileSetAside("no mail found in the mbox file", "an mbox begins with a line that starts with 'From '")
    reasons = ", ".join(f"{reason} ({count})" for reason, count in passed_over.most_common())
    return FileSetAside(
        f"none of the {passed_over.total()} mails can be learnt from: {reasons}", "export the sent mails"
    )


def _why_passed_over(message: Message) -> str | None:
    """What the headers of Thunderbird and Gmail say against a mail."""
    status = header(message, "x-mozilla-status")
    if re.fullmatch(r"[0-9a-fA-F]{4}", status) and int(status, 16) & _EXPUNGED:
        return "deleted in Thunderbird"
    return why_not_sent(header(message, "x-gmail-labels"))


@dataclass
class _Mail:
    """A mail being collected. Line ends wait: those before the next `From ` line do not belong to the mail."""

    kept: bytearray = field(default_factory=bytearray)
    size: int = 0  # of all that was added
    waiting: bytes = b""
    sha256: hashlib._Hash = field(default_factory=hashlib.sha256)

    def add(self, piece: bytes) -> None:
        self.size += len(piece)
        words = piece.rstrip(b"\r\n")
        if not words:
            self.waiting = (self.waiting + piece)[:_MOST_WAITING_BYTES]
            return
        for part in (self.waiting, words):
            self.sha256.update(part)
            self.kept += part[: max(0, LARGEST_KEPT_BYTES - len(self.kept))]
        self.waiting = piece[len(words) :][:_MOST_WAITING_BYTES]

    def raw(self) -> bytes:
        return _ESCAPED_FROM.sub(rb"\1", self.kept)

    @property
    def has_whole_header(self) -> bool:
        """False for one at the end of the file of which not even the header has been written."""
        return _END_OF_HEADER.search(self.kept + self.waiting[:4]) is not None


def _mails(file: BinaryIO) -> Iterator[_Mail]:
    mail: _Mail | None = None  # None: before the first `From ` line, where anything else is no mail
    data, is_last = b"\n\n", False
    while not is_last:
        block = file.read(BLOCK_BYTES)
        is_last = not block
        data += block
        sure = len(data) - (0 if is_last else _HELD_BACK_BYTES)  # what begins before this can be judged
        at = 0
        for gap in _GAP.finditer(data, 0, max(0, sure)):
            begin = _after_from_line(data, gap.end())
            if begin is not None and gap.end() >= at:
                if mail is not None:
                    mail.add(data[at : gap.start()])
                    if mail.kept:
                        yield mail
                mail, at = _Mail(), begin
        end = len(data) if is_last else max(at, sure - _LONGEST_GAP)
        if mail is not None:
            mail.add(data[at:end])
        data = data[end:]
    if mail is not None and mail.kept and mail.has_whole_header:
        yield mail


def _after_from_line(data: bytes, start: int) -> int | None:
    """The end of a `From ` line with a header below it; None for anything else.

    Without its own end, at the end of the file, the line need not be whole yet.
    """
    if not data.startswith(b"From ", start):
        return None
    end = data.find(b"\n", start, start + _LONGEST_FROM_LINE)
    if end < 0:
        line = data[start : start + _LONGEST_FROM_LINE]
        is_unfinished = start + len(line) == len(data) and (_UNFINISHED_FROM_LINE.match(line) or _FROM_LINE.match(line))
        return len(data) if is_unfinished else None
    is_header_below = end + 1 == len(data) or _HEADER_LINE.match(data, end + 1)
    return end + 1 if is_header_below and _FROM_LINE.match(data[start:end].rstrip(b"\r")) else None
