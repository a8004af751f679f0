"""One mail to a Document, whatever its program did to it. Every mail here is invented."""

from __future__ import annotations

import base64
import binascii
import hashlib
import plistlib
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dittod.errors import FileSetAside
from dittod.ingest.readers import read
from dittod.ingest.readers.armour import without_armour
from dittod.ingest.readers.decode import decode
from dittod.ingest.readers.eml import read_mail
from dittod.ingest.readers.flowed import unflow
from dittod.types import Document

HEAD = b"From: Bob Ray <bob@example.com>\r\nTo: Ann Lee <ann@example.com>\r\nSubject: Lunch\r\n"
MULTIPART = HEAD + b'MIME-Version: 1.0\r\nContent-Type: multipart/%s; boundary="x"\r\n\r\n'


def mail(body: bytes, headers: bytes = b"") -> Document:
    return read_mail(HEAD + headers + b"\r\n" + body, 7.0)


def part(content: bytes, kind: bytes = b"text/plain", extra: bytes = b"") -> bytes:
    return b"--x\r\nContent-Type: " + kind + b"\r\n" + extra + b"\r\n" + content + b"\r\n"


def multipart(kind: bytes, *parts: bytes) -> Document:
    return read_mail(MULTIPART % kind + b"".join(parts) + b"--x--\r\n", 7.0)


def why(path: Path) -> str:
    with pytest.raises(FileSetAside) as caught:
        list(read(path))
    assert caught.value.hint
    return caught.value.title


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


@pytest.mark.parametrize(
    "parameters",
    [
        b"charset*=us-ascii''utf-8",
        b"charset*=x; charset*0*=x''utf-8",
        b"charset=idna",
        b"charset*=idna''utf-8",
        b"charset=undefined",
        b'charset="utf\x008"',
        b"charset*=u\x00''utf-8",
        b"x*%s*=y; charset=utf-8" % (b"0" * 5000),
        b"x*0*=utf-8''y; x*=y",
    ],
)
@pytest.mark.parametrize("kind", [b"text/plain", b"multipart/mixed"])
def test_parameters_that_contradict_themselves_cost_nothing(parameters: bytes, kind: bytes) -> None:
    header = b"Content-Type: " + kind + b"; " + parameters + b"\r\nContent-Transfer-Encoding: 8bit\r\n"
    body = b"" if kind == b"text/plain" else b"--b\r\nContent-Type: text/plain\r\n\r\n"
    assert mail(body + "Grüße an alle".encode(), header).text.startswith("Gr")


def test_the_charset_and_the_boundary_are_known_in_any_form_of_parameter() -> None:
    cyrillic = "Привет, Иван".encode("koi8-r")
    for parameter in (b"charset*=us-ascii''koi8-r", b"charset*0=koi; charset*1=8-r", b"n*0*=a; n*=b; charset=koi8-r"):
        assert mail(cyrillic, b"Content-Type: text/plain; %s\r\n" % parameter).text == "Привет, Иван"
    body = b"--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n"
    assert mail(body, b"Content-Type: multipart/mixed; boundary=b; n*0*=a; n*=b\r\n").text == "one\ntwo"


@pytest.mark.parametrize("name", [b"filename*=idna''a", b"filename*=a\x00''a", b"filename*0*=a; filename*=a"])
def test_a_file_with_a_damaged_name_is_no_part_of_the_mail(name: bytes) -> None:
    file = part(b"of the file", b"text/plain", b"Content-Disposition: inline; " + name + b"\r\n")
    assert multipart(b"mixed", part(b"Tuesday?"), file).text.strip() == "Tuesday?"


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


@pytest.mark.parametrize("length", range(0, 420, 20))
def test_truncated_mail_is_read_as_far_as_it_goes(length: int) -> None:
    raw = MULTIPART % b"mixed" + part(b"Hello Ann, this is the text.") + part(b"UEsDBA==" * 9, b"application/zip")
    assert isinstance(read_mail(raw[:length], 0.0), Document)


