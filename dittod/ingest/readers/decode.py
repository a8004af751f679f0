"""Bytes to text, whatever the label on them says. Pure.

Knows charsets and their usual lies. Does not know where the bytes come from, nor what kind of file they are.
"""

from __future__ import annotations

import codecs

# Latin-1 and ASCII labels are used for cp1252 in practice (WHATWG encoding standard, section 4.2).
_USUAL_LIES = {"iso8859-1": "cp1252", "ascii": "utf-8"}
# Escape codecs and the like: a mail that names one is hostile or broken, and they may warn or expand.
_NOT_CHARSETS = {"unicode_escape", "raw-unicode-escape", "unicode-escape", "undefined", "idna", "punycode"}
_CONTROLS = {code: None for code in (*range(9), 11, 12, *range(14, 32), 127)}  # all but tab, line feed, return


def decode(raw: bytes, charset: str | None = None) -> str:
    """The text of `raw`, with '\\n' line ends and nothing that UTF-8 cannot hold. Never fails."""
    return clean(_first_that_fits(raw, charset))


def clean(text: str) -> str:
    """One kind of line end, no control characters, no lone surrogates."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n").replace("\u2029", "\n\n")
    return lines.translate(_CONTROLS).removeprefix("\ufeff").encode("utf-8", "replace").decode("utf-8")


def looks_binary(raw: bytes) -> bool:
    """True for bytes that are no text in any charset in use: NUL outside UTF-16/32, or many control characters."""
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return False
    head = raw[:65536]
    odd = sum(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in head)  # \x1b starts ISO-2022 sequences
    return b"\0" in head or odd * 20 > len(head)


def _first_that_fits(raw: bytes, charset: str | None) -> str:
    for name in (_declared(charset), _from_mark(raw), "utf-8", "cp1252"):
        if name is not None:
            try:
                return raw.decode(name)
            except (UnicodeError, LookupError, ValueError):
                continue
    return raw.decode(_declared(charset) or "latin-1", "replace")


def _declared(charset: str | None) -> str | None:
    """The codec to try for a declared charset; None when it is unknown or no charset at all."""
    try:
        name = codecs.lookup(charset.strip("\"' ")).name if charset else None
        "".encode(name or "ascii")
    except (LookupError, ValueError, UnicodeError):
        return None
    if name is None or name in _NOT_CHARSETS:
        return None
    return _USUAL_LIES.get(name, name)


def _from_mark(raw: bytes) -> str | None:
    """The charset that a byte order mark announces."""
    if raw.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return None
