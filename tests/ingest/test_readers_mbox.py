"""An mbox to its mails: streamed, of any program, also one that still grows. Every mail here is invented."""

from __future__ import annotations

import io
import tracemalloc
from email.message import Message
from pathlib import Path
from unittest.mock import Mock, patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dittod.errors import FileSetAside
from dittod.ingest.readers import mbox, read
from dittod.ingest.readers.mbox import LARGEST_KEPT_BYTES, read_mbox

FROM = b"From bob@example.com Mon Jan  5 15:04:05 2015\n"


def bodies(raw: bytes) -> list[str]:
    return [document.text.strip() for document in read_mbox(io.BytesIO(raw), 0.0) if document is not None]


def test_an_mbox_is_split_and_its_from_lines_are_unescaped() -> None:
    one = b"Subject: a\n\nfirst\n>From the start\n>>From far\nFrom here it is mine\n\nFrom there too\n\n"
    assert bodies(FROM + one + FROM + b"Subject: b\n\nsecond\n") == [
        "first\nFrom the start\n>From far\nFrom here it is mine\n\nFrom there too",
        "second",
    ]


@pytest.mark.parametrize(
    "line",
    [
        b"From - Mon Jan  5 15:04:05 2015\r\n",
        b"From 1490@xxx Mon Jan 05 15:04:05 +0000 2015\n",
        b"From - \n",
        b"From \n",
    ],
)
def test_the_from_lines_of_thunderbird_and_takeout_are_known(line: bytes) -> None:
    assert bodies(line + b"Subject: a\n\none\n\n" + line + b"Subject: b\n\ntwo\n") == ["one", "two"]


def test_appending_to_an_mbox_changes_no_mail_that_was_there() -> None:
    first = FROM + b"Subject: a\n\none\n"
    both = first + b"\n" + FROM + b"Subject: b\n\ntwo\n"
    before = list(read_mbox(io.BytesIO(first), 0.0))
    after = list(read_mbox(io.BytesIO(both), 0.0))
    assert before[0] == after[0] and len(after) == 2


@pytest.mark.parametrize("missing", range(1, 60, 7))
def test_an_mbox_that_is_being_appended_to_gives_its_finished_mails(missing: int) -> None:
    both = FROM + b"Subject: a\n\none\n\n" + FROM + b"Subject: b\n\nthe second mail, still being written\n"
    assert bodies(both[:-missing])[0] == "one"


def test_a_huge_mail_in_an_mbox_is_read_from_its_beginning_and_hashed_whole() -> None:
    def box(last: bytes) -> bytes:
        return (
            FROM
            + b"Subject: a\n\nthe text\n"
            + b"x" * (LARGEST_KEPT_BYTES + 10)
            + last
            + b"\n\n"
            + FROM
            + b"Subject: b\n\nnext\n"
        )

    one, other = list(read_mbox(io.BytesIO(box(b"1")), 0.0)), list(read_mbox(io.BytesIO(box(b"2")), 0.0))
    assert len(one) == 2 and one[0].text.startswith("the text") and one[1].text.strip() == "next"
    assert one[0].sha256 != other[0].sha256


def test_a_from_line_in_a_mail_begins_another_only_above_a_header() -> None:
    """As in an mboxcl2, where such lines are not escaped and Content-Length is said to tell."""
    log = b"Look at this log:\n\nFrom bob@example.com Mon Jan  5 15:04:05 2015\nwas refused.\n"
    assert bodies(FROM + b"Content-Length: 7\n\n" + log + b"\n" + FROM + b"Content-Length: 999999\n\nlast\n") == [
        log.decode().strip(),
        "last",
    ]


@pytest.mark.parametrize("length", range(len(FROM), len(FROM) + 30, 5))
def test_a_mail_of_which_not_even_the_header_is_written_is_not_given_yet(length: int) -> None:
    box = FROM + b"Subject: a\n\none\n\n"
    assert bodies(box + (FROM + b"From: bob@example.com\nSubject: the second\n")[:length]) == ["one"]
    assert bodies(box + FROM + b"From: bob@example.com\nSubject: the second\n\n") == ["one", ""]


def test_windows_line_ends_make_no_difference() -> None:
    box = FROM + b"Subject: a\n\none\n\n" + FROM + b"Subject: b\n\ntwo\n"
    assert bodies(box.replace(b"\n", b"\r\n")) == ["one", "two"]


@pytest.mark.parametrize(
    ("status", "kept"), [(b"0001", True), (b"0009", False), (b"0008", False), (b"0003", True), (b"zz", True)]
)
def test_what_thunderbird_has_expunged_is_passed_over(status: bytes, kept: bool) -> None:
    box = (
        FROM
        + b"Subject: a\n\none\n\nFrom - Mon Jan  5 15:04:05 2015\nX-Mozilla-Status: %s\nSubject: b\n\ntwo\n" % status
    )
    assert bodies(box) == (["one", "two"] if kept else ["one"])


