"""The writer's name in brackets before an answer inside somebody else's message: "[Ray, Bob] Yes, on Monday." Pure.

Outlook puts that mark before every comment typed into an original; people type it by hand. Knows the forms of the name.
Does not know where in a mail the original stands.
"""

from __future__ import annotations

import re

_MARK = re.compile(r"\[\s*([^\[\]@\n]{2,60}?)\s*\]:?")
_WORD = re.compile(r"[^\W\d_]+")
_PLACE = re.compile(r"\(.*?\)?$")  # '[Ray, Bob (London)]'


def parted_by_mark(line: str, author: str) -> tuple[str, str] | None:
    """What stands before the author's mark in the line and what behind it; None when there is no such mark.

    `author` is the mail's sender: 'Name <address>', or either of them."""
    if "[" not in line:
        return None
    names = [word.lower() for word in _WORD.findall(author.partition("@")[0])]
    found = next((mark for mark in _MARK.finditer(line) if _is_author(mark.group(1), names)), None)
    return (line[: found.start()].rstrip(), line[found.end() :].strip()) if found else None


def _is_author(mark: str, names: list[str]) -> bool:
    """'Surname, Given', the whole name or a part of it, or its initials in capitals."""
    bare = _PLACE.sub("", mark).strip()
    if "," in bare:
        return _is_turned(bare, names)
    words = {word.lower() for word in _WORD.findall(bare)}
    initials = "".join(word[0] for word in dict.fromkeys(names))
    is_part = any(len(word) > 2 for word in words) and words <= set(names)
    return len(set(names)) > 1 and (is_part or (bare.isupper() and bare.lower() == initials))


def _is_turned(bare: str, names: list[str]) -> bool:
    """The surname, and the initial of one of the given names: an address may hold no more of it than e..ray@x."""
    surnames, _, given = bare.partition(",")
    said = {word.lower() for word in _WORD.findall(surnames)}
    others = {word[0] for word in names if word not in said}
    return any(len(word) > 1 for word in said) and said <= set(names) and bool(others & _initials(given))


def _initials(words: str) -> set[str]:
    return {word[0].lower() for word in _WORD.findall(words)}