def test_a_multipart_mail_without_its_boundary_is_read_as_text() -> None:
    assert mail(b"Hello", b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed\r\n").text == "Hello"


@pytest.mark.parametrize("named", [b"", b'; boundary="wrong"'])
def test_a_lost_boundary_is_found_again(named: bytes) -> None:
    parts = part(b"Tuesday?") + part(b"UEsDBA==" * 9, b"application/zip; name=x.zip") + b"--x--\r\n"
    headers = b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed%s\r\n" % named
    assert mail(parts, headers).text.strip() == "Tuesday?"


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


# --- charsets


@pytest.mark.parametrize(
    ("text", "charset"),
    [
        ("Добрый день, давайте встретимся на следующей неделе. С уважением, Иван", "koi8_r"),
        ("Добрый день, давайте встретимся на следующей неделе. С уважением, Иван", "cp1251"),
        ("Καλημέρα, μπορούμε να βρεθούμε την επόμενη εβδομάδα; Ευχαριστώ", "cp1253"),
        ("お世話になっております。来週の会議の件ですが、火曜日に変更できますか。", "cp932"),
        ("お世話になっております。来週の会議の件ですが、火曜日に変更できますか。", "euc_jp"),
        ("你好,我们下周可以见面吗?请把文件发给我,谢谢。", "gb18030"),
        ("안녕하세요, 다음 주에 만날 수 있을까요? 감사합니다.", "cp949"),
        ("Proszę o przesłanie dokumentów jutro, może w piątek. Łukasz", "cp1250"),
        ("Proszę o przesłanie dokumentów jutro, może w piątek. Łukasz", "iso8859_2"),
        ("Très bien, la réunion est repoussée à mardi. François", "cp1252"),
        ("Grüße, Jörg", "cp1252"),
        ("¿Qué tal? ¡Hola! Son 5 m³, n° 3, señor Núñez¹", "cp1252"),
        ("It’s “fine” – really…", "cp1252"),
    ],
)
@pytest.mark.parametrize("label", [None, "us-ascii", "iso-8859-1", "utf-8", "no-such-charset"])
def test_a_charset_that_is_not_named_or_misnamed_is_guessed(text: str, charset: str, label: str | None) -> None:
    assert decode(text.encode(charset), label) == text


def test_utf8_is_seen_under_any_label_of_single_bytes() -> None:
    for label in ("iso-8859-1", "windows-1252", "us-ascii", "iso-8859-15", "koi8-r"):
        assert decode("Grüße – schön".encode(), label) == "Grüße – schön"


def test_one_broken_character_does_not_spoil_the_others() -> None:
    text = "Grüße aus Köln, schöne Tage und viel Spaß"
    assert decode(text.encode() + b"\xc3") == text + "\ufffd"
    assert decode(text.encode() + b"\xff", "utf-8") == text + "\ufffd"
    assert decode("来週の会議の件です。".encode("cp932") + b"\x81", "shift_jis").startswith("来週の会議の件です。")


@pytest.mark.parametrize(
    ("label", "codec", "text"),
    [
        ("gb2312", "gb18030", "朱镕基"),
        ("shift_jis", "cp932", "①はい"),
        ("ks_c_5601-1987", "cp949", "똠방각하"),
        ("iso-8859-9", "cp1254", "“Şahin”"),
        ("utf-16", "utf-16", "Grüße\n"),
    ],
)
def test_labels_mean_what_programs_mean_by_them(label: str, codec: str, text: str) -> None:
    assert decode(text.encode(codec), label) == text


def test_a_label_of_wide_characters_is_not_believed_for_bytes_without_zeros() -> None:
    assert decode(b"Tuesday?", "utf-16") == "Tuesday?"


def test_no_control_characters_come_through() -> None:
    assert decode("a\x00b\x1bc\x7fd\x80e\ufefff\r\ng\x0bh\u2028i".encode()) == "abcdef\ng\nh\ni"


# --- transfer encodings


def test_quoted_printable_with_small_letters_and_stray_signs_is_read() -> None:
    header = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n"
    assert mail(b"Gr=c3=bc=c3=9fe, 2 = 2=zz und weiter=\r\n so", header).text == "Grüße, 2 = 2=zz und weiter so"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (base64.b64encode("Grüße an alle!".encode())[:-1], "Grüße an alle!"),
        (base64.encodebytes("Grüße an alle".encode()) + b"_____\r\nthe list\r\n", "Grüße an alle_____\nthe list\n"),
        (b"R3LDvMOf\r\n\r\nZQ==\r\nISE=", "Grüße!!"),
        (b"Hello Ann, this was never encoded.", "Hello Ann, this was never encoded."),
        (b"R3LDvMOfZQ=", "Grüße"),
    ],
)
def test_damaged_base64_is_read_as_far_as_it_holds(body: bytes, text: str) -> None:
    header = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n"
    assert mail(body, header).text == text


