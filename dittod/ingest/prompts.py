"""The prompt a text of the user answers, by template. Pure.

The embedded starter model is tuned on exactly these forms (`packaging/starter`): change both or neither. Knows names,
subjects and how much of an answered message fits. Does not know bodies beyond that.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from email.utils import parseaddr

from dittod.ingest.words import first_words

# Characters of the answered message: about 250 English tokens, half of the smallest context that dittod learns in
# (1024), so that a reply of the same length still fits beside it.
MESSAGE_BUDGET = 1000
SUBJECT_BUDGET = 120  # longer subjects are somebody's first paragraph
OUTLINE_BUDGET = 500  # characters of a text's headings
FIRST_WORDS = 8  # enough to name the text, too few to give it away
_NAMED_RECIPIENTS = 2

_PREFIX = re.compile(
    r"(?i)^\s*(?:(?:re|aw|antw|sv|vs|odp|rif|r|fw|fwd|wg|tr|rv|enc|i|doorst|vb|vl|pd|回复|回覆|答复|转发|ответ)"
    r"\s*(?:\[\d+\]|\(\d+\))?\s*[:：]|\[(?:ext|external)\])\s*"
)
_NO_SUBJECT = re.compile(  # what programs show, and some write, where there is none
    r"(?i)[(\[<]?\s*(?:(?:no|without) subject|subject: none|(?:kein|ohne) betreff|(?:sans|aucun) (?:objet|sujet)"
    r"|(?:sin|ningún) asunto|(?:nessun|senza) oggetto|(?:sem|nenhum) assunto|(?:geen|zonder) onderwerp"
    r"|(?:brak|bez) tematu|(?:inget|intet|uden|uten) (?:ämne|emne)|ei aihetta|без темы|無題|件名なし"
    r"|无主题|無主旨)\s*[)\]>]?\.?$"
)
_ADDRESS = re.compile(r"\s*<?\S+@\S+>?\s*$")  # and not 'Ann Lee/HOU/ACME@ACME'
_PERSON = re.compile(r"[^\W\d_][\w'’.-]*(?: [^\W\d_][\w'’.-]*){1,3}$")
_LETTERS = re.compile(r"[^\W\d_]{2,}(?:-[^\W\d_]+)*")
_OF_NO_PERSON = "team list group support desk office sales info help committee all dept department"
_NO_PERSON = frozenset(_OF_NO_PERSON.split())


def new_mail(recipients: Sequence[str], subject: str) -> str:
    """`recipients` as 'Name <address>' each."""
    to, about = _to(recipients), bare_subject(subject)
    return f"Write an e-mail{f' to {to}' if to else ''}{f' about {_quoted(about)}' if about else ''}."


def reply(sender: str, subject: str, message: str) -> str:
    """`message` is what the answered person wrote; it is cut to MESSAGE_BUDGET."""
    about = bare_subject(subject)
    head = f"Write a reply to this e-mail from {sender_name(sender)}{f' about {_quoted(about)}' if about else ''}:"
    return f"{head}\n\n{cut_to(message, MESSAGE_BUDGET)}"


def text(title: str, outline: Sequence[str], body: str) -> str:
    """For what is no mail. `outline` are its headings."""
    title = cut_to(" ".join(title.split()), SUBJECT_BUDGET)
    begins = f"that begins with: {_quoted(first_words(body, FIRST_WORDS))}"
    parts = [f"Write a text {f'titled {_quoted(title)}' if title else begins}."]
    headings = [heading for each in outline if (heading := " ".join(each.split())) and heading != title]
    if headings:
        parts.append(cut_to("\n".join(f"- {cut_to(each, SUBJECT_BUDGET)}" for each in headings), OUTLINE_BUDGET))
    return "\n\nIts parts:\n".join(parts)


def bare_subject(subject: str) -> str:
    """The subject without Re:, AW:, Fwd: and their like, on one line. One that says that there is none is none."""
    bare = " ".join(subject.split())
    while (shorter := _PREFIX.sub("", bare)) != bare:
        bare = shorter
    return "" if _NO_SUBJECT.match(bare) else cut_to(bare, SUBJECT_BUDGET)


def sender_name(mailbox: str) -> str:
    """Whom one greets: see `recipient_name`; 'somebody' when nothing is known."""
    return recipient_name(mailbox) or "somebody"


def recipient_name(mailbox: str) -> str:
    """A person's first name, another display name whole, else what the address says: 'Ann' for ann.lee@x."""
    mailbox = re.sub(r"\s*\[mailto:.*?\]", "", mailbox)  # Outlook's way to write an address
    name, address = parseaddr(mailbox)
    name = _natural_order(re.sub(r"[/@(].*$", "", name or ("" if _ADDRESS.match(mailbox) else mailbox)).strip(" \"'"))
    if not name or "@" in name:
        return _name_in_address((address or mailbox).rpartition("@")[0].strip("<\"' "))
    words = name.split()
    is_person = _PERSON.match(name) and not _NO_PERSON & {word.lower() for word in words} and len(words[0]) > 2
    return words[0] if is_person else name


def cut_to(text: str, budget: int) -> str:
    """At most `budget` characters, cut at the end of a paragraph, sentence or word, with an ellipsis."""
    text = text.strip()
    if len(text) <= budget:
        return text
    room = text[: budget - 2]
    for end in ("\n\n", ". ", "\n", " "):
        at = room.rfind(end)
        if at > budget // 2:
            return f"{room[: at + (end == '. ')].rstrip()} …"
    return f"{room} …"


def _name_in_address(local: str) -> str:
    first, dot, last = local.partition(".")
    is_person = dot and _LETTERS.fullmatch(first) and _LETTERS.fullmatch(last) and not _NO_PERSON & {first, last}
    return first.title() if is_person else local


def _natural_order(name: str) -> str:
    """'Lee, Ann B.' is Ann B. Lee."""
    last, comma, first = name.partition(",")
    return f"{first.strip()} {last.strip()}" if comma and first.strip() else " ".join(name.split())


def _to(recipients: Sequence[str]) -> str:
    """'Ann', 'Ann and Bob', 'Ann, Bob and 3 others'."""
    names = list(dict.fromkeys(name for recipient in recipients if (name := recipient_name(recipient))))
    shown, others = names[:_NAMED_RECIPIENTS], len(names) - _NAMED_RECIPIENTS
    if others > 0:
        return f"{', '.join(shown)} and {others} other{'s' if others > 1 else ''}"
    return " and ".join(shown)


def _quoted(words: str) -> str:
    return f'"{words}"'