@pytest.mark.parametrize(
    ("labels", "kept"),
    [
        ("Sent,Opened", True),
        ("Archived,Sent,Opened", True),
        ("Inbox,Sent", True),
        ("Gesendet,Wichtig", True),
        ("=?UTF-8?Q?Messages_envoy=C3=A9s?=", True),
        ("Something of mine", True),
        ("Inbox,Important,Opened", False),
        ("Archived,Opened", False),
        ("Posteingang", False),
        ("Chat,Sent", False),
        ("Drafts", False),
        ("=?UTF-8?Q?Entw=C3=BCrfe?=", False),
        ("Spam", False),
        ("Trash,Sent", False),
    ],
)
def test_of_a_takeout_the_sent_mails_are_read(labels: str, kept: bool) -> None:
    first = FROM + b"Subject: a\n\none\n\n"
    box = first + FROM + f"X-GM-THRID: 1\nX-Gmail-Labels: {labels}\nSubject: b\n\ntwo\n".encode()
    assert bodies(box) == (["one", "two"] if kept else ["one"])


def test_an_mbox_in_which_nothing_can_be_learnt_from_says_why(tmp_path: Path) -> None:
    path = tmp_path / "All mail.mbox"
    path.write_bytes((FROM + b"X-Gmail-Labels: Inbox\n\none\n\n") * 2 + FROM + b"X-Gmail-Labels: Chat\n\ntwo\n")
    with pytest.raises(FileSetAside) as caught:
        list(read(path))
    assert caught.value.title == (
        "none of the 3 mails can be learnt from: received, not sent, in Gmail (2), a chat in Gmail (1)"
    )


def test_an_encrypted_mail_costs_only_itself() -> None:
    encrypted = b"Subject: b\n\n-----BEGIN PGP MESSAGE-----\n\nhQEM\n-----END PGP MESSAGE-----\n\n"
    assert bodies(FROM + encrypted + FROM + b"Subject: a\n\none\n") == ["one"]


@pytest.mark.parametrize("name", ["Sent", "Sent.mbox", "sent.txt", "sent.eml", "mbox", "Gesendet.sbd"])
def test_an_mbox_is_known_by_its_beginning_whatever_its_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"From - Mon Jan  5 15:04:05 2015\r\nX-Mozilla-Status: 0001\r\nSubject: a\r\n\r\none\r\n")
    assert [document.text.strip() for document in read(path)] == ["one"]


@pytest.mark.parametrize("fails", ["parsed", "document_of"])
def test_a_mail_at_which_the_reader_fails_costs_only_itself(fails: str, monkeypatch: pytest.MonkeyPatch) -> None:
    original = getattr(mbox, fails)

    def failing(given: bytes | Message, *more: object) -> object:
        if b"canary" in bytes(given):
            raise TypeError("canary")
        return original(given, *more)

    monkeypatch.setattr(mbox, fails, failing)
    one = FROM + b"Subject: a\n\none\n\n"
    canary = FROM + b"Subject: b\n\ncanary\n\n"
    assert bodies(one + canary + one) == ["one", "one"]
    with pytest.raises(FileSetAside) as caught:
        bodies(canary)
    assert caught.value.title == "none of the 1 mails can be learnt from: the reader failed (TypeError) (1)"


def test_memory_that_runs_out_is_no_fault_of_a_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mbox, "parsed", Mock(side_effect=MemoryError))
    with pytest.raises(MemoryError):
        bodies(FROM + b"Subject: a\n\none\n")


def test_a_sign_is_given_while_mails_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mbox, "SILENT_BYTES", 1000)
    passed_over = FROM + b"X-Gmail-Labels: Inbox\n\n" + b"x" * 400 + b"\n\n"
    sent = FROM + b"Subject: a\n\none\n\n"
    given = list(read_mbox(io.BytesIO(passed_over * 7 + sent + passed_over * 2 + sent), 0.0))
    assert [document is None for document in given] == [True, True, False, False]


class Endless(io.RawIOBase):
    """An mbox made while it is read."""

    def __init__(self, mails: int) -> None:
        self.mails = mails
        self.pending = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self.pending and self.mails:
            self.mails -= 1
            self.pending = FROM + b"Subject: a\n\n" + b"words and words\n" * 60 + b"\n"
        piece, self.pending = self.pending[: len(buffer)], self.pending[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)


def test_reading_takes_the_memory_of_a_few_mails() -> None:
    tracemalloc.start()
    count = sum(1 for _ in read_mbox(io.BufferedReader(Endless(2500)), 0.0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 2500 and peak < 5 * 2**20  # of 2.5 MB, most of it one block


@given(st.lists(st.sampled_from([b"From ", b"\n", b"\r\n", b"a: b", b"x", FROM, b">From y", b"\n\n"]), max_size=40))
@settings(max_examples=300)
def test_where_blocks_end_makes_no_difference(pieces: list[bytes]) -> None:
    raw = FROM + b"Subject: a\n\none\n\n" + b"".join(pieces)
    whole = list(read_mbox(io.BytesIO(raw), 0.0))
    with patch.object(mbox, "BLOCK_BYTES", 7):
        assert list(read_mbox(io.BytesIO(raw), 0.0)) == whole