def test_a_uuencoded_body_is_read_and_an_uuencoded_file_is_left_out() -> None:
    body = mail(
        b"begin 644 x\r\n" + binascii.b2a_uu(b"Tuesday") + b"`\r\nend\r\n", b"Content-Transfer-Encoding: x-uuencode\r\n"
    )
    assert body.text == "Tuesday"
    assert without_armour("See below.\nbegin 644 plan.xls\nM" + "A" * 60 + "\n`\nend\nBob") == "See below.\nBob"
    assert (
        without_armour("begin 100 things\nand end none\nof them\nend") == "begin 100 things\nand end none\nof them\nend"
    )


def test_many_ends_of_uuencoded_files_take_no_time() -> None:
    text = "begin 644 x\n" + "end\n" * 300_000
    begun = time.process_time()
    assert without_armour(text) == text
    assert time.process_time() - begun < 2


# --- encrypted and signed

SIGNED = (
    "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nTuesday suits me.\n- -- \nBob\n"
    "-----BEGIN PGP SIGNATURE-----\nVersion: X\n\niQEzBAEB\n=abcd\n-----END PGP SIGNATURE-----\n"
)
ENCRYPTED = "-----BEGIN PGP MESSAGE-----\n\nhQEMA5\n=abcd\n-----END PGP MESSAGE-----\n"


def test_the_armour_of_an_inline_signature_is_taken_off() -> None:
    assert mail(SIGNED.encode()).text == "Tuesday suits me.\n-- \nBob\n"


def test_quoted_armour_is_left_to_the_quotation() -> None:
    quoted = "Fine.\n> -----BEGIN PGP SIGNED MESSAGE-----\n> Lunch?\n"
    assert mail(quoted.encode()).text == quoted


def test_a_signed_mail_is_read_without_its_signature() -> None:
    signature = part(b"MIIG", b'application/pkcs7-signature; name="smime.p7s"')
    assert multipart(b"signed", part(b"Tuesday?"), signature).text.strip() == "Tuesday?"


@pytest.mark.parametrize(
    "raw",
    [
        HEAD + b"\r\n" + ENCRYPTED.encode(),
        MULTIPART % b"encrypted"
        + part(b"Version: 1", b"application/pgp-encrypted")
        + part(b"x", b"application/octet-stream"),
        HEAD + b"Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m\r\n\r\nMIIG",
        HEAD + b"Content-Type: application/x-pkcs7-mime; name=smime.p7m\r\n\r\nMIIG",
    ],
)
def test_an_encrypted_mail_is_set_aside(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.eml"
    path.write_bytes(raw)
    assert "encrypted" in why(path)


def test_outlooks_own_format_is_set_aside_unless_there_is_text_beside_it(tmp_path: Path) -> None:
    tnef = part(b"eJ8+IgAA", b'application/ms-tnef; name="winmail.dat"')
    assert multipart(b"mixed", part(b"Tuesday?"), tnef).text.strip() == "Tuesday?"
    (tmp_path / "a.eml").write_bytes(MULTIPART % b"mixed" + tnef + b"--x--\r\n")
    assert "winmail.dat" in why(tmp_path / "a.eml")


# --- what programs add


def test_an_unsent_draft_of_outlook_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "a.eml").write_bytes(HEAD + b"X-Unsent: 1\r\n\r\nHello")
    assert why(tmp_path / "a.eml") == "a draft that was not sent"


def test_a_calendar_answer_of_exchange_is_known() -> None:
    assert mail(b"Yes", b"Content-Class: urn:content-classes:calendarmessage\r\n").is_automatic


def test_of_several_alternatives_without_a_plain_one_the_last_is_taken() -> None:
    html = part(b"<p>Tuesday?</p>", b"text/html")
    assert multipart(b"alternative", part(b"{}", b"application/json"), html).text == "Tuesday?"
    assert multipart(b"alternative", part(b"  \r\n"), html).text == "Tuesday?"


