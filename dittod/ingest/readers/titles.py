"""Title, outline and date of a text, from what a format's reader found. Pure.

Knows which names and dates say something. Does not know formats.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from dittod.errors import FileSetAside
from dittod.ingest.readers.decode import clean, decode
from dittod.types import Document

MOST_HEADINGS = 12
_LONGEST_HEADING = 150  # characters; longer ones are paragraphs somebody made bold
_MEANINGLESS = re.compile(
    r"(?i)(untitled|new|document|text|note|scan|img|file|draft|unbenannt|dokument|microsoft word|powerpoint|slide|page"
    r"|presentation|template|vorlage|docx?|pdf|odt|rtf|html?|[\W\d_])*"
)
_FILE_NAME = re.compile(r"(?i)\.(docx?|odt|pdf|rtf|txt|md|html?|tex|indd|pages)$")
_EARLIEST = datetime(1980, 1, 2, tzinfo=UTC).timestamp()  # zip archives without a date say 1980-01-01
_DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Origin:
    """The file a text is in."""

    name: str  # without suffix
    sha256: str  # of its bytes
    modified_at: float  # POSIX seconds


def text_document(
    text: str, origin: Origin, title: str = "", headings: Sequence[str] = (), written_at: float | None = None
) -> Document:
    """A Document of kind "text". `title` and `written_at` are what the file says of itself, believed when plausible.

    Raises FileSetAside where there is no text."""
    if not text.strip():
        raise FileSetAside("the document holds no text", "pictures of text cannot be read")
    outline = [heading for each in headings if (heading := _one_line(each)) and len(heading) <= _LONGEST_HEADING]
    own = _one_line(_FILE_NAME.sub("", title))
    if not says_something(own):
        own = outline[0] if outline else ""
    return Document(
        kind="text",
        text=clean(text),
        sha256=origin.sha256,
        title=own or title_of_name(origin.name),
        outline=tuple(outline[1:] if outline and outline[0] == own else outline)[:MOST_HEADINGS],
        written_at=_plausible(written_at, origin.modified_at),
    )


def says_something(title: str) -> bool:
    """False for 'untitled', 'Document1' and the like."""
    return len(title) <= _LONGEST_HEADING and _MEANINGLESS.fullmatch(title) is None


def title_of_name(name: str) -> str:
    """A file name as a title: '2024-03-01-on-cats' is 'on cats'; names that say nothing give ''."""
    words = re.sub(r"[_\-\s]+", " ", decode(name.encode("utf-8", "replace"))).strip()
    words = re.sub(r"^[\d. ]+(?=\D)", "", words).strip()
    return words if says_something(words) else ""


def _plausible(written_at: float | None, modified_at: float) -> float:
    """The date a file gives, unless that is before its format or after the file was last changed."""
    return written_at if written_at is not None and _EARLIEST < written_at < modified_at + _DAY else modified_at


def seconds_of(date: str) -> float | None:
    """POSIX seconds of an ISO 8601 date, with or without a time; None for anything else."""
    try:
        found = datetime.fromisoformat(date.strip())
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _one_line(text: str) -> str:
    return " ".join(clean(text).split())
