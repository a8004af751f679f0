"""Cuts a mail down to the words its sender wrote. Pure.

Knows quote marks, attributions, separators, signatures, device lines and disclaimers, and keeps answers written between
quoted lines. Does not know headers, addresses or secrets. What cannot be told by form is kept: losing the user's own
words is the worse mistake, except below a separator, where everything is somebody else's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from dittod.ingest.attribution import Marker, attribution_ending_at
from dittod.ingest.separators import separator_at

_QUOTED = re.compile(r"\s{0,3}>")
_UNQUOTE = re.compile(r"\s{0,3}> ?")
_DASHES = re.compile(r"--\s*$")  # '-- ' by RFC 3676; many programs drop the space
_RULE = re.compile(r"\s*[-_=*]{3,}\s*$")
_LONGEST_SIGNATURE_LINES = 15  # a '--' line with more below it is a rule, not a signature
_DEVICE = re.compile(
    r"\s*(?:Sent (?:from|via|by|using) (?:my |the )?.{0,40}"
    r"(?:iPhone|iPad|Android|BlackBerry|Samsung|Galaxy|Outlook|Mail|Nokia|Handheld|mobile|phone|device|Treo|Pixel|Proton"
    r"|Wireless).{0,50}|Sent from my .{2,40}"
    r"|(?:Gesendet|Envoyé|Enviado|Inviato|Verzonden|Verstuurd|Skickat|Sendt|Wysłan[eo])"
    r" (?:von|mit|depuis|de|desde|dal?|do|van(?:af)?|från|fra|z)\b.{1,60}"
    r"|Vo[nm] mein.{1,40} gesendet\.?|Diese Nachricht wurde von mein.{1,60} gesendet\.?"
    r"|Get Outlook for .{2,20}|Outlook für .{2,20} beziehen|Do You Yahoo!\?)\s*$",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(  # where an attachment or a picture stood
    r"\s*(?:<<\s*(?:File|OLE Object).*>>|\[(?:image|cid|inline image)\b.*\]|\(See attached file:.*\)| - .{1,200}"
    r"\.(?:docx?|xlsx?|ppt|pps|pptx|pdf|jpe?g|gif|png|bmp|tif|zip|exe|avi|mpe?g|mp3|wav|html?|txt|eml|rtf|vcf))\s*$",
    re.IGNORECASE,
)
_DISCLAIMER = re.compile(
    r"[\s*_]*(?:CONFIDENTIALITY (?:NOTICE|NOTE|STATEMENT)|DISCLAIMER\b"
    r"|(?:This|The information (?:contained )?in this|The contents? of this|Diese)\s+"
    r"(?:e-?mail|electronic mail|message|communication|transmission|Nachricht)\b)",
    re.IGNORECASE,
)
_LEGAL = re.compile(  # a disclaimer has at least two of these
    r"(?i)\b(intended (?:recipient|only|solely|for)|addressee|privileged|confidential|disclos\w+|unauthori[sz]ed"
    r"|notify the sender|in error|property of|vertraulich\w*|unbefugt\w*|delete)\b"
)
_LONGEST_DISCLAIMER_LINES = 40  # below it more than small print stands
_WRAPPED_AT_LEAST = 60  # a quoted line shorter than this was not broken by the mail program


@dataclass(frozen=True, slots=True)
class Cut:
    """A mail, taken apart."""

    kept: str  # the sender's own words
    quoted: str  # the message answered, as its writer wrote it: no marks, nothing it quoted itself
    signature: str
    removed: tuple[tuple[int, str], ...]  # (line number from 1, reason) of each line that is not kept
    quoted_from: str = ""  # who wrote it, as the attribution or header block names them
    is_forward: bool = False  # the message below was passed on, not answered


def own_words(text: str, depth: int = 0) -> Cut:
    """Takes a body apart. Kept lines stand in `kept` unchanged and in order."""
    lines = text.split("\n")
    reasons: list[str | None] = ["quoted" if _QUOTED.match(line) else None for line in lines]
    markers = _mark_announced(lines, reasons)
    _mark_wrapped(lines, reasons)
    quoted_lines = [i for i, reason in enumerate(reasons) if reason == "quoted"]
    signature = _mark_signatures(lines, reasons)
    _mark_small_print(lines, reasons)
    first = markers[0] if markers else None
    return Cut(
        kept="\n".join(line for line, reason in zip(lines, reasons, strict=True) if not reason).strip(),
        quoted=_message([lines[i] for i in quoted_lines], depth),
        signature=signature,
        removed=tuple((i + 1, reason) for i, reason in enumerate(reasons) if reason),
        quoted_from=first.name if first else "",
        is_forward=first is not None and first.kind == "forward",
    )


def _message(quoted: list[str], depth: int) -> str:
    """The quoted lines one level up, without what they quote in turn."""
    unmarked = [_UNQUOTE.sub("", line, count=1) if _QUOTED.match(line) else line for line in quoted]
    return own_words("\n".join(unmarked), depth + 1).kept if unmarked and depth < 2 else "\n".join(unmarked).strip()


def _mark_announced(lines: list[str], reasons: list[str | None]) -> list[Marker]:
    """Marks attributions and header blocks, and what stands below a certain one."""
    markers: list[Marker] = []
    i = 0
    while i < len(lines):
        marker = None if reasons[i] else _marker_at(lines, reasons, i)
        if marker is None:
            i += 1
            continue
        markers.append(marker)
        start = _start_with_rule(lines, marker.start)
        reasons[start : marker.end] = [marker.kind] * (marker.end - start)
        if marker.certain and not (marker.kind != "forward" and _answers_between(lines, marker.end)):
            reasons[marker.end :] = ["quoted"] * (len(lines) - marker.end)
            break
        i = marker.end
    return markers


def _start_with_rule(lines: list[str], start: int) -> int:
    """A drawn line above a marker belongs to it, and so does Notes' letterhead, indented like its 'From:'."""
    while start > 0 and (
        _RULE.match(lines[start - 1]) or (lines[start].startswith("\t") and lines[start - 1].startswith("\t"))
    ):
        start -= 1
    return start


