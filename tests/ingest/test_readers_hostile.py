"""Truncated, mutated and hostile files: Documents or a reason come out, in bounded time and memory."""

from __future__ import annotations

import io
import random
import re
import struct
import time
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import documents as make
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dittod.errors import FileSetAside
from dittod.ingest.readers import read
from dittod.types import Document

HEAD = b"From: Bob <bob@example.com>\nTo: ann@example.com\nSubject: =?utf-8?b?R3LDvMOfZQ==?=\nMIME-Version: 1.0\n"
PARTS = (
    b'Content-Type: multipart/mixed; boundary="x"\n\n--x\nContent-Type: multipart/alternative; boundary="y"\n\n--y\n'
    b"Content-Type: text/plain; charset=utf-8; format=flowed\nContent-Transfer-Encoding: base64\n\n"
    b"R3LDvMOfZSBhbiBhbGxl\n--y\nContent-Type: text/html; charset=iso-2022-jp\n"
    b"Content-Transfer-Encoding: quoted-printable\n\n<p class=3Dx>Gr=C3=BC=C3=9Fe<blockquote>x</blockquote>\n"
    b"--y--\n--x\nContent-Type: application/pdf; name=x.pdf\n\nJVBERi0x\n--x--\n"
)
FROM = b"From bob@example.com Mon Jan  5 15:04:05 2015\n"
CANARY = "Quetzalcoatlus"
SAMPLES: dict[str, bytes] = {
    "a.eml": HEAD + PARTS,
    "b.emlx": b"%d\n" % len(HEAD + PARTS)
    + HEAD
    + PARTS
    + b"<plist><dict><key>flags</key><integer>1</integer></dict></plist>",
    "c.mbox": (FROM + b"X-Mozilla-Status: 0001\n" + HEAD + PARTS + b"\n") * 2,
    "d.txt": "Überschrift\n===\n\nGrüße, и привет".encode(),
    "e.md": b"---\ntitle: x\nprompt: |\n  Write &a *b\n---\n# Heading\n\nText\n",
    "f.html": b"<!doctype html><html><head><meta charset=koi8-r><title>t</title><body><table><tr><td>x<ul><li>y</html>",
    "g.docx": make.docx(make.paragraph("Heading", "berschrift1") + make.paragraph("Text"), "<dc:title>T</dc:title>"),
    "h.odt": make.odt("<text:p>Text</text:p>", "<dc:title>T</dc:title>"),
    "i.pdf": make.pdf([["One line", "and another."], ["Page two."]], "/Title (T) /CreationDate (D:2020)"),
    "j.rtf": make.rtf(r"Text \'e9 \u8220? {\field{\*\fldinst{HYPERLINK x}}{\fldrslt y}} {\pict\bin4 abcd} end"),
    "k.jsonl": b'{"prompt": "a", "completion": "b"}\n{"messages": [{"role": "user", "content": "x"}]}\n',
}
BY_NAME = pytest.mark.parametrize("name", SAMPLES)


def documents_in(path: Path) -> list[Document]:
    """What a reader gives, or nothing with a reason that quotes nothing. Any other error fails the test."""
    found: list[Document] = []
    try:
        found += read(path)
    except FileSetAside as error:
        assert error.title and error.hint and CANARY not in error.title + error.hint
    for document in found:
        assert re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", document.text + document.title) is None
        "".join((document.text, document.subject, document.sender, document.prompt, *document.outline)).encode()
    return found


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with TemporaryDirectory() as name:
        yield Path(name)


def given_bytes(folder: Path, name: str, content: bytes) -> list[Document]:
    path = folder / name
    path.write_bytes(content)
    return documents_in(path)


@BY_NAME
def test_the_samples_are_read(name: str, folder: Path) -> None:
    assert given_bytes(folder, name, SAMPLES[name])


@BY_NAME
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_truncated_file_is_read_as_far_as_it_goes_or_set_aside(name: str, folder: Path, data: st.DataObject) -> None:
    length = data.draw(st.integers(0, len(SAMPLES[name])))
    given_bytes(folder, name, SAMPLES[name][:length])


@BY_NAME
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), changes=st.integers(1, 40))
def test_a_mutated_file_is_read_or_set_aside(name: str, folder: Path, seed: int, changes: int) -> None:
    given_bytes(folder, name, mutated(SAMPLES[name], random.Random(seed), changes))


