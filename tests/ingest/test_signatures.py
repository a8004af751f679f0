"""Blocks that recur across a person's mails. Every mail here is invented."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dittod.ingest.signatures import FEWEST_MAILS, known_block, recurring, tail_hashes, without_signature

ANN = "Ann Lee\nHead of Sales\nAcme Ltd\n12 Quay Street, Oslo"
BODIES = ("The boxes came on Monday.", "Could you send me the list?", "I shall be there at ten, with Cy.", "No, sorry!")


def known(*mails: str) -> frozenset[str]:
    return recurring(Counter(block for mail in mails for block in tail_hashes(mail)))


def with_tail(tail: str, closing: str = "\n\nBest,\nAnn\n\n") -> list[str]:
    return [f"{body}{closing}{tail}" for body in BODIES]


def test_a_block_below_three_mails_is_a_signature_and_is_cut() -> None:
    mails = with_tail(ANN)
    assert without_signature(mails[0], known(*mails[:FEWEST_MAILS])) == (f"{BODIES[0]}\n\nBest,\nAnn", ANN)


def test_a_block_below_two_mails_is_kept() -> None:
    mails = with_tail(ANN)
    assert without_signature(mails[0], known(*mails[: FEWEST_MAILS - 1])) == (mails[0], "")


@pytest.mark.parametrize(
    "closing",
    [
        "Thanks,\nAnn",
        "Best regards,\nAnn Lee",
        "Ann",
        "A",
        "Viele Grüße\nAnn",
        "Cordialement,\nAnn Lee",
        "Let me know.\n\nAnn",
        "See you soon!\n\nAnn Lee",
        "祝好\n陈静",
    ],
)
def test_a_closing_formula_and_a_name_are_never_a_signature(closing: str) -> None:
    mails = [f"{body}\n\n{closing}" for body in BODIES]
    assert [without_signature(mail, known(*mails)) for mail in mails] == [(mail, "") for mail in mails]


def test_case_and_spaces_do_not_matter() -> None:
    mails = with_tail(ANN)
    shouted = mails[0].replace("Head of Sales", "HEAD  of sales ")
    assert without_signature(shouted, known(*mails[1:]))[0] == f"{BODIES[0]}\n\nBest,\nAnn"


def test_the_longest_known_block_is_cut() -> None:
    short = "Ann Lee\nAcme Ltd"
    mails = [*with_tail(short), *with_tail(f"Ann Lee\nHead of Sales\n{short}")]
    assert without_signature(mails[-1], known(*mails))[1] == f"Ann Lee\nHead of Sales\n{short}"


def test_two_signatures_in_turn_are_both_known() -> None:
    other = "Ann Lee\nChoir of St. Olav"
    mails = [*with_tail(ANN), *with_tail(other)]
    assert {without_signature(mail, known(*mails))[1] for mail in mails} == {ANN, other}


def test_a_motto_goes_with_the_name_above_it() -> None:
    tail = f"{ANN}\n\nHe who asks nothing learns nothing."
    mails = with_tail(tail)
    assert without_signature(mails[2], known(*mails)) == (f"{BODIES[2]}\n\nBest,\nAnn", tail)


def test_a_postscript_below_a_known_signature_is_kept() -> None:
    mails = with_tail(ANN)
    kept, signature = without_signature(f"{mails[0]}\n\nP.S. Bring the key.", known(*mails))
    assert kept.endswith("P.S. Bring the key.") and signature == ANN
    assert known_block(f"{mails[0]}\n\nP.S. Bring the key.", known(*mails)) == range(5, 9)


def test_a_telephone_number_that_ends_every_mail_is_a_signature() -> None:
    mails = with_tail("555 010 7788", closing="\n\n")
    assert without_signature(mails[0], known(*mails)) == (BODIES[0], "555 010 7788")


def test_the_person_with_one_mail_loses_nothing() -> None:
    mail = with_tail(ANN)[0]
    assert without_signature(mail, known(mail)) == (mail, "")


def test_a_mail_has_at_most_a_dozen_short_hashes_that_do_not_quote_it() -> None:
    hashes = tail_hashes("\n".join(f"Ann Lee {'I' * n}" for n in range(1, 60)))
    assert len(hashes) <= 12
    assert all(len(one) == 12 and set(one) <= set("0123456789abcdef") for one in hashes)


def test_the_same_sentence_at_the_end_of_every_mail_is_no_signature() -> None:
    mails = [f"{body}\n\nPlease call me when you have read this." for body in BODIES]
    assert without_signature(mails[0], known(*mails)) == (mails[0], "")


@given(st.text(max_size=300), st.frozensets(st.text("0123456789abcdef", min_size=12, max_size=12), max_size=5))
def test_a_text_without_a_known_block_comes_back_untouched(text: str, signatures: frozenset[str]) -> None:
    assert without_signature(text, signatures - frozenset(tail_hashes(text))) == (text, "")


@given(st.lists(st.sampled_from(["Ann Lee", "Acme Ltd", "555 010 7788", "", "Thanks,", "so it is"]), max_size=12))
def test_what_is_kept_and_what_is_cut_make_up_the_words(lines: list[str]) -> None:
    text = "\n".join(lines)
    kept, signature = without_signature(text, frozenset(tail_hashes(text)))
    written = Counter(line for line in lines if line)
    assert Counter(line for line in [*kept.split("\n"), *signature.split("\n")] if line) == written
