"""Reads an mbox file mail by mail, without ever holding the file: any size, also one that is being appended to.

Knows `From ` lines (with the dates that mail programs write there) and `>From ` escapes. Does not know what is in a
mail. A mail larger than `LARGEST_KEPT_BYTES` is read from its beginning, where its text is; its hash covers all of it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from dittod.ingest.readers.eml import read_mail
from dittod.types import Document

LARGEST_KEPT_BYTES = 8 * 2**20  # attachments follow the text; more would only cost memory
_LONGEST_LINE_BYTES = 2**16  # longer lines come in pieces
# 'From ann@x Mon Jan  5 15:04:05 2015', Gmail Takeout's '… +0000 2015', Thunderbird's 'From - Mon …' and bare 'From '
_FROM_LINE = re.compile(rb"From (?:.*\d{1,2}:\d\d.*\b(?:19|20)\d\d\b.*|-?\s*)$")
_UNFINISHED_FROM_LINE = re.compile(rb"From (?:-|\S+@\S*)?(?: [A-Z].*)?$")
_ESCAPED_FROM = re.compile(rb">+From ")


def read_mbox(file: BinaryIO, modified_at: float) -> Iterator[Document]:
    """Each mail in the file's order. The same mail keeps its hash when others are appended after it."""
    for mail in _mails(file):
        if mail.kept:
            yield read_mail(bytes(mail.kept), modified_at, mail.sha256.hexdigest())


def _begins_mail(line: bytes) -> bool:
    """A `From ` line; without its end, at the end of the file, it need not be whole yet."""
    return bool(_FROM_LINE.match(line.rstrip(b"\r\n"))) or (
        not line.endswith(b"\n") and len(line) < 100 and bool(_UNFINISHED_FROM_LINE.match(line))
    )


@dataclass
class _Mail:
    """A mail being collected. Empty lines wait: those before the next `From ` line do not belong to the mail."""

    kept: bytearray = field(default_factory=bytearray)
    waiting: bytearray = field(default_factory=bytearray)
    sha256: hashlib._Hash = field(default_factory=hashlib.sha256)

    def add(self, piece: bytes) -> None:
        if not piece.strip(b"\r\n") and len(self.waiting) < LARGEST_KEPT_BYTES:
            self.waiting += piece
            return
        for part in (bytes(self.waiting), piece):
            self.sha256.update(part)
            self.kept += part[: max(0, LARGEST_KEPT_BYTES - len(self.kept))]
        self.waiting.clear()


def _mails(file: BinaryIO) -> Iterator[_Mail]:
    mail: _Mail | None = None  # None: before the first `From ` line, where anything else is no mail
    after_empty_line = at_line_start = True
    while piece := file.readline(_LONGEST_LINE_BYTES):
        if at_line_start and after_empty_line and _begins_mail(piece):
            if mail is not None:
                yield mail
            mail = _Mail()
        elif mail is not None:
            mail.add(piece[1:] if at_line_start and _ESCAPED_FROM.match(piece) else piece)
        after_empty_line = at_line_start and not piece.strip(b"\r\n")
        at_line_start = piece.endswith(b"\n")
    if mail is not None:
        yield mail
