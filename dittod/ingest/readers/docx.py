"""Reads `.docx`: the text as it stands on the page, insertions accepted and deletions gone.

Knows WordprocessingML's paragraphs, styles, lists, tables and text boxes. Headers, footers, notes and comments are left
out. Does not know layout.

Not python-docx: its paragraphs lack what stands in tracked insertions, content controls and smart tags, and it loads
every part of the file, pictures too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from zipfile import ZipFile

from dittod.ingest.readers.paragraphs import Paragraphs
from dittod.ingest.readers.titles import Origin, seconds_of, text_document
from dittod.ingest.readers.zipped import Node, nodes, properties, without
from dittod.types import Document

MAIN_PART = "word/document.xml"
_LEFT_OUT = {"moveFrom", "del", "Fallback", "instrText"}  # Fallback repeats a text box for old programs
_CHARACTERS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_HEADING_NAME = re.compile(r"(?i)heading \d")
_TITLE_NAME = re.compile(r"(?i)title")


def read_docx(archive: ZipFile, origin: Origin) -> Document:
    """The whole file as one Document."""
    found = _paragraphs(nodes(archive, MAIN_PART), _styles(archive))
    text = found.text()
    about = properties(archive, "docProps/core.xml")
    date = seconds_of(about.get("modified") or about.get("created", ""))
    return text_document(text, origin, found.title or about.get("title", ""), found.headings, date)


@dataclass
class _Paragraph:
    """What is known of the paragraph that is open."""

    style: str = ""
    runs: int = 0  # runs that are open: a tab outside of one is a tab stop


def _paragraphs(document: Iterator[Node], styles: dict[str, str]) -> Paragraphs:
    found = Paragraphs()
    open_paragraphs = [_Paragraph()]  # a text box holds paragraphs within a paragraph
    in_text = False
    for node in without(document, _LEFT_OUT):
        if not node.name:
            if in_text:
                found.add(node.text)
        elif node.name == "t":
            in_text = not node.is_end
        elif node.is_end:
            _end(node.name, found, open_paragraphs)
        else:
            _start(node, found, open_paragraphs, styles)
    return found


def _start(node: Node, found: Paragraphs, open_paragraphs: list[_Paragraph], styles: dict[str, str]) -> None:
    paragraph = open_paragraphs[-1]
    if node.name == "p":
        if paragraph.runs:
            found.end_paragraph(paragraph.style)
        open_paragraphs.append(_Paragraph())
    elif node.name == "pStyle":
        paragraph.style = styles.get(node.attributes.get("val", ""), "")
    elif node.name == "outlineLvl" and node.attributes.get("val", "9") != "9":
        paragraph.style = "heading"
    elif node.name == "numId" and node.attributes.get("val") != "0":
        paragraph.style = paragraph.style or "item"
    elif node.name == "r":
        paragraph.runs += 1
    elif node.name == "tr":
        found.begin_row()
    elif node.name in _CHARACTERS and paragraph.runs:
        found.add(_CHARACTERS[node.name])


def _end(name: str, found: Paragraphs, open_paragraphs: list[_Paragraph]) -> None:
    if name == "p" and len(open_paragraphs) > 1:
        found.end_paragraph(open_paragraphs.pop().style)
    elif name == "r":
        open_paragraphs[-1].runs -= 1
    elif name == "tr":
        found.end_row()


def _styles(archive: ZipFile) -> dict[str, str]:
    """What the styles mean: their ids are in the language of the program, their names are not."""
    meanings: dict[str, str] = {}
    style = ""
    for node in nodes(archive, "word/styles.xml"):
        value = node.attributes.get("val", "")
        if node.name == "style":
            style = "" if node.is_end else node.attributes.get("styleId", "")
        elif style and node.name == "name" and _HEADING_NAME.fullmatch(value):
            meanings[style] = "heading"
        elif style and node.name == "name" and _TITLE_NAME.fullmatch(value):
            meanings[style] = "title"
        elif style and node.name == "outlineLvl" and value != "9" and not node.is_end:
            meanings.setdefault(style, "heading")
        elif style and node.name == "numId" and not node.is_end:
            meanings.setdefault(style, "item")
    return meanings