def _marker_at(lines: list[str], reasons: list[str | None], i: int) -> Marker | None:
    if separator := separator_at(lines, i):
        return separator
    attribution = attribution_ending_at(lines, i)
    if attribution is None or any(reasons[attribution.start : attribution.end]):
        return None
    follows = next((lines[below] for below in range(i + 1, len(lines)) if lines[below].strip()), None)
    is_followed = follows is not None and bool(_QUOTED.match(follows))
    ends_text = follows is None
    return attribution if is_followed or attribution.certain or (ends_text and attribution.name) else None


def _answers_between(lines: list[str], start: int) -> bool:
    """True when the message below is marked with '>' from its first line on: unmarked lines are answers."""
    first = next((lines[below] for below in range(start, len(lines)) if lines[below].strip()), "")
    return bool(_QUOTED.match(first))


def _mark_wrapped(lines: list[str], reasons: list[str | None]) -> None:
    """Quoted lines broken once more in transport leave short unmarked ends; marked only where that is the habit."""
    ends = [i for i in range(1, len(lines) - 1) if _is_wrapped_end(lines, reasons, i)]
    if len(ends) >= 3:
        for i in ends:
            reasons[i] = "quoted"


def _is_wrapped_end(lines: list[str], reasons: list[str | None], i: int) -> bool:
    above, line = lines[i - 1].rstrip(), lines[i].strip()
    return (
        reasons[i] is None
        and bool(line)
        and reasons[i - 1] == reasons[i + 1] == "quoted"
        and len(above) >= _WRAPPED_AT_LEAST
        and len(line) < len(above)
        and not above.endswith((".", "?", "!"))
    )


def _runs(reasons: list[str | None]) -> Iterator[tuple[int, int]]:
    """[start, end) of each stretch of lines that are kept so far."""
    start = None
    for i, reason in enumerate([*reasons, "end"]):
        if reason is None and start is None:
            start = i
        elif reason is not None and start is not None:
            yield start, i
            start = None


def _mark_signatures(lines: list[str], reasons: list[str | None]) -> str:
    """Marks what follows a line of two dashes below own words, up to the next quoted line or the end."""
    found: list[str] = []
    has_words = False
    for start, end in list(_runs(reasons)):
        for i in range(start, end):
            if has_words and _DASHES.match(lines[i]) and _is_short(lines, i, end):
                reasons[i:end] = ["signature"] * (end - i)
                found.append("\n".join(lines[i + 1 : end]).strip())
                break
            has_words = has_words or bool(lines[i].strip())
    return "\n".join(found)


def _is_short(lines: list[str], start: int, end: int) -> bool:
    written = (i for i in range(start, end) if lines[i].strip())
    return next(islice(written, _LONGEST_SIGNATURE_LINES, None), None) is None


def _mark_small_print(lines: list[str], reasons: list[str | None]) -> None:
    """Marks device lines and disclaimers at the end of a stretch, and the places where attachments stood."""
    for i, line in enumerate(lines):
        if reasons[i] is None and _PLACEHOLDER.match(line):
            reasons[i] = "attachment"
    for start, end in list(_runs(reasons)):
        _mark_disclaimer(lines, reasons, start, end)
        last = end - 1
        while last >= start and (not lines[last].strip() or reasons[last] or _DEVICE.match(lines[last])):
            if reasons[last] is None and lines[last].strip():
                reasons[last] = "device"
                if last > start and _RULE.match(lines[last - 1]):
                    reasons[last - 1] = "device"
            last -= 1


def _mark_disclaimer(lines: list[str], reasons: list[str | None], start: int, end: int) -> None:
    """A disclaimer ends a mail: it is cut with all that follows, when own words stand above it."""
    for i in range(max(start + 1, end - _LONGEST_DISCLAIMER_LINES), end):
        begins = not re.search(r"\w", lines[i - 1]) and _DISCLAIMER.match(lines[i])
        if begins and len({term.lower() for term in _LEGAL.findall("\n".join(lines[i:end]))}) >= 2:
            reasons[i:end] = ["disclaimer"] * (end - i)
            return
