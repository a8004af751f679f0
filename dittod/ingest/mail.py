"""Cuts a mail down to the words its sender wrote. Pure.

Knows what announces a quotation, what follows it, and that own words end in signatures and small print; keeps answers
written between quoted lines. Does not know headers, addresses, secrets or the user's other mails. What cannot be told
by form is kept: losing the user's own words is the worse mistake, except below a separator, where everything is
somebody else's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

from dittod.ingest.attribution import Marker, attribution_ending_at
from dittod.ingest.contact import contact_block
from dittod.ingest.endings import LONGEST_ENDING_LINES, ending_of, is_placeholder, is_rule
from dittod.ingest.quoting import (
    is_quoted,
    last_answer,
    mark_wrapped,
    marked_answers,
    stretches,
    unmark_own_signs,
    unquoted,
)
from dittod.ingest.separators import is_titled_rule, separator_at

_DASHES = re.compile(r"--[ \xa0]*$")  # '-- ' by RFC 3676; many programs drop the space
_DECLARED = "-- "
_GREETING = re.compile(
    r"(?i)\s*(?:hi|hello|hey|dear|hallo|liebe[rs]?|sehr geehrte[rs]?|bonjour|cher|chère|hola|querid[oa]|estimad[oa]"
    r"|ciao|car[oa]|gentile|beste|geachte|olá|prezad[oa]|drog[ia]|kära?|hej|kjære|здравствуйте|уважаем\w{2})\b.{0,50}[,!]\s*$"
)
_LONGEST_SIGNATURE_LINES = 15  # a '--' line with more below it is a rule, not a signature
_MOST_ANNOUNCEMENTS = 3  # a separator, a header block and an attribution of the same message
_DEEPEST = 2  # levels of quotation looked through for the message answered


@dataclass(frozen=True, slots=True)
class Cut:
    """A mail, taken apart."""

    kept: str  # the sender's own words
    quoted: str  # the message answered, as its writer wrote it: no marks, nothing it quoted itself
    signature: str
    removed: tuple[tuple[int, str], ...]  # (line number from 1, reason) of each line that is not kept
    quoted_from: str = ""  # who wrote it, as the attribution or header block names them
    is_forward: bool = False  # the message below was passed on, not answered


def own_words(text: str, author: str = "", *, is_new: bool = False) -> Cut:
    """Takes a body apart. Kept lines stand in `kept` unchanged and in order.

    `author` is the sender, 'Name <address>': Outlook marks answers within an original with '[Lee, Ann]'. Such a line is
    kept from the mark on. `is_new`: it answers and forwards no mail, as its headers say.
    """
    return _take_apart(text.split("\n"), 0, author, is_new=is_new)


def _take_apart(lines: list[str], depth: int, author: str = "", *, is_new: bool = False) -> Cut:
    reasons: list[str | None] = ["quoted" if is_quoted(line) else None for line in lines]
    markers = _mark_announced(lines, reasons)
    if not markers:
        unmark_own_signs(lines, reasons, is_new=is_new)
    mark_wrapped(lines, reasons)
    answers = marked_answers(lines, reasons, author)
    others = [answers[i][0] if i in answers else line for i, line in enumerate(lines) if reasons[i] == "quoted"]
    quoted, quoted_from = _message(others, depth)
    for i, (_, answer) in answers.items():
        lines[i], reasons[i] = answer, None
    signature = _mark_endings(lines, reasons)
    return Cut(
        kept="\n".join(line for line, reason in zip(lines, reasons, strict=True) if not reason).strip(),
        quoted=quoted,
        signature=signature,
        removed=tuple((i + 1, reason) for i, reason in enumerate(reasons) if reason),
        quoted_from=next((marker.name for marker in markers if marker.name), quoted_from),
        is_forward=bool(markers) and markers[0].kind == "forward",
    )


def _message(quoted: list[str], depth: int) -> tuple[str, str]:
    """The quoted lines one level up, without what they quote in turn, and who they say wrote them."""
    lines = [unquoted(line) for line in quoted]
    if not lines or depth >= _DEEPEST:
        return "\n".join(lines).strip(), ""
    name = ""
    for _ in range(_MOST_ANNOUNCEMENTS):
        if marker := _announcement(lines):
            name = name or marker.name
            lines = lines[marker.end :]
    return _take_apart(lines, depth + 1).kept, name


def _announcement(lines: list[str]) -> Marker | None:
    """The marker that begins a message: programs set a header block or an attribution within the quotation."""
    first = next((i for i, line in enumerate(lines) if line.strip()), None)
    if first is None:
        return None
    return separator_at(lines, first) or _attribution_from(lines, first)


def _mark_announced(lines: list[str], reasons: list[str | None]) -> list[Marker]:
    """Marks attributions and header blocks, and what stands below a certain one."""
    markers: list[Marker] = []
    answer = last_answer(lines)
    i = 0
    while i < len(lines):
        marker = None if reasons[i] else _marker_at(lines, reasons, i)
        if marker is None:
            i += 1
            continue
        markers.append(marker)
        start = _start_with_rule(lines, marker.start)
        reasons[start : marker.end] = [marker.kind] * (marker.end - start)
        if marker.certain and not _has_answers(lines, marker, answer):
            reasons[marker.end :] = ["quoted"] * (len(lines) - marker.end)
            break
        i = marker.end
    return markers


def _start_with_rule(lines: list[str], start: int) -> int:
    """A drawn line above a marker belongs to it, and so does Notes' letterhead, indented like its 'From:'."""
    if start > 1 and not lines[start - 1].strip() and lines[start - 2].strip() == "_____":
        start -= 1  # Outlook 2007 leaves a line free
    while start > 0 and (
        is_rule(lines[start - 1])
        or is_titled_rule(lines[start - 1])
        or (lines[start].startswith("\t") and lines[start - 1].startswith("\t"))
    ):
        start -= 1
    return start