def test_the_pictures_of_a_related_part_are_no_text() -> None:
    picture = part(b"R0lGOD", b"image/gif", b"Content-ID: <1>\r\n")
    assert multipart(b"related", part(b"<p>Tuesday?</p>", b"text/html"), picture, part(b"alt")).text == "Tuesday?"


def test_a_blank_line_or_a_mark_before_the_headers_does_no_harm() -> None:
    assert read_mail(b"\xef\xbb\xbf\r\n" + HEAD + b"\r\nHi", 0.0).subject == "Lunch"


def test_headers_of_a_megabyte_take_no_time() -> None:
    raw = b"From: bob@example.com\r\nTo: " + b"a@example.com, " * 70_000 + b"\r\nSubject: " + b"=?utf-8?q?a?= " * 90_000
    document = read_mail(raw + b"\r\n\r\nHi", 0.0)
    assert document.text == "Hi" and 1000 < len(document.recipients) < 10_000


def test_a_page_is_known_under_a_wrong_label_and_so_are_lines_without_a_tag() -> None:
    assert mail(b"<html><p>Tuesday?<p>Bob</html>", b"Content-Type: text/plain\r\n").text == "Tuesday?\n\nBob"
    assert mail(b"Tuesday?\r\n\r\nBob", b"Content-Type: text/html\r\n").text == "Tuesday?\n\nBob"


def test_a_page_that_names_its_own_charset_is_believed() -> None:
    html = '<meta http-equiv="Content-Type" content="text/html; charset=koi8-r"><p>Привет, Bob Ray of Acme'
    assert mail(html.encode("koi8-r"), b"Content-Type: text/html\r\n").text == "Привет, Bob Ray of Acme"


# --- Apple Mail


def emlx(raw: bytes, flags: int | None) -> bytes:
    return b"%-10d\n" % len(raw) + raw + (b"" if flags is None else plistlib.dumps({"flags": flags, "subject": "x"}))


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", ["1.emlx", "2.partial.emlx"])
@pytest.mark.parametrize("flags", [None, 8590195713, 1])
def test_a_mail_of_apple_mail_is_read_without_its_property_list(tmp_path: Path, name: str, flags: int | None) -> None:
    [document] = read(write(tmp_path, name, emlx(HEAD + b"\r\nTuesday?\r\n", flags)))
    assert (document.text, document.subject) == ("Tuesday?\n", "Lunch")


@pytest.mark.parametrize(("flags", "reason"), [(1 << 1, "deleted in Apple Mail"), (1 << 6, "a draft in Apple Mail")])
def test_what_apple_mail_flags_as_deleted_or_draft_is_set_aside(tmp_path: Path, flags: int, reason: str) -> None:
    assert why(write(tmp_path, "1.emlx", emlx(HEAD + b"\r\nTuesday?\r\n", flags))) == reason


def test_a_damaged_property_list_does_not_cost_the_mail(tmp_path: Path) -> None:
    raw = emlx(HEAD + b"\r\nTuesday?\r\n", None) + b"<?xml version='1.0'?><plist><dict><key>flags"
    [document] = read(write(tmp_path, "1.emlx", raw))
    assert document.text == "Tuesday?\n"


# --- Maildir


@pytest.mark.parametrize(
    "name", ["cur/1420470245.M1P2.host:2,S", "cur/1420470245.M1P2.host;2,RS", "new/1420470245.V1.host"]
)
def test_a_mail_in_a_maildir_is_known_by_its_place(tmp_path: Path, name: str) -> None:
    [document] = read(write(tmp_path, name, HEAD + b"\r\nTuesday?\r\n"))
    assert (document.kind, document.text) == ("mail", "Tuesday?\n")


@pytest.mark.parametrize(("flags", "reason"), [("DS", "flagged as a draft"), ("ST", "flagged as deleted")])
def test_flags_of_a_maildir_set_drafts_and_deleted_mails_aside(tmp_path: Path, flags: str, reason: str) -> None:
    assert why(write(tmp_path, f"cur/1420470245.M1P2.host!2,{flags}", HEAD + b"\r\nTuesday?\r\n")) == reason
