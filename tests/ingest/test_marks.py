"""Answers behind the writer's name in brackets. All names and texts are invented."""

from __future__ import annotations

import pytest

from dittod.ingest.marks import parted_by_mark

BOB = "Bob T Ray <bob.ray@example.com>"


@pytest.mark.parametrize(
    ("line", "author", "part"),
    [
        ("[Ray, Bob]  Agreed.", BOB, "Agreed."),
        ("Shall we cancel?  [Ray, Bob T. (London)] sounds fine", BOB, "sounds fine"),
        ("   [Bob Ray]: yes", BOB, "yes"),
        ("[Bob] yes", BOB, "yes"),
        ("[BTR] yes", BOB, "yes"),
        ("[Ray, Bob]", BOB, ""),
        ("[Ray, Bob]  Agreed.", "bob.ray@example.com", "Agreed."),
        ("[Ray, Bob E.]  Agreed.", "e..ray@example.com", "Agreed."),
        ("[Lee, Bob] no", BOB, None),
        ("[Ray, Ann] no", "Bob Ray", None),
        ("[Ray, Bob] no", "Ray", None),
        ("[Ann] no", BOB, None),
        ("[image: Bob] x", BOB, None),
        ("[AL] no", BOB, None),
        ("[1] see below", BOB, None),
        ("see [Ray and others]", BOB, None),
        ("[B] no", BOB, None),
        ("no mark at all", BOB, None),
        ("[Ray, Bob] x", "", None),
        ("[] [[ [Ray, Bob", BOB, None),
    ],
)
def test_the_part_behind_the_authors_own_mark_is_theirs(line: str, author: str, part: str | None) -> None:
    parts = parted_by_mark(line, author)
    assert (parts[1] if parts else None) == part


def test_the_others_words_stand_before_the_mark() -> None:
    assert parted_by_mark("Shall we cancel?  [Ray, Bob] fine", BOB) == ("Shall we cancel?", "fine")
