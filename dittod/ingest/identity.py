"""Whose mail it is: compares addresses and names exactly, and guesses the user's own from what a folder holds. Pure.

Knows addresses, plus-tags, Gmail's dots and display names. Does not know bodies, nor where the configured identities
come from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from email.utils import parseaddr

from dittod.types import Document

OTHER_SENDERS = "others@senders.invalid"  # in counts: all but the most frequent ones, and never the user
LONGEST_ADDRESS = 254  # characters; RFC 5321's 256 for a path, without its angle brackets
_OWN_SHARE = 0.5  # a folder of sent mail has one sender in most of its mails


def address_of(mailbox: str) -> str:
    """The address in 'Name <address>', lower case and without a plus-tag; '' for none or one too long for mail."""
    bare = mailbox.strip() if "<" not in mailbox else parseaddr(mailbox)[1] or mailbox[mailbox.rfind("<") + 1 :]
    bare = bare.strip("<> \t").lower()
    local, at, domain = bare.rpartition("@")
    if not (at and local and domain) or len(bare) > LONGEST_ADDRESS:
        return ""
    return f"{local.partition('+')[0] or local}@{domain}"


def same_address(one: str, other: str) -> bool:
    """True for the same mailbox: bob@x is BOB+news@X and never notbob@x; b.ob@gmail.com is bob@googlemail.com."""
    return bool(address_of(one)) and _delivered_to(address_of(one)) == _delivered_to(address_of(other))


def is_identity(mailbox: str, identities: Sequence[str]) -> bool:
    """Whether 'Name <address>' is the user. An identity without '@' is a name: for lists that put their own address."""
    name = _name_of(mailbox)
    return any(
        same_address(mailbox, each) if "@" in each else name == _words_of_name(each) != frozenset()
        for each in identities
    )


def sent_by_user(document: Document, identities: Sequence[str]) -> bool:
    """True when the From line is one of `identities`; what is no mail is the user's when it lies in the folder."""
    return document.kind != "mail" or is_identity(document.sender, identities)


def likely_identities(counts: Mapping[str, int], *, is_sent_folder: bool = False) -> tuple[str, ...]:
    """The user's addresses, guessed from how many mails each sender address wrote, most frequent first.

    In a folder named 'sent' every sender is the user, unless others outnumber: stray copies below a tenth of the most
    frequent are left out. Elsewhere only the most frequent address counts, and only when it wrote at least half.
    `OTHER_SENDERS` counts in the whole and is nobody.
    """
    merged: dict[str, int] = {}
    for mailbox, count in counts.items():
        if address := address_of(mailbox):
            merged[address] = merged.get(address, 0) + count
    ranked = sorted(merged.keys() - {OTHER_SENDERS}, key=lambda address: (-merged[address], address))
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


def _delivered_to(address: str) -> str:
    """Gmail delivers an address with and without dots, under either of its domains, to the same person."""
    local, _, domain = address.partition("@")
    return f"{local.replace('.', '')}@gmail.com" if domain in ("gmail.com", "googlemail.com") else address


def _name_of(mailbox: str) -> frozenset[str]:
    """The words of a display name, without what a list adds: 'Ann Lee via Some List'."""
    return _words_of_name(re.split(r"\s+(?:via|über|par|por|tramite)\s+", parseaddr(mailbox)[0], maxsplit=1)[0])


def _words_of_name(name: str) -> frozenset[str]:
    """In any order and case: 'LEE, Ann' is 'Ann Lee'."""
    return frozenset(re.findall(r"[^\W\d_]+", name.casefold()))
