"""What counts as a word."""

from __future__ import annotations

import pytest

from dittod.ingest.words import first_words, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's done, isn’t it?", ["It's", "done", "isn’t", "it"]),
        ("Grüße_1 aus 2024", ["Grüße_1", "aus", "2024"]),
        ("我们明天见。", ["我们", "明天", "见"]),
        ("OKです", ["OK", "です"]),
        ("- … -", []),
    ],
)
def test_words_are_runs_of_letters_and_of_chinese_every_two_characters(text: str, words: list[str]) -> None:
    assert words_of(text) == words


def test_the_first_words_keep_what_stands_between_them() -> None:
    assert first_words("One, two;\n three. Four", 3) == "One, two; three"
    assert first_words("One", 3) == "One" and first_words("…", 3) == ""
