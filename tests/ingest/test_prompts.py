"""The prompts' exact forms: the starter model is tuned on them."""

from __future__ import annotations

import pytest

from dittod.ingest import prompts


@pytest.mark.parametrize(
    ("recipients", "subject", "prompt"),
    [
        (("Ann Lee <ann@x.org>",), "Lunch", 'Write an e-mail to Ann about "Lunch".'),
        ((), "Lunch", 'Write an e-mail about "Lunch".'),
        (("Ann Lee <ann@x.org>",), "", "Write an e-mail to Ann."),
        ((), "", "Write an e-mail."),
        (("Ann Lee <ann@x.org>", "bob@x.org"), "Re: AW: Fwd: Lunch", 'Write an e-mail to Ann and bob about "Lunch".'),
        (("a@x.org", "b@x.org", "c@x.org"), "Hi", 'Write an e-mail to a, b and 1 other about "Hi".'),
        (("Ann L <a@x>", "Bob R <b@x>", "c@x", "d@x", "e@x"), "", "Write an e-mail to Ann, Bob and 3 others."),
    ],
)
def test_new_mail(recipients: tuple[str, ...], subject: str, prompt: str) -> None:
    assert prompts.new_mail(recipients, subject) == prompt


def test_replies() -> None:
    assert prompts.reply("Ann Lee <a@x>", "", "Lunch?") == "Write a reply to this e-mail from Ann:\n\nLunch?"
    assert prompts.reply("Ann <a@x>", "Re: Tuesday", "Lunch?\n") == (
        'Write a reply to this e-mail from Ann about "Tuesday":\n\nLunch?'
    )


def test_texts() -> None:
    assert prompts.text("On cats", (), "They sleep.") == 'Write a text titled "On cats".'
    assert prompts.text("", (), "One two three four five\nsix seven eight nine") == (
        'Write a text that begins with: "One two three four five six seven eight".'
    )


def test_a_text_in_a_script_without_spaces_is_not_given_away_by_its_first_words() -> None:
    """Eight words are fifteen characters and a comma of Chinese; by spaces, the whole text would be one word."""
    body = "我们明天上午在图书馆门口见面，然后一起去吃饭，好不好？请告诉我。"
    assert prompts.text("", (), body) == f'Write a text that begins with: "{body[:17]}".'


def test_a_text_with_headings_is_asked_for_by_title_and_outline() -> None:
    """The first line keeps the form that the starter is tuned on."""
    assert prompts.text("On cats", ("On cats", "Sleep", "Food \n and drink"), "") == (
        'Write a text titled "On cats".\n\nIts parts:\n- Sleep\n- Food and drink'
    )


def test_long_outlines_are_cut() -> None:
    prompt = prompts.text("t", tuple(f"{number} {'heading ' * 12}" for number in range(50)), "")
    assert len(prompt) < prompts.OUTLINE_BUDGET + 50 and prompt.endswith("…")


@pytest.mark.parametrize(
    ("mailbox", "name"),
    [
        ("Ann Lee <ann@x.org>", "Ann"),
        ('"Lee, Ann B." <ann@x.org>', "Ann"),
        ('"Lee, Ann B."', "Ann"),
        ("Ann Lee/HOU/ACME@ACME", "Ann"),
        ("Ann Lee@ACME", "Ann"),
        ("Ann Lee [mailto:ann@x.org]", "Ann"),
        ("ann.lee@x.org", "Ann"),
        ("anna-maria.lee@x.org", "Anna-Maria"),
        ("a.lee@x.org", "a.lee"),
        ("sales.team@x.org", "sales.team"),
        ("ann.lee2@x.org", "ann.lee2"),
        ("<ann@x.org>", "ann"),
        ("Sales Team <sales@x.org>", "Sales Team"),
        ("ann@x.org <ann@x.org>", "ann"),
        ("Jörg Groß <j@x.org>", "Jörg"),
        ("", ""),
    ],
)
def test_a_recipient_is_named_as_one_would_greet_them(mailbox: str, name: str) -> None:
    assert prompts.recipient_name(mailbox) == name


@pytest.mark.parametrize(
    ("subject", "bare"),
    [
        ("Re: RE: re: x", "x"),
        ("AW: WG: x", "x"),
        ("SV: VS: x", "x"),
        ("Re[2]: x", "x"),
        ("[EXT] Re: x", "x"),
        ("Regarding: x", "Regarding: x"),
        ("回复：x", "x"),
        (" a \n b ", "a b"),
    ],
)
def test_reply_prefixes_are_stripped(subject: str, bare: str) -> None:
    assert prompts.bare_subject(subject) == bare


def test_an_answered_message_is_cut_to_its_budget_at_a_sentence() -> None:
    prompt = prompts.reply("Ann <a@x>", "", "This is one sentence. " * 200)
    assert len(prompt) <= prompts.MESSAGE_BUDGET + 60
    assert prompt.endswith("sentence. …")


@pytest.mark.parametrize(
    "subject", ["(No Subject)", "no subject", "Re: (kein Betreff)", "<sans objet>", "AW: ohne Betreff", "(無題)"]
)
def test_a_subject_that_says_that_there_is_none_is_none(subject: str) -> None:
    assert prompts.new_mail(["Ann <a@x>"], subject) == "Write an e-mail to Ann."
    assert prompts.bare_subject(f"{subject} matter") != ""
