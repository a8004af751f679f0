"""The block of contact data at the end of a mail, known by its form: name, title, company, address, telephone. Pure.

Knows how such lines look in many languages. Does not know what the user's other mails end with (`signatures`). A block
is certain only when a name heads it, or stands alone above it; how somebody else can be reached, given in a sentence or
below a colon, is the user's own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from dittod.ingest.endings import is_rule

_LONGEST_LINE = 90  # characters
_LONGEST_BLOCK_LINES = 14
_LONGEST_GAP = 2  # empty lines within a block
_MOST_NAME_WORDS = 4
_MOST_LABEL_WORDS = 9
_MOST_CLOSING_WORDS = 6

_DATE = r"\d{1,2}[/.-]\d{1,2}[/.-](?:19|20)?\d{2}\b"
_NO_NUMBER = rf"(?!{_DATE}|\d{{1,3}}\.\d{{1,4}}(?![\d.-])|[12]\d{{3}}[-–][12]\d{{3}}\b)"  # a date, a price, two years
_NUMBER = (
    rf"{_NO_NUMBER}(?:(?:\+\d{{1,3}}[ .-]?)?(?:\b\d{{1,4}}[ .-]?)?(?:\(\d{{1,5}}\) ?[.-]?)?"
    r"(?<!\d)\d[\d .\-–/]{4,18}\d\b|\bx\.? ?\d{4,6}\b|\b\d[-–]\d{4}\b|\b\d{5}\b)"
)
_LABEL = (
    r"(?:t[eé]l[eé]?(?:phone?|fone?|fono|foon|fax|móvel)?|ph(?:one)?|fax|mobile?|mob|móvil|cell(?:ular|ulare)?|handy|office"
    r"|work|wk|home|direct|dir|ext(?:ension)?|durchwahl|zentrale|büro|bureau|portable|gsm|fijo|ufficio|kantoor|mobiel"
    r"|komórka|тел|моб|факс|skytel|pager|skype|[twfmpdchoe]|电话|手机|传真|電話|携帯|内線)"
)
_PHONE = re.compile(
    rf"\W{{0,3}}(?:{_LABEL}\b[\s.:：/#()]{{0,4}}){{0,3}}(?:{_NUMBER})\W{{0,3}}(?:{_LABEL}\b\W{{0,3}}){{0,2}}$",
    re.IGNORECASE,
)
_EMAIL = re.compile(
    r"\W{0,3}(?:[\w-]{1,12}\s?[:：/]\s{0,4})?<?(?:mailto:)?[\w.+%-]{1,64}@[\w.-]{2,80}>?\s*(?:[<(][^<>()]{1,60}[>)])?\W{0,2}$"
)
_LINK = re.compile(r"\W{0,3}(?:\w{1,10}\s?:\s{0,4})?<?(?:https?://|www\.)\S{3,80}$", re.IGNORECASE)
_STREET = re.compile(
    r"\d{1,6}[\w-]{0,4},? .{0,40}\b(?:Street|St|Avenue|Ave|Road|Rd|Drive|Dr|Lane|Ln|Blvd|Boulevard|Way|Place|Pl"
    r"|Square|Court|Ct|Parkway|Pkwy|Plaza|Highway|rue|avenue|boulevard|place|chemin|quai|allée)\b"
    r"|.{2,40}(?:straße|strasse|str\.|weg|platz|allee|gasse|ring|damm|ufer|straat|laan|plein|gracht|kade|vägen"
    r"|gatan|gade|vej|vei) \d{1,4}"
    r"|(?:Calle|C/|Avda|Avenida|Av\.|Plaza|Paseo|Via|Viale|Piazza|Corso|Largo|Rua|Praça|ul\.|al\.|pl\.|ул\."
    r"|пр\.) ?.{2,40}\d"
    r"|P\.? ?O\.? Box|Postfach|Suite \d|.{0,20}\bRoom [A-Z]{0,2}\d|[A-Z]{2}\s?\d{4}[a-z]?$|BP \d|Apartado",
)
_TOWN = re.compile(
    r"(?:.{2,30},? [A-Z]{2},? \d{5}(?:-\d{4})?|.{2,30}, [A-Z]\w+ \d{5}(?:-\d{4})?"
    r"|(?:[A-Z]{1,2}[- ])?\d{4,5}(?: [A-Z]{2})? [A-ZÄÖÜ]\w+.{0,30}"
    r"|.{0,30}\b[A-Z]{1,2}\d[\dA-Z]? \d[A-Z]{2})(?:,? \(?[A-Z]\w+\)?)?\s*$"
)
_REGISTER = re.compile(  # what the law wants below a company's letters
    r"(?i).{0,200}(?<!\w)(?:HR[AB] ?\d|USt-?Id|VAT|Registergericht|Amtsgericht|Handelsregister|Geschäftsführ\w+:"
    r"|Sitz der|Vorstand:|Aufsichtsrat|Registered (?:office|in|number)"
    r"|Company (?:No|number)|SIRET|RCS|P\.? ?IVA|Partita IVA|KvK"
    r"|BTW|NIP|REGON|KRS|CIF|NIF|CNPJ)(?!\w)"
)
_LONGEST_REGISTER = 250  # characters
_NUMBERED_NAME = re.compile(
    rf"(?:[A-Z][\w'.-]*\s{{1,8}}){{1,3}}(?:{_LABEL}\b[\s.:/#()]{{0,4}}){{0,2}}(?:{_NUMBER})\)?$"
)
_SIDE_BY_SIDE = re.compile(r"\s*[|•·⋅▪]\s*|, ")  # 'Ann Lee, Head of Sales'
_BARE_FIGURES = re.compile(r"\d{6,9}$")  # the number of an order more often than that of a telephone
_LABELLED = re.compile(rf"\b(?:{_LABEL})\b\s*[.:#]?\s*(?:x?\d|[(+])", re.IGNORECASE)  # 'Her Phone 555-0100'
_PARTS = re.compile(r"\s*[|•·⋅▪]\s*|\s{2,}|\t+|(?<=\d) {0,2}[,;/] (?=\w)")

_NAMED_ADDRESS = re.compile(
    r"(?P<name>[^<>@\d]{2,50}?)\s{0,30}(?:<[\w.+%-]{1,64}@[\w.-]{2,80}>|mailto:[\w.+%-]{1,64}@[\w.-]{2,80})$"
)
_TITLE = r"(?:Dr|Prof|Mr|Mrs|Ms|Herr|Frau|Ing|Dipl|Mag|Sr|Sra|M|Mme)\.?"
_NAME = re.compile(
    rf"(?:{_TITLE}\s){{0,2}}[^\W\d_a-zß-ÿ][\w'’.-]{{0,30}}"
    rf"(?:\s(?:(?:van|von|de|der|den|del|della|di|da|dos|du|la|le|ten|ter|zu)\s){{0,2}}[^\W\d_a-zß-ÿ(][\w'’.-]{{0,30}})"
    rf"{{1,{_MOST_NAME_WORDS - 1}}}(?:,? (?:[A-Z]\.){{2,3}}|,? Ph\.?D\.?|,? MBA|,? Esq\.?|,? [JS]r\.?"
    rf"|\s?\([^()]{{1,30}}\))?$"
)
_HAN_NAME = re.compile(r"[\u4e00-\u9fff]{2,4}$|[\uac00-\ud7a3]{2,4}$")
_SMALL_WORDS = "of the and for to in at on de der die das und für des du et la le y e di da van voor en i w behalf c/o"
_SMALL = frozenset(_SMALL_WORDS.split())
_SENTENCE = re.compile(
    r"(?i)[?!:;。？！：]\s*$|(?<!\w)(?:i|me|my|you|your|we|us|our|is|are|will|can|please|ich|sie|wir|je|vous|yo)(?!\w)"
)
_CLOSING = re.compile(  # words of closing formulas and good wishes: such a line is the user's own, not a name
    r"(?i)^\W{0,3}(?:with )?(?:love|best)\b|(?<!\w)(thanks?|thank|thanx|thnx|thx|tks|regards?|cheers|all the best"
    r"|sincerely|yours|truly|hugs|greetings"
    r"|wishes|warmly"
    r"|cordially|respectfully|faithfully|happy|merry|christmas|weekend|holidays?|birthday|easter|take care|see you"
    r"|later|soon|bye"
    r"|gr[uü](?:ß|ss|ße|sse)n?|gruesse|mfg|vg|lg|bg|hochachtungsvoll|dank|danke|herzlich\w*|freundlich\w*|liebe"
    r"|cordialement|salutations|amicalement|bien à|merci|bises|bisous|amitiés|bonne|saludos?|atentamente|abrazos?"
    r"|gracias|cordiales?"
    r"|saluti|cordiali|distinti|grazie|ciao|baci|groet(?:en|jes)?|vriendelijke|hartelijke|bedankt|mvg|pozdraw\w+"
    r"|pozdr|serdeczn\w+"
    r"|dziękuję|poważaniem|hälsning\w*|hilsen|mvh|tack|takk?|venlig|vennlig|abraços?|cumprimentos|atenciosamente"
    r"|obrigad[oa]|beijos"
    r"|уважением|спасибо|привет|наилучшими|pozdravem|děkuji|terveisin|kiitos|üdvözlettel|saygılarımla|с уважением"
    r"|p\.?\s?s|hi|hello|hey|dear|hallo|lieber?|sehr|bonjour|hola|ciao|buongiorno|beste|olá|cześć)(?!\w)"
    r"|敬礼|此致|祝|よろしく|敬具|谢谢|謝謝"
)
_POSTSCRIPT = re.compile(r"\s*P\.? ?P?\.?S\b\.?\s?[.:;,)–-]*\s*\S", re.IGNORECASE)
_LEADS_ON = re.compile(  # a line that ends so is continued by the next
    r"(?i)(?:[:,;(–-]|\b(?:at|to|with|by|is|are|was|call|contact|and|or|from|for|of|in|on|via|the|a|my|her|his"
    r"|their|our|your|name"
    r"|an|bei|mit|von|und|ist|unter|per|auf|chez|à|de|et|est|par|a|con|y|es|en|e|è|op|bij|met|is))\s*$"
)
_LONE_NAME = re.compile(r"\W{0,3}[^\W\d_][\w'’.-]{0,14}(?: [^\W\d_][\w'’-]{0,14}| [A-Z]\.?)?[^\w#]{0,3}$")


def is_contact(line: str) -> bool:
    """Telephone, e-mail, link or address, and nothing else; or such parts side by side."""
    line = line.strip()
    if len(line) <= _LONGEST_REGISTER and _REGISTER.match(line) and not line.endswith("."):
        return True
    if not line or len(line) > _LONGEST_LINE or _BARE_FIGURES.match(line):
        return False
    parts = [part for part in _PARTS.split(line) if part]
    forms = (_PHONE, _EMAIL, _LINK, _STREET, _TOWN)
    return any(form.match(line) for form in forms) or (
        len(parts) > 1 and all(any(form.match(part) for form in forms) or is_label(part) for part in parts)
    )


def is_reachable(line: str) -> bool:
    """Telephone or e-mail: what a block needs at least one of; a link alone can be what the mail is about."""
    parts = [line.strip(), *_PARTS.split(line.strip())] if is_contact(line) else []
    return is_numbered_name(line) or any(form.match(part) for part in parts for form in (_PHONE, _EMAIL))


def is_full_name(line: str) -> bool:
    """Two to four capitalised words that are no closing formula: a name, or a company."""
    line = line.strip()
    if len(line) > _LONGEST_LINE or is_closing(line):
        return False
    return _NAME.match(line) is not None or _HAN_NAME.match(line) is not None


def is_numbered_name(line: str) -> bool:
    """'Ann Lee 555-0100', 'Ann Lee <ann@example.com>'."""
    line = line.strip()
    if len(line) > _LONGEST_LINE or _PHONE.match(line) or is_closing(line) or _LABELLED.search(line):
        return False
    addressed = _NAMED_ADDRESS.match(line)
    return _NUMBERED_NAME.match(line) is not None or (addressed is not None and is_full_name(addressed["name"]))


def is_closing(line: str) -> bool:
    """A line with a formula of greeting or farewell in it."""
    return len(line) <= _LONGEST_LINE and _CLOSING.search(line) is not None


def is_label(line: str) -> bool:
    """A title, a department or a company: half of the words capitalised, and no sentence."""
    words = re.findall(r"[^\s,|/]+", line) if len(line) <= _LONGEST_LINE else []
    if not 1 <= len(words) <= _MOST_LABEL_WORDS or _SENTENCE.search(line) or is_closing(line):
        return False
    large = sum(not word[0].islower() for word in words)
    small = sum(word[0].islower() and word not in _SMALL for word in words)
    return large >= small and any(word[0].isalpha() for word in words)


def is_postscript(line: str) -> bool:
    """A line that begins with P.S."""
    return _POSTSCRIPT.match(line[:_LONGEST_LINE]) is not None


def contact_block(lines: Sequence[str], *, is_announced: bool) -> range:
    """The lines of the block of contact data that ends these, a postscript excepted; empty without a certain one.

    `is_announced`: a separator or an attribution follows, so that even a block alone is no answer but a signature.
    """
    end = _above_postscript(lines)
    below = _ending_candidates(lines[:end])
    head = _head(lines, below)
    if head is None or _lists_people(lines, [i for i in below if i >= head]):
        return range(0)
    above = next((i for i in range(head - 1, -1, -1) if lines[i].strip()), None)
    may_stand = is_announced if above is None else _may_follow(lines, above, head)
    is_named = not is_contact(lines[head])
    last = below[-1] if is_named else max(i for i in below if is_contact(lines[i]))
    return range(head, last + 1) if may_stand else range(0)


def _above_postscript(lines: Sequence[str]) -> int:
    """Where the words end when a last paragraph that begins with P.S. is left out."""
    first = max(1, len(lines) - _LONGEST_BLOCK_LINES)
    return next((i for i in range(len(lines) - 1, first - 1, -1) if is_postscript(lines[i])), len(lines))


def _ending_candidates(lines: Sequence[str]) -> list[int]:
    """The last lines that could all belong to a block, top to bottom; small gaps between them."""
    found: list[int] = []
    gap = 0
    for i in range(len(lines) - 1, -1, -1):
        if not lines[i].strip():
            gap += 1
            continue
        if (
            not _may_belong(lines[i], is_last=not found)
            or (found and gap > _LONGEST_GAP)
            or len(found) == _LONGEST_BLOCK_LINES
        ):
            break
        found.append(i)
        gap = 0
    return found[::-1]


def _may_belong(line: str, *, is_last: bool) -> bool:
    """One line of a block; a rule below its last line frames it."""
    is_part = is_contact(line) or is_label(line) or is_full_name(line) or is_numbered_name(line)
    return is_part or (is_last and is_rule(line))


def _head(lines: Sequence[str], below: Sequence[int]) -> int | None:
    """The rule above a name; the full name with the block right below it; else the data below a name that is alone."""
    if len(below) > 1 and below[0] and is_rule(lines[below[0] - 1]) and _is_name(lines[below[0]]):
        return below[0] - 1
    if not any(is_reachable(lines[i]) for i in below):
        return None
    if below[0] and is_rule(lines[below[0] - 1]) and is_rule(lines[below[-1]]):
        return below[0] - 1
    named = next((i for i in below if _heads(lines, i, below[-1])), None)
    if named is not None:
        return named
    lone = _below_lone_name(lines, below)
    return _below_closing(lines, below) if lone is None else lone


def _below_closing(lines: Sequence[str], below: Sequence[int]) -> int | None:
    """The last paragraph, two ways of contact in it, where a closing formula ends the words above it."""
    first = next((i for i in reversed(below) if i == 0 or not lines[i - 1].strip()), 0)
    written = [line for line in lines[:first] if line.strip()]
    is_closed = any(is_closing(line) and len(line.split()) <= _MOST_CLOSING_WORDS for line in written[-3:])
    return first if is_closed and sum(is_contact(lines[i]) for i in below if i >= first) > 1 else None


def _is_name(line: str) -> bool:
    return is_full_name(line) or is_numbered_name(line)


def _heads(lines: Sequence[str], i: int, last: int) -> bool:
    """True for 'Ann Lee 555-0100' at the very end, and for a full name with a way to reach it right below."""
    if i == last:
        return is_numbered_name(lines[i])
    name, *labels = _SIDE_BY_SIDE.split(lines[i].strip()) if len(lines[i]) <= _LONGEST_LINE else [""]
    is_name = is_full_name(lines[i]) or (is_full_name(name) and all(map(is_label, labels)))
    block = lines[i : last + 1]
    is_spaced = len(block) > 4 and not any(line.strip() for line in block[1::2])  # a line free below each
    return is_name and (bool(lines[i + 1].strip()) or is_spaced) and any(map(is_reachable, block[1:]))


def _below_lone_name(lines: Sequence[str], below: Sequence[int]) -> int | None:
    """Contact data, a telephone among it, below a name that stands alone."""
    data = [i for i in below if is_contact(lines[i])]
    if not any(_PHONE.match(lines[i].strip()) for i in data):
        return None
    name = next((i for i in range(data[0] - 1, max(-1, data[0] - 4), -1) if lines[i].strip()), None)
    return data[0] if name is not None and is_lone_name(lines[name]) else None


def is_lone_name(line: str) -> bool:
    """One or two words or initials, as people type them below their words."""
    line = line.strip()
    return len(line) <= 32 and _LONE_NAME.match(line) is not None and (line[0].isupper() or len(line) <= 4)


def _may_follow(lines: Sequence[str], above: int, head: int) -> bool:
    """False below a line that leads to the block or is of its kind, and where another person's name closes the mail."""
    text = lines[above].strip()
    if is_closing(text) and len(text.split()) <= _MOST_CLOSING_WORDS:
        return True
    if _LEADS_ON.search(text[-_LONGEST_LINE:]) or (above == head - 1 and (is_contact(text) or is_numbered_name(text))):
        return False
    is_named = is_full_name(lines[head]) and is_lone_name(text) and " " not in text
    return not is_named or _share_initial(text, lines[head])


def _share_initial(short: str, full: str) -> bool:
    initials = {word[0].lower() for word in re.findall(r"[^\W\d_]+", full)}
    return short.lstrip(" -–.*")[:1].lower() in initials


def _lists_people(lines: Sequence[str], block: Sequence[int]) -> bool:
    """Two people with a number each are what the mail is about."""
    numbered = sum(is_numbered_name(lines[i]) for i in block)
    paragraphs: list[list[str]] = []
    for i in block:
        if not paragraphs or not lines[i - 1].strip():
            paragraphs.append([])
        paragraphs[-1].append(lines[i])
    people = sum(is_full_name(first) and any(map(is_reachable, others)) for first, *others in paragraphs)
    return numbered > 1 or people > 1
