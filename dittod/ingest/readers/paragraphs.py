"""Collects the paragraphs of a word processor's document into text: what `.docx` and `.odt` have in common. Pure.

Knows paragraphs, headings, list items and rows of tables as text shows them. Does not know any format.
"""

from __future__ import annotations

import re


class Paragraphs:
    """A text being collected, piece by piece."""

    def __init__(self) -> None:
        self.headings: list[str] = []
        self.title = ""  # the paragraph that the writer formatted as the title
        self._blocks: list[str] = []
        self._pieces: list[str] = []
        self._cells: list[list[str]] = []  # of each row that is open
        self._last = ""  # what the last block is: 'item', 'row' or ''; the next of its kind follows at once

    def add(self, piece: str) -> None:
        self._pieces.append(piece)

    def end_paragraph(self, style: str = "") -> None:
        """`style` is 'heading', 'title', 'item' or ''."""
        text = "".join(self._pieces).replace("\xa0", " ").strip()
        self._pieces.clear()
        if not text:
            return
        if style == "heading":
            self.headings.append(text)
        elif style == "title":
            self.title = self.title or text
        if self._cells:
            self._cells[-1].append(text)
        else:
            self._append(f"- {text}" if style == "item" else text, "item" if style == "item" else "")

    def begin_row(self) -> None:
        self._cells.append([])

    def end_row(self) -> None:
        cells = self._cells.pop() if self._cells else []
        row = "\t".join(cell for cell in cells if cell)
        if self._cells:
            self._cells[-1].append(row)
        elif row:
            self._append(row, "row")

    def text(self) -> str:
        self.end_paragraph()
        while self._cells:
            self.end_row()
        return re.sub(r"[ \t]+\n", "\n", "".join(self._blocks))

    def _append(self, block: str, kind: str) -> None:
        if self._blocks:
            self._blocks.append("\n" if kind and kind == self._last else "\n\n")
        self._blocks.append(block)
        self._last = kind
