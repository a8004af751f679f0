"""Which format a file is in: what it begins with decides, then its name. Pure.

Knows the beginnings of formats, and what to do about those that dittod does not read. Does not open files.
"""

from __future__ import annotations

import re
from pathlib import Path

from dittod.errors import FileSetAside
from dittod.ingest.readers.maildir import is_in_maildir
from dittod.ingest.readers.mbox import begins_mbox

HEAD_BYTES = 4096  # what has to be known of a file's beginning

_BY_SUFFIX = {
    ".eml": "mail",
    ".emlx": "emlx",
    ".mbox": "mbox",
    ".mbx": "mbox",
    ".md": "text",
    ".markdown": "text",
    ".txt": "text",
    ".html": "webpage",
    ".htm": "webpage",
    ".xhtml": "webpage",
    ".docx": "zipped",
    ".odt": "zipped",
    ".pdf": "pdf",
    ".rtf": "rtf",
    ".jsonl": "jsonl",
}
SUFFIXES = tuple(_BY_SUFFIX)

_WEBPAGE = re.compile(
    rb"(?:\xef\xbb\xbf)?\s{0,64}(?:<\?xml[^>]{0,200}>\s*)?(?:<!--.{0,1000}?-->\s*)?(?:<!doctype html|<html[\s>])",
    re.IGNORECASE | re.DOTALL,
)
_BY_HEAD = (
    (re.compile(rb"\s{0,64}%PDF-\d"), "pdf"),
    (re.compile(rb"\s{0,64}\{\\rtf"), "rtf"),
    (re.compile(rb"PK\x03\x04|PK\x05\x06"), "zipped"),
    (_WEBPAGE, "webpage"),
)
_NOT_BY_HEAD = {".md", ".markdown", ".jsonl"}  # may begin with anything
_REFUSED_BY_HEAD = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old or protected office file", "save it as .docx, without a password"),
    (b"!BDN", "an Outlook data file", "export the sent mails as .eml, or as .mbox with another mail program"),
    (b"// <!-- <mdb:mork", "an index of Thunderbird's, holds no mail", "the mails are in the file of the same name"),
    (b"bplist0", "a property list, holds no text", "remove it from the folder"),
    (b"SQLite format 3", "a database", "export what it holds as text"),
    (b"\x89PNG", "a picture", "pictures of text cannot be read"),
    (b"\xff\xd8\xff", "a picture", "pictures of text cannot be read"),
    (b"GIF8", "a picture", "pictures of text cannot be read"),
    (b"\x1f\x8b", "a packed file", "unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a packed file", "unpack it"),
    (b"Rar!", "a packed file", "unpack it"),
    (b"BZh", "a packed file", "unpack it"),
    (b"\xfd7zXZ\0", "a packed file", "unpack it"),
)
_EXPORT = "export the sent mails as .mbox or .eml"
_REFUSED_BY_SUFFIX = {
    ".msf": ("an index of Thunderbird's, holds no mail", "the mails are in the file of the same name"),
    ".doc": ("an old Word file", "save it as .docx"),
    ".dot": ("an old Word file", "save it as .docx"),
    ".pages": ("a Pages file", "export it as .docx"),
    ".tex": ("a TeX file", "save its text as .md or .txt"),
    ".msg": ("a mail in Outlook's own format", "save it as .eml"),
    ".pst": ("an Outlook data file", _EXPORT),
    ".ost": ("an Outlook data file", _EXPORT),
    ".olm": ("an Outlook data file", _EXPORT),
    ".dbx": ("an Outlook Express folder", _EXPORT),
    ".nsf": ("a Notes database", _EXPORT),
    ".mht": ("a web archive", "save it as .html"),
    ".mhtml": ("a web archive", "save it as .html"),
    ".epub": ("a book", "a book is seldom one's own; save it as .txt if it is"),
    ".json": ("a JSON file", "save it as .jsonl: one pair or conversation a line"),
    ".csv": ("a table", "save it as .jsonl: one pair a line"),
    ".xlsx": ("a table", "save it as .jsonl: one pair a line"),
    ".ods": ("a table", "save it as .jsonl: one pair a line"),
    ".pptx": ("slides", "save their text as .docx"),
    ".odp": ("slides", "save their text as .odt"),
    ".ics": ("a calendar", "remove it from the folder"),
    ".vcf": ("a list of contacts", "remove it from the folder"),
}
_PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".gif", ".webp", ".tif", ".tiff", ".bmp", ".heic", ".svg", ".psd"}
_PACKED_SUFFIXES = {".zip", ".gz", ".tar", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst"}

_MAIL_HEADER = re.compile(
    rb"(?im)^(from|to|cc|subject|date|message-id|received|mime-version|return-path|delivered-to|x-[a-z-]+):[ \t]*\S"
)
_HEADER_BLOCK = re.compile(rb"(?:[!-9;-~]{1,76}:[^\n]*\n(?:[ \t][^\n]*\n)*)+")


def format_of(path: Path, head: bytes) -> str:
    """The reader for a file, by the first bytes in it and its name. Raises FileSetAside when there is none."""
    suffix = path.suffix.lower()
    if suffix not in _NOT_BY_HEAD:
        if begins_mbox(head):
            return "mbox"
        for pattern, found in _BY_HEAD:
            if pattern.match(head) and not (found == "webpage" and suffix in (".eml", ".emlx", ".mbox")):
                return found
        _refuse_by_head(head, suffix)
    return _by_name(path, suffix, head)


def _by_name(path: Path, suffix: str, head: bytes) -> str:
    if path.name.lower() == "mbox":
        return "mbox"
    if suffix == ".txt" and _is_mail(head):
        return "mail"
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix]
    if is_in_maildir(path) or (suffix not in _REFUSED_BY_SUFFIX and _is_mail(head)):
        return "mail"
    raise _refused(suffix)


def _is_mail(head: bytes) -> bool:
    """A block of headers such as only mail has, from the first line on."""
    block = _HEADER_BLOCK.match(head)
    names = {name.lower() for name in _MAIL_HEADER.findall(block[0])} if block else set()
    return {b"from", b"subject"} <= names and bool(names & {b"date", b"message-id", b"received", b"mime-version"})


def _refuse_by_head(head: bytes, suffix: str) -> None:
    for beginning, title, hint in _REFUSED_BY_HEAD:
        if head.startswith(beginning):
            known = _REFUSED_BY_SUFFIX.get(suffix)
            raise FileSetAside(*(known or (title, hint)))


def _refused(suffix: str) -> FileSetAside:
    if suffix in _PICTURE_SUFFIXES:
        return FileSetAside("a picture", "pictures of text cannot be read")
    if suffix in _PACKED_SUFFIXES:
        return FileSetAside("a packed file", "unpack it")
    if suffix in _REFUSED_BY_SUFFIX:
        return FileSetAside(*_REFUSED_BY_SUFFIX[suffix])
    shown = suffix[:20].encode("ascii", "replace").decode() or "none"
    return FileSetAside(f"unknown kind of file (suffix {shown})", f"dittod reads {', '.join(SUFFIXES)}")
