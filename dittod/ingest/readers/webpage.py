"""Reads `.html` files: the text of a page its writer kept, with title and headings.

Does not know mail: a block quotation is the writer's, and nothing is marked.
"""

from __future__ import annotations

from dittod.errors import FileSetAside
from dittod.ingest.readers.decode import charset_in_html, decode
from dittod.ingest.readers.html import HEADINGS, page_of
from dittod.ingest.readers.titles import Origin, text_document
from dittod.types import Document


def read_webpage(raw: bytes, origin: Origin) -> Document:
    """The page as one Document."""
    page = page_of(decode(raw, charset_in_html(raw)), lambda tag: "heading" if tag.name in HEADINGS else "")
    text = "\n".join(page.lines)
    if not text.strip():
        raise FileSetAside("the page holds no text", "a page that a program fills in is empty without it")
    headings = [" ".join(page.lines[span.start : span.end]) for span in page.spans]
    return text_document(text, origin, page.title, headings)
