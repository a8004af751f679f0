"""What an answer can give away of one text: numbers, addresses, links and codes. Pure, on texts.

Each is compared in a form of its own: of a number its digits, of a link neither scheme nor case. Dates, times, years
and round numbers are nobody's secret. Knows shapes only: what is private by its meaning alone, a name or an illness, is
the user's to list in `settings.secrets`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence

LEAST_DIGITS = 5  # four are a year, a price or a time
TELLING_DIGITS = 4  # of those, before the zeros at the end: 10,000 is everybody's
EXTENSIBLE_DIGITS = 7  # a number of so many is the same with an area code before it or without
LEAST_CODE = 8  # characters; shorter ones are names of things
CODE_DIGITS = 3
CODE_CHANGES = 2  # between letters and digits: AB12-XY99 has three, covid19 one

_YEAR, _MONTH, _DAY = r"(?:19|20)\d\d", r"(?:0?[1-9]|1[0-2])", r"(?:0?[1-9]|[12]\d|3[01])"
_DATE = re.compile(  # not within a longer number: 06.12.34.56.78 is a telephone's
    rf"(?<!\d)(?<!\d[./-])(?:(?:{_DAY}([./-]){_MONTH}\1|{_MONTH}([./-]){_DAY}\2)(?:{_YEAR}|\d\d)"
    rf"|{_YEAR}([./-]){_MONTH}\3{_DAY})(?![./-]?\d)"
)
_CLOCK = r"(?:[01]?\d|2[0-4])[.:][0-5]\d(?::[0-5]\d)?"
_TIME = re.compile(rf"(?<!\d)(?<!\d[ ./-]){_CLOCK}(?:[ ,/–-]{_CLOCK})*(?![./:-]?\d| \d{{3}})")
_HOUR = r"(?:[01]\d|2[0-4])[0-5]\d"
_NOBODYS = re.compile(  # years, and what stands beside one by chance; 20240512; 1400-1530
    rf"(?:\d\d? )?{_YEAR}(?:[ .,/-]{_YEAR})*(?:[ .,/-]\d\d| \d{{3}})?"
    rf"|{_YEAR}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])|{_HOUR}-{_HOUR}"
)
_NUMBER = re.compile(r"\d+(?:(?:[ .,'/(-]|\) ?| \()\d{2,})*")
_MAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64}){1,8}")  # bounded: no text costs a square
_LINK = re.compile(r"(?i)(?:https?://|www\.)[^\s<>\"'\]]+")
_CODE = re.compile(r"[A-Za-z0-9]+(?:[-_][A-Za-z0-9]+)*")
_CHANGE = re.compile(r"(?<=\d)(?=[A-Za-z])|(?<=[A-Za-z])(?=\d)")
_STREETS = (
    re.compile(
        r"\b\d{1,4}[a-z]? (?:[A-Z][\w'’-]{1,30} ){1,3}"
        r"(?:Street|St|Road|Rd|Avenue|Ave|Lane|Drive|Close|Way|Square|Court|Crescent|Terrace|Boulevard|Blvd)\b"
    ),
    re.compile(r"\b[A-ZÄÖÜ][\w-]{0,40}(?:straße|strasse|str\.|weg|gasse|platz|allee) \d{1,4}[a-z]?\b"),
    re.compile(
        r"(?i)\b\d{1,4},? (?:bis |ter )?(?:rue|avenue|boulevard|chemin|impasse|quai|allée) [^\W\d_][\w'’ -]{2,30}"
    ),
    re.compile(r"(?i)\b(?:calle|avenida|paseo|plaza|via|rua) [^\W\d_][\w'’ -]{2,30},? \d{1,4}\b"),
)


def particulars(text: str) -> frozenset[str]:
    """Every one that stands in a text, as it is compared."""
    return frozenset((*_numbers(text), *_addresses(text), *_codes(text)))


def given_away(text: str, prompt: str, learnt: Sequence[Collection[str]]) -> frozenset[str]:
    """Particulars of exactly one learnt text that an answer holds and its prompt does not; `learnt`: of each text.

    What stands in several is the user's own to give: their number under every mail.
    """
    asked = _Own(particulars(prompt))
    said = [each for each in particulars(text) if not asked.holds(each)]
    holders = Counter(each for own in map(_Own, learnt) for each in said if own.holds(each))
    return frozenset(each for each in holders if holders[each] == 1)


class _Own:
    """Those of one text."""

    def __init__(self, found: Collection[str]) -> None:
        self._found = found
        self._extensible = [each for each in found if each.isdigit() and len(each) >= EXTENSIBLE_DIGITS]
        self._together = " ".join(self._extensible)

    def holds(self, particular: str) -> bool:
        """The same, or a number that is part of one of these, or the other way round."""
        if particular in self._found:
            return True
        if not particular.isdigit() or len(particular) < EXTENSIBLE_DIGITS:
            return False
        return particular in self._together or any(each in particular for each in self._extensible)


def _numbers(text: str) -> Iterator[str]:
    plain = _TIME.sub(" . ", _DATE.sub(" . ", text.replace("(0)", " ")))
    for number in _NUMBER.findall(plain):
        if _NOBODYS.fullmatch(number):
            continue
        digits = "".join(each for each in number if each.isdigit())
        if len(digits) >= LEAST_DIGITS and len(digits.strip("0")) >= TELLING_DIGITS:
            yield digits.lstrip("0")


def _addresses(text: str) -> Iterator[str]:
    yield from (match.group().casefold() for match in _MAIL.finditer(text))
    yield from (_plain_link(match.group()) for match in _LINK.finditer(text))
    yield from _plain(match.group() for pattern in _STREETS for match in pattern.finditer(text))


def _codes(text: str) -> Iterator[str]:
    for found in _CODE.findall(text):
        if len(found) < LEAST_CODE:
            continue
        code = re.sub("[-_]", "", found).casefold()
        digits = sum(map(str.isdigit, code))
        if len(code) >= LEAST_CODE and digits >= CODE_DIGITS and len(_CHANGE.findall(code)) >= CODE_CHANGES:
            yield code


def _plain_link(link: str) -> str:
    bare = re.sub(r"(?i)^(?:https?://)?(?:www\.)?", "", link)
    return bare.rstrip(".,;:!?)/").casefold()


def _plain(found: Iterable[str]) -> Iterator[str]:
    return (" ".join(each.replace(",", " ").casefold().split()) for each in found)
