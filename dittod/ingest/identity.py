"""Whose mail it is: compares addresses exactly, and guesses the user's own from what a folder holds. Pure.

Knows addresses, plus-tags and display names. Does not know bodies, nor where the configured identities come from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from email.utils import parseaddr

from dittod.types import Document

_OWN_SHARE = 0.5  # a folder of sent mail has one sender in most of its mails


def address_of(mailbox: str) -> str:
    """The address in 'Name <address>', lower case and without a plus-tag; '' when there is none."""
    bare = mailbox.strip() if "<" not in mailbox else parseaddr(mailbox)[1] or mailbox[mailbox.rfind("<") + 1 :]
    local, at, domain = bare.strip("<> \t").lower().rpartition("@")
    return f"{local.partition('+')[0] or local}@{domain}" if at and local and domain else ""


def same_address(one: str, other: str) -> bool:
    """True for the same mailbox: bob@x is BOB+news@X and never notbob@x."""
    return bool(address_of(one)) and address_of(one) == address_of(other)


def sent_by_user(document: Document, identities: Sequence[str]) -> bool:
    """True when the From address is one of `identities`; a text in the folder always is the user's."""
    return document.kind == "text" or any(same_address(document.sender, identity) for identity in identities)


def likely_identities(counts: Mapping[str, int], *, is_sent_folder: bool = False) -> tuple[str, ...]:
    """The user's addresses, guessed from how many mails each sender address wrote, most frequent first.

    In a folder named 'sent' every sender is the user, unless others outnumber: stray copies below a tenth of the most
    frequent are left out. Elsewhere only the most frequent address counts, and only when it wrote at least half.
    """
    merged: dict[str, int] = {}
    for mailbox, count in counts.items():
        if address := address_of(mailbox):
            merged[address] = merged.get(address, 0) + count
    ranked = sorted(merged, key=lambda address: (-merged[address], address))
    if not ranked:
        return ()
    most = merged[ranked[0]]
    if is_sent_folder:
        return tuple(address for address in ranked if merged[address] * 10 >= most)
    return (ranked[0],) if most >= _OWN_SHARE * sum(merged.values()) else ()


def is_sent_folder(name: str) -> bool:
    """True for the names mail programs give to the folder of sent mail."""
    words = name.lower().replace("_", " ").replace("-", " ")
    return any(word in words for word in ("sent", "gesendet", "envoy", "enviad", "inviat", "verzonden", "outbox"))