def _marker_at(lines: list[str], reasons: list[str | None], i: int) -> Marker | None:
    if separator := separator_at(lines, i):
        return _with_attribution(lines, separator)
    attribution = attribution_ending_at(lines, i)
    if attribution is None or any(reasons[attribution.start : attribution.end]):
        return None
    follows = _first_written(lines, i + 1)
    is_followed = follows is not None and is_quoted(lines[follows])
    ends_text = follows is None
    return attribution if is_followed or attribution.certain or (ends_text and attribution.name) else None


def _with_attribution(lines: list[str], separator: Marker) -> Marker:
    """ProtonMail sets "Original Message" above the attribution; the latter says more."""
    first = _first_written(lines, separator.end) if separator.kind == "separator" else None
    if first is None or separator.end > separator.start + 1:
        return separator
    attribution = _attribution_from(lines, first)
    return replace(attribution, start=separator.start, certain=True) if attribution else separator


def _attribution_from(lines: list[str], first: int) -> Marker | None:
    """The attribution that begins at this line."""
    ending = (attribution_ending_at(lines, i) for i in range(first, min(first + 3, len(lines))))
    return next((one for one in ending if one and one.start == first), None)


def _first_written(lines: Sequence[str], start: int) -> int | None:
    return next((i for i in range(start, len(lines)) if lines[i].strip()), None)


def _has_answers(lines: list[str], marker: Marker, answer: int) -> bool:
    """True when the message is marked with '>' from its first line on, so that unmarked lines are answers.

    Below a separator that alone does not say so, for the message may begin with a quotation of its own: there an
    unmarked line must stand apart, between marked ones.
    """
    first = _first_written(lines, marker.end)
    if marker.kind == "forward" or first is None or not is_quoted(lines[first]):
        return False
    return marker.kind == "attribution" or answer > first


def _mark_endings(lines: list[str], reasons: list[str | None]) -> str:
    """Marks signatures and what programs add, at the end of each stretch of own words; returns the signatures."""
    for i, line in enumerate(lines):
        if reasons[i] is None and is_placeholder(line):
            reasons[i] = "attachment"
    own = list(stretches([None if reason == "attachment" else reason for reason in reasons]))
    first = next((i for i, reason in enumerate(reasons) if not reason and lines[i].strip()), len(lines))
    found: list[str] = []
    for start, end in own:
        declared = _declared_start(lines, start, end, first)
        _mark(reasons, declared, end, "signature")
        rest = _mark_small_print(lines, reasons, start, declared)
        is_announced = end < len(lines) and reasons[end] != "quoted"
        block = range(0)
        if is_announced or end == own[-1][1]:
            block = contact_block(lines[start:rest], is_announced=is_announced)
        _mark(reasons, start + block.start, start + block.stop, "signature")
        found += lines[start + block.start : start + block.stop] + lines[declared + 1 : end]
    return "\n".join(found).strip()


def _mark(reasons: list[str | None], start: int, end: int, reason: str) -> None:
    """What has a reason keeps it."""
    reasons[start:end] = [before or reason for before in reasons[start:end]]


def _declared_start(lines: list[str], start: int, end: int, first: int) -> int:
    """The line of two dashes that declares a signature, or the end of the stretch."""
    dashes = [i for i in range(start, end) if _DASHES.match(lines[i])]
    are_rules = len(dashes) > 1 and not any(lines[i] == _DECLARED for i in dashes)
    possible = (
        i for i in dashes if lines[i] == _DECLARED or (first < i and not are_rules and _no_letter(lines, i, end))
    )
    return next((i for i in possible if _is_short(lines, i, end)), end)


def _no_letter(lines: list[str], dashes: int, end: int) -> bool:
    """Below dashes without the space of RFC 3676 also texts are pasted; letters begin with a greeting."""
    below = next((lines[i] for i in range(dashes + 1, end) if lines[i].strip()), "")
    return not _GREETING.match(below)


def _is_short(lines: list[str], start: int, end: int) -> bool:
    written = (i for i in range(start, end) if lines[i].strip())
    return next(islice(written, _LONGEST_SIGNATURE_LINES, None), None) is None


def _mark_small_print(lines: list[str], reasons: list[str | None], start: int, end: int) -> int:
    """Marks what programs added at the end of a stretch, one below the other; returns the end of the rest."""
    while True:
        while end > start and (reasons[end - 1] or not lines[end - 1].strip()):
            end -= 1
        top = max(start, end - LONGEST_ENDING_LINES)
        ending = ending_of(lines[top:end], is_all=top == 0)
        if ending is None:
            return end
        length, reason = ending
        _mark(reasons, end - length, end, reason)
        end -= length
