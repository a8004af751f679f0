"""Reads `.odt`: the text as it stands on the page, deletions gone.

Knows OpenDocument's paragraphs, headings, lists, tables and text boxes. Notes, comments and generated indexes are left
out. Does not know layout.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile
from zipfile import ZipFile

from dittod.errors import FileSetAside
from dittod.ingest.readers.paragraphs import Paragraphs
from dittod.ingest.readers.titles import Origin, seconds_of, text_document
from dittod.ingest.readers.zipped import Node, nodes, properties, without
from dittod.types import Document

MAIN_PART = "content.xml"
_LEFT_OUT = {"tracked-changes", "note", "annotation", "forms", "automatic-styles", "font-face-decls", "scripts"}
_LEFT_OUT |= {"table-of-content", "alphabetical-index", "illustration-index", "bibliography", "desc", "title"}
_MOST_SPACES = 40


def read_odt(archive: ZipFile, origin: Origin) -> Document:
    """The whole file as one Document."""
    if any(node.name == "encryption-data" for node in nodes(archive, "META-INF/manifest.xml")):
        raise FileSetAside("the file is protected by a password", "save it without one")
    titles = _styles_of_titles(archive)
    found = _paragraphs(nodes(archive, MAIN_PART), titles)
    text = found.text()
    about = properties(archive, "meta.xml")
    date = seconds_of(about.get("date") or about.get("creation-date", ""))
    return text_document(text, origin, found.title or about.get("title", ""), found.headings, date)


def _paragraphs(document: Iterator[Node], titles: set[str]) -> Paragraphs:
    found = Paragraphs()
    styles: list[str] = []  # of the paragraphs that are open: a text box holds some within one
    items = 0
    for node in without(document, _LEFT_OUT):
        if not node.name:
            if styles:
                found.add(node.text.replace("\n", " "))
        elif node.name == "list-item":
            items += -1 if node.is_end else 1
        elif node.name in ("p", "h") and not node.is_end:
            if styles:
                found.end_paragraph(styles[-1])
            is_title = node.attributes.get("style-name", "") in titles
            styles.append("heading" if node.name == "h" else "title" if is_title else "item" if items else "")
        elif node.name in ("p", "h") and styles:
            found.end_paragraph(styles.pop())
        else:
            _add(node, found)
    return found


def _add(node: Node, found: Paragraphs) -> None:
    if node.name == "table-row":
        (found.end_row if node.is_end else found.begin_row)()
    elif node.is_end:
        return
    elif node.name == "s":
        count = node.attributes.get("c", "1")
        found.add(" " * min(int(count) if count.isascii() and count.isdigit() else 1, _MOST_SPACES))
    elif node.name in ("tab", "line-break"):
        found.add("\t" if node.name == "tab" else "\n")


def _styles_of_titles(archive: ZipFile) -> set[str]:
    """'Title', and the automatic styles made from it, which stand before the body."""
    before = takewhile(lambda node: node.name != "body", nodes(archive, MAIN_PART))
    styles = [node.attributes for node in before if node.name == "style"]
    return {"Title"} | {style.get("name", "") for style in styles if style.get("parent-style-name") == "Title"}
