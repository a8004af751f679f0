"""Reads `.pdf` files that hold text: pages become paragraphs again.

Knows pypdf, and what setting a text in pages does to it: lines, hyphens, page numbers, running heads. Does not know
columns, tables or pictures of text.
"""

from __future__ import annotations

import io
import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from dittod.errors import FileSetAside
from dittod.ingest.readers.decode import clean
from dittod.ingest.readers.titles import Origin, text_document
from dittod.types import Document

if TYPE_CHECKING:
    from pypdf import PdfReader

MOST_PAGES = 2000
_MOST_HEADINGS_LOOKED_AT = 200
_EDGE_LINES = 2  # at the top and at the bottom of a page, where running heads stand
_RECURS_ON = 0.5  # of the pages (every other page, left and right): a running head
_FEWEST_PAGES = 3  # with fewer, nothing is said to recur
_PAGE_NUMBER = re.compile(
    r"(?i)\W*(?:page|seite|página|pagina|p\.|s\.)?\s*(?:\d{1,4}|[ivxlc]{1,7})(?:\s*(?:/|of|von|de|di)\s*\d{1,4})?\W*"
)
_HYPHEN = re.compile(r"(?<=[^\W\d_])[-\u00ad\u2010]$")
_SENTENCE_END = re.compile(r"[.!?:;…。！？][\"'”’»)\]]*$")
_ITEM = re.compile(r"\s*(?:[-–•*▪◦‣]|\d{1,3}[.)]|[a-z][.)])\s")
_LIGATURES = str.maketrans({"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st"})
_SHORT_LINE = 0.75  # of the usual length: the last line of a paragraph
_LINE_SHARE = 0.9  # the length that this share of the lines does not exceed is the usual one


def read_pdf(raw: bytes, origin: Origin) -> Document:
    """The whole file as one Document. Raises FileSetAside when its text cannot be had."""
    import pypdf
    import pypdf.errors

    logging.getLogger("pypdf").setLevel(logging.CRITICAL + 1)  # it quotes what it cannot read
    try:
        reader = pypdf.PdfReader(io.BytesIO(raw))
        if reader.is_encrypted and not reader.decrypt(""):
            raise FileSetAside("the file is protected by a password", "save it without one")
        if len(reader.pages) > MOST_PAGES:
            raise FileSetAside(f"the file has {len(reader.pages)} pages", f"at most {MOST_PAGES} are read; split it")
        pages = [clean(page.extract_text()).translate(_LIGATURES).split("\n") for page in reader.pages]
    except (FileSetAside, MemoryError):
        raise
    except pypdf.errors.DependencyError as error:  # a cipher that pypdf has no code for
        raise FileSetAside("the file is encrypted", "print it to a new PDF file") from error
    except Exception as error:  # pypdf raises whatever its parsers do
        raise FileSetAside(f"the file is damaged ({type(error).__name__})", "print it to a new PDF file") from error
    try:
        title, headings, date = _about(reader)
    except Exception:  # the same; the text is there
        title, headings, date = "", [], None
    text = text_of_pages(pages)
    if not re.search(r"\w", text):
        raise FileSetAside("the pages hold pictures, no text", "run a text recognition (OCR) over the file")
    return text_document(text, origin, title, headings, date)


def _about(reader: PdfReader) -> tuple[str, list[str], float | None]:
    """Title, bookmarks and date."""
    about = reader.metadata
    date = about.creation_date if about else None
    return str(about.title or "") if about else "", list(_bookmarks(reader.outline)), date.timestamp() if date else None


def _bookmarks(outline: Sequence[object]) -> Iterator[str]:
    """Their titles in order, whatever their level."""
    waiting = list(reversed(outline[:_MOST_HEADINGS_LOOKED_AT]))
    for _ in range(_MOST_HEADINGS_LOOKED_AT):
        if not waiting:
            return
        entry = waiting.pop()
        if isinstance(entry, list):
            waiting += reversed(entry[:_MOST_HEADINGS_LOOKED_AT])
        else:
            yield str(getattr(entry, "title", None) or "")


def text_of_pages(pages: Sequence[Sequence[str]]) -> str:
    """Lines of pages as paragraphs, an empty line between them."""
    stripped = [[line.rstrip() for line in page] for page in pages]
    recurring = _running_heads(stripped)
    lines = [line for page in stripped for line in _without_edges(page, recurring)]
    return "\n\n".join(_paragraphs(lines))


def _running_heads(pages: Sequence[Sequence[str]]) -> frozenset[str]:
    """Lines at the edges of pages that recur, numbers apart."""
    counts = Counter(form for page in pages for form in {_form(line) for line in _edges(page)})
    if len(pages) < _FEWEST_PAGES:
        return frozenset()
    return frozenset(form for form, count in counts.items() if form and count >= max(3, _RECURS_ON * len(pages) - 1))


def _edges(page: Sequence[str]) -> list[str]:
    written = [line for line in page if line.strip()]
    return written[:_EDGE_LINES] + written[-_EDGE_LINES:]


def _form(line: str) -> str:
    return re.sub(r"\d+", "0", " ".join(line.split()))


def _without_edges(page: Sequence[str], recurring: frozenset[str]) -> list[str]:
    """The page without running heads and page number; its paragraphs may go on from the page before."""
    kept = list(page)
    for from_end in (False, True):
        for _ in range(_EDGE_LINES):
            while kept and not kept[-1 if from_end else 0].strip():
                kept.pop(-1 if from_end else 0)
            line = kept[-1 if from_end else 0] if kept else ""
            if line and (_form(line) in recurring or _PAGE_NUMBER.fullmatch(line)):
                kept.pop(-1 if from_end else 0)
    return kept


def _paragraphs(lines: Sequence[str]) -> Iterator[str]:
    lengths = sorted(len(line) for line in lines if line.strip())
    usual = lengths[round(_LINE_SHARE * (len(lengths) - 1))] if lengths else 0
    paragraph: list[str] = []
    for line in lines:
        if not line.strip() or (paragraph and _begins_another(paragraph[-1], line, usual)):
            if paragraph:
                yield _joined(paragraph)
            paragraph = []
        if line.strip():
            paragraph.append(line)
    if paragraph:
        yield _joined(paragraph)


def _begins_another(above: str, line: str, usual: int) -> bool:
    """A line much shorter than the others ended its paragraph; an item or an indented line begins one."""
    is_short = len(above) < _SHORT_LINE * usual
    ends = _SENTENCE_END.search(above) is not None
    if _HYPHEN.search(above):
        return False
    if _ITEM.match(line) or (ends and line.startswith("  ")):
        return True
    first = line.lstrip()[:1]
    return is_short and (ends or not first.islower())


def _joined(lines: Sequence[str]) -> str:
    """One line; a word that was divided is whole again, and so is, wrongly, one whose hyphen was its own."""
    pieces: list[str] = []
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        words, follows = line.strip(), below.strip()
        if not _HYPHEN.search(words) or not follows:
            pieces.append(f"{words} ")
        else:
            pieces.append(words[:-1] if follows[0].islower() else words)
    return "".join(pieces).rstrip()