@pytest.mark.parametrize("name", ["g.docx", "h.odt"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), changes=st.integers(1, 40))
def test_mutated_xml_in_an_office_file_is_read_or_set_aside(name: str, folder: Path, seed: int, changes: int) -> None:
    """A mutated archive seldom gets past its checksums: here what is in it is mutated."""
    rng = random.Random(seed)
    with zipfile.ZipFile(io.BytesIO(SAMPLES[name])) as archive:
        entries = {entry: archive.read(entry) for entry in archive.namelist()}
    changed = {entry: raw if entry == "mimetype" else mutated(raw, rng, changes) for entry, raw in entries.items()}
    given_bytes(folder, name, make.zipped(changed))


def mutated(raw: bytes, rng: random.Random, changes: int) -> bytes:
    """Bytes changed, pieces doubled, moved and taken out."""
    found = bytearray(raw)
    for _ in range(changes):
        at = rng.randrange(len(found) + 1)
        length = rng.randrange(1, 30)
        change = rng.randrange(4)
        if change == 0 and at < len(found):
            found[at] = rng.choice(b"\x00\xff<>&{}\\\"'=/-\n :;" + bytes([rng.randrange(256)]))
        elif change == 1:
            del found[at : at + length]
        elif change == 2:
            other = rng.randrange(len(found) + 1)
            found[at:at] = found[other : other + length]
        else:
            found[at:at] = str(rng.choice([-1, 0, 2**31, 2**63, 99999])).encode()
    return bytes(found)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from([*SAMPLES, "cur/1.a:2,S", "noname"]), content=st.binary(max_size=300))
def test_any_bytes_under_any_name_are_read_or_set_aside(name: str, content: bytes, folder: Path) -> None:
    (folder / "cur").mkdir(exist_ok=True)
    given_bytes(folder, name, content)


# --- bombs


def lied_about(entry: bytes, name: str) -> bytes:
    """An archive that says its entry is small: sizes are not to be believed."""
    raw = make.zipped({name: entry, "word/x": ""})
    return raw.replace(struct.pack("<I", len(entry)), struct.pack("<I", 100))


def xml_bomb(declaration: str) -> bytes:
    return make.zipped({"word/document.xml": f"<!DOCTYPE x [{declaration}]><x><p><r><t>&a;</t></r></p></x>"})


