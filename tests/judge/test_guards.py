import pytest
from hypothesis import given
from hypothesis import strategies as st

from dittod.judge.guards import Findings, Output, copied_words, inspect, is_copy, loops, words

DEMONSTRATIONS = (
    "Dear Ann, the barn roof leaks again and I have asked Tom to look at it before the rain comes back. Yours, Bea",
    "Dear Carl, thank you for the honey; the children ate it with a spoon and asked for more of it. Yours, Bea",
)


def one(text: str, *, ended: bool = True) -> Findings:
    return inspect([Output(text, ended)], DEMONSTRATIONS)


def test_an_honest_answer_trips_nothing() -> None:
    found = one("Dear Dora, I would love to come on Sunday, and will bring a cake. Yours, Bea")
    assert (found.empty, found.endless, found.loops, found.copies) == (0, 0, 0, 0)


@pytest.mark.parametrize("text", ["", "  \n", "…", "---"])
def test_an_answer_without_a_word_is_empty(text: str) -> None:
    assert one(text).empty == 1


def test_an_answer_that_does_not_end_is_endless() -> None:
    assert one("and then", ended=False).endless == 1


def test_a_whole_demonstration_is_a_copy() -> None:
    assert one(DEMONSTRATIONS[0]).copies == 1


def test_twenty_words_in_a_row_are_a_copy_in_an_answer_of_any_length() -> None:
    passage = " ".join(DEMONSTRATIONS[0].split()[1:21])
    own = " ".join(f"word{i}" for i in range(80))
    assert one(f"{own} {passage} {own}").copies == 1
    assert one(f"{own} {' '.join(passage.split()[:19])} {own}").copies == 0


def test_most_of_a_short_answer_from_a_demonstration_is_a_copy() -> None:
    """Nine words of a demonstration in an answer of twelve: 75 %."""
    assert one("Hello! The barn roof leaks again and I have asked somebody else").copies == 1


def test_greeting_and_closing_are_no_copy() -> None:
    """All four words stand in a demonstration; fewer than eight never count."""
    assert one("Dear Ann, yours, Bea").copies == 0


def test_what_stands_in_several_demonstrations_is_the_users_own_formula() -> None:
    signature = (
        "With all good wishes from the mill on the hill where the bread is always warm and late, yours ever, Bea"
    )
    learnt = [f"Dear Ann, come soon. {signature}", f"Dear Carl, stay away. {signature}"]
    found = inspect([Output(f"Dear Dora, perhaps. {signature}", True)], learnt)
    assert found.copies == 0
    assert inspect([Output(f"Dear Dora, perhaps. {signature}", True)], learnt[:1]).copies == 1


def test_case_and_punctuation_do_not_hide_a_copy() -> None:
    assert one(DEMONSTRATIONS[1].upper().replace(",", " --")).copies == 1


def test_a_copy_in_a_script_without_spaces_is_found() -> None:
    text = "親愛的安先生昨天下雨了所以我沒有去市場買東西請你明天再來一次"
    assert inspect([Output(text, True)], [text]).copies == 1


def test_the_longest_passage_is_reported() -> None:
    assert one("the barn roof leaks in the night").longest_copied_words == 4


def test_matches_that_start_inside_a_longer_one_are_found() -> None:
    assert copied_words(words("a b a b c"), [words("x a b c")]) == 3


@pytest.mark.parametrize(
    "text",
    [
        "so very " * 6,
        "I know. " + "the rain comes and goes " * 4,
        "no " * 9,
        "It was a long day at the mill and nobody came, " * 4,
    ],
)
def test_a_unit_over_and_over_is_a_loop(text: str) -> None:
    assert loops(words(text))


@pytest.mark.parametrize(
    "text", ["no, no, no, no!", "very very good", "again and again and again", "one two three " * 3, ""]
)
def test_emphasis_is_no_loop(text: str) -> None:
    assert not loops(words(text))


def test_a_copy_is_twenty_words_or_most_of_the_answer() -> None:
    """60 % of 15 words are 9; below eight words nothing counts."""
    assert is_copy(20, 500)
    assert is_copy(9, 15)
    assert not is_copy(8, 15)
    assert not is_copy(7, 7)


def test_findings_count_over_all_outputs() -> None:
    outputs = [Output("", True), Output("", False), Output("no " * 20, False), Output("fine", True)]
    found = inspect(outputs, DEMONSTRATIONS)
    assert found.figures() == {
        "outputs": 4.0,
        "empty": 2.0,
        "endless": 2.0,
        "loops": 1.0,
        "copies": 0.0,
        "longest_copied_words": 0.0,
    }


@given(
    st.lists(st.sampled_from("abc"), max_size=12),
    st.lists(st.lists(st.sampled_from("abc"), max_size=12), max_size=3),
)
def test_the_longest_passage_is_that_of_a_search_by_hand(said: list[str], learnt: list[list[str]]) -> None:
    """Of all passages that stand in exactly one demonstration, the longest that cannot be extended to the right."""

    def holders(passage: list[str]) -> int:
        n = len(passage)
        return sum(any(each[i : i + n] == passage for i in range(len(each) - n + 1)) for each in learnt)

    best = 0
    for start in range(len(said)):
        for end in range(start + 1, len(said) + 1):
            if holders(said[start:end]) == 1:
                best = max(best, end - start)
    assert copied_words(said, learnt) == best
