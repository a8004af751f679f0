"""Reads one mail (RFC 822 and MIME) into a Document: headers that matter, and the body as plain text.

Knows headers. Does not know what a body is made of (`body`), whose words it holds (`ingest.mail`), nor whether the user
sent it (`ingest.identity`).

Headers are decoded here instead of by `email.policy.default`, whose header parser raises on some malformed mail.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC
from email import message_from_bytes, policy
from email.errors import MessageError
from email.header import decode_header
from email.message import Message
from email.parser import BytesHeaderParser
from email.utils import formataddr, getaddresses, parsedate_to_datetime

from dittod.errors import FileSetAside
from dittod.ingest.readers.body import text_of
from dittod.ingest.readers.decode import clean, decode
from dittod.ingest.readers.message import Mail
from dittod.types import Document

_REPLY = re.compile(r"(?i)\s*(re|aw|antw|sv|vs|odp|rif|r|回复|回覆|答复|ответ)\s*(\[\d+\]|\(\d+\))?\s*[:：]")
_ADDRESS = re.compile(r"(?<![^\s<>,;\"])[^\s<>,;\"@]++@[^\s<>,;\"]+")
_EXCHANGE_AUTOMATIC = re.compile(r"(?i)content-classes:(?:calendarmessage|appointment|mdn|dsn|recalltemplate)")
_LONGEST_HEADER = 2**16  # characters: a thousand recipients; parsing takes more than linear time


def read_mail(raw: bytes, modified_at: float, sha256: str = "") -> Document:
    """One mail. `sha256` is given when `raw` holds only the beginning of a very large one."""
    return document_of(parsed(raw), modified_at, sha256 or hashlib.sha256(raw).hexdigest())


def document_of(message: Message, modified_at: float, sha256: str) -> Document:
    """The mail as a Document. Raises FileSetAside when nobody can read its text."""
    if header(message, "x-unsent") == "1":  # Outlook's mark
        raise FileSetAside("a draft that was not sent", "it will be read when it is sent")
    subject = header(message, "subject")
    return Document(
        kind="mail",
        text=text_of(message),
        sha256=sha256,
        sender=next(iter(_addresses(message, "from")), ""),
        recipients=_addresses(message, "to", "cc"),
        subject=subject,
        is_reply=bool(message["In-Reply-To"] or message["References"] or _REPLY.match(subject)),
        is_automatic=_is_automatic(message),
        written_at=_written_at(message, modified_at),
    )


def parsed(raw: bytes) -> Message:
    """Headers and parts, not decoded yet."""
    raw = raw.lstrip(b"\xef\xbb\xbf\r\n")
    try:
        return message_from_bytes(raw, Mail, policy=policy.compat32)
    except RecursionError:  # hundreds of parts inside each other: the headers are enough
        message = BytesHeaderParser(Mail, policy=policy.compat32).parsebytes(raw)
        message.set_payload("")
        return message


def header(message: Message, name: str) -> str:
    """The first header of this name in one line, decoded; '' when there is none."""
    return " ".join(_decoded(next(iter(_values(message, name)), "")).split())


def _values(message: Message, *names: str) -> list[str]:
    """Each header of these names as it stands there, raw 8-bit bytes decoded, encoded words not yet."""
    found = [str(value) for name, value in message.raw_items() if name.lower() in names]
    return [decode(value[:_LONGEST_HEADER].encode("utf-8", "surrogateescape")).replace("\n", "") for value in found]


def _decoded(value: str) -> str:
    """Encoded words (RFC 2047) as text."""
    try:
        pieces = decode_header(value)
    except (MessageError, ValueError, LookupError):  # broken base64 in an encoded word
        return value
    return clean("".join(p if isinstance(p, str) else decode(p, charset) for p, charset in pieces))


def _addresses(message: Message, *names: str) -> tuple[str, ...]:
    """'Name <address>' of each mailbox; split before decoding, since a decoded name may hold commas."""
    values = _values(message, *names)
    try:
        found = [(_decoded(name), address) for name, address in getaddresses(values) if address]
    except RecursionError:  # comments in comments
        found = []
    if not found:  # the strict parser gives up on a whole header for one bad mailbox
        found = [("", address) for value in values for address in _ADDRESS.findall(value)]
    return tuple(clean(_mailbox(" ".join(name.split()), address)) for name, address in found)


def _mailbox(name: str, address: str) -> str:
    try:
        return formataddr((name, address)) if name.isascii() else f'"{name}" <{address}>'.replace('""', '"')
    except UnicodeError:
        return f"{name} <{address}>"


def _written_at(message: Message, modified_at: float) -> float:
    try:
        date = parsedate_to_datetime(str(message.get("Date", "")))
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return modified_at


def _is_automatic(message: Message) -> bool:
    """Headers by which programs, lists and calendars declare themselves (RFC 3834, RFC 2919)."""
    if str(message.get("Auto-Submitted", "no")).split(";")[0].strip().lower() != "no":
        return True
    if str(message.get("Precedence", "")).strip().lower() in ("bulk", "list", "junk", "auto_reply"):
        return True
    if any(message.get(name) for name in ("List-Id", "List-Unsubscribe", "X-Autoreply", "X-Autorespond")):
        return True
    if str(message.get("Return-Path", "")).strip() == "<>":  # delivery notices
        return True
    if _EXCHANGE_AUTOMATIC.search(str(message.get("Content-Class", ""))):
        return True
    types = {part.get_content_type() for part in message.walk()}
    return bool(types & {"text/calendar", "multipart/report", "message/delivery-status"})
