"""Two invented people on invented themes: whose is a text?"""

from __future__ import annotations

import time

import pytest
from fakes import finish

from dittod.judge.impostors import shipped_impostors
from dittod.judge.verifier import DRAWS, LONGEST_CHARACTERS, Verifier

THEMES = ("the goat", "the tractor", "the cheese", "the fence", "the market", "the vet", "the hay", "the well")
IMPOSTORS = shipped_impostors()


def curt(theme: str) -> str:
    return f"ok so {theme} is sorted... dont ask how lol\n\ncall u later abt the rest, gotta run!!\n\nzed"


def stately(theme: str) -> str:
    return (
        f"My good Ottoline,\n\nPermit me to observe that {theme} has, at long last, been attended to; one does not wish"
        " to boast, and yet one is not displeased.\n\nYours, as ever,\nAugustus"
    )


KNOWN = [stately(theme) for theme in THEMES[:6]]
VERIFIER = Verifier(KNOWN, IMPOSTORS)


def test_a_text_of_the_person_scores_above_another_persons_on_the_same_theme() -> None:
    same, other = VERIFIER.scores([stately(THEMES[7]), curt(THEMES[7])])
    assert same > 0.75
    assert other < 0.25


def test_the_same_texts_score_the_other_way_round_for_the_other_person() -> None:
    same, other = Verifier([curt(theme) for theme in THEMES[:6]], IMPOSTORS).scores(
        [curt(THEMES[7]), stately(THEMES[7])]
    )
    assert same > 0.75
    assert other < 0.25


def test_a_text_half_in_the_persons_manner_lies_between() -> None:
    half = stately(THEMES[6]).split("\n\n")[0] + "\n\n" + curt(THEMES[6])
    low, middle, high = VERIFIER.scores([curt(THEMES[6]), half, stately(THEMES[6])])
    assert low < middle < high


def test_scores_are_shares() -> None:
    strange = ["x", "12345", "!!!", "\n", "word " * 5000, stately("a"), *IMPOSTORS[:3]]
    assert all(0.0 <= score <= 1.0 for score in VERIFIER.scores(strange))


def test_an_empty_text_scores_nothing() -> None:
    assert VERIFIER.scores(["", " \n "]) == [0.0, 0.0]
    assert VERIFIER.scores([]) == []


def test_a_text_of_signs_that_nobody_uses_is_not_taken_for_the_persons() -> None:
    assert VERIFIER.scores(["ꙮ" * 40])[0] < 0.5


def test_a_score_does_not_depend_on_the_texts_beside_it() -> None:
    alone = VERIFIER.scores([stately(THEMES[7])])
    assert VERIFIER.scores([curt("x"), stately(THEMES[7]), IMPOSTORS[0]])[1:2] == alone


def test_the_same_seed_gives_the_same_scores_and_another_seed_nearly_so() -> None:
    text = [stately(THEMES[7])]
    first, again, another = (Verifier(KNOWN, IMPOSTORS, seed=seed).scores(text)[0] for seed in (0, 0, 1))
    assert first == again
    assert first != another
    assert abs(first - another) < 0.1


@pytest.mark.parametrize(("known", "impostors"), [([], ["a b c"]), ([" "], ["a b c"]), (["a b c"], []), (["a"], [""])])
def test_without_known_texts_or_impostors_there_is_a_clear_error(known: list[str], impostors: list[str]) -> None:
    with pytest.raises(ValueError, match="at least one known text and one impostor"):
        Verifier(known, impostors)


def test_one_known_text_and_one_impostor_are_enough_to_compare_with() -> None:
    same, other = Verifier(KNOWN[:1], [curt("the mill")]).scores([stately("the mill"), curt("the mill")])
    assert same > other


def test_scripts_without_spaces_are_told_apart_too() -> None:
    polite = [f"您好，关于{theme}的事情，我已经处理完毕，请您放心。此致敬礼" for theme in "羊草井车"]
    rough = [f"喂！{theme}那事儿搞定啦，哈哈，回头再聊吧～" for theme in "羊草井车"]
    same, other = Verifier(polite, rough).scores(
        ["您好，关于门的事情，我已经处理完毕，请您放心。", "喂！门那事儿搞定啦，哈哈～"]
    )
    assert same > 0.5 > other


def test_of_a_long_text_only_the_beginning_is_looked_at() -> None:
    beginning = " ".join(stately(theme) for theme in THEMES * 6)
    assert len(beginning) > LONGEST_CHARACTERS
    one, other = VERIFIER.scores([beginning + curt("x") * 50, beginning + "y" * 10**6])
    assert one == other


def test_it_can_be_made_in_many_steps_and_is_the_same() -> None:
    """One for every text and for every draw: none takes long."""
    steps, made = finish(Verifier.in_steps(KNOWN, IMPOSTORS))
    assert len(steps) > len(KNOWN) + len(IMPOSTORS) + DRAWS
    assert made.scores(KNOWN) == VERIFIER.scores(KNOWN)


def test_what_a_gate_needs_takes_well_under_a_second() -> None:
    long = [f"{each} " * 10 for each in KNOWN * 5]
    begun = time.process_time()
    Verifier(long, IMPOSTORS[:60]).scores(long[:16])
    assert time.process_time() - begun < 5.0  # of the processor; 0.4 s on a quiet core
