"""An invented person's habits, and texts that break one of them."""

from __future__ import annotations

import re
from statistics import fmean

import pytest

from dittod.judge.style import ASPECTS, MOST_DISTANCE, StyleProfile

THEMES = ("the goat", "the old tractor", "the cheese", "the fence", "our market stall", "the vet", "the hay")


def mail(theme: str) -> str:
    return (
        f"Hiya Pam,\n\nquick one about {theme}: it is fine now, so do not worry. I had a look at it with my uncle, and"
        " he said that we can leave it for the winter.\n\nToodle-oo,\nWin"
    )


OWN = [mail(theme) for theme in THEMES]
PROFILE = StyleProfile.of(OWN)
NEW = mail("the duck pond")


def test_a_text_with_the_persons_habits_is_near_in_every_aspect() -> None:
    found = PROFILE.distances(NEW)
    assert set(found) == set(ASPECTS)
    assert max(found.values()) < 1.5
    assert PROFILE.distance(NEW) == fmean(found.values())


@pytest.mark.parametrize(
    ("aspect", "text"),
    [
        ("greeting", NEW.replace("Hiya Pam,\n\n", "To whom it may concern at the farm, I write again. ")),
        ("closing", NEW.replace("\n\nToodle-oo,\nWin", "")),
        ("length", NEW.replace("quick one", "quick one " + "and another thing of no great weight " * 40)),
        ("punctuation", NEW.replace(",", "!!!").replace(".", "... ;-)")),
        (
            "function_words",
            re.sub(
                r"quick.*winter",
                "Inspection completed yesterday afternoon together: uncle declared everything perfectly satisfactory,"
                " postponing repairs until springtime. Worrying seems wholly unnecessary",
                NEW,
                flags=re.DOTALL,
            ),
        ),
    ],
)
def test_breaking_a_habit_shows_in_its_aspect(aspect: str, text: str) -> None:
    assert text != NEW
    assert PROFILE.distances(text)[aspect] > PROFILE.distances(NEW)[aspect] + 0.5
    assert PROFILE.distance(text) > PROFILE.distance(NEW)


def test_the_persons_own_texts_are_about_one_apart() -> None:
    own = [
        "Hi,\n\nCan you send me the list? I need it on Monday.\n\nKay",
        "Hello Bo! Sure, I will be there at nine. Bring a hat, it is going to be hot up on the roof.\n\nKay",
        "no idea, ask Fred",
        "Hi all,\n\nthe party is on Friday (not Thursday). We need: two chairs, a lamp, and bread.\n\nSee you\nKay",
        "Dear Mr Stone,\n\nThank you for your letter. I have paid the bill; do tell me if it did not arrive.\n\nKay",
        "Hi Bo,\n\nwell, that went badly. I will try the other key tomorrow, and if that fails we call Fred.",
    ]
    left_out = [StyleProfile.of([*own[:place], *own[place + 1 :]]).distances(each) for place, each in enumerate(own)]
    for aspect in ASPECTS:
        assert 0.5 < fmean(each[aspect] for each in left_out) < 1.7, aspect


def test_a_distance_never_exceeds_its_limit_whatever_the_text() -> None:
    for text in ("!" * 3000, "\n\n\n", "", "a", "word " * 20000, "你好" * 500, "\x00\ud7ff😀" * 9):
        found = PROFILE.distances(text)
        assert all(0.0 <= value <= MOST_DISTANCE for value in found.values())


def test_a_text_without_words_is_as_far_as_can_be() -> None:
    assert PROFILE.distance(" ?! ") == MOST_DISTANCE


def test_writing_a_habit_too_often_is_farther_than_having_it() -> None:
    over = NEW.replace("quick one", "Toodle-oo, " * 30 + "quick one")
    assert PROFILE.distance(over) > PROFILE.distance(NEW)


def test_one_text_is_enough_and_none_is_a_clear_error() -> None:
    assert StyleProfile.of(OWN[:1]).distance(NEW) < StyleProfile.of(OWN[:1]).distance("NO. WAIT FOR THE BOSS!!!")
    with pytest.raises(ValueError, match="at least one text"):
        StyleProfile.of(["", " \n"])


def test_pictures_alone_are_a_manner_too() -> None:
    profile = StyleProfile.of(["👍", "🎉!", "👍👍"])
    assert profile.distance("👍") < profile.distance("Dear Ann, the roof leaks again, so do come soon. Yours, Bea")
    assert profile.distance("") == MOST_DISTANCE


def test_beside_texts_with_words_those_without_count_for_nothing() -> None:
    assert StyleProfile.of([*OWN, "👍", "..."]).distances(NEW) == PROFILE.distances(NEW)


def test_a_language_that_no_list_knows_has_habits_too() -> None:
    own = [f"Cześć Olu,\n\njuż to zrobiłem, a {rzecz} jest na stole.\n\nPa,\nJan" for rzecz in ("miód", "ser", "chleb")]
    profile = StyleProfile.of(own)
    near = "Cześć Olu,\n\njuż to zrobiłem, a sól jest na stole.\n\nPa,\nJan"
    far = "Szanowna Pani! Uprzejmie informuję, iż sprawa została załatwiona pomyślnie. Z poważaniem: Jan Nowak."
    assert profile.distance(near) < 0.5 < 1.0 < profile.distance(far)
