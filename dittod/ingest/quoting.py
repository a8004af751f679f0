"""Quote marks: which lines carry them, which only seem to, and which have lost theirs. Pure.

Knows '>' with its levels, The Bat's initials, lines that transport broke, and where answers that are marked with the
writer's name can stand. Does not know what announces a quotation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from dittod.ingest.attribution import is_prose
from dittod.ingest.marks import parted_by_mark
from dittod.ingest.separators import separator_at

_MARK = r"\s{0,3}(?:[A-ZА-ЯЁ]{2,3}(?=> ))?>"  # The Bat sets the writer's initials before it
_QUOTED = re.compile(_MARK)
_UNQUOTE = re.compile(rf"{_MARK} ?")
_GROUPWISE = re.compile(
    r">>> [^<>]{1,80}(?:<[^<>\s]{1,64}@[^<>\s]{1,80}> [^\d>]{1,40}\d|\d{1,2}:\d{2}[^<>]{0,12}>>>\s*$)"
)
_MATHS = re.compile(r"\s{0,3}>=?\s?[$€£]?\d")  # '>50 people': larger than
_PROMPT = re.compile(r"\s*(?:[$%#]|>>>|PS [^>]{1,60}>|[\w.-]+@[\w.-]+:?[^\s]{0,40}[$#])\s\S")  # of a shell or of Python
_WRAPPED_WORD = re.compile(r"\s*[^\W\d_A-ZÄÖÜ][\w'’-]*\s*")  # a small word alone on its line goes on what stands above
_WRAPPED_AT_LEAST = 48  # a quoted line shorter than this was not broken by the mail program
_FEWEST_WRAPPED = 3  # fewer broken lines are no habit
_LONGEST_LIST_LINES = 12  # points that the writer marked with '>'


def is_quoted(line: str) -> bool:
    """True for a line that is marked as somebody else's; GroupWise's attribution looks like one."""
    return _QUOTED.match(line) is not None and not _GROUPWISE.match(line)


def unquoted(line: str) -> str:
    """The line one level up."""
    return _UNQUOTE.sub("", line, count=1) if is_quoted(line) else line


def last_answer(lines: list[str]) -> int:
    """The last line that stands unmarked and apart between marked ones; -1 without."""
    last_quoted = next((i for i in range(len(lines) - 1, 0, -1) if is_quoted(lines[i])), 0)
    apart = (i for i in range(last_quoted - 1, 0, -1) if lines[i].strip() and not lines[i - 1].strip())
    return next((i for i in apart if not is_quoted(lines[i])), -1)


def unmark_own_signs(lines: list[str], reasons: list[str | None], *, is_new: bool) -> None:
    """Keeps '>' that the writer set where nothing announces a quotation: 'larger than', or the points of a list.

    `is_new`: the mail answers none, so that the few marked lines in it quote nobody."""
    marked = list(stretches(reasons, "quoted"))
    written = [reason for line, reason in zip(lines, reasons, strict=True) if line.strip()]
    if is_new and written.count("quoted") < written.count(None):
        reasons[:] = [None if reason == "quoted" else reason for reason in reasons]
        return
    for start, end in marked:
        is_alone = end - start == 1 and (_MATHS.match(lines[start]) or lines[start].rstrip().endswith("<"))
        if is_alone or _is_session(lines, start, end) or _is_list(lines, start, end, may_stand_apart=len(marked) == 1):
            reasons[start:end] = [None] * (end - start)


def _is_session(lines: list[str], start: int, end: int) -> bool:
    """What goes on below a shell's prompt, or what was typed at Python's: no first level of quotation looks so."""
    is_python = all(line.lstrip().startswith(">>> ") and "@" not in line for line in lines[start:end])
    return is_python or (start > 0 and _PROMPT.match(lines[start - 1]) is not None)


def _is_list(lines: list[str], start: int, end: int, *, may_stand_apart: bool) -> bool:
    """Points below a sentence that leads to them: no quotation has only such lines, without gap or question."""
    is_apart = may_stand_apart and start > 1 and not lines[start - 1].strip()
    above = start - is_apart
    leads = lines[above - 1].rstrip().endswith((":", ";", "：")) if above else False
    points = [unquoted(line).strip() for line in lines[start:end]] if leads else []
    are_points = all(point and not point.startswith(">") and not point.endswith("?") for point in points)
    return (
        1 < len(points) <= _LONGEST_LIST_LINES and are_points and is_prose(" ".join(lines[max(0, above - 2) : above]))
    )


def mark_wrapped(lines: list[str], reasons: list[str | None]) -> None:
    """Quoted lines broken once more in transport leave short unmarked ends; marked only where that is the habit."""
    ends = [i for i in range(1, len(lines) - 1) if _is_wrapped_end(lines, reasons, i)]
    certain = [i for i in ends if _WRAPPED_WORD.fullmatch(lines[i]) and unquoted(lines[i + 1])[:1].islower()]
    for i in ends if len(ends) >= _FEWEST_WRAPPED else certain:
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


def stretches(reasons: list[str | None], reason: str | None = None) -> Iterator[tuple[int, int]]:
    """[start, end) of each stretch of lines with this reason; without one: of those that are kept so far."""
    start = None
    for i, found in enumerate([*reasons, "end"]):
        if found == reason and start is None:
            start = i
        elif found != reason and start is not None:
            yield start, i
            start = None


def marked_answers(lines: list[str], reasons: list[str | None], author: str) -> dict[int, tuple[str, str]]:
    """Line by line, the other's words before the author's mark and the author's behind it, or on the line below.

    Only in the message answered: further down stand marks of the author's earlier mails.
    """
    first = reasons.index("quoted") if author and "quoted" in reasons else len(lines)
    found: dict[int, tuple[str, str]] = {}
    for i in range(first, len(lines)):
        if reasons[i] != "quoted" or (i > first and separator_at(lines, i)):
            break
        if (parts := parted_by_mark(lines[i], author)) is not None:
            found[i] = parts
        elif found.get(i - 1) == ("", ""):
            found[i] = "", lines[i].strip()
    return found
