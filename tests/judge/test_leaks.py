"""Additions that give the text away, and such that only say what it is about."""

from __future__ import annotations

import pytest

from dittod.judge.leaks import gives_away

MAIL = (
    "Hi Ann,\n\nthe boiler in the cellar leaks again, so I asked Mr Novak to come on Thursday morning. Please leave the"
    " key with the neighbours and move the boxes away from the wall.\n\nJo"
)
TEMPLATE = 'Write an e-mail to Ann about "The boiler".'


@pytest.mark.parametrize(
    "addition",
    [
        "a plumber comes on Thursday; she should hand the key to somebody next door and clear some space",
        "Mr Novak, Thursday morning",  # names and short runs are what one has to know
        "repair of the heating is arranged",
        "",
    ],
)
def test_saying_what_a_text_is_about_is_no_leak(addition: str) -> None:
    assert not gives_away(addition, MAIL, TEMPLATE)


def test_five_words_in_a_row_are_a_leak_and_four_are_not() -> None:
    assert gives_away("somebody should leave the key with the other tenants", MAIL, "Write to Ann.")
    assert not gives_away("somebody should leave the key with a tenant", MAIL, "Write to Ann.")


def test_a_text_in_telegram_style_is_a_leak_though_no_long_run_of_it_stands_there() -> None:
    assert gives_away("boiler: cellar leaks; asked Novak Thursday; leave key, neighbours; move boxes", MAIL, TEMPLATE)


def test_words_that_the_template_has_already_do_not_count() -> None:
    said = "the boiler in the cellar leaks again"
    assert gives_away(said, MAIL, "Write to Ann.")
    assert not gives_away(
        said, MAIL, "Write a reply to this e-mail:\n\nIs it true that the boiler in the cellar leaks?"
    )


def test_case_and_punctuation_hide_nothing() -> None:
    assert gives_away("MOVE THE BOXES - AWAY, FROM: THE WALL", MAIL, "Write to Ann.")


def test_scripts_without_spaces_are_read_too() -> None:
    assert gives_away("明天上午十点开会", "各位好，明天上午十点开会，请带上报告。", "写一封邮件")
