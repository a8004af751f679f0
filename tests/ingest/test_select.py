"""What is learnt and what is held out."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from dittod.ingest.select import FORMULA_TEXTS, held_out_count, once_each, select, unlike
from dittod.types import Demonstration, demonstration_id


def demonstration(number: int, kind: str = "mail", words: int = 20, text: str = "") -> Demonstration:
    prompt = {
        "mail": "Write an e-mail to Ann.",
        "reply": "Write a reply to this e-mail from Ann:\n\nx",
        "text": "Write a text",
    }
    seed = random.Random(f"{number} {kind} {words}")
    completion = text or " ".join(f"w{seed.randrange(10**6)}x{i}" for i in range(words))
    return Demonstration(
        demonstration_id(prompt[kind], completion), prompt[kind], completion, "file", float(number), kind
    )  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("total", "held_out"),
    [(0, 0), (2, 0), (3, 1), (5, 1), (6, 2), (9, 3), (12, 4), (24, 8), (89, 8), (90, 9), (320, 32), (900, 32)],
)
def test_the_latest_tenth_is_held_out_at_least_eight_and_at_most_a_third(total: int, held_out: int) -> None:
    assert held_out_count(total) == held_out


def test_the_latest_are_held_out_and_the_recent_learnt() -> None:
    selection = select([demonstration(i) for i in range(30)], limit=5)
    assert [one.written_at for one in selection.held_out] == [*range(22, 30)]
    assert [one.written_at for one in selection.learn] == [*range(17, 22)]
    assert len(selection.reasons) == 30


def test_an_edited_answer_is_learnt_from_and_no_text_that_answers_its_prompt_judges() -> None:
    """It is the newest of all, and what its user wants to be learnt: a mail on another prompt is held out instead."""
    mails = [replace(demonstration(i), prompt=f"Write to Ann about {i}.") for i in range(9)]
    edited = replace(demonstration(9), kind="pair", prompt=mails[8].prompt)
    selection = select([*mails, edited])
    assert edited in selection.learn
    assert selection.held_out == tuple(mails[5:8])


def test_where_there_are_pairs_alone_the_latest_are_held_out() -> None:
    pairs = [replace(demonstration(i), kind="pair", prompt=f"Say {i}.") for i in range(9)]
    assert select(pairs).held_out == tuple(pairs[6:])


def test_one_demonstration_is_learnt_and_none_held_out() -> None:
    selection = select([demonstration(1)])
    assert len(selection.learn) == 1 and not selection.held_out


def test_no_demonstration_is_on_both_sides() -> None:
    selection = select([demonstration(i, kind) for i in range(20) for kind in ("mail", "reply")])
    assert not {one.id for one in selection.learn} & {one.id for one in selection.held_out}


def test_a_rare_kind_and_length_is_taken_before_more_of_the_same() -> None:
    many = [demonstration(i) for i in range(50)]
    rare = [demonstration(1, "reply"), demonstration(2, "text", 200), demonstration(3, "mail", 80)]
    selection = select([*many, *rare], limit=6)
    assert {one.id for one in rare} <= {one.id for one in selection.learn}
    assert len(selection.learn) == 6
    assert {one.kind for one in selection.learn} == {"mail", "reply", "text"}


def test_near_duplicates_count_once_and_the_newest_stays() -> None:
    text = "please find the weekly figures attached and tell me by noon whether anything in them looks wrong to you"
    old, new = demonstration(1, text=text), demonstration(2, text=text + " thanks")
    selection = select([old, new, *(demonstration(i) for i in range(3, 5))], minimum_held_out=0)
    chosen = {one.id for one in selection.learn}
    assert new.id in chosen and old.id not in chosen
    assert "nearly the same words" in selection.reasons[old.id]


def test_what_an_adapter_has_seen_is_never_held_out() -> None:
    all_of_them = [demonstration(i) for i in range(12)]
    seen = {one.id for one in all_of_them[6:]}
    assert not seen & {one.id for one in select(all_of_them, seen_before=seen).held_out}


def test_a_near_copy_of_what_an_adapter_has_seen_is_never_held_out() -> None:
    text = "please find the weekly figures attached and tell me by noon whether anything in them looks wrong to you"
    old, new = demonstration(1, text=text), demonstration(50, text=text + " thanks")
    selection = select([old, new, *(demonstration(i) for i in range(2, 9))], seen_before={old.id})
    assert selection.held_out and new not in selection.held_out


def test_what_says_nearly_the_words_of_a_held_out_text_is_not_shown_beside_it() -> None:
    text = "please find the weekly figures attached and tell me by noon whether anything in them looks wrong to you"
    held_out, copy, other = demonstration(3, text=text), demonstration(1, text=text + " thanks"), demonstration(2)
    assert unlike([copy, other, held_out], [held_out]) == [other]
    assert unlike([copy, other], []) == [copy, other]


BOAT = (
    "Dear Bo, the boat leaves at nine from the old pier, so bring a coat and the blue map, and do not forget the"
    " sandwiches that Mia made"
)


def quoting(number: int, message: str, text: str = "") -> Demonstration:
    one = demonstration(number, text=text)
    return replace(one, id=f"quoting {number}", prompt=f"Write a reply to this e-mail from Bo:\n\n> {message}")


def test_what_holds_a_held_out_text_and_more_is_not_shown_beside_it() -> None:
    held_out, other = demonstration(9, text=BOAT), demonstration(2)
    forwarded = demonstration(1, text=f"Hi Zoe, this is what I wrote: {BOAT}. {demonstration(5, words=60).completion}")
    assert unlike([forwarded, other], [held_out]) == [other]


def test_what_answers_a_message_that_quotes_a_held_out_text_is_not_shown_beside_it() -> None:
    held_out, other = demonstration(9, text=BOAT), quoting(2, "All right, nine it is. Shall I bring the dog as well?")
    whole, cut = quoting(1, f"All right. On Monday you wrote: {BOAT}"), quoting(3, f"Fine. {BOAT[:90]} …")
    assert unlike([whole, cut, other], [held_out]) == [other]


def test_a_short_text_or_a_formula_is_given_away_by_nothing_but_its_like() -> None:
    """Else one mail that is all signature would keep every other one from being learnt."""
    thanks = demonstration(9, text="Thank you, see you tomorrow")
    longer = demonstration(1, text=f"{demonstration(3).completion}. Thank you, see you tomorrow")
    assert unlike([longer], [thanks]) == [longer]
    assert unlike([demonstration(1, text="Thank you! See you tomorrow")], [thanks]) == []
    signed = demonstration(9, text=f"Fine. {BOAT}")
    others = [demonstration(n, text=f"{demonstration(n).completion} {BOAT}") for n in range(FORMULA_TEXTS)]
    assert unlike(others, [signed]) == others
    assert unlike(others[:-1], [signed]) == []


def test_what_gives_a_held_out_text_away_is_not_learnt_from() -> None:
    """The newest was learnt from before, so that the older text it answers is held out."""
    others = [demonstration(n) for n in range(12)]
    held_out, answer = demonstration(20, text=BOAT), quoting(21, BOAT, "Fine, see you there, I bring two coats")
    selection = select([*others, held_out, answer], seen_before={answer.id})
    assert held_out in selection.held_out and answer not in selection.learn
    assert selection.reasons[answer.id] == "left aside: most of a held-out text stands in it"
    assert len(selection.learn) == len(others) + 2 - len(selection.held_out) - 1


def test_of_texts_that_say_nearly_the_same_the_newest_is_there_once() -> None:
    old, new, other = demonstration(1, text=BOAT), demonstration(3, text=f"{BOAT} too"), demonstration(2)
    assert once_each([old, other, new]) == [other, new]


def test_the_order_of_the_input_does_not_matter() -> None:
    ordered = [demonstration(i % 7, ("mail", "reply")[i % 2], 10 + i) for i in range(40)]
    shuffled = random.Random(3).sample(ordered, 40)
    assert select(ordered) == select(shuffled)
