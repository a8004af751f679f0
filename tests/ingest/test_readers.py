"""Files to Documents: every format, and what is wrong with files out there. Every mail here is invented."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dittod.errors import FileSetAside
from dittod.ingest.readers import LARGEST_FILE_BYTES, read
from dittod.ingest.readers.decode import decode
from dittod.ingest.readers.eml import read_mail
from dittod.ingest.readers.flowed import unflow
from dittod.ingest.readers.html import text_of_html
from dittod.ingest.readers.mbox import LARGEST_KEPT_BYTES, read_mbox
from dittod.ingest.readers.text import title_of_name
from dittod.types import Document

HEAD = b"From: Bob Ray <bob@example.com>\r\nTo: Ann Lee <ann@example.com>\r\nSubject: Lunch\r\n"
MULTIPART = HEAD + b'MIME-Version: 1.0\r\nContent-Type: multipart/%s; boundary="x"\r\n\r\n'


def mail(body: bytes, headers: bytes = b"") -> Document:
    return read_mail(HEAD + headers + b"\r\n" + body, 7.0)


def part(content: bytes, kind: bytes = b"text/plain", extra: bytes = b"") -> bytes:
    return b"--x\r\nContent-Type: " + kind + b"\r\n" + extra + b"\r\n" + content + b"\r\n"


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


# --- one mail


def test_a_plain_mail_is_read_with_its_headers() -> None:
    raw = HEAD + b"Cc: cy@example.com\r\nDate: Mon, 5 Jan 2015 15:04:05 +0000\r\n\r\nTuesday?\r\n\r\nBob\r\n"
    document = read_mail(raw, 7.0)
    assert document == Document(
        kind="mail",
        text="Tuesday?\n\nBob\n",
        sha256=hashlib.sha256(raw).hexdigest(),
        sender="Bob Ray <bob@example.com>",
        recipients=("Ann Lee <ann@example.com>", "cy@example.com"),
        subject="Lunch",
        written_at=1420470245.0,
    )


@pytest.mark.parametrize("date", [b"", b"Date: yesterday\r\n", b"Date: Mon, 99 Jan 99999 77:00\r\n", b"Date: \xff\r\n"])
def test_a_missing_or_malformed_date_falls_back_to_the_files_time(date: bytes) -> None:
    """Panza crashed on both (PanzaMail PR #21)."""
    assert mail(b"Hi", date).written_at == 7.0


@pytest.mark.parametrize(
    ("header", "content"),
    [
        (b"", "Grüße".encode()),
        (b"Content-Type: text/plain; charset=utf-8\r\n", "Grüße".encode()),
        (b"Content-Type: text/plain; charset=iso-8859-1\r\n", b"Gr\xfc\xdfe"),
        (b"Content-Type: text/plain; charset=us-ascii\r\n", b"Gr\xfc\xdfe"),
        (b"Content-Type: text/plain; charset=utf-8\r\n", b"Gr\xfc\xdfe"),
        (b"Content-Type: text/plain; charset=x-unknown-7\r\n", b"Gr\xfc\xdfe"),
        (b"Content-Type: text/plain; charset=unicode_escape\r\n", "Grüße".encode()),
        (b"Content-Type: text/plain; charset=hex\r\n", "Grüße".encode()),
        (b'Content-Type: text/plain; charset="\r\n', "Grüße".encode()),
        (b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n", b"R3LDvMOfZQ=="),
        (
            b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n",
            b"Gr=C3=BC=C3=9Fe",
        ),
        (b"Content-Transfer-Encoding: 8bit\r\n", b"Gr\xfc\xdfe"),
        (b"Content-Transfer-Encoding: nonsense\r\n", "Grüße".encode()),
    ],
)
def test_every_charset_and_transfer_encoding_is_read_even_when_its_label_is_wrong(
    header: bytes, content: bytes
) -> None:
    assert mail(content, header).text.strip() == "Grüße"


def test_japanese_mail_is_read() -> None:
    body = "明日の昼食".encode("iso-2022-jp")
    assert mail(body, b"Content-Type: text/plain; charset=iso-2022-jp\r\n").text == "明日の昼食"


def test_encoded_and_raw_header_words_are_decoded() -> None:
    raw = b"From: =?utf-8?q?J=C3=B6rg=2C_Ann?= <j@example.com>\r\nSubject: =?iso-8859-1?b?R3L832U=?= \xfcber\r\n\r\nHi"
    document = read_mail(raw, 0.0)
    assert document.sender == '"Jörg, Ann" <j@example.com>'
    assert document.subject.startswith("Grüße") and document.subject.endswith("ber")


def test_of_alternatives_the_plain_text_is_taken() -> None:
    raw = MULTIPART % b"alternative" + part(b"<b>html</b>", b"text/html") + part(b"plain") + b"--x--\r\n"
    assert read_mail(raw, 0.0).text.strip() == "plain"


def test_an_attached_text_file_is_no_part_of_the_mail() -> None:
    """Panza takes each text part for a mail of its own."""
    attached = part(b"secret plans", extra=b'Content-Disposition: attachment; filename="plans.txt"\r\n')
    named = part(b"more plans", b'text/plain; name="more.txt"')
    inner = part(HEAD + b"\r\nanother mail", b"message/rfc822")
    raw = MULTIPART % b"mixed" + part(b"See the file.") + attached + named + inner + part(b"Bob") + b"--x--\r\n"
    assert read_mail(raw, 0.0).text.split() == ["See", "the", "file.", "Bob"]


def test_html_only_mail_becomes_text_with_its_quotation_marked() -> None:
    html = (
        b"<html><head><title>t</title><style>p{}</style></head><body><p>Hello&nbsp;Ann,</p><div>one<br>two &amp; three</div>"  # noqa: E501
        b"<blockquote type=cite><div>Lunch?<br><br>Ann</div></blockquote><script>x()</script></body></html>"
    )
    document = mail(html, b"Content-Type: text/html; charset=utf-8\r\n")
    assert document.text == "Hello Ann,\n\none\ntwo & three\n> Lunch?\n>\n> Ann"


def test_an_indented_paragraph_in_html_is_no_quotation() -> None:
    assert text_of_html("<blockquote style='margin:0'>my own point</blockquote>") == "my own point"


def test_comments_in_html_are_no_text_and_never_closed_ones_take_no_time() -> None:
    assert text_of_html("a<!-- <p>x</p> -->b<!---->c") == "abc"
    assert text_of_html("a" + "<!--" * 100_000) == "a"


@pytest.mark.parametrize("length", range(0, 420, 20))
def test_truncated_mail_is_read_as_far_as_it_goes(length: int) -> None:
    raw = MULTIPART % b"mixed" + part(b"Hello Ann, this is the text.") + part(b"UEsDBA==" * 9, b"application/zip")
    assert isinstance(read_mail(raw[:length], 0.0), Document)


def test_a_multipart_mail_without_its_boundary_is_read_as_text() -> None:
    assert mail(b"Hello", b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed\r\n").text == "Hello"


@pytest.mark.parametrize("depth", [50, 200, 2000])
def test_endlessly_nested_parts_end(depth: int) -> None:
    raw = HEAD + b"MIME-Version: 1.0\r\n"
    for i in range(depth):
        raw += b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (i, i)
    assert read_mail(raw + b"Content-Type: text/plain\r\n\r\ndeep", 0.0).text == ""


@pytest.mark.parametrize(
    "header",
    [
        b"Auto-Submitted: auto-replied\r\n",
        b"Precedence: bulk\r\n",
        b"List-Id: <cooks.example.com>\r\n",
        b"Return-Path: <>\r\n",
        b"MIME-Version: 1.0\r\nContent-Type: text/calendar; method=REPLY\r\n",
    ],
)
def test_mail_that_declares_itself_automatic_is_known(header: bytes) -> None:
    assert mail(b"Hi", header).is_automatic
    assert not mail(b"Hi", b"Auto-Submitted: no\r\n").is_automatic


@pytest.mark.parametrize(
    ("header", "is_reply"), [(b"In-Reply-To: <1@x>\r\n", True), (b"References: <1@x>\r\n", True), (b"", False)]
)
def test_a_reply_is_known_by_its_headers(header: bytes, is_reply: bool) -> None:
    assert mail(b"Hi", header).is_reply is is_reply


@pytest.mark.parametrize("subject", ["Re: x", "RE:x", "AW: x", "Antw: x", "SV: x", "Re[2]: x", "回复：x"])
def test_a_reply_is_known_by_its_subject(subject: str) -> None:
    assert read_mail(f"Subject: {subject}\r\n\r\nHi".encode(), 0.0).is_reply


def test_flowed_lines_become_paragraphs_and_the_signature_mark_stays() -> None:
    text = "A line that \nflows on.\n> quoted \n> too\nOwn \n\n-- \nBob"
    assert unflow(text) == "A line that flows on.\n> quoted too\nOwn\n\n-- \nBob"


@given(st.binary(max_size=400))
def test_any_bytes_are_read_without_an_error(raw: bytes) -> None:
    read_mail(raw, 0.0).text.encode()
    read_mail(HEAD + b"Content-Type: text/html\r\n\r\n" + raw, 0.0).text.encode()


@given(st.binary(max_size=60), st.sampled_from([None, "utf-7", "utf-16", "big5", "iso-2022-jp", "idna", "\0", "cp037"]))
def test_decoded_text_can_be_stored(raw: bytes, charset: str | None) -> None:
    text = decode(raw, charset)
    assert "\r" not in text and "\0" not in text
    text.encode("utf-8")


# --- mbox

FROM = b"From bob@example.com Mon Jan  5 15:04:05 2015\n"


def bodies(raw: bytes) -> list[str]:
    return [document.text.strip() for document in read_mbox(io.BytesIO(raw), 0.0)]


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
            FROM + b"Subject: a\n\nthe text\n" + b"x" * (LARGEST_KEPT_BYTES + 10) + last + b"\n\n" + FROM + b"\nnext\n"
        )

    one, other = list(read_mbox(io.BytesIO(box(b"1")), 0.0)), list(read_mbox(io.BytesIO(box(b"2")), 0.0))
    assert len(one) == 2 and one[0].text.startswith("the text") and one[1].text.strip() == "next"
    assert one[0].sha256 != other[0].sha256


# --- texts


def test_a_heading_is_the_title_of_a_text(tmp_path: Path) -> None:
    [document] = read(write(tmp_path, "x.md", b"# On cats #\n\nThey sleep.\n"))
    assert (document.kind, document.title, document.text) == ("text", "On cats", "# On cats #\n\nThey sleep.\n")


def test_front_matter_gives_the_title_and_is_no_prose(tmp_path: Path) -> None:
    [document] = read(write(tmp_path, "x.md", b'---\ntitle: "On cats"\ndate: 2024\n---\nThey sleep.\n'))
    assert (document.title, document.text) == ("On cats", "They sleep.\n")


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("2024-03-01-on-cats", "on cats"),
        ("On_Cats", "On Cats"),
        ("untitled", ""),
        ("document(1)", ""),
        ("IMG_2024", ""),
    ],
)
def test_without_a_heading_the_files_name_is_the_title_if_it_says_something(name: str, title: str) -> None:
    assert title_of_name(name) == title


