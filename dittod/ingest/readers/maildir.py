"""What the name of a file in a Maildir says: that it is a mail, and its flags. Pure.

Does not read the mail.
"""

from __future__ import annotations

import re
from pathlib import Path

from dittod.errors import FileSetAside

_FOLDERS = ("cur", "new")
_NAME = re.compile(r"\d+\.[^\s]+")  # seconds, a unique part, the host
_FLAGS = re.compile(r"[:;!]2,([A-Za-z]*)$")  # ':' cannot be in a file's name everywhere


def is_in_maildir(path: Path) -> bool:
    """True for a mail by its place and name."""
    return path.parent.name in _FOLDERS and bool(_NAME.match(path.name) or _FLAGS.search(path.name))


def refuse_by_flags(path: Path) -> None:
    """Raises FileSetAside for a draft and for a mail in the trash."""
    found = _FLAGS.search(path.name)
    flags = found[1] if found else ""
    if "D" in flags:
        raise FileSetAside("flagged as a draft", "it will be read when it is sent")
    if "T" in flags:
        raise FileSetAside("flagged as deleted", "it is left out on purpose")
