"""From a file to what is learnt, and the reasons why not. Every mail here is invented."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from dittod.ingest.demonstrations import Owner, demonstrations_of, take_apart
from dittod.ingest.mail import own_words
from dittod.ingest.readers import read
from dittod.ingest.secrets import mask
from dittod.ingest.signatures import recurring, without_signature
from dittod.types import Document, demonstration_id

BOB = Owner(identities=("bob@example.com",))
MAIL = Document(
    kind="mail",
    text="Hi Ann,\n\nTuesday at noon suits me well.  \n\n\n\nBob\n\n-- \nBob Ray\nAcme\n",
    sha256="ab12",
    sender="Bob Ray <bob@example.com>",
    recipients=("Ann Lee <ann@example.com>",),
    subject="Lunch",
    written_at=5.0,
)
QUOTE = "\n\nOn 5 Jan 2015, at 15:04, Ann Lee <ann@example.com> wrote:\n> Can we meet for lunch?\n> Ann\n"


def test_a_new_mail_becomes_one_demonstration() -> None:
    [demonstration] = demonstrations_of(MAIL, BOB).demonstrations
    assert demonstration.prompt == 'Write an e-mail to Ann about "Lunch".'
    assert demonstration.completion == "Hi Ann,\n\nTuesday at noon suits me well.\n\nBob"
    assert demonstration.id == demonstration_id(demonstration.prompt, demonstration.completion)
    assert (demonstration.source, demonstration.written_at) == ("ab12", 5.0)


def test_a_reply_carries_the_message_it_answers() -> None:
    [demonstration] = demonstrations_of(replace(MAIL, subject="Re: Lunch", text=MAIL.text + QUOTE), BOB).demonstrations
    assert demonstration.prompt == (
        'Write a reply to this e-mail from Ann about "Lunch":\n\nCan we meet for lunch?\nAnn'
    )
    assert demonstration.completion == "Hi Ann,\n\nTuesday at noon suits me well.\n\nBob"


def test_a_reply_without_the_answered_message_falls_back_to_the_form_of_a_new_mail() -> None:
    [demonstration] = demonstrations_of(replace(MAIL, subject="Re: Lunch", is_reply=True), BOB).demonstrations
    assert demonstration.prompt == 'Write an e-mail to Ann about "Lunch".'


def test_a_note_on_top_of_a_forward_is_no_reply() -> None:
    text = "Please have a look at this.\n\n---------- Forwarded message ---------\nFrom: Cy\nDate: x\nSubject: y\nTo: Bob\n\nHis."  # noqa: E501
    [demonstration] = demonstrations_of(replace(MAIL, subject="Fwd: y", text=text), BOB).demonstrations
    assert demonstration.prompt == 'Write an e-mail to Ann about "y".'


def test_a_copy_to_oneself_is_no_recipient() -> None:
    copied = replace(MAIL, recipients=("BOB+sent@example.com", *MAIL.recipients))
    [demonstration] = demonstrations_of(copied, BOB).demonstrations
    assert demonstration.prompt == 'Write an e-mail to Ann about "Lunch".'


def test_a_text_is_the_users_own_and_kept_whole() -> None:
    text = Document(kind="text", text="> a motto\n\nCats sleep all day long.", sha256="cd", title="On cats")
    [demonstration] = demonstrations_of(text, Owner()).demonstrations
    assert demonstration.prompt == 'Write a text titled "On cats".'
    assert demonstration.completion == text.text


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"text": "Thanks!"}, "only 1 own word"),
        ({"text": "Thanks, see you"}, "only 3 own words"),
        ({"text": QUOTE}, "no own words"),
        ({"text": "-----Original Message-----\nx", "subject": "FW: y"}, "a forward without own words"),
        ({"is_automatic": True}, "sent by a program, a mailing list or a calendar"),
        ({"subject": "Out of Office: back on Monday"}, "an automatic reply"),
        ({"subject": "Automatische Antwort: Urlaub"}, "an automatic reply"),
        ({"subject": "Accepted: Lunch"}, "a calendar message"),
        (
            {"text": "When: Friday 10:00-11:00\nWhere: Room 5\n\n*~*~*~*~*~*~*\n\nWe talk about it."},
            "a calendar message",
        ),
        ({"text": "TASK ASSIGNMENT\n\nStatus:\t\tcompleted\nDue: never and always"}, "a calendar message"),
        ({"subject": "Undeliverable: Lunch"}, "a delivery notice"),
        ({"sender": "Ann <ann@example.com>"}, "not sent by the user"),
        ({"sender": "notbob@example.com"}, "not sent by the user"),
        ({"sender": ""}, "no sender"),
        ({"text": "password: a1b2\npassword: c3d4\npassword: e5f6 ok ok"}, "mostly secrets"),
    ],
)
def test_the_reason_for_no_demonstration_is_told(change: dict[str, object], reason: str) -> None:
    result = demonstrations_of(replace(MAIL, **change), BOB)  # type: ignore[arg-type]
    assert result.demonstrations == () and result.reason == reason


def test_a_text_with_headings_is_asked_for_by_its_outline() -> None:
    text = Document("text", "Cats sleep all day long.", "cd", title="On cats", outline=("Sleep", "Food"))
    [demonstration] = demonstrations_of(text, Owner()).demonstrations
    assert demonstration.prompt.endswith("- Sleep\n- Food") and demonstration.kind == "text"


def test_a_pair_keeps_the_prompt_that_its_file_gives() -> None:
    pair = Document("pair", "Cats sleep all day long, as ever.", "cd", prompt="What do cats do?")
    [demonstration] = demonstrations_of(pair, Owner(secrets=("cats",))).demonstrations
    assert (demonstration.kind, demonstration.prompt_by) == ("pair", "file")
    assert demonstration.prompt == "What do [masked] do?" and demonstration.completion.startswith("[masked] sleep")


def test_short_mails_without_spaces_between_words_are_counted_by_their_words() -> None:
    """Twelve characters are six words; a runs of letters alone would be two."""
    [demonstration] = demonstrations_of(replace(MAIL, text="我明天中午可以，到时候见。"), BOB).demonstrations
    assert demonstration.completion == "我明天中午可以，到时候见。"


SIGNATURE = "Bob Ray\nAcme Industries\n12 High Street\nTel. +1 212 555 0100"


def test_a_signature_that_ends_many_mails_is_cut_from_each_and_counted_line_by_line() -> None:
    text = f"\nHi Ann,\n\nTuesday at noon suits me well.\n\nBob\n\n{SIGNATURE}\n{QUOTE}"
    tails = Counter(hash for _ in range(3) for hash in demonstrations_of(replace(MAIL, text=text), BOB).tail)
    known = replace(BOB, signatures=recurring(tails))
    result = demonstrations_of(replace(MAIL, text=text), known)
    [demonstration] = result.demonstrations
    assert demonstration.completion == "Hi Ann,\n\nTuesday at noon suits me well.\n\nBob"
    assert result.cut is not None and result.cut.signature == SIGNATURE
    lines = text.split("\n")
    cut = [lines[number - 1] for number, reason in result.cut.removed if reason == "signature" and lines[number - 1]]
    assert cut == SIGNATURE.split("\n")
    assert result.tail == demonstrations_of(replace(MAIL, text=text), BOB).tail, "what is known changes no count"


def test_words_below_a_known_signature_stay() -> None:
    text = f"Hi Ann,\n\nTuesday at noon suits me well.\n\nBob\n\n{SIGNATURE}"
    known = recurring(Counter(dict.fromkeys(demonstrations_of(replace(MAIL, text=text), BOB).tail, 3)))
    cut = take_apart(replace(MAIL, text=f"\n\n{text}\n\nP.S. Bring the plans."), known)
    assert cut.kept.startswith("Hi Ann,") and cut.kept.endswith("Bob\n\n\nP.S. Bring the plans.")


def test_secrets_are_masked_in_prompt_and_completion_and_counted() -> None:
    text = "The card is 4111 1111 1111 1111, use it for the room.\n" + QUOTE.replace(
        "lunch?", "lunch? password: hunter2"
    )
    result = demonstrations_of(replace(MAIL, text=text), BOB)
    [demonstration] = result.demonstrations
    assert "4111" not in demonstration.completion and "hunter2" not in demonstration.prompt
    assert result.masked == {"card": 1, "password": 1}


@pytest.mark.parametrize("secret", ["IBAN DE89 3704 0044 0532 0130 00", "4111 1111 1111 1111", "at Blue Heron Lane"])
@pytest.mark.parametrize("before", range(960, 1001, 4))
def test_a_secret_across_the_cut_of_the_message_answered_is_masked(secret: str, before: int) -> None:
    """Cut first and masked then, half of it would stand there."""
    owner = replace(BOB, secrets=("Blue Heron Lane",))
    words = ("tea " * 300)[:before] + secret + " and so on" * 20
    text = f"Yes, that suits me very well.\n\nOn 5 Jan 2015, at 15:04, Ann Lee <ann@example.com> wrote:\n> {words}\n"
    [demonstration] = demonstrations_of(replace(MAIL, text=text), owner).demonstrations
    assert not re.search("3704|4111|Heron", demonstration.prompt)


def test_a_signature_with_a_secret_in_it_is_known_by_the_text_that_is_stored() -> None:
    owner = replace(BOB, secrets=("High Street",))
    text = f"Hi Ann,\n\nTuesday at noon suits me well.\n\nBob\n\n{SIGNATURE.replace('Tel. ', 'Tel: ')}"
    known = recurring(Counter(dict.fromkeys(demonstrations_of(replace(MAIL, text=text), owner).tail, 3)))
    stored = mask(own_words(text).kept, owner.secrets).text
    assert "[masked]" not in without_signature(stored, known)[0]


def test_a_canary_in_quote_signature_attachment_and_secret_is_learnt_from_nowhere(tmp_path: Path) -> None:
    canary = "CANARY7Q"
    (tmp_path / "a.eml").write_bytes(
        b"From: bob@example.com\nTo: cy@example.com\nSubject: FW: x\nMIME-Version: 1.0\n"
        b'Content-Type: multipart/mixed; boundary="b"\n\n--b\nContent-Type: text/plain\n\n'
        b"Cy, this is the thing we talked about. password: CANARY7Q\n\n-- \nBob CANARY7Q\n\n"
        b"-----Original Message-----\nFrom: Ann\nSent: Monday\nTo: Bob\nSubject: x\n\nCANARY7Q\n"
        b"--b\nContent-Type: text/plain\nContent-Disposition: attachment\n\nCANARY7Q\n--b--\n"
    )
    [document] = read(tmp_path / "a.eml")
    [demonstration] = demonstrations_of(document, BOB).demonstrations
    assert canary not in demonstration.prompt + demonstration.completion
    assert demonstration.completion.startswith("Cy, this is the thing")
