"""Which demonstrations count as near to what is asked."""

from __future__ import annotations

import math
import random

import pytest

from dittod.retrieval import Index, nearest
from dittod.types import Demonstration, demonstration_id


def demonstration(prompt: str, completion: str = "", written_at: float = 0.0) -> Demonstration:
    return Demonstration(demonstration_id(prompt, completion), prompt, completion, "file", written_at)


BOAT = demonstration("Write to Ann about the boat.", "Hi Ann, the boat leaks again.", 1.0)
RENT = demonstration("Write to Bob about the rent.", "Bob, the rent is late, sorry.", 2.0)
CAKE = demonstration("Write to Cleo about the cake.", "Cleo, bring the cake at four.", 3.0)
ALL = (BOAT, RENT, CAKE)


@pytest.mark.parametrize(
    ("query", "first"),
    [("Tell Ann that the BOAT is sold", BOAT), ("is the rent paid?", RENT), ("who brings cake at four", CAKE)],
)
def test_what_shares_rare_words_with_the_query_is_nearest(query: str, first: Demonstration) -> None:
    assert nearest(query, ALL, 1) == [first]


def test_all_come_back_in_order_where_more_are_asked_for_than_there_are() -> None:
    assert nearest("the rent", ALL, 8) == [RENT, CAKE, BOAT]
    assert nearest("the rent", (), 8) == [] and nearest("the rent", ALL, 0) == []


@pytest.mark.parametrize("query", ["", "?!", "zebra", "write to"])
def test_the_newest_is_nearest_where_no_words_tell_them_apart(query: str) -> None:
    assert nearest(query, ALL, 3) == [CAKE, RENT, BOAT]


def test_what_was_asked_counts_for_more_than_what_was_answered() -> None:
    asked = demonstration("boat trip plans today", "one two three four", 1.0)
    answered = demonstration("one two three four", "boat trip plans today", 2.0)
    assert nearest("boat", (asked, answered), 1) == [asked]


def test_a_word_says_less_in_a_long_text() -> None:
    short = demonstration("boat", "leaks", 1.0)
    long = demonstration("boat", "leaks " + " ".join(f"w{i}" for i in range(200)), 2.0)
    assert nearest("leaks", (short, long), 1) == [short]


def test_the_figure_is_that_of_the_formula() -> None:
    """Two texts; 'leaks' stands once in one of 3 words (its prompt counts twice), and the mean length is 4."""
    index = Index((demonstration("boat", "leaks"), demonstration("mast", "is down now")))
    rarity = math.log(1 + (2 - 1 + 0.5) / (1 + 0.5))
    assert index._scores("Leaks? leaks!") == pytest.approx([rarity * 2.5 / (1 + 1.5 * (0.25 + 0.75 * 3 / 4)), 0.0])


def test_texts_in_scripts_without_spaces_are_compared_by_their_characters() -> None:
    """However the words fall into twos."""
    cats, rain = demonstration("我们喜欢猫", written_at=1.0), demonstration("今天下雨了", written_at=2.0)
    assert nearest("喜欢猫", (cats, rain), 1) == [cats]


def test_the_order_of_the_input_does_not_matter() -> None:
    chance = random.Random(5)
    made = [demonstration(" ".join(chance.choices("abcdefgh", k=6)), written_at=i % 4) for i in range(40)]
    shuffled = chance.sample(made, len(made))
    assert nearest("a c g", made, 12) == nearest("a c g", shuffled, 12)
