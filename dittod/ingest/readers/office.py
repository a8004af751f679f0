"""Tells what is in a zip file by what is in it: `.docx`, `.odt`, or files that somebody packed.

Does not unpack archives: a file in the folder is one thing the user wrote.
"""

from __future__ import annotations

from dittod.errors import FileSetAside
from dittod.ingest.readers import docx, odt
from dittod.ingest.readers.titles import Origin
from dittod.ingest.readers.zipped import first_bytes, open_zip
from dittod.types import Document

_TEXT = b"application/vnd.oasis.opendocument.text"  # also templates of texts


def read_office(raw: bytes, origin: Origin) -> Document:
    """The word processor's document in an archive. Raises FileSetAside for any other archive."""
    with open_zip(raw) as archive:
        names = archive.NameToInfo
        if docx.MAIN_PART in names:
            return docx.read_docx(archive, origin)
        if odt.MAIN_PART in names and first_bytes(archive, "mimetype").startswith(_TEXT):
            return odt.read_odt(archive, origin)
    raise FileSetAside("a packed file, or an office file that is no text", "unpack it, or save its text as .docx")
