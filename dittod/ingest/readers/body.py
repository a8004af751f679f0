"""The text somebody typed, out of the parts of a MIME message. Pure.

Knows multipart structure, transfer encodings as they are found damaged, encrypted and signed mail; never takes an
attachment for the mail. Does not know headers beyond Content-*, nor whose words the text holds (`ingest.mail`).
"""

from __future__ import annotations

import binascii
import re
from email import message_from_string
from email.message import Message

from dittod.errors import FileSetAside
from dittod.ingest.readers.armour import is_encrypted, without_armour
from dittod.ingest.readers.decode import charset_in_html, decode
from dittod.ingest.readers.flowed import unflow
from dittod.ingest.readers.mail_html import text_of_mail
from dittod.ingest.readers.message import Mail

_DEEPEST = 30  # nested multiparts; real mail has fewer than ten
_NOT_TYPED = ("calendar", "rtf", "x-vcard", "vcard", "directory", "css", "csv", "xml", "rfc822-headers", "x-amp-html")
_SMIME = ("application/pkcs7-mime", "application/x-pkcs7-mime")
_TNEF = ("application/ms-tnef", "application/vnd.ms-tnef")
_TAG = re.compile(r"<[a-zA-Z/!]")
_PAGE = re.compile(r"\s{0,20}<(?:!doctype html|html[\s>])", re.IGNORECASE)  # under a wrong label
_BOUNDARY = re.compile(r"^--([^\s\"]{1,70}+)\r?\nContent-", re.MULTILINE | re.IGNORECASE)
_BASE64_LINE = re.compile(r"[A-Za-z0-9+/]*={0,2}[ \t\r]*$")


def text_of(message: Message) -> str:
    """The body as plain text. Raises FileSetAside when there is one that nobody can read here."""
    text = _text_of_part(message, 0)
    if is_encrypted(text):
        raise _encrypted()
    text = without_armour(text)
    if not text.strip():
        _refuse_unreadable(message)
    return text


def _encrypted() -> FileSetAside:
    return FileSetAside("the mail is encrypted", "export it from the mail program without its encryption")


def _refuse_unreadable(message: Message) -> None:
    types = {part.get_content_type() for part in message.walk()}
    if types & {"multipart/encrypted", "application/pgp-encrypted"}:
        raise _encrypted()
    if types & set(_SMIME):
        raise FileSetAside(
            "the mail is encrypted or signed by S/MIME as a whole", "export it from the mail program without S/MIME"
        )
    if types & set(_TNEF):
        raise FileSetAside(
            "the mail holds its text in Outlook's own format (winmail.dat)", "save it as .eml from Outlook"
        )


def _text_of_part(part: Message, depth: int) -> str:
    """Text parts in order, of alternatives the plain one, attachments never."""
    if depth > _DEEPEST or (depth and _is_attachment(part)):
        return ""
    payload = part.get_payload()
    if isinstance(payload, list):
        if part.get_content_maintype() == "message":
            return ""
        return _joined(part, [child for child in payload if isinstance(child, Message)], depth + 1)
    if part.get_content_maintype() not in ("text", "multipart") or part.get_content_subtype() in _NOT_TYPED:
        return ""
    if part.get_content_maintype() == "multipart" and (found := _with_its_boundary(part)):
        return _text_of_part(found, depth + 1)
    text = _text(part)
    is_html = part.get_content_type() == "text/html" and _TAG.search(text)
    return text_of_mail(text) if is_html or _PAGE.match(text) else _unflowed(part, text)


def _joined(part: Message, children: list[Message], depth: int) -> str:
    if part.get_content_type() == "multipart/alternative":
        plain = [child for child in children if child.get_content_type() == "text/plain"]
        ordered = plain + [child for child in reversed(children) if child not in plain]
        return next((text for child in ordered if (text := _text_of_part(child, depth)).strip()), "")
    if part.get_content_type() in ("multipart/related", "multipart/signed", "multipart/appledouble"):
        children = children[:1]  # the others are pictures, the signature, a resource fork
    return "\n".join(text for child in children if (text := _text_of_part(child, depth)).strip())


def _with_its_boundary(part: Message) -> Message | None:
    """A multipart that names no boundary, or a wrong one, parsed by the one that is seen in it."""
    payload = str(part.get_payload())
    seen = _BOUNDARY.search(payload)
    if seen is None:
        return None
    try:
        head = f'Content-Type: {part.get_content_type()}; boundary="{seen[1]}"\n\n'
        return message_from_string(head + payload, Mail)
    except RecursionError:  # hundreds of parts inside each other
        return None


def _is_attachment(part: Message) -> bool:
    return part.get_content_disposition() == "attachment" or bool(part.get_filename())


def _text(part: Message) -> str:
    raw = _bytes(part)
    return decode(raw, part.get_content_charset() or charset_in_html(raw))


def _bytes(part: Message) -> bytes:
    """The transfer encoding undone as far as it holds."""
    if str(part.get("Content-Transfer-Encoding", "")).strip().lower() == "base64":
        return _unbase64(str(part.get_payload()))
    raw = part.get_payload(decode=True)
    return raw if isinstance(raw, bytes) else b""


def _unbase64(payload: str) -> bytes:
    """Of lines that are base64; text put below them by a mailing list is kept, and so is text that never was."""
    lines = payload.lstrip("\n\r").split("\n")
    encoded = next((i for i, line in enumerate(lines) if not _BASE64_LINE.match(line)), len(lines))
    characters = re.sub(r"\s", "", "".join(lines[:encoded]))
    if encoded < len(lines) and len(characters) % 4:
        return payload.encode("utf-8", "surrogateescape")
    rest = "\n".join(lines[encoded:]).encode("utf-8", "surrogateescape")
    return b"".join(_from_base64(piece) for piece in re.split("=+", characters)) + rest


def _from_base64(characters: str) -> bytes:
    """Without its padding; of four characters a lone first one holds nothing whole."""
    whole = characters[: len(characters) - (len(characters) % 4 == 1)]
    return binascii.a2b_base64(whole + "=" * (-len(whole) % 4))


def _unflowed(part: Message, text: str) -> str:
    if str(part.get_param("format", "")).lower() != "flowed":
        return text
    return unflow(text, delete_space=str(part.get_param("delsp", "")).lower() == "yes")
