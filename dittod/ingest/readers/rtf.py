"""Reads `.rtf` files: their text without its formatting.

Knows striprtf, and where a title and a date stand in a file. Does not know styles: the outline stays empty.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from dittod.errors import FileSetAside
from dittod.ingest.readers.decode import clean
from dittod.ingest.readers.titles import Origin, text_document
from dittod.types import Document

_TITLE = re.compile(r"\{\\title ([^{}]{1,1000})\}")
_CODE_PAGE = re.compile(r"\\ansicpg\d{1,5}")
_WRITTEN = re.compile(r"\{\\(?:revtim|creatim)\\yr(\d{4})\\mo(\d{1,2})\\dy(\d{1,2})")
_INFO_CHARACTERS = 2**16  # from the beginning: the information about a file stands before its text
_LARGEST_CHARACTERS = 16 * 2**20  # without pictures
_PICTURE = re.compile(r"[0-9a-fA-F\s]{1000,}+")
_CELL = re.compile(r"\\(?:nest)?cell(?![a-z])")
_PARAGRAPH = re.compile(r"\\par(?![a-z])")
_SLOW = re.compile(r"(?=\{\\(?:field|f\d))")  # where striprtf's patterns begin: they search to the end of the line


def read_rtf(raw: bytes, origin: Origin) -> Document:
    """The whole file as one Document."""
    source = _PICTURE.sub(" ", raw.decode("latin-1"))
    if len(source) > _LARGEST_CHARACTERS:
        raise FileSetAside(f"the file is too large: {len(source) >> 20} MiB without pictures", "save it as .docx")
    text = re.sub(r"\n{3,}", "\n\n", _plain(_PARAGRAPH.sub(r"\\par\\par", _CELL.sub(r"\\tab", source))))
    head = source[:_INFO_CHARACTERS]
    title, code_page = _TITLE.search(head), _CODE_PAGE.search(head)
    prefix = f"{{\\rtf1{code_page[0] if code_page else ''} "
    return text_document(text.strip(), origin, _plain(f"{prefix}{title[1]}}}") if title else "", (), _date(head))


def _plain(source: str) -> str:
    from striprtf.striprtf import rtf_to_text

    try:
        text = str(rtf_to_text(_SLOW.sub("\n", source.replace("HYPERLINK", "")), errors="replace"))  # type: ignore[no-untyped-call]
    except (ValueError, LookupError, IndexError, TypeError, OverflowError) as error:
        raise FileSetAside(f"the file is damaged ({type(error).__name__})", "save it as .docx") from error
    return clean(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def _date(head: str) -> float | None:
    found = _WRITTEN.search(head)
    year, month, day = map(int, found.groups()) if found else (0, 0, 0)
    try:
        return datetime(year, month, day, tzinfo=UTC).timestamp()
    except ValueError:
        return None
