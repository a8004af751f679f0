"""Tells mail written by hand from auto-replies, calendar answers and delivery notices. Pure.

Knows subjects and senders that programs use, and how invitations begin; the headers that declare a mail automatic
were read by the reader.
"""

from __future__ import annotations

import re

from dittod.types import Document

_AUTO_REPLY = re.compile(
    r"(?i)(?:auto(?:matic)?[- ]?(?:reply|response|matische antwort)|out of (?:the )?office|automatische antwort"
    r"|abwesen\w*|réponse automatique|respuesta automática|risposta automatica|resposta automática"
    r"|automatisch antwoord|autosvar)\b"
)
_CALENDAR = re.compile(
    r"(?i)(?:accepted|declined|tentative(?:ly accepted)?|cancel+ed|updated invitation|invitation|zugesagt|abgesagt"
    r"|angenommen|abgelehnt|accepté|refusé|aceptado|rechazado|accettato|geaccepteerd)\s*:"
)
_CALENDAR_BODY = re.compile(  # what Outlook and Notes write into the body of an invitation
    r"\s*(?:When: .*\n(?:\s*Where: .*\n)?\s*(?:\*~){3}"
    r"|(?:CALENDAR ENTRY|TASK ASSIGNMENT)\b.*\n\s*(?:Description|Status|Date):)",
    re.IGNORECASE,
)
_HEAD_CHARACTERS = 2000
_DELIVERY = re.compile(
    r"(?i)(?:undeliver(?:able|ed)|delivery (?:status|failure|has failed)|returned mail|mail delivery"
    r"|unzustellbar|read(?: receipt)?:|gelesen:|not read:)"
)
_MACHINE = re.compile(r"(?i)(?:mailer-daemon|postmaster|no-?reply|do-?not-?reply)@")


def why_not_by_hand(document: Document) -> str | None:
    """The reason why nobody typed this mail; None when somebody did."""
    subject = document.subject.strip()
    if document.is_automatic:
        return "sent by a program, a mailing list or a calendar"
    if _AUTO_REPLY.match(subject):
        return "an automatic reply"
    if _CALENDAR.match(subject) or _CALENDAR_BODY.match(document.text[:_HEAD_CHARACTERS]):
        return "a calendar message"
    if _DELIVERY.match(subject) or _MACHINE.search(document.sender):
        return "a delivery notice"
    return None
