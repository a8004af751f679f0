"""What an answer can give away of one text: numbers, addresses, links and codes. Pure, on texts.

Each is compared in a form of its own: of a number its digits, of a link neither scheme nor case. Dates, times, years
and round numbers are nobody's secret. Knows shapes only: what is private by its meaning alone, a name or an illness, is
the user's to list in `settings.secrets`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence

LEAST_DIGITS = 5  # four are a year, a price or a time
TELLING_DIGITS = 4  # of those, before the zeros at the end: 10,000 is everybody's
EXTENSIBLE_DIGITS = 7  # a number of so many is the same with an area code before it or without
LEAST_CODE = 8  # characters; shorter ones are names of things
CODE_DIGITS = 3
CODE_CHANGES = 2  # between letters and digits: AB12-XY99 has three, covid19 one

_DATE = re.compile(r"(?<!\d)\d{1,4}([./-])\d{1,2}\1\d{1,4}(?!\d)|(?<!\d)(?:19|20)\d\d ?[-–/] ?(?:(?:19|20)?\d\d)(?!\d)")
_TIME = re.compile(r"(?<![\d.])\d{1,2}[.:]\d{2}(?:[:]\d{2})?(?!\.?\d)")
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
    said, asked = particulars(text), particulars(prompt)
    return frozenset(
        each for each in said if not _stands_in(each, asked) and sum(_stands_in(each, own) for own in learnt) == 1
    )


def _stands_in(particular: str, own: Collection[str]) -> bool:
    if particular in own:
        return True
    return particular.isdigit() and any(_is_same_number(particular, each) for each in own if each.isdigit())


def _is_same_number(one: str, other: str) -> bool:
    long_enough = min(len(one), len(other)) >= EXTENSIBLE_DIGITS
    return long_enough and (one in other or other in one)


def _numbers(text: str) -> Iterator[str]:
    plain = _TIME.sub(" . ", _DATE.sub(" . ", text.replace("(0)", " ")))
    for match in _NUMBER.finditer(plain):
        digits = "".join(each for each in match.group() if each.isdigit())
        if len(digits) >= LEAST_DIGITS and len(digits.strip("0")) >= TELLING_DIGITS:
            yield digits.lstrip("0")


def _addresses(text: str) -> Iterator[str]:
    yield from (match.group().casefold() for match in _MAIL.finditer(text))
    yield from (_plain_link(match.group()) for match in _LINK.finditer(text))
    yield from _plain(match.group() for pattern in _STREETS for match in pattern.finditer(text))


def _codes(text: str) -> Iterator[str]:
    for match in _CODE.finditer(text):
        code = re.sub("[-_]", "", match.group()).casefold()
        digits = sum(map(str.isdigit, code))
        if len(code) >= LEAST_CODE and digits >= CODE_DIGITS and len(_CHANGE.findall(code)) >= CODE_CHANGES:
            yield code


def _plain_link(link: str) -> str:
    bare = re.sub(r"(?i)^(?:https?://)?(?:www\.)?", "", link)
    return bare.rstrip(".,;:!?)/").casefold()


def _plain(found: Iterable[str]) -> Iterator[str]:
    return (" ".join(each.replace(",", " ").casefold().split()) for each in found)
