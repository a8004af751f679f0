"""Whose mail it is."""

from __future__ import annotations

import pytest

from dittod.ingest.identity import (
    OTHER_SENDERS,
    address_of,
    is_sent_folder,
    likely_identities,
    same_address,
    sent_by_user,
)
from dittod.types import Document


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("bob@x.org", "Bob Ray <BOB@X.ORG>", True),
        ("bob+news@x.org", "bob@x.org", True),
        ("notbob@x.org", "bob@x.org", False),
        ("bob@x.org.example.com", "bob@x.org", False),
        ("Bob <bob@x.org>", '"bob@x.org" <ann@x.org>', False),
        ("", "", False),
        ("bob", "bob", False),
        ("b.ob+x@gmail.com", "bob@googlemail.com", True),
        ("b.ob@x.org", "bob@x.org", False),
    ],
)
def test_addresses_match_exactly_but_for_case_and_plus_tags(one: str, other: str, same: bool) -> None:
    """Panza takes notbob@x for bob@x (facts/peers.md, 1.1)."""
    assert same_address(one, other) is same


def test_a_name_holding_an_address_is_not_the_address() -> None:
    assert address_of('"bob@x.org via List" <list@y.org>') == "list@y.org"


def test_an_address_longer_than_mail_takes_is_nobodys() -> None:
    longest = "b" * 248 + "@x.org"
    assert address_of(longest) == address_of(f"Bob <{longest}>") == longest
    assert address_of("b" + longest) == address_of(f"Bob <b+{longest}>") == ""
    assert not same_address("b" + longest, "b" + longest)


def test_only_mail_from_an_identity_is_the_users() -> None:
    mail = Document(kind="mail", text="", sha256="", sender="Bob <bob@x.org>")
    assert sent_by_user(mail, ["other@y.org", "bob@x.org"])
    assert not sent_by_user(mail, ["ann@x.org"]) and not sent_by_user(mail, [])


@pytest.mark.parametrize(
    ("sender", "is_users"),
    [
        ("Bob Ray via Team <team@lists.example>", True),
        ('"RAY, Bob" <team@lists.example>', True),
        ("Bob <team@lists.example>", False),
        ("Bob Ray-Smith <team@lists.example>", False),
        ("team@lists.example", False),
    ],
)
def test_a_name_among_the_identities_matches_the_whole_name(sender: str, is_users: bool) -> None:
    mail = Document(kind="mail", text="", sha256="", sender=sender)
    assert sent_by_user(mail, ["Bob Ray"]) is is_users
    assert not sent_by_user(mail, [""])


def test_what_is_no_mail_is_the_users_when_it_lies_in_the_folder() -> None:
    assert sent_by_user(Document(kind="text", text="", sha256=""), [])
    assert sent_by_user(Document(kind="pair", text="", sha256=""), [])


def test_the_most_frequent_sender_is_the_user_when_most_mail_is_theirs() -> None:
    assert likely_identities({"Bob <bob@x.org>": 5, "BOB+a@x.org": 2, "ann@x.org": 3}) == ("bob@x.org",)
    assert likely_identities({"a@x.org": 4, "b@x.org": 3, "c@x.org": 3}) == ()
    assert likely_identities({}) == ()


def test_in_a_sent_folder_all_frequent_addresses_are_the_user() -> None:
    counts = {"bob@x.org": 40, "bob@y.org": 30, "ann@x.org": 2}
    assert likely_identities(counts, is_sent_folder=True) == ("bob@x.org", "bob@y.org")


def test_senders_that_are_counted_together_are_part_of_the_whole_and_never_the_user() -> None:
    assert likely_identities({OTHER_SENDERS: 6, "bob@x.org": 4}) == ()
    assert likely_identities({OTHER_SENDERS: 4, "bob@x.org": 6}) == ("bob@x.org",)
    counts = {OTHER_SENDERS: 900, "bob@x.org": 40, "ann@x.org": 2}
    assert likely_identities(counts, is_sent_folder=True) == ("bob@x.org",)
    assert likely_identities({OTHER_SENDERS: 6}) == ()


def test_sent_folders_are_known_by_name() -> None:
    assert is_sent_folder("Sent Items") and is_sent_folder("Gesendete") and not is_sent_folder("Inbox")
