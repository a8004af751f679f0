"""HTML to lines of plain text, as a person sees them. Pure.

Knows blocks, line breaks, lists, tables (a row is a line), hidden and preformatted text. An element can be given a role
by the caller; which lines stand in it comes back as a Span. Does not know what mail programs mark, style sheets, links'
targets or pictures.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

from dittod.ingest.readers.html_tokens import Tag, tokens


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_VOID = _names("area base br col embed hr img input link meta param source track wbr")
_HIDDEN = _names(
    "script style head title template noscript svg math select button textarea iframe object audio video canvas nav"
    " datalist"
)
_IN_HEAD = _names("script style title template noscript meta link base basefont bgsound")
_BLOCKS = _names(
    "div p li ul ol tr table thead tbody tfoot caption blockquote pre section article header footer main aside h1 h2"
    " h3 h4 h5 h6 dl dt dd hr address body html center form fieldset figure figcaption details summary"
)
HEADINGS = {"h1", "h2", "h3", "h4", "h5", "h6"}
_SPACED = HEADINGS | {"p", "pre", "ul", "ol", "dl"}  # set apart by an empty line
_ENDED_BY = {  # elements whose end tag may be left out, by what comes next
    "p": _BLOCKS,
    "li": {"li"},
    "dt": {"dt", "dd"},
    "dd": {"dt", "dd"},
    "td": {"td", "th", "tr", "tbody", "tfoot"},
    "th": {"td", "th", "tr", "tbody", "tfoot"},
    "tr": {"tr", "tbody", "tfoot"},
    "option": {"option"},
}
_CELLS = _names("td th caption table")  # what is open outside cannot be closed from within
_PARTS_OF_TABLES = _CELLS | _names("tr tbody thead tfoot body html")
_FARTHEST_END = 100  # elements an end tag may close: beyond that nothing is closed
_INVISIBLE = re.compile(r"[\s\u00ad\u034f\u061c\u200b-\u200f\u2060-\u2064\u2800\ufeff]*")
_SHOWN = str.maketrans({"\xa0": " ", "\xad": None, "\u034f": None, "\u200b": None, "\u2060": None})
_JOINERS = " \u200c\u200d"  # within words they have a meaning
_HIDING = re.compile(
    r"(?i)display\s*:\s*none|visibility\s*:\s*hidden|mso-hide\s*:\s*all|max-height\s*:\s*0(?:px)?\s*(?:;|$)"
)
_TIGHT = re.compile(
    r"(?i)margin\s*:\s*0(?:[a-z]{2})?\s*(?:;|$|0)|margin-bottom\s*:\s*\.?0(?:\.0+1?)?(?:[a-z]{2})?\s*(?:;|$)"
)
_VERBATIM = re.compile(r"(?i)white-space\s*:\s*(?:pre|break-spaces)")
_MOST_EMPTY = 8  # lines looked at, at the beginning and the end of an element
_LONGEST_ROW = 300  # characters of a row put on one line; in longer ones the cells hold paragraphs


@dataclass(frozen=True, slots=True)
class Span:
    """Lines [start, end) that stand in an element with a role."""

    role: str
    start: int
    end: int


@dataclass
class _Open:
    """An element that is open. Roles are the caller's."""

    name: str
    role: str = ""
    start: int = 0  # the number of lines before it
    is_hidden: bool = False
    is_verbatim: bool = False
    is_spaced: bool = False
    items: int = 0  # of a list that counts: how many so far; -1 of one that does not
    cells: list[int] = field(default_factory=list[int])  # of a row: the number of lines before each cell
    spans: int = 0  # how many there were


@dataclass
class Page:
    """A page as lines, and which of them stand in elements with a role."""

    lines: list[str] = field(default_factory=list[str])
    spans: list[Span] = field(default_factory=list[Span])
    title: str = ""


def page_of(html: str, role_of: Callable[[Tag], str] = lambda tag: "") -> Page:
    """What a reader of the page sees. `role_of` gives the role of an element by its tag, '' for none."""
    layout = _Layout(role_of)
    for token in tokens(html):
        if isinstance(token, str):
            layout.text(token)
        elif token.is_end:
            layout.end(token.name)
        else:
            layout.start(token)
    return layout.finished()


