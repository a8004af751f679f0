"""From a file to its Documents: one reader per format, chosen by the file's name.

Knows sizes, suffixes and how to say why a file is set aside. Does not know the watched folder, nor what is done with a
Document. Nothing of a file's content is ever in an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dittod.errors import FileSetAside
from dittod.ingest.readers.eml import read_mail
from dittod.ingest.readers.mbox import read_mbox
from dittod.ingest.readers.text import read_text
from dittod.types import Document

LARGEST_FILE_BYTES = 64 * 2**20  # of a single mail or text; an mbox is streamed and has no limit
SUFFIXES = (".eml", ".mbox", ".md", ".txt")


def read(path: Path) -> Iterator[Document]:
    """The Documents in a file, in its order. Raises FileSetAside with the reason when there can be none."""
    kind = kind_of(path)
    try:
        yield from _read(path, kind)
    except OSError as error:
        raise FileSetAside(f"the file cannot be read: {error.strerror}", "check its permissions") from error


def kind_of(path: Path) -> str:
    """The reader for a file, as one of SUFFIXES, by its name alone."""
    suffix = ".mbox" if path.name.lower() == "mbox" else path.suffix.lower()
    if suffix in SUFFIXES:
        return suffix
    shown = suffix.encode("ascii", "replace").decode() or "none"
    raise FileSetAside(f"unknown kind of file (suffix {shown})", f"dittod reads {', '.join(SUFFIXES)}")


def _read(path: Path, kind: str) -> Iterator[Document]:
    state = path.stat()
    if state.st_size == 0:
        raise FileSetAside("the file is empty", "it will be read again when it changes")
    if kind == ".mbox":
        yield from _read_mbox(path, state.st_mtime)
        return
    if state.st_size > LARGEST_FILE_BYTES:
        raise FileSetAside(
            f"the file is too large: {state.st_size / 2**20:.0f} MiB",
            f"the limit for a single mail or text is {LARGEST_FILE_BYTES // 2**20} MiB",
        )
    raw = path.read_bytes()
    yield (_read_single_mail(raw, state.st_mtime) if kind == ".eml" else read_text(raw, path.stem, state.st_mtime))


def _read_single_mail(raw: bytes, modified_at: float) -> Document:
    document = read_mail(raw, modified_at)
    if not (document.text.strip() or document.sender or document.recipients or document.subject):
        raise FileSetAside("the file holds no mail", "neither headers nor text were found in it")
    return document


def _read_mbox(path: Path, modified_at: float) -> Iterator[Document]:
    found = False
    with path.open("rb") as file:
        for document in read_mbox(file, modified_at):
            found = True
            yield document
    if not found:
        raise FileSetAside("no mail found in the mbox file", "an mbox begins with a line that starts with 'From '")
