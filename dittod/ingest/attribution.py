"""The line above a quotation that says who wrote it and when: "On 5 January Ann wrote:". Pure.

Recognised by its form and not by one word, so that "On Friday we ship ..." stays the user's own sentence. Knows the
forms of mail programs in many languages: a date, a time, an address, a verb of writing, and hardly a word of prose
beside them. Does not decide what is cut.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

LONGEST_ATTRIBUTION = 250  # characters, over at most three lines
_MOST_STRAY_WORDS = 3  # lower-case words that are neither date, name nor verb; prose has more
_MOST_STRAY_ABOVE = 1  # in the lines that are joined to the last one: else they are the user's own

_ADDRESS = re.compile(r"[^\s<>()\[\]\",;:，、]{1,64}@[^\s<>()\[\]\",;:，、]{1,80}")
_TIME = re.compile(r"(?<!\d)\d{1,2}[:.h]\d{2}(?!\d)|\d{1,2} ?[時时點点시]")
_DATE = re.compile(r"(?<!\d)\d{1,4}[./-]\d{1,2}[./-]\d{1,4}(?!\d)|(?<!\d)(?:19|20)\d{2}(?!\d)")
_VERBS = (
    "wrote|writes|schrieb|schreibt|geschrieben|a écrit|escribi[óo]|va escriure|ha scritto|scrisse|escreveu|schreef"
    r"|geschreven|napisał(?:\(a\)|a)?|napisana|pisze|skrev|skriver|kirjoitti|napí?sal(?:\(a\)|a)?|написал(?:\(а\)|а)?"
    r"|писал(?:\(а\)|а|и)?|пишет|пише|написав|yazdı|έγραψε|a scris|ezt írta|írta|je napisa[ol]|napisao|kirjutas|menulis"
    "|đã viết"
)
_WROTE = re.compile(
    rf"(?<!\w)(?:{_VERBS})(?!\w)|写道|寫道|写到|書きました|のメール|님이 작성|작성|כתב|كتب",
    re.IGNORECASE,
)
_NAMED_WROTE = re.compile(rf"[^<>]{{0,80}}<[^<>\s@]{{1,64}}@[^<>\s]{{1,80}}>\)?\s?(?:{_VERBS})\s?[:：]$", re.IGNORECASE)
_DATED_ADDRESS = re.compile(r"\d{4}[/-]\d{1,2}[/-]\d{1,2} [^<>]{0,80}<[^<>\s@]{1,64}@[^<>\s]{1,80}>$")  # Gmail of 2010
_QUOTING = re.compile(  # Horde, in the language of its user
    r"(?:Zitat von|Quoting|Citation de|Citando a|Citando|Citeren|Quotando|Cytowanie|Citerar|Citerer) [^:]{1,100}[:：]$"
)
_OPENING = re.compile(  # how an attribution begins: 'On', a weekday, a date, a name in quotes, an address
    r"(?:[-‐—]{2,}\s*)?(?:(?:On|At|In a message dated|Am|Le|El|Il|Em|No dia|A|Às|Op|Den|Dnia|W dniu|Dne|Na|Kl|Pe|V|O"
    r"|Wiadomość|Στις|La|Il giorno|Vào|Pada|Dana"
    r"|mån|tis|ons|tors|fre|lör|sön|man|tir|tor|lør|søn|pon|wt|śr|czw|pt|sob|niedz|niedziela|poniedziałek|wtorek|środa"
    r"|czwartek|piątek|sobota|po|út|st|čt|pá|so|ne|ma|ti|ke|to|pe|su|lun|mar|mie|joi|vin|sâm|dum|пн|вт|ср|чт|пт|сб"
    r"|вс|нд"
    r"|понедельник|вторник|среда|четверг|пятница|суббота|воскресенье"
    r"|Mon|Tue|Wed|Thu|Fri|Sat|Sun)\b|在|於|于|\d|[\"“<]|בתאריך|في)",
    re.IGNORECASE,
)
_BEFORE_ADDRESS = re.compile(r"([^<>]*?)\s*\(?<[^<>\s]+@")
_NOT_A_NAME = re.compile(  # what stands before the name: the last of these ends it
    r"[,;，、\d]|\b(?:[AP]M|Uhr|schrieb|schreef|skrev|heeft|by|von|от|użytkownik|пользователь|odesílatel|przez|hat"
    r"|ο χρήστης"
    r"|MEZ|MESZ|CES?T|UTC|GMT|מאת)\b"
)
_INVISIBLE = str.maketrans("", "", "\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ORDINARY = _words(  # lower-case words that attributions consist of, besides names
    "on at in um von uhr à a el la las los il alle ore le lo di del da de dia às em no het om op den kl o u v g г"
    " в р у о"
    " by dnia w dniu dne za the following message to am pm m p h hs est pst cst edt pdt cet cest via und y st nd rd th"
    " e et van der ten ter zu du des von ha hat heeft volgende geschreven scritto schrieb wrote writes escribió"
    " escreveu"
    " schreef skrev écrit napisał napisała pisze folgendes dated time standard daylight użytkownik przez napisana godz"
    " пользователь написал написала пишет пише написав odesílatel napsal napsala napísal napísala klo kello kirjoitti"
    " ezt írta időpont tarihinde şunu yazdı έγραψε στις ο χρήστης μ scris ora giorno kirjutas you писали вы lúc đã"
    " viết pukul menulis"
)
_MONTHS_AND_DAYS = _words(  # their first three letters
    "jan feb fév fev mar mär mrt apr avr abr kwi may mai mag maj mei maa jun jui giu cze jul lug lip"
    " aug aoû ago sie sep set wrz oct okt ott out paź nov lis dec déc dez dic gru ene gen sty lut mon"
    " tue wed thu fri sat sun die mit don fre sam son lun mer jeu ven dim mié jue vie sáb dom gio sab"
    " seg ter qua qui sex din woe vri zat zon pon wto śro czw pią sob nie янв фев мар апр мая июн июл"
    " авг сен окт ноя дек man tir ons tor lør søn mån tis lör fei led úno bře dub kvě čer srp zář říj"
    " pro tam hel huh tou kes hei elo syy lok jou ian iun iul січ лют бер кві тра чер лип сер вер жов лис гру"
    " пон вто сре чет пят суб вос пн вт ср чт пт сб вс нд po út čt pá so ne ma ti ke pe su"
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
    if len(lines[last]) > LONGEST_ATTRIBUTION or not _may_end(lines[last]):
        return None
    for first in range(max(0, last - 2), last + 1):
        parts = [line[: LONGEST_ATTRIBUTION + 1].translate(_INVISIBLE).strip() for line in lines[first : last + 1]]
        parts[0] = parts[0].removeprefix(">>> ")  # GroupWise
        joined = " ".join(parts)
        if len(joined) <= LONGEST_ATTRIBUTION and all(parts) and _may_belong(parts) and _has_form(joined):
            return Marker(first, last + 1, "attribution", _is_certain(joined), _name_in(joined))
    return None


def _may_end(line: str) -> bool:
    bare = line.translate(_INVISIBLE).strip()
    return bare.endswith((":", "：")) or _DATED_ADDRESS.match(bare) is not None


def _may_belong(parts: Sequence[str]) -> bool:
    """One line may begin as it likes; of several, the first opens an attribution and none but the last is prose."""
    if len(parts) == 1:
        return True
    above = " ".join(parts[:-1])
    has_figures = re.search(r"\d", above) is not None or _ADDRESS.search(above) is not None
    is_prose = _stray_words(above) > _MOST_STRAY_ABOVE or re.search(r"[?!]", above) is not None
    opens = _OPENING.match(parts[0]) is not None or (_ADDRESS.search(parts[0]) is not None and _stray_words(above) == 0)
    return opens and has_figures and not is_prose


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
    is_by = is_dated or _QUOTING.match(joined)
    has_author = _WROTE.search(joined) or (_ADDRESS.search(joined) and is_by)
    return bool(has_author) and _stray_words(joined) <= _MOST_STRAY_WORDS


def _is_certain(joined: str) -> bool:
    """A date with a time or an address, or '<address> wrote:' alone: nobody types that above their own words."""
    has_when = _DATE.search(joined) and (_TIME.search(joined) or _ADDRESS.search(joined))
    begins = _OPENING.match(joined) or _WROTE.search(joined)
    return bool((has_when and begins) or _NAMED_WROTE.match(joined))


def is_prose(text: str) -> bool:
    """More words than names, dates and verbs of attributions."""
    return _stray_words(text[-LONGEST_ATTRIBUTION:]) > _MOST_STRAY_WORDS


def _stray_words(joined: str) -> int:
    words = re.findall(r"[^\W\d_]+", _ADDRESS.sub(" ", joined))
    lower = [word for word in words if word[0].islower()]
    return sum(word not in _ORDINARY and word[:3] not in _MONTHS_AND_DAYS for word in lower)