ENTITIES = '<!ENTITY a0 "ha">' + "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 12))
BLANKS = b" " * (66 * 2**20)
WORDS = b"<w:document><w:p><w:r><w:t>" + BLANKS
BOMBS = {
    "a zip bomb": lambda: ("x.docx", make.zipped({"word/document.xml": b"<a>" + BLANKS})),
    "a zip bomb that lies about its size": lambda: ("x.docx", lied_about(b"<a>" + BLANKS, "word/document.xml")),
    "a bomb in what is only asked for the styles": lambda: (
        "x.docx",
        make.zipped({"word/document.xml": "<a/>", "word/styles.xml": b"<a>" + BLANKS}),
    ),
    "zips in zips": lambda: ("x.zip", nested_zips(100)),
    "many entries": lambda: ("x.docx", make.zipped({f"word/{i}": "" for i in range(10_001)})),
    "entities that expand": lambda: ("x.docx", xml_bomb(ENTITIES + '<!ENTITY a "&a11;">')),
    "an entity that points to a file": lambda: ("x.docx", xml_bomb('<!ENTITY a SYSTEM "file:///etc/hosts">')),
    "elements in elements": lambda: ("x.docx", make.docx("<w:tbl>" * 10_000)),
    "tables in tables": lambda: ("x.odt", make.odt("<table:table-row>" * 400 + "<text:p>x</text:p>")),
    "parts in parts": lambda: ("x.eml", HEAD + nested_parts(100)),
    "many parts in parts": lambda: ("x.eml", HEAD + nested_parts(5000)),
    "parts in parts below a wrong boundary": lambda: (
        "x.eml",
        HEAD + b'Content-Type: multipart/mixed; boundary="x"\n\n--y\n' + nested_parts(3000),
    ),
    "many parts": lambda: ("x.eml", HEAD + b'Content-Type: multipart/mixed; boundary="x"\n\n' + b"--x\n\na\n" * 15_000),
    "many headers": lambda: ("x.eml", b"X: y\n" * 80_000 + b"\nHi"),
    "a folded header without end": lambda: ("x.eml", b"Subject: a\n" + b" b\n" * 300_000),
    "many addresses": lambda: ("x.eml", b"To: " + b"((((" * 200_000 + b"\n\nHi"),
    "many encoded words": lambda: ("x.eml", b"Subject: " + b"=?a?q?=" * 200_000 + b"\n\nHi"),
    "a mail of one line": lambda: ("x.eml", HEAD + b"\n" + b"x" * (15 * 2**20)),
    "a text of one line": lambda: ("x.txt", b"x" * (15 * 2**20)),
    "a text of line ends": lambda: ("x.md", b"# a\n" + b"\n" * 2**20),
    "an mbox of one line": lambda: ("x.mbox", FROM + b"Subject: " + b"x" * (15 * 2**20)),
    "an mbox of from lines": lambda: ("x.mbox", FROM * 20_000),
    "an mbox of empty mails": lambda: ("x.mbox", (FROM + b"\n") * 20_000),
    "an mbox of almost from lines": lambda: (
        "x.mbox",
        (FROM + b"a: b\n\n" + b"\nFrom " + b"1:11 " * 50 + b"\n\n") * 3000,
    ),
    "an mbox of line ends": lambda: ("x.mbox", FROM + b"a: b\n" + b"\n" * (15 * 2**20)),
    "a PDF of one paragraph": lambda: ("x.pdf", make.pdf([["word and word and more words in it"] * 45] * 150)),
    "a line of JSON without end": lambda: ("x.jsonl", b'{"prompt": "' + b"x" * (15 * 2**20)),
    "groups in groups": lambda: ("x.rtf", b"{\\rtf1 " + b"{" * 400_000 + b"x"),
    "fields without end": lambda: ("x.rtf", b"{\\rtf1 " + b"{\\field{\\*\\fldinst{HYPERLINK " * 20_000),
    "fonts without end": lambda: ("x.rtf", b"{\\rtf1{\\fonttbl" + b"{\\f1\\fcharset" * 20_000),
    "a PDF whose pages are their own parents": lambda: (
        "x.pdf",
        make.pdf([["x"]]).replace(b"/Kids [5 0 R]", b"/Kids [2 0 R]"),
    ),
    "a PDF whose font is itself": lambda: (
        "x.pdf",
        make.pdf_of(["<< /Type /Catalog /Pages 2 0 R >>", "2 0 R", "3 0 R", "<< >>"]),
    ),
    "a PDF that counts too many pages": lambda: ("x.pdf", make.pdf([["x"]]).replace(b"/Count 1", b"/Count 999999999")),
    "a PDF whose bookmarks follow themselves": lambda: (
        "x.pdf",
        make.pdf([["x"]], "/First 6 0 R /Last 6 0 R /Title (x) /Next 6 0 R", "/Outlines 6 0 R"),
    ),
}


def nested_zips(depth: int) -> bytes:
    raw = b"x"
    for _ in range(depth):
        raw = make.zipped({"a.zip": raw})
    return raw


def nested_parts(depth: int) -> bytes:
    return b"".join(b'Content-Type: multipart/mixed; boundary="%d"\n\n--%d\n' % (i, i) for i in range(depth)) + b"\nHi"


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_costs_bounded_time_and_memory(kind: str, tmp_path: Path) -> None:
    name, content = BOMBS[kind]()
    (tmp_path / name).write_bytes(content)
    start = time.process_time()
    documents_in(tmp_path / name)
    assert time.process_time() - start < 10


def test_a_bomb_is_not_unpacked_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.docx"
    path.write_bytes(lied_about(WORDS, "word/document.xml"))
    tracemalloc.start()
    assert not documents_in(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200 * 2**20


def test_a_reason_quotes_nothing_of_the_file(tmp_path: Path) -> None:
    for name in (*SAMPLES, "x.zip", "x"):
        for content in (CANARY.encode() * 3, SAMPLES["i.pdf"][:300] + CANARY.encode(), make.zipped({CANARY: CANARY})):
            given_bytes(tmp_path, name, content)


def test_the_library_for_pdf_logs_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    given_bytes(tmp_path, "x.pdf", SAMPLES["i.pdf"].replace(b"xref", b"xxxx").replace(b"One line", CANARY.encode()))
    given_bytes(tmp_path, "x.pdf", SAMPLES["i.pdf"].replace(b"endobj", b"endob").replace(b"startxref", CANARY.encode()))
    assert caplog.text == ""
