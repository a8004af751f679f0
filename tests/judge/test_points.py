"""Which sentence helps its own text, and how an answer becomes one."""

from __future__ import annotations

import pytest

from dittod.judge.points import LEAST_GAIN, Gains, most_words, tidied, with_points

ABOUT = (0, 0, 1, 1, 2, 2, 3, 3)  # four texts, two sentences each


def gains(own: float, others: float = 0.3) -> Gains:
    """Every sentence helps other texts by `others`, more or less; those about text 0 help it by `own`."""
    table = [[others + 0.01 * ((3 * i + k) % 4) for k in range(len(ABOUT))] for i in range(4)]
    table[0][0] = own
    return Gains(table, ABOUT, (5.0, 5.0, 5.0, 5.0))


def test_the_advantage_is_over_texts_that_the_sentence_is_not_about() -> None:
    """Sentence 2 is about text 1. For text 0: g[0, 2] - (g[2, 2] + g[3, 2]) / 2 = 4 - (1 + 3) / 2."""
    found = Gains([[0, 0, 4], [0, 0, 9], [0, 0, 1], [0, 0, 3]], (0, 0, 1), ())
    assert found.advantage(0, 2) == 2.0


def test_how_much_a_sentence_harms_is_all_the_same() -> None:
    """It is true of text 0, and the others are impossible after it: no reason to want more of it."""
    table = [[-9.0 + (3 * i + k) % 5 for k in range(len(ABOUT))] for i in range(4)]
    table[0][0] = 0.5
    found = Gains(table, ABOUT, (5.0,) * 4)
    assert (found.advantage(0, 0), found.needed(0)) == (0.5, LEAST_GAIN)


def test_what_helps_every_text_alike_is_not_enough() -> None:
    found = gains(own=0.33)
    needed = found.needed(0)
    assert needed is not None and found.advantage(0, 0) < needed


def test_what_helps_its_own_text_far_more_is_enough() -> None:
    found = gains(own=0.9)
    needed = found.needed(0)
    assert needed is not None and found.advantage(0, 0) > needed


def test_the_more_sentences_about_others_differ_the_more_is_needed() -> None:
    calm, wild = gains(0.9), gains(0.9)
    wild.of[0][4] += 0.5  # type: ignore[index]
    assert (wild.needed(0) or 0.0) > (calm.needed(0) or 0.0)


def test_too_little_to_compare_with_is_no_measurement() -> None:
    assert Gains([[0.1] * 8] * 2, ABOUT, ()).needed(0) is None
    assert Gains([[0.1] * 4] * 4, (0, 0, 1, 1), ()).needed(0) is None


def test_the_template_stays_as_it_is_and_the_points_are_its_last_paragraph() -> None:
    assert with_points("Write a reply to this e-mail:\n\nWhen?", "on Friday") == (
        "Write a reply to this e-mail:\n\nWhen?\n\nPoints to make: on Friday"
    )


@pytest.mark.parametrize(("words", "most"), [(23, 0), (24, 6), (100, 25), (1000, 60)])
def test_an_addition_has_a_quarter_of_the_text_and_sixty_words_at_most(words: int, most: int) -> None:
    assert most_words("word " * words) == most


@pytest.mark.parametrize(
    ("answer", "ended", "expected"),
    [
        (" the boiler leaks again. ", True, "the boiler leaks again."),
        ("\n- the boiler leaks;\n- Novak comes\n\nAnything else?", False, "the boiler leaks; Novak comes"),
        ("1. rent\n2) keys", True, "rent; keys"),
        ("25 boxes are missing", True, "25 boxes are missing"),
        ('"in quotation marks"', True, "in quotation marks"),
        ("A whole sentence. And half of", False, "A whole sentence."),
        ("Version 2.5 of", False, ""),
        ("", True, ""),
    ],
)
def test_an_answer_becomes_one_line_of_whole_sentences(answer: str, ended: bool, expected: str) -> None:
    assert tidied(answer, ended=ended) == expected
