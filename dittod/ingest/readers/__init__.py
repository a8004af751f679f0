"""From a file to its Documents: one reader per format, chosen by what the file begins with and by its name.

Knows sizes and how to say why a file is set aside. Does not know the watched folder, nor what is done with a Document.
Nothing of a file's content is ever in an error. The libraries of a format are imported when the first such file comes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from dittod.errors import FileSetAside
from dittod.ingest.readers.eml import read_mail
from dittod.ingest.readers.emlx import read_emlx
from dittod.ingest.readers.formats import HEAD_BYTES, SUFFIXES, format_of
from dittod.ingest.readers.jsonl import read_jsonl
from dittod.ingest.readers.maildir import refuse_by_flags
from dittod.ingest.readers.mbox import LARGEST_KEPT_BYTES, read_mbox
from dittod.ingest.readers.text import read_text
from dittod.ingest.readers.titles import Origin
from dittod.types import Document

__all__ = ["LARGEST_FILE_BYTES", "LARGEST_TEXT_BYTES", "SUFFIXES", "read"]

LARGEST_FILE_BYTES = 64 * 2**20  # of a format that may hold pictures; mails and what is streamed have no limit
LARGEST_TEXT_BYTES = 16 * 2**20  # of a format that is all text
_PLAIN = {"text", "webpage"}
_PIECE_BYTES = 2**20
_STREAMED = {"mbox": read_mbox, "jsonl": read_jsonl}


def read(path: Path, start: int = 0) -> Iterator[Document | None]:
    """The Documents in a file, in its order; a None says that much has been passed over and the reading goes on.

    `start` is the byte of an mbox at which to begin. Raises FileSetAside with the reason when there can be no
    Document."""
    try:
        with path.open("rb") as file:
            yield from _read(path, file, start)
    except OSError as error:
        raise FileSetAside(f"the file cannot be read: {error.strerror}", "check its permissions") from error


def _read(path: Path, file: BinaryIO, start: int) -> Iterator[Document | None]:
    head = file.read(HEAD_BYTES)
    if not head:
        raise FileSetAside("the file is empty", "it will be read again when it changes")
    form = format_of(path, head)
    modified_at = path.stat().st_mtime
    file.seek(start if form == "mbox" else 0)
    if form in _STREAMED:
        yield from _STREAMED[form](file, modified_at)
        return
    if form == "mail":
        refuse_by_flags(path)
        yield _read_mail(file, modified_at)
        return
    raw = _whole(file, LARGEST_TEXT_BYTES if form in _PLAIN else LARGEST_FILE_BYTES)
    if form == "emlx":
        yield _with_headers(read_emlx(raw, modified_at))
    else:
        yield _read_text(form, raw, Origin(path.stem, hashlib.sha256(raw).hexdigest(), modified_at))


def _read_mail(file: BinaryIO, modified_at: float) -> Document:
    """Attachments follow the text: of a very large mail only the beginning is kept, as of one in an mbox."""
    raw = file.read(LARGEST_KEPT_BYTES)
    sha256 = hashlib.sha256(raw)
    while piece := file.read(_PIECE_BYTES):
        sha256.update(piece)
    return _with_headers(read_mail(raw, modified_at, sha256.hexdigest()))


def _whole(file: BinaryIO, limit: int) -> bytes:
    raw = file.read(limit + 1)
    if len(raw) > limit:
        raise FileSetAside(
            f"the file is larger than {limit // 2**20} MiB", "that is the limit for a single text; split it"
        )
    return raw


def _with_headers(document: Document) -> Document:
    if not (document.sender or document.recipients or document.subject):
        raise FileSetAside("the file holds no mail", "no headers were found in it")
    return document


def _read_text(form: str, raw: bytes, origin: Origin) -> Document:
    if form == "webpage":
        from dittod.ingest.readers.webpage import read_webpage

        return read_webpage(raw, origin)
    if form == "pdf":
        from dittod.ingest.readers.pdf import read_pdf

        return read_pdf(raw, origin)
    if form == "rtf":
        from dittod.ingest.readers.rtf import read_rtf

        return read_rtf(raw, origin)
    if form == "zipped":
        from dittod.ingest.readers.office import read_office

        return read_office(raw, origin)
    return read_text(raw, origin)
