"""Bytes to text, whatever the label on them says. Pure.

Knows charsets and their usual lies, and guesses (charset-normalizer) where a label is missing or cannot be true. Does
not know where the bytes come from, nor what kind of file they are.
"""

from __future__ import annotations

import codecs
import re

# What labels mean in practice (WHATWG encoding standard, section 4.2). None: the label says nothing.
_MEANT = {
    "iso8859-1": None,
    "ascii": None,
    "cp1252": None,
    "utf-8": None,
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
    "iso2022_jp": "iso2022_jp_2",
}
# Escape codecs and the like: a mail that names one is hostile or broken, and they may warn or expand.
_NOT_CHARSETS = {"unicode_escape", "raw-unicode-escape", "unicode-escape", "undefined", "idna", "punycode"}
_MULTIBYTE = re.compile(r"utf-|gb18030|cp932|cp949|big5|euc|iso2022|hz|johab|shift")
# All that charset-normalizer may answer: what mail and old texts are written in. With more it guesses worse.
_CANDIDATES = [
    *("cp1252", "cp1250", "iso8859_2", "cp1251", "koi8_r", "cp866", "iso8859_5", "cp1253", "cp1254", "cp1255"),
    *("cp1256", "cp932", "euc_jp", "gb18030", "big5", "cp949"),
]
_GUESSED_FROM_BYTES = 2**16
_FOREIGN_SHARE = 0.35  # western texts have fewer than 20 % bytes over 127, Greek, Cyrillic or Chinese ones over 60 %
_SYMBOL_IN_WORD = re.compile(r"(?<=[^\W\d_])[^\w\s\x00-\x7f’‘–—…](?=[^\W\d_])")
_META_CHARSET = re.compile(rb"(?i)<meta[^>]{0,200}charset\s*=\s*[\"']?([\w-]{1,40})")
_BREAKS = str.maketrans(dict.fromkeys("\r\v\f\x85\u2028", "\n") | {"\u2029": "\n\n"})
_CONTROLS = {code: None for code in (*range(9), *range(14, 32), *range(127, 160), 0xFEFF, 0xFFFE, 0xFFFF)}


def decode(raw: bytes, charset: str | None = None) -> str:
    """The text of `raw`, with '\\n' line ends and nothing that UTF-8 cannot hold. Never fails."""
    declared = _declared(charset)
    if declared and declared.startswith(("utf-16", "utf-32")) and b"\0" not in raw:  # a line end alone has one
        declared = None
    return clean(_first_that_fits(raw, declared))


def clean(text: str) -> str:
    """One kind of line end, no control characters, no lone surrogates."""
    lines = text.replace("\r\n", "\n").translate(_BREAKS).translate(_CONTROLS)
    return lines.encode("utf-8", "replace").decode("utf-8")


def charset_in_html(raw: bytes) -> str | None:
    """What a page says of itself near its beginning."""
    found = _META_CHARSET.search(raw[:4096])
    return found[1].decode("ascii") if found else None


def codec_of(charset: str) -> str | None:
    """What Python calls it; None when it is unknown or no charset at all."""
    try:
        name = codecs.lookup(charset.strip("\"' ")).name
        "".encode(name)
    except (LookupError, ValueError, UnicodeError):
        return None
    return None if name in _NOT_CHARSETS else name


def looks_binary(raw: bytes) -> bool:
    """True for bytes that are no text in any charset in use: NUL outside UTF-16/32, or many control characters."""
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return False
    head = raw[:65536]
    odd = sum(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in head)  # \x1b starts ISO-2022 sequences
    return b"\0" in head or odd * 20 > len(head)


def _first_that_fits(raw: bytes, declared: str | None) -> str:
    """A charset of several bytes fits hardly ever by chance, UTF-8 least of all; one of single bytes fits anything."""
    is_multibyte = declared is not None and bool(_MULTIBYTE.match(declared))
    order = (_from_mark(raw), declared if is_multibyte else None, "utf-8", declared)
    for name in order:
        if name is not None and (text := _strictly(raw, name)) is not None:
            return text
    for name in (declared if is_multibyte else None, "utf-8"):
        if name is not None and (text := _nearly(raw, name)) is not None:
            return text
    return _guessed(raw)


def _strictly(raw: bytes, name: str) -> str | None:
    try:
        return raw.decode(name)
    except (UnicodeError, ValueError):
        return None


def _nearly(raw: bytes, name: str) -> str | None:
    """The text when only a few of its characters are damaged: a mail cut off, or a gateway's mistake."""
    try:
        text = raw.decode(name, "replace")
    except (UnicodeError, ValueError):
        return None
    lost = text.count("\ufffd")
    whole = sum(character > "\x7f" for character in text) - lost
    return text if lost * 2 <= whole else None


def _guessed(raw: bytes) -> str:
    """Without a label: western, unless there are too many bytes over 127 for that."""
    letters = len(raw.translate(None, b" \t\r\n")) or 1
    high = len(raw.translate(None, bytes(range(128))))
    if high < _FOREIGN_SHARE * letters:
        return _western_or_central(raw)
    from charset_normalizer import from_bytes

    sample = raw[:_GUESSED_FROM_BYTES]
    if len(raw) > len(sample):  # not within a character
        sample = sample[: sample.rfind(b"\n") + 1] or sample
    best = from_bytes(sample, cp_isolation=_CANDIDATES).best()
    return raw.decode(best.encoding if best else "cp1252", "replace")


def _western_or_central(raw: bytes) -> str:
    """Cp1252, unless that puts symbols into words, as it does with Polish: 'mo¿e'."""
    texts = [raw.decode(name, "replace") for name in ("cp1252", "cp1250", "iso8859_2")]
    return min(texts, key=lambda text: len(_SYMBOL_IN_WORD.findall(text[:_GUESSED_FROM_BYTES])))


def _declared(charset: str | None) -> str | None:
    """The codec to try for a declared charset; None when it is unknown, no charset at all, or says nothing."""
    name = codec_of(charset) if charset else None
    return None if name is None else _MEANT.get(name, name)


def _from_mark(raw: bytes) -> str | None:
    """The charset that a byte order mark announces."""
    if raw.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return None
