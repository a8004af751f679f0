"""Reads `.txt` and `.md`: one file is one text.

Knows front matter and headings as far as the title needs it. Does not know mail, nor render Markdown.
"""

from __future__ import annotations

import hashlib
import re

from dittod.errors import FileSetAside
from dittod.ingest.readers.decode import decode, looks_binary
from dittod.types import Document

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_TITLE_LINE = re.compile(r"^title[ \t]*:[ \t]*(.+?)[ \t]*$", re.IGNORECASE | re.MULTILINE)
_HEADING = re.compile(r"\A\s*#{1,3}[ \t]+(.+?)[ \t#]*$", re.MULTILINE)
_UNDERLINED = re.compile(r"\A\s*(\S.*)\n={3,}[ \t]*$", re.MULTILINE)
_MEANINGLESS = re.compile(r"(?i)(untitled|new|document|text|note|scan|img|file|draft|unbenannt|[\W\d_])*")


def read_text(raw: bytes, name: str, modified_at: float) -> Document:
    """The whole file as one Document; `name` is the file's name without suffix."""
    if looks_binary(raw):
        raise FileSetAside("not a text file", "its bytes are no text in any known charset; remove it or convert it")
    text = decode(raw)
    if not text.strip():
        raise FileSetAside("the file is empty", "it will be read again when it changes")
    title, body = _title_and_body(text)
    return Document(
        kind="text",
        text=body,
        sha256=hashlib.sha256(raw).hexdigest(),
        title=title or title_of_name(name),
        written_at=modified_at,
    )


def title_of_name(name: str) -> str:
    """A file name as a title: '2024-03-01-on-cats' is 'on cats'; names that say nothing give ''."""
    words = re.sub(r"[_\-\s]+", " ", decode(name.encode("utf-8", "replace"))).strip()
    words = re.sub(r"^[\d. ]+(?=\D)", "", words).strip()
    return "" if _MEANINGLESS.fullmatch(words) else words


def _title_and_body(text: str) -> tuple[str, str]:
    """The title in front matter (which is no prose and goes) or in the first heading (which stays)."""
    front = _FRONT_MATTER.match(text)
    body = text[front.end() :] if front else text
    titled = _TITLE_LINE.search(front.group(1)) if front else None
    if titled:
        return titled.group(1).strip("\"'"), body
    heading = _HEADING.match(body) or _UNDERLINED.match(body)
    return (heading.group(1).strip() if heading else ""), body