class _Layout:
    """The state of reading a page from its beginning to its end."""

    def __init__(self, role_of: Callable[[Tag], str]) -> None:
        self._role_of = role_of
        self._page = Page()
        self._line: list[str] = []
        self._mark = ""  # of a list item, until its first words come
        self._open: list[_Open] = []
        self._hidden = self._verbatim = 0

    def text(self, text: str) -> None:
        if self._hidden:
            if self._open and self._open[-1].name == "title" and not self._page.title:
                self._page.title = " ".join(text.split())
        elif self._verbatim:
            first, *others = text.split("\n")
            self._line.append(first)
            for other in others:
                self._end_line(keep_empty=True)
                self._line.append(other)
        else:
            self._line.append(text)

    def start(self, tag: Tag) -> None:
        self._close_implied(tag.name)
        if tag.name in _BLOCKS:
            self._end_line()
        if tag.name == "br":
            self._end_line(keep_empty=True)
        elif tag.name == "img":
            self.text(_emoji(tag))
        elif tag.name not in _VOID:
            self._push(tag)
        elif role := self._role_of(tag):  # a line drawn above what it marks
            self._page.spans.append(Span(role, len(self._page.lines), len(self._page.lines) + 1))

    def end(self, name: str) -> None:
        """Close the nearest open element of this name, and what was opened in it."""
        if name == "p" and not any(element.name == "p" for element in self._open[-_FARTHEST_END:]):
            self._space()
        for back in range(1, min(len(self._open), _FARTHEST_END) + 1):
            found = self._open[-back].name
            if found == name:
                for _ in range(back):
                    self._pop()
                return
            if found in _CELLS and name not in _PARTS_OF_TABLES:
                return

    def finished(self) -> Page:
        while self._open:
            self._pop()
        self._end_line()
        lines = self._page.lines
        while lines and not lines[-1]:
            lines.pop()
        size = len(lines)
        spans = [Span(span.role, min(span.start, size), min(span.end, size)) for span in self._page.spans]
        return Page(lines, spans, self._page.title)

    def _close_implied(self, name: str) -> None:
        while self._open and (name in ("body", "frameset") or _ends(self._open[-1].name, name)):
            self._pop()

    def _push(self, tag: Tag) -> None:
        style = tag.attributes.get("style", "")
        element = _Open(
            tag.name,
            role=self._role_of(tag),
            is_hidden=tag.name in _HIDDEN or "hidden" in tag.attributes or bool(_HIDING.search(style)),
            is_verbatim=tag.name == "pre" or bool(_VERBATIM.search(style)),
            is_spaced=tag.name in _SPACED and not self._is_tight(tag, style),
            items={"ol": 0, "ul": -1}.get(tag.name, 0),
            spans=len(self._page.spans),
        )
        if element.role:
            self._end_line()
        if element.is_spaced:
            self._space()
        element.start = len(self._page.lines)
        self._hidden += element.is_hidden
        self._verbatim += element.is_verbatim
        if tag.name == "li":
            self._mark = self._bullet()
        elif tag.name in ("td", "th"):
            self._begin_cell()
        self._open.append(element)

    def _is_tight(self, tag: Tag, style: str) -> bool:
        """Outlook's paragraphs are lines; a list within a list stands close."""
        if tag.name in ("ul", "ol", "p") and any(element.name == "li" for element in self._open[-1:]):
            return True
        if tag.name in ("ul", "ol"):
            return any(element.name in ("li", "ul", "ol") for element in self._open[-4:])
        return tag.attributes.get("class", "").startswith(("Mso", "x_Mso")) or bool(_TIGHT.search(style))

    def _pop(self) -> None:
        element = self._open.pop()
        is_long_cell = element.name in ("td", "th") and len(self._page.lines) > element.start
        if element.name in _BLOCKS or element.role or is_long_cell:
            self._end_line()
        if element.name == "li":
            self._mark = ""
        self._hidden -= element.is_hidden
        self._verbatim -= element.is_verbatim
        if element.name == "tr":
            self._join_row(element)
        if element.role:
            self._page.spans.append(self._span(element))
        if element.is_spaced:
            self._space()

    def _span(self, element: _Open) -> Span:
        """The element's lines without empty ones around them."""
        lines, start, end = self._page.lines, element.start, len(self._page.lines)
        for _ in range(_MOST_EMPTY):
            start += start < end and not lines[start]
            end -= start < end and not lines[end - 1]
        return Span(element.role, start, end)

    def _bullet(self) -> str:
        around = next((element for element in reversed(self._open[-4:]) if element.name in ("ol", "ul")), None)
        if around is None or around.items < 0:
            return "- "
        around.items += 1
        return f"{around.items}. "

    def _begin_cell(self) -> None:
        row = next((element for element in reversed(self._open[-4:]) if element.name == "tr"), None)
        if self._line:
            self._line.append(" ")
        if row is not None:
            row.cells.append(len(self._page.lines))

    def _join_row(self, row: _Open) -> None:
        """Cells of one line each, which a paragraph within each of them had put on lines of their own."""
        lines = self._page.lines
        if len(row.cells) < 2 or len(lines) - row.cells[0] > 3 * len(row.cells) or len(self._page.spans) != row.spans:
            return
        cells = [[line for line in lines[a:b] if line] for a, b in pairwise([*row.cells, len(lines)])]
        words = [line for cell in cells for line in cell]
        if words and all(len(cell) <= 1 for cell in cells) and sum(map(len, words)) <= _LONGEST_ROW:
            lines[row.cells[0] :] = [" ".join(words)]

    def _space(self) -> None:
        self._end_line()
        if self._page.lines and self._page.lines[-1]:
            self._page.lines.append("")

    def _end_line(self, *, keep_empty: bool = False) -> None:
        joined = "".join(self._line)
        self._line.clear()
        if self._hidden:
            return
        blank = _INVISIBLE.fullmatch(joined) is not None
        words = joined.translate(_SHOWN)
        if not blank:
            shown = words.rstrip() if self._verbatim else " ".join(words.split()).strip(_JOINERS)
            self._page.lines.append(self._mark + shown)
            self._mark = ""
        elif keep_empty or "\xa0" in joined:
            self._page.lines.append("")


def _ends(last: str, name: str) -> bool:
    """Whether a tag ends the element before it, though that has not been closed."""
    return name not in _IN_HEAD if last == "head" else name in _ENDED_BY.get(last, ())


def _emoji(image: Tag) -> str:
    """Of pictures only those that stand for a character are text."""
    text = image.attributes.get("alt", "")
    return text if text and len(text) <= 8 and not any(c.isalnum() or c.isspace() or c < "\x80" for c in text) else ""
