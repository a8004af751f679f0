"""HTML to plain text, for mails that come without a text part. Pure.

Knows block elements, line breaks, lists and that a cited `blockquote` is a quotation (it becomes `>` lines, so that the
cleaner sees what the reader of the mail saw). Does not know style sheets, scripts, images or links' targets.
"""

from __future__ import annotations

from html.parser import HTMLParser

_HIDDEN = {"script", "style", "head", "title", "template", "noscript", "svg"}
_BLOCKS = {
    "div",
    "p",
    "li",
    "ul",
    "ol",
    "tr",
    "table",
    "blockquote",
    "pre",
    "section",
    "article",
    "header",
    "footer",
}
_BLOCKS |= {"h1", "h2", "h3", "h4", "h5", "h6", "dl", "dt", "dd", "hr", "address", "body", "center"}
_SPACED = {"p", "h1", "h2", "h3", "h4", "h5", "h6", "pre"}  # set apart by an empty line

_DEEPEST_QUOTE = 20  # levels shown


def text_of_html(html: str) -> str:
    """What a reader of the page would see, as lines of text."""
    page = _Page()
    page.feed(_without_comments(html))
    page.close()
    return page.text()


def _without_comments(html: str) -> str:
    """Takes comments out first: html.parser needs quadratic time for many that are never closed."""
    start = html.find("<!--")
    pieces, end = [], 0
    while start >= 0:
        pieces.append(html[end:start])
        close = html.find("-->", start + 4)
        end = close + 3 if close >= 0 else len(html)
        start = html.find("<!--", end)
    return "".join([*pieces, html[end:]])


class _Page(HTMLParser):
    """Collects lines. `quotations` remembers for each open blockquote whether it cites somebody."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.lines: list[str] = []
        self.line: list[str] = []
        self.quotations: list[bool] = []
        self.depth = 0  # how many of them cite
        self.hidden = 0
        self.verbatim = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _HIDDEN:
            self.hidden += 1
        if tag == "body":
            self.hidden = 0  # an unclosed <head> must not swallow the mail
        if tag in _BLOCKS:
            self._end_line(spaced=tag in _SPACED)
        if tag == "br":
            self._end_line(keep_empty=True)
        elif tag == "li":
            self.line.append("- ")
        elif tag in ("td", "th"):
            self.line.append(" ")
        elif tag == "pre":
            self.verbatim += 1
        elif tag == "blockquote":
            self.quotations.append(_cites(dict(attrs)))
            self.depth += self.quotations[-1]

    def handle_endtag(self, tag: str) -> None:
        if tag in _HIDDEN:
            self.hidden = max(0, self.hidden - 1)
        if tag in _BLOCKS:
            self._end_line(spaced=tag in _SPACED)
        if tag == "pre":
            self.verbatim = max(0, self.verbatim - 1)
        elif tag == "blockquote" and self.quotations:
            self.depth -= self.quotations.pop()

    def handle_data(self, data: str) -> None:
        if self.hidden:
            return
        if self.verbatim:
            first, *others = data.replace("\r\n", "\n").split("\n")
            self.line.append(first)
            for other in others:
                self._end_line(keep_empty=True)
                self.line.append(other)
        else:
            self.line.append(data)

    def text(self) -> str:
        self._end_line()
        return "\n".join(self.lines).strip("\n")

    def _end_line(self, *, spaced: bool = False, keep_empty: bool = False) -> None:
        joined = "".join(self.line).replace("\xa0", " ")
        words = joined.rstrip() if self.verbatim else " ".join(joined.split())
        self.line.clear()
        mark = ">" * min(self.depth, _DEEPEST_QUOTE)
        if words:
            self.lines.append(f"{mark} {words}" if mark else words)
        elif keep_empty:
            self.lines.append(mark)
        if spaced and self.lines and self.lines[-1] != mark:
            self.lines.append(mark)


def _cites(attributes: dict[str, str | None]) -> bool:
    """Mail programs mark a quotation; a bare blockquote is only an indented paragraph of the writer."""
    return attributes.get("type") == "cite" or "cite" in attributes or "quote" in (attributes.get("class") or "")
