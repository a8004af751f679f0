"""Counting stays small, and shares stay true."""

from __future__ import annotations

from dittod.ingest.demonstrations import Result
from dittod.ingest.identity import OTHER_SENDERS, likely_identities
from dittod.ingest.process import Answer
from dittod.ingest.tally import MOST_SENDERS, MOST_TAILS, Survey, Tally


def test_reasons_are_told_with_their_number_the_most_frequent_first() -> None:
    tally = Tally()
    for reason in ("no own words", "", "not sent by the user", "not sent by the user"):
        tally.add(Answer(Result(reason=reason)))
    assert tally.reason() == "not sent by the user (2), no own words"


def test_what_was_masked_and_cut_is_summed() -> None:
    tally = Tally()
    for _ in range(3):
        tally.add(Answer(Result(masked={"card": 2}), removed={"quoted": 5}))
    assert (tally.masked, tally.removed) == ({"card": 6}, {"quoted": 15})


def test_senders_without_number_take_bounded_memory_and_nobody_becomes_the_user_by_that() -> None:
    """The user wrote 3,000 of 15,000 mails; the others one each."""
    tally = Tally()
    for number in range(15_000):
        sender = "bob@x.example" if number % 5 == 0 else f"{number}@x.example"
        tally.add(Answer(Result(), sender=sender))
        assert len(tally.senders) <= MOST_SENDERS + 1
    assert tally.senders["bob@x.example"] == 3_000
    assert tally.senders.total() == 15_000 and tally.senders[OTHER_SENDERS] > 3_000
    assert likely_identities(tally.senders) == ()
    assert likely_identities(tally.senders, is_sent_folder=True) == ("bob@x.example",)


def test_a_block_that_ends_many_mails_is_counted_among_any_number_of_others() -> None:
    tally = Tally()
    for number in range(5_000):
        own = ("signature",) if number % 100 == 0 else ()
        tally.add(Answer(Result(tail=(*own, *(f"{number}-{line}" for line in range(10))))))
        assert len(tally.tails) <= MOST_TAILS
    assert tally.tails["signature"] == 50


def test_a_survey_keeps_the_tails_of_each_sender_apart() -> None:
    survey = Survey()
    for sender, tail in (("bob@x", "b"), ("eve@x", "e"), ("bob@x", "b"), ("", "t")):
        survey.add(Answer(Result(tail=(tail,)), sender=sender))
    assert survey.senders == {"bob@x": 2, "eve@x": 1}
    assert survey.tails == {"bob@x": {"b": 2}, "eve@x": {"e": 1}}
