"""The line above a quotation that says who wrote it and when: "On 5 January Ann wrote:". Pure.

Recognised by its form and not by one word, so that "On Friday we ship ..." stays the user's own
sentence. Knows the forms of mail programs in many languages. Does not decide what is cut.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

LONGEST_ATTRIBUTION = 250  # characters, over at most three lines
_MOST_STRAY_WORDS = 3  # lower-case words that are neither date, name nor verb; prose has more

_ADDRESS = re.compile(r"[^\s<>()\[\]\",;:]+@[^\s<>()\[\]\",;:]+\w")
_TIME = re.compile(r"\b\d{1,2}[:.h]\d{2}\b|\d{1,2}[時点]")
_DATE = re.compile(r"\b\d{1,4}[./-]\d{1,2}[./-]\d{1,4}\b|\b(?:19|20)\d{2}\b|\d年")
_WROTE = re.compile(
    r"\b(?:wrote|writes|schrieb|geschrieben|a écrit|escribi[óo]|ha scritto|scrisse|escreveu|schreef"
    r"|napisał\(?a?\)?|pisze|skrev|kirjoitti|napsal\(?a?\)?|написал\(?а?\)?|пишет|yazdı|έγραψε)(?!\w)"
    r"|写道|寫道|書きました|のメール|작성",
    re.IGNORECASE,
)
_OPENING = re.compile(  # how an attribution begins: 'On', a weekday, a date, a name in quotes, an address
    r"(?:-{2,}\s*)?(?:(?:On|At|In a message dated|Am|Le|El|Il|Em|A|Op|Den|Dnia|W dniu|Dne|Na|Kl|Pe"
    r"|mån|tis|ons|tors|fre|lör|sön|man|tir|tor|lør|søn|pon|wt|śr|czw|pt|sob|niedz|пн|вт|ср|чт|пт|сб|вс"
    r"|Mon|Tue|Wed|Thu|Fri|Sat|Sun)\b|\d|[\"“<])",
    re.IGNORECASE,
)
_BEFORE_ADDRESS = re.compile(r"([^<>]*?)\s*\(?<[^<>\s]+@")
_NOT_A_NAME = re.compile(r"[,;\d]|\b(?:[AP]M|Uhr|schrieb|schreef|skrev|heeft|by|von|от)\b")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ORDINARY = _words(  # lower-case words that attributions consist of, besides names
    "on at in um von uhr à a el la las los il alle ore le lo di del da de dia às em het om op den kl o"
    " by dnia w dniu dne za v the following message to am pm gmt est pst cst edt pdt cet cest via und y"
    " e et van der ha hat heeft volgende geschreven scritto schrieb wrote writes escribió escreveu"
    " schreef skrev écrit napisał napisała pisze folgendes dated time standard daylight"
)
_MONTHS_AND_DAYS = _words(  # their first three letters
    "jan feb fév fev mar mär mrt apr avr abr kwi may mai mag maj mei maa jun jui giu cze jul lug lip"
    " aug aoû ago sie sep set wrz oct okt ott out paź nov lis dec déc dez dic gru ene gen sty lut mon"
    " tue wed thu fri sat sun die mit don fre sam son lun mer jeu ven dim mié jue vie sáb dom gio sab"
    " seg ter qua qui sex din woe vri zat zon pon wto śro czw pią sob nie янв фев мар апр мая июн июл"
    " авг сен окт ноя дек man tir ons tor lør søn mån tis lör sön"
)


@dataclass(frozen=True, slots=True)
class Marker:
    """Lines [start, end) that announce a message. `name` is its sender as written there, or ''."""

    start: int
    end: int
    kind: Literal["attribution", "separator", "forward"]
    certain: bool  # the message follows even when its lines are not marked with '>'
    name: str = ""


def attribution_ending_at(lines: Sequence[str], last: int) -> Marker | None:
    """The attribution whose last line is `last`: of up to three lines, the longest that has the form."""
    if not lines[last].rstrip().endswith((":", "：")):
        return None
    for first in range(max(0, last - 2), last + 1):
        parts = [line.strip() for line in lines[first : last + 1]]
        joined = " ".join(parts)
        if len(joined) > LONGEST_ATTRIBUTION:
            continue
        opened = _OPENING.match(joined) is not None
        if all(parts) and (opened or first == last) and _has_form(joined):
            return Marker(first, last + 1, "attribution", opened and _is_certain(joined), _name_in(joined))
    return None


def _name_in(joined: str) -> str:
    """The name before the address: in quotes, or behind the last comma, number or verb."""
    before = _BEFORE_ADDRESS.match(joined)
    if before is None:
        return ""
    quoted = re.search(r"[\"“]([^\"“”]+)[\"”]$", before.group(1))
    return quoted.group(1) if quoted else _NOT_A_NAME.split(before.group(1))[-1].strip(" -")


def _has_form(joined: str) -> bool:
    """Somebody wrote, or an address beside a date; and hardly a word more."""
    is_dated = _DATE.search(joined) or _TIME.search(joined)
    has_author = _WROTE.search(joined) or (_ADDRESS.search(joined) and is_dated)
    return bool(has_author) and _stray_words(joined) <= _MOST_STRAY_WORDS


def _is_certain(joined: str) -> bool:
    """A date with a time or an address: nobody writes that in a sentence that ends in a colon."""
    return bool(_DATE.search(joined) and (_TIME.search(joined) or _ADDRESS.search(joined)))


def _stray_words(joined: str) -> int:
    words = re.findall(r"[^\W\d_]+", _ADDRESS.sub(" ", joined))
    lower = [word for word in words if word[0].islower()]
    return sum(word not in _ORDINARY and word[:3] not in _MONTHS_AND_DAYS for word in lower)
