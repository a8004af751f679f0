"""Reads one mail (RFC 822 and MIME) into a Document: headers that matter, and the body as plain text.

Knows multipart structure, charsets and transfer encodings; never takes an attachment for the mail. Does not know whose
words the body holds (`ingest.mail`) nor whether the user sent it (`ingest.identity`).

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

from dittod.ingest.readers.decode import clean, decode
from dittod.ingest.readers.flowed import unflow
from dittod.ingest.readers.html import text_of_html
from dittod.types import Document

_REPLY = re.compile(r"(?i)\s*(re|aw|antw|sv|vs|odp|rif|r|回复|回覆|答复|ответ)\s*(\[\d+\]|\(\d+\))?\s*[:：]")
_DEEPEST = 30  # nested multiparts; real mail has fewer than ten


def read_mail(raw: bytes, modified_at: float, sha256: str = "") -> Document:
    """One mail. `sha256` is given when `raw` holds only the beginning of a very large one."""
    message = _parsed(raw)
    subject = _header(message, "subject")
    return Document(
        kind="mail",
        text=_body(message),
        sha256=sha256 or hashlib.sha256(raw).hexdigest(),
        sender=next(iter(_addresses(message, "from")), ""),
        recipients=_addresses(message, "to", "cc"),
        subject=subject,
        is_reply=bool(message["In-Reply-To"] or message["References"] or _REPLY.match(subject)),
        is_automatic=_is_automatic(message),
        written_at=_written_at(message, modified_at),
    )


def _parsed(raw: bytes) -> Message:
    try:
        return message_from_bytes(raw, policy=policy.compat32)
    except RecursionError:  # hundreds of parts inside each other: the headers are enough
        message = BytesHeaderParser(policy=policy.compat32).parsebytes(raw)
        message.set_payload("")
        return message


def _header(message: Message, name: str) -> str:
    return " ".join(_decoded(next(iter(_values(message, name)), "")).split())


def _values(message: Message, *names: str) -> list[str]:
    """Each header of these names as it stands there, raw 8-bit bytes decoded, encoded words not yet."""
    found = [str(value) for name, value in message.raw_items() if name.lower() in names]
    return [decode(value.encode("utf-8", "surrogateescape")).replace("\n", "") for value in found]


def _decoded(value: str) -> str:
    """Encoded words (RFC 2047) as text."""
    try:
        pieces = decode_header(value)
    except (MessageError, ValueError):  # broken base64 in an encoded word
        return value
    return clean("".join(p if isinstance(p, str) else decode(p, charset) for p, charset in pieces))


def _addresses(message: Message, *names: str) -> tuple[str, ...]:
    """'Name <address>' of each mailbox; split before decoding, since a decoded name may hold commas."""
    values = _values(message, *names)
    found = [(_decoded(name), address) for name, address in getaddresses(values) if address]
    if not found:  # the strict parser gives up on a whole header for one bad mailbox
        found = [("", address) for value in values for address in re.findall(r"[^\s<>,;\"]+@[^\s<>,;\"]+", value)]
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
    types = {part.get_content_type() for part in message.walk()}
    return bool(types & {"text/calendar", "multipart/report", "message/delivery-status"})


def _body(part: Message, depth: int = 0) -> str:
    """The text somebody typed: text parts in order, of alternatives the plain one, attachments never."""
    if depth > _DEEPEST or (depth and _is_attachment(part)):
        return ""
    payload = part.get_payload()
    if isinstance(payload, list):
        if part.get_content_type() == "message/rfc822":
            return ""
        return _joined(part, [child for child in payload if isinstance(child, Message)], depth + 1)
    if part.get_content_type() == "text/html":
        return text_of_html(_text(part))
    if part.get_content_maintype() == "text" or part.get_content_maintype() == "multipart":  # boundary lost
        return _unflowed(part) if part.get_content_subtype() not in ("calendar", "x-vcard", "vcard", "css") else ""
    return ""


def _joined(part: Message, children: list[Message], depth: int) -> str:
    if part.get_content_type() == "multipart/alternative":
        plain = [child for child in children if child.get_content_type() == "text/plain"]
        ordered = plain + [child for child in children if child not in plain]
        return next((text for child in ordered if (text := _body(child, depth)).strip()), "")
    if part.get_content_type() == "multipart/related":
        children = children[:1]
    return "\n".join(text for child in children if (text := _body(child, depth)).strip())


def _is_attachment(part: Message) -> bool:
    try:
        return part.get_content_disposition() == "attachment" or bool(part.get_filename())
    except (ValueError, LookupError, TypeError):
        return True


def _text(part: Message) -> str:
    raw = part.get_payload(decode=True)
    try:
        charset = part.get_content_charset()
    except (ValueError, LookupError, TypeError):
        charset = None
    return decode(raw if isinstance(raw, bytes) else b"", charset)


def _unflowed(part: Message) -> str:
    text = _text(part)
    if str(part.get_param("format", "")).lower() != "flowed":
        return text
    return unflow(text, delete_space=str(part.get_param("delsp", "")).lower() == "yes")
