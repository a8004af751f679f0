"""Which reader a file gets, and what is set aside with which reason. Every file here is invented."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import documents as make
import pytest

from dittod.errors import FileSetAside
from dittod.ingest.readers import LARGEST_FILE_BYTES, LARGEST_TEXT_BYTES, read
from dittod.ingest.readers.mbox import LARGEST_KEPT_BYTES

MAIL = b"From: Bob Ray <bob@example.com>\nTo: ann@example.com\nSubject: Lunch\nDate: Mon, 5 Jan 2015 15:04:05\n\nHi\n"
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)


def why(folder: Path, name: str, content: bytes) -> FileSetAside:
    path = folder / name
    path.write_bytes(content)
    with pytest.raises(FileSetAside) as caught:
        list(read(path))
    return caught.value


@pytest.mark.parametrize(
    ("name", "content", "title"),
    [
        ("a.xyz", b"x", "unknown kind of file (suffix .xyz)"),
        ("noname", b"x", "unknown kind of file (suffix none)"),
        ("a.txt", b"", "the file is empty"),
        ("a.eml", b"", "the file is empty"),
        ("a.mbox", b"", "the file is empty"),
        ("a.txt", b" \n\n ", "the file is empty"),
        ("a.md", b"---\nprompt: Write.\n---\n\n", "the file is empty"),
        ("a.txt", b"\x7fELF\x00\x01\x02", "not a text file"),
        ("a.mbox", b"no mail in here", "no mail found in the mbox file"),
        ("a.eml", b"\n\n\n", "the file holds no mail"),
        ("a.eml", b"words, and nothing but words", "the file holds no mail"),
        ("mail.eml", b"<html><p>Hi", "the file holds no mail"),
        ("a.emlx", b"12\n", "the file holds no mail"),
        ("a.docx", OLE, "an old or protected office file"),
        ("a.doc", OLE, "an old Word file"),
        ("a.doc", b"x", "an old Word file"),
        ("a.msg", OLE, "a mail in Outlook's own format"),
        ("a.pst", b"!BDN1234", "an Outlook data file"),
        ("Sent.msf", b'// <!-- <mdb:mork:z v="1.4"/> -->\n', "an index of Thunderbird's, holds no mail"),
        ("Sent", b'// <!-- <mdb:mork:z v="1.4"/> -->\n', "an index of Thunderbird's, holds no mail"),
        ("a.json", b"[]", "a JSON file"),
        ("a.png", b"\x89PNG\r\n", "a picture"),
        ("a.txt", b"\xff\xd8\xff\xe0", "a picture"),
        ("a.heic", b"\0\0\0 ftyp", "a picture"),
        ("a.tar.gz", b"\x1f\x8b\x08", "a packed file"),
        ("a.zip", make.zipped({"a.txt": "x"}), "a packed file, or an office file that is no text"),
        ("a.zip", b"PK\x05\x06" + bytes(18), "a packed file, or an office file that is no text"),
        ("a.docx", b"PK\x03\x04", "the file is damaged (BadZipFile)"),
        ("a.docx", b"<?xml version='1.0'?><w/>", "the file is damaged (BadZipFile)"),
        ("a.pdf", b"hello", "the file is damaged (PdfStreamError)"),
        ("a.pdf", b"%PDF-1.4\nhello", "the file is damaged (PdfStreamError)"),
        ("a.rtf", b"{\\rtf1 }", "the document holds no text"),
        ("a.jsonl", b"{}\nhello\n", "none of its 2 lines is a pair or a conversation"),
    ],
)
def test_what_cannot_be_read_is_set_aside_with_the_reason(
    tmp_path: Path, name: str, content: bytes, title: str
) -> None:
    found = why(tmp_path, name, content)
    assert found.title == title and found.hint


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.eml", MAIL, "mail"),
        ("A.EML", MAIL, "mail"),
        ("saved.txt", MAIL, "mail"),
        ("1_", MAIL, "mail"),
        ("letter.txt", b"From: the heart\nSubject: to change\n\nDear Ann", "text"),
        ("notes.txt", b"From here on it is mine.\n", "text"),
        ("log.md", MAIL, "text"),
        ("page.md", b"<html> is a tag.", "text"),
        ("page", b"<!doctype html><p>Hi", "text"),
        ("a.markdown", b"Hi", "text"),
    ],
)
def test_what_a_file_begins_with_counts_before_its_name(tmp_path: Path, name: str, content: bytes, kind: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert [document.kind for document in read(path)] == [kind]


@pytest.mark.parametrize(
    ("suffix", "limit"),
    [*((each, LARGEST_TEXT_BYTES) for each in (".txt", ".md", ".html")), (".docx", LARGEST_FILE_BYTES)],
)
def test_a_file_beyond_the_limit_is_set_aside(tmp_path: Path, suffix: str, limit: int) -> None:
    path = tmp_path / f"a{suffix}"
    with path.open("wb") as file:
        file.write(b"x")
        file.truncate(limit + 1)
    with pytest.raises(FileSetAside, match=f"larger than {limit // 2**20} MiB"):
        list(read(path))


def test_a_mail_with_huge_attachments_is_read_from_its_beginning_and_hashed_whole(tmp_path: Path) -> None:
    found = []
    for last in (b"1", b"2"):
        path = tmp_path / f"{last.decode()}.eml"
        path.write_bytes(MAIL + b"x" * LARGEST_KEPT_BYTES + last)
        found += read(path)
    assert found[0].sha256 != found[1].sha256
    assert found[0].text == found[1].text and found[0].text.startswith("Hi")


def test_a_file_that_went_away_is_set_aside(tmp_path: Path) -> None:
    with pytest.raises(FileSetAside, match="cannot be read"):
        list(read(tmp_path / "gone.eml"))


def test_the_libraries_of_a_format_are_loaded_when_it_comes() -> None:
    code = "import dittod.ingest.readers, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pypdf", "striprtf", "yaml", "charset_normalizer", "pyexpat"} & set(loaded)
