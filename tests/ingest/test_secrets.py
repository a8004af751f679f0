"""Secrets are masked, and nothing else is. Every number is a published test number or made up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dittod.ingest.secrets import is_card_number, is_iban, mask


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("card 4111 1111 1111 1111, thanks", "card [masked card], thanks"),
        ("5500-0000-0000-0004.", "[masked card]."),
        ("378282246310005", "[masked card]"),
        ("to DE89 3704 0044 0532 0130 00 please", "to [masked iban] please"),
        ("IBAN GB82WEST12345698765432", "IBAN [masked iban]"),
        ("CH93 0076 2011 6238 5295 7 UBS", "[masked iban] UBS"),
        ("password: hunter2 and go", "password: [masked password] and go"),
        ("Passwort: Geheim!1", "Passwort: [masked password]"),
        ("mot de passe : azerty12", "mot de passe : [masked password]"),
        ("the password is tiger99.", "the password is [masked password]."),
        ("the password is: swordfish", "the password is: [masked password]"),
        ("my PIN is 4321", "my PIN is [masked password]"),
        ("the pin: 0815.", "the pin: [masked password]."),
        ("Your verification code is 123456", "Your verification code is [masked password]"),
        ("cvv 123", "cvv [masked password]"),
        ('the password is "swordfish", ok', 'the password is "[masked password]", ok'),
        ("Das Passwort lautet Fisch12.", "Das Passwort lautet [masked password]."),
        ("pw: tiger", "pw: [masked password]"),
        ("密码是 abc12345 谢谢", "密码是 [masked password] 谢谢"),
        ("SSN 123-45-6789 as asked", "SSN [masked number] as asked"),
        ("https://x.example/r?token=abcdef123&a=1", "https://x.example/r?token=[masked token]&a=1"),
        ("bot 123456789:AAabcdefghijklmnopqrstuvwxyz0123456", "bot [masked token]"),
        ("https://bob:hunter2@example.com/x", "https://bob:[masked password]@example.com/x"),
        ("key sk-abcdEFGH1234abcdEFGH1234", "key [masked token]"),
        ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "[masked token]"),
        ("AKIAIOSFODNN7EXAMPLE", "[masked token]"),
        ("api_key = 9f8e7d6c5b4a39281706", "api_key = [masked token]"),
        ("Bearer abcdef1234567890", "Bearer [masked token]"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----\nbye", "[masked key]\nbye"),
        ("-----BEGIN PRIVATE KEY-----\ncut off", "[masked key]"),
    ],
)
def test_each_kind_of_secret_is_masked_in_place(text: str, masked: str) -> None:
    result = mask(text)
    assert result.text == masked
    assert sum(result.counts.values()) == 1


@pytest.mark.parametrize(
    "text",
    [
        "call +49 89 1234 5678 90 or 555-0100",
        "order 4111 1111 1111 1112 failed",
        "0000 0000 0000 0000",
        "The password is wrong again.",
        "I forgot my password. Can you reset it?",
        "DE90 3704 0044 0532 0130 00",
        "Meeting at 10:30 in room 42, ticket 2024-05-17-0001",
        "The key is under the mat.",
        "see https://example.com/a:b",
        "a spin of 2001 turns",
        "room 900-12-3456 and 000-12-3456, or 2024-05-1789",
        "The password is too short.",
        "see ?page=token and key=1",
        "pin it on the wall at 1200",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert mask(text).text == text and not mask(text).counts


@pytest.mark.parametrize(
    ("listed", "text", "masked"),
    [
        ("Project Heron", "about project  heron now", "about [masked] now"),
        ("12 34-56", "it is 123456.", "it is [masked]."),
        ("Ann", "Anna and Ann", "Anna and [masked]"),
        ("a.b(c", "say a.b(c", "say [masked]"),
        ("  ", "nothing", "nothing"),
        ("秘密", "这是 秘密 。", "这是 [masked] 。"),
    ],
)
def test_what_the_user_lists_is_masked_in_any_case_and_spacing(listed: str, text: str, masked: str) -> None:
    assert mask(text, (listed,)).text == masked


def test_secrets_are_counted_by_kind() -> None:
    counts = mask("password: abc123\npassword: def456\n4111111111111111").counts
    assert counts == {"password": 2, "card": 1}


def test_the_card_checksum() -> None:
    """4539 1488 0343 6467, a textbook number: its Luhn sum is 80."""
    assert is_card_number("4539 1488 0343 6467") and not is_card_number("8273 1232 7352 0569")


def test_the_iban_checksum_and_length() -> None:
    assert is_iban("DE89370400440532013000")
    assert not is_iban("DE8937040044053201300") and not is_iban("XX89370400440532013000")


@given(st.text(max_size=200))
def test_masking_twice_is_masking_once(text: str) -> None:
    once = mask(text).text
    assert mask(once).text == once
