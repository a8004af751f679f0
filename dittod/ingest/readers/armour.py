"""What is wrapped around or put into a mail's text that nobody typed: OpenPGP armour and uuencoded files. Pure.

Knows inline signatures (RFC 9580, section 7), keys and `begin 644 …` blocks. Does not know MIME, nor check signatures.
"""

from __future__ import annotations

import re
from collections import deque

_SIGNED = "-----BEGIN PGP SIGNED MESSAGE-----"
_BLOCK = re.compile(r"-----BEGIN PGP (SIGNATURE|PUBLIC KEY BLOCK|MESSAGE|ARMORED FILE)(?:, PART [^-]*)?-----\s*$")
_ARMOUR_HEADER = re.compile(r"(?:Hash|Charset|Comment|Version|NotDashEscaped):")
_BEGIN = re.compile(r"begin [0-7]{3,4} \S")
_ENCODED_LINE = re.compile(r"[ -`]{1,90}$")


def without_armour(text: str) -> str:
    """The typed lines. Quoted armour stays: it is cut with the quotation."""
    return _without_files(_without_pgp(text)) if "-----BEGIN PGP" in text or "begin" in text else text


def is_encrypted(text: str) -> bool:
    """True when an encrypted message stands there and nothing but it."""
    return "-----BEGIN PGP MESSAGE-----" in text and not without_armour(text).strip()


def _without_pgp(text: str) -> str:
    kept: list[str] = []
    end = ""  # the line that ends the block being left out
    signed = in_head = False
    for line in text.split("\n"):
        block = None if end else _BLOCK.match(line)
        if block:
            end, signed = f"-----END PGP {block.group(1)}", False
        elif end:
            end = "" if line.startswith(end) else end
        elif line.rstrip() == _SIGNED:
            signed = in_head = True
        elif in_head and (_ARMOUR_HEADER.match(line) or not line.strip()):
            in_head = bool(line.strip())
        else:
            in_head = False
            kept.append(line.removeprefix("- ") if signed else line)
    return "\n".join(kept)


def _without_files(text: str) -> str:
    """Without `begin 644 name` … `end`; a `begin` that is followed by prose is prose."""
    kept: list[str] = []
    lines = text.split("\n")
    ends = deque(i for i, line in enumerate(lines) if line.rstrip() == "end")
    i = 0
    while i < len(lines):
        while ends and ends[0] <= i:
            ends.popleft()
        if ends and _BEGIN.match(lines[i]) and _is_encoded(lines[i + 1 : min(ends[0], i + 4)]):
            i = ends[0] + 1
            continue
        kept.append(lines[i])
        i += 1
    return "\n".join(kept)


def _is_encoded(lines: list[str]) -> bool:
    return bool(lines) and all(_ENCODED_LINE.match(line) for line in lines)
