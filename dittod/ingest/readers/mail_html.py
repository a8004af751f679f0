"""The text of an HTML mail as a plain-text mail has it: '>' before quoted lines, '-- ' above a signature. Pure.

Knows what mail programs mark as quotation, original message and signature. Does not cut anything: that is the cleaner's
(`ingest.mail`), which then sees what the reader of the mail saw.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import accumulate

from dittod.ingest.attribution import attribution_ending_at
from dittod.ingest.readers.html import Page, Span, page_of
from dittod.ingest.readers.html_tokens import Tag
from dittod.ingest.separators import separator_at

_PREFIX = re.compile(r"\b(?:x_)+")  # Outlook's, before names in what it quotes
_QUOTE_BOX = {"yahoo_quoted", "zmail_extra", "mail-editor-reference-message-container", "isforwardcontent"}
_ORIGINAL = {
    "divrplyfwdmsg",
    "outlookmessageheader",
    "zwchr",
}  # from here on, without an end, all is the message answered
_SIGNATURE = re.compile(
    r"(?i)\b(?:gmail_signature|moz-signature|protonmail_signature_block|ms-outlook-(?:mobile-)?signature|applemailsignature"
    r"|k9mail-signature|zmail_signature|sig_[0-9a-f]{8,}|mail_signature|email-signature)(?![\w-])"
)
_CITES = re.compile(r"(?i)quote|cite|moz-txt")
_LEFT_BORDER = re.compile(r"(?i)border-left\s*:[^;]*(?:solid|\dp[xt])")
_PADDING = re.compile(r"(?i)padding(?:-left)?\s*:")
_HEADER_LINE = re.compile(r"[\s*]*[^\W\d_][\w -]{0,18}\*?\s?[:：]\*?\s")
_MOST_HEADERS = 8  # lines of a header block in a quotation
_MOST_ATTRIBUTION_LINES = 3
_DEEPEST_MARK = 20
_ORIGINAL_LINE = "-----Original Message-----"


def text_of_mail(html: str) -> str:
    """What a plain-text mail with the same content would say."""
    page = page_of(html, _role_of)
    depths = _depths(page)
    before = {span.start: line for span in page.spans if (line := _line_before(page.lines, depths, span))}
    lines: list[str] = []
    for i, (line, depth) in enumerate(zip(page.lines, depths, strict=True)):
        if i in before:
            lines.append(_marked(before[i], depth))
        lines.append(_marked(line, depth))
    return "\n".join(lines).strip("\n")


def _marked(line: str, depth: int) -> str:
    return f"{'>' * min(depth, _DEEPEST_MARK)} {line}".rstrip(" ") if depth else line


def _role_of(tag: Tag) -> str:
    attributes = tag.attributes
    if not attributes:
        return "indented" if tag.name == "blockquote" else ""
    names = _PREFIX.sub("", f"{attributes.get('id', '')} {attributes.get('class', '')}")
    words = names.lower().split()
    if tag.name == "blockquote":
        cites = attributes.get("type") == "cite" or "cite" in attributes or _CITES.search(names)
        return "quote" if cites or _LEFT_BORDER.search(attributes.get("style", "")) else "indented"
    if not _ORIGINAL.isdisjoint(words):
        return "original"
    if _is_quote_box(tag, words):
        return "quote"
    is_signature = (
        _SIGNATURE.search(names) or "signature" in words or attributes.get("data-smartmail") == "gmail_signature"
    )
    return "signature" if is_signature and tag.name not in ("a", "img") else ""


def _is_quote_box(tag: Tag, words: Sequence[str]) -> bool:
    """Yahoo's, GMX's and web.de's boxes, Mac Outlook's section, and Outlook's blue line to the left."""
    style = tag.attributes.get("style", "")
    return (
        any(word in _QUOTE_BOX or word.startswith(("yahoo_quoted", "olk_src_body_section")) for word in words)
        or (tag.name == "div" and tag.attributes.get("name") == "quote")
        or (tag.name == "div" and bool(_LEFT_BORDER.search(style) and _PADDING.search(style)))
    )


def _depths(page: Page) -> list[int]:
    """How often each line is quoted. What announces a quotation within it stands before it, as in plain text."""
    steps = [0] * (len(page.lines) + 1)
    for span in sorted(page.spans, key=lambda span: (span.start, -span.end)):
        if span.role == "quote" or (span.role == "indented" and _is_announced(page.lines, span.start)):
            start = _after_announcement(page.lines, span)
            steps[min(start, span.end)] += 1
            steps[span.end] -= 1
    return list(accumulate(steps[:-1]))


def _is_announced(lines: Sequence[str], start: int) -> bool:
    last = next((i for i in range(start - 1, max(start - 4, -1), -1) if lines[i]), None)
    return last is not None and _is_attribution(lines, last)


def _is_attribution(lines: Sequence[str], last: int) -> bool:
    """Whether one ends here; only the few lines are passed on of which it can consist."""
    few = lines[max(0, last - _MOST_ATTRIBUTION_LINES + 1) : last + 1]
    return attribution_ending_at(few, len(few) - 1) is not None


def _after_announcement(lines: Sequence[str], span: Span) -> int:
    """The line after an attribution or a header block at the beginning of a span."""
    written = [i for i in range(span.start, min(span.end, span.start + 2 * _MOST_HEADERS)) if lines[i]]
    if not written:
        return span.start
    if _is_attribution(lines[written[0] : written[0] + 1], 0):
        return written[0] + 1
    headers = 0
    while headers < min(len(written), _MOST_HEADERS) and _HEADER_LINE.match(lines[written[headers]]):
        headers += 1
    return written[headers - 1] + 1 if headers > 2 else span.start


def _line_before(lines: Sequence[str], depths: Sequence[int], span: Span) -> str:
    """What plain text has above an original message or a signature."""
    if span.start == span.end:
        return ""
    if span.role == "original":
        return _ORIGINAL_LINE
    is_marked = lines[span.start].strip() == "--"
    return "-- " if span.role == "signature" and not is_marked and _ends_mail(lines, depths, span) else ""


def _ends_mail(lines: Sequence[str], depths: Sequence[int], span: Span) -> bool:
    """False when more words of the same writer follow: below '-- ' they would be lost."""
    below = next((i for i in range(span.end, len(lines)) if lines[i]), None)
    if below is None or depths[below] != depths[span.start]:
        return True
    announces = (_is_attribution(lines, last) for last in range(below, min(below + 3, len(lines))))
    return separator_at(lines, below) is not None or any(announces)