@pytest.mark.parametrize(
    "content", ["Grüße".encode(), b"Gr\xfc\xdfe", "Grüße".encode("utf-16"), "\ufeffGrüße".encode()]
)
def test_texts_of_any_usual_encoding_are_read(tmp_path: Path, content: bytes) -> None:
    [document] = read(write(tmp_path, "x.txt", content))
    assert document.text == "Grüße"


# --- what is set aside


@pytest.mark.parametrize(
    ("name", "content", "title"),
    [
        ("a.xyz", b"x", "unknown kind of file (suffix .xyz)"),
        ("noname", b"x", "unknown kind of file (suffix none)"),
        ("a.txt", b"", "the file is empty"),
        ("a.eml", b"", "the file is empty"),
        ("a.mbox", b"", "the file is empty"),
        ("a.txt", b" \n\n ", "the file is empty"),
        ("a.txt", b"\x7fELF\x00\x01\x02", "not a text file"),
        ("a.mbox", b"no mail in here", "no mail found in the mbox file"),
        ("a.eml", b"\n\n\n", "the file holds no mail"),
    ],
)
def test_what_cannot_be_read_is_set_aside_with_the_reason(
    tmp_path: Path, name: str, content: bytes, title: str
) -> None:
    with pytest.raises(FileSetAside) as caught:
        list(read(write(tmp_path, name, content)))
    assert caught.value.title == title and caught.value.hint


def test_a_single_mail_beyond_the_limit_is_set_aside_unread(tmp_path: Path) -> None:
    path = tmp_path / "a.eml"
    with path.open("wb") as file:
        file.truncate(LARGEST_FILE_BYTES + 1)
    with pytest.raises(FileSetAside, match="too large: 64 MiB"):
        list(read(path))


def test_a_file_that_went_away_is_set_aside(tmp_path: Path) -> None:
    with pytest.raises(FileSetAside, match="cannot be read"):
        list(read(tmp_path / "gone.eml"))


def test_a_file_whose_name_is_no_utf8_is_read(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9 notes.txt"))
    path.write_bytes(b"black, no sugar")
    [document] = read(path)
    document.title.encode("utf-8")
    assert document.text == "black, no sugar"
