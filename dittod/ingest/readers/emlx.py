"""Reads Apple Mail's `.emlx`: a line with the mail's length, the mail, and a property list with its flags.

Knows that layout and the flags of deleted mails and drafts. Does not know what is in a mail.
"""

from __future__ import annotations

import re

from dittod.errors import FileSetAside
from dittod.ingest.readers.eml import read_mail
from dittod.types import Document

_LENGTH = re.compile(rb"\s*(\d{1,12})\s*\r?\n")
_LONGEST_PROPERTIES = 2**16  # bytes
_DELETED, _DRAFT = 1 << 1, 1 << 6


def read_emlx(raw: bytes, modified_at: float) -> Document:
    """The mail. Raises FileSetAside for one that Apple Mail shows as deleted or as a draft."""
    length = _LENGTH.match(raw)
    if length is None:
        return read_mail(raw, modified_at)
    end = length.end() + int(length[1])
    flags = _flags(raw[end : end + _LONGEST_PROPERTIES])
    if flags & _DELETED:
        raise FileSetAside("deleted in Apple Mail", "it is left out on purpose")
    if flags & _DRAFT:
        raise FileSetAside("a draft in Apple Mail", "it will be read when it is sent")
    return read_mail(raw[length.end() : end], modified_at)


def _flags(properties: bytes) -> int:
    """0 when there are none, or none that can be read."""
    import plistlib

    try:
        found = plistlib.loads(properties.strip()) if properties.strip() else {}
        return int(found.get("flags", 0))
    except Exception:  # whatever is wrong with it, the mail before it is whole
        return 0
