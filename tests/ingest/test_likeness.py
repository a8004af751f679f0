"""Which text of a new reading an old one goes on in."""

from __future__ import annotations

import pytest

from dittod.ingest.likeness import successors

LETTER = "Dear Ann, the boat leaves at nine on Tuesday and we meet at the pier with the ropes and the lamp. Yours, Bob"


@pytest.mark.parametrize(
    "after",
    [
        LETTER.replace("ropes", "sails"),  # a word
        LETTER.replace("the boat", "THE  boat,\n\n"),  # how it is set
        f"{LETTER}\n\nPS: bring the dog, and the long coat, and whatever else you think the weather will ask of us.",
    ],
)
def test_an_edited_text_is_what_it_became(after: str) -> None:
    assert successors({"old": LETTER}, {"other": "Nothing of it, at all.", "new": after}) == {"old": "new"}


@pytest.mark.parametrize(
    "after",
    [
        "Dear Ann, see you. Yours, Bob",  # a passage was taken out
        LETTER.replace("at nine on Tuesday and we meet", ""),
        LETTER.replace("ropes", "[masked]"),  # a secret was
        LETTER[::-1],
        "",
    ],
)
def test_a_text_of_which_something_was_taken_out_is_gone(after: str) -> None:
    assert successors({"old": LETTER}, {"new": after}) == {}


LONG = f"{' '.join(f'sheep{number}' for number in range(60))}. {LETTER} {' '.join(f'goat{n}' for n in range(60))}"


def test_a_passage_that_is_missing_from_a_long_text_was_taken_out() -> None:
    assert successors({"old": LONG}, {"new": LONG.replace("the pier with the ropes", "")}) == {}
    assert successors({"old": LONG}, {"new": " ".join(LONG.split()[:-5])}) == {}
    assert successors({"old": LONG}, {"new": " ".join(LONG.split()[5:])}) == {}


@pytest.mark.parametrize(("old", "new"), [("ropes", "roeps"), ("boat leaves", "ferry sails"), ("and the lamp", "")])
def test_a_few_words_of_a_long_text_are_no_passage(old: str, new: str) -> None:
    assert successors({"old": LONG}, {"new": LONG.replace(old, new)}) == {"old": "new"}


def test_each_goes_on_in_the_one_that_holds_most_of_it() -> None:
    other = "Dear Eve, the train to the coast is late again and I shall read the whole of your book on the platform."
    after = {"a": LETTER.replace("lamp", "map"), "b": other, "c": LETTER.replace("ropes and the lamp", "dog")}
    assert successors({"first": LETTER, "second": other}, after) == {"first": "a", "second": "b"}


def test_words_without_spaces_between_them_are_compared_too() -> None:
    old = "明日は九時に港で会いましょう。縄と灯りを忘れないでください。よろしくお願いします。"
    assert successors({"old": old}, {"new": f"{old}追伸：犬も。"}) == {"old": "new"}
    assert successors({"old": old}, {"new": "明日は会えません。"}) == {}
