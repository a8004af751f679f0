"""Whether a mailbox has only grown since it was read: then what was read stands, and the rest alone is read.

A mail program appends each sent mail to one file of any size. Knows sizes, a hash of the content and how an mbox goes
on. Does not know what is in a mail, nor what became of it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from dittod.ingest.readers.mbox import begins_mbox
from dittod.rows import FileRow

SMALLEST_BYTES = 2**20  # less is read as fast as it is compared
_PIECE_BYTES = 2**20
_HEAD_BYTES = 400  # a `From ` line and the beginning of a header


def content_sha256(path: Path, size: int) -> str:
    """Of a mailbox of `size` bytes; '' of other and of small files, or when it is not of that size any more."""
    if size < SMALLEST_BYTES or path.stat().st_size != size or not _goes_on_as_mbox(path, 0):
        return ""
    return _sha256_of_first(path, size)


def start_of_rest(path: Path, row: FileRow) -> int:
    """Where the mails begin that were appended since: 0 when anything else has changed. Raises OSError."""
    size = row.size_bytes
    if not row.content_sha256 or path.stat().st_size <= size:
        return 0
    return size if _goes_on_as_mbox(path, size) and _sha256_of_first(path, size) == row.content_sha256 else 0


def _goes_on_as_mbox(path: Path, start: int) -> bool:
    with path.open("rb") as file:
        file.seek(start)
        return begins_mbox(file.read(_HEAD_BYTES))


def _sha256_of_first(path: Path, size: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while size > 0 and (piece := file.read(min(size, _PIECE_BYTES))):
            digest.update(piece)
            size -= len(piece)
    return digest.hexdigest() if size == 0 else ""
