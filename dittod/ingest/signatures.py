"""Signatures without a line of dashes: blocks that end many of a person's mails. Pure.

Knows how blocks are hashed, counted and found again. Only hashes are kept, and only of blocks that look like a
signature (a full name, contact data or a rule comes first, no closing formula stands in them), so that "Thanks, Ann"
is none, however often it is written. Does not know who wrote a mail or what else is cut from it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from dittod.ingest.contact import is_closing, is_contact, is_full_name, is_numbered_name, is_postscript
from dittod.ingest.endings import is_rule

FEWEST_MAILS = 3  # a block that ends fewer is not known as a signature
_LONGEST_SIGNATURE_LINES = 12
_HASH_BYTES = 6  # a clash among some hundred blocks of one person: less than one in a thousand million
_LONGEST_LINE = 120  # characters of a line of a signature, mottos included


def tail_hashes(own_words: str) -> tuple[str, ...]:
    """A hash of each block of last lines that could be a signature, the shortest first."""
    lines = own_words.split("\n")
    return tuple(_hash(lines, block) for block in _possible_blocks(lines))


def recurring(counts: Mapping[str, int]) -> frozenset[str]:
    """The hashes that are signatures; `counts` says in how many mails each was seen."""
    return frozenset(block for block, mails in counts.items() if mails >= FEWEST_MAILS)


def known_block(own_words: str, signatures: frozenset[str]) -> range | None:
    """The lines, from 0, of the longest known signature that ends these words, or stands above their postscript."""
    lines = own_words.split("\n") if signatures else []
    known = [block for block in _possible_blocks(lines) if _hash(lines, block) in signatures]
    return range(known[-1][0], known[-1][-1] + 1) if known else None


def without_signature(own_words: str, signatures: frozenset[str]) -> tuple[str, str]:
    """(kept, signature); the words as they came when they end in no known signature."""
    block = known_block(own_words, signatures)
    if block is None:
        return own_words, ""
    lines = own_words.split("\n")
    kept = "\n".join([*lines[: block.start], *lines[block.stop :]])
    return kept.strip("\n"), "\n".join(lines[block.start : block.stop])


def _possible_blocks(lines: Sequence[str]) -> list[list[int]]:
    """The numbers of the last 1, 2, 3 ... lines that are not empty, where these could be a signature."""
    end = next((i for i in range(len(lines) - 1, max(-1, len(lines) - 20), -1) if is_postscript(lines[i])), len(lines))
    blocks: list[list[int]] = []
    block: list[int] = []
    for i in range(end - 1, -1, -1):
        if not lines[i].strip():
            continue
        block = [i, *block]
        if len(block) > _LONGEST_SIGNATURE_LINES or len(lines[i]) > _LONGEST_LINE or is_closing(lines[i]):
            break
        if _could_be_signature(lines, block):
            blocks.append(block)
    return blocks


def _could_be_signature(lines: Sequence[str], block: Sequence[int]) -> bool:
    """Contact data alone, or below a full name or a rule that heads the block."""
    first = lines[block[0]]
    if is_contact(first) or is_numbered_name(first):
        return True
    return len(block) > 1 and (is_full_name(first) or (is_rule(first) and is_full_name(lines[block[1]])))


def _hash(lines: Sequence[str], block: Sequence[int]) -> str:
    """Of the lines in lower case with single spaces."""
    words = "\n".join(" ".join(lines[i].lower().split()) for i in block)
    return hashlib.blake2b(words.encode("utf-8", "surrogatepass"), digest_size=_HASH_BYTES).hexdigest()
