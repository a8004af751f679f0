"""Texts of every format to Documents: what is text, what is its title, outline and date. Every text is invented."""

from __future__ import annotations

import os
from pathlib import Path

import documents as make
import pytest

from dittod.errors import FileSetAside
from dittod.ingest.readers import read
from dittod.ingest.readers.pdf import text_of_pages
from dittod.ingest.readers.titles import title_of_name
from dittod.types import Document

MODIFIED_AT = 1_700_000_000


def the(folder: Path, name: str, content: bytes) -> Document:
    path = folder / name
    path.write_bytes(content)
    os.utime(path, (MODIFIED_AT, MODIFIED_AT))
    [document] = read(path)
    assert document.kind in ("text", "pair")
    return document


def why(folder: Path, name: str, content: bytes) -> str:
    with pytest.raises(FileSetAside) as caught:
        the(folder, name, content)
    assert caught.value.hint
    return caught.value.title


# --- texts


def test_a_heading_is_the_title_of_a_text_and_the_others_its_outline(tmp_path: Path) -> None:
    text = "# On cats #\n\nThey sleep.\n\n## Food\n\nFish.\n\n```\n# no heading\n```\n\nPlay\n----\n\nString.\n"
    document = the(tmp_path, "x.md", text.encode())
    assert (document.kind, document.title, document.outline) == ("text", "On cats", ("Food", "Play"))
    assert document.text == text and document.written_at == MODIFIED_AT


def test_front_matter_gives_title_and_date_and_is_no_prose(tmp_path: Path) -> None:
    document = the(tmp_path, "x.md", b'---\ntitle: "On cats"\ndate: 2020-03-04\ntags: [a, b]\n---\nThey sleep.\n')
    assert (document.title, document.text, document.written_at) == ("On cats", "They sleep.\n", 1583280000.0)


def test_front_matter_that_is_no_yaml_is_read_line_by_line(tmp_path: Path) -> None:
    document = the(tmp_path, "x.md", b"---\ntitle: Cats: a study\ndate: 2020-03-04\n---\nThey sleep.\n")
    assert (document.title, document.text, document.written_at) == ("Cats: a study", "They sleep.\n", 1583280000.0)


@pytest.mark.parametrize("date", ["2999-01-01", "1066-10-14", "soon", "2020-99-99"])
def test_a_date_that_cannot_be_is_not_believed(tmp_path: Path, date: str) -> None:
    assert the(tmp_path, "x.md", f"---\ndate: {date}\n---\nThey sleep.\n".encode()).written_at == MODIFIED_AT


def test_prose_between_two_rules_is_no_front_matter(tmp_path: Path) -> None:
    text = "---\nA motto, nothing else.\n---\nThey sleep.\n"
    assert the(tmp_path, "x.md", text.encode()).text == text


@pytest.mark.parametrize(
    ("field", "prompt"),
    [
        ("prompt: Write about cats.", "Write about cats."),
        ("prompt: |\n  Write about cats.\n\n  Be kind.", "Write about cats.\n\nBe kind."),
        ("prompt: >-\n  Write about\n  cats.", "Write about cats."),
        ('title: Cats\nPrompt: "Write: cats"', "Write: cats"),
    ],
)
def test_a_prompt_in_front_matter_makes_a_pair(tmp_path: Path, field: str, prompt: str) -> None:
    document = the(tmp_path, "x.md", f"---\n{field}\n---\nThey sleep.\n".encode())
    assert (document.kind, document.prompt, document.text) == ("pair", prompt, "They sleep.\n")


def test_yaml_that_expands_itself_is_not_expanded(tmp_path: Path) -> None:
    bomb = "a0: &a0 {x: y}\n" + "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 200))
    assert the(tmp_path, "x.md", f"---\ntitle: Cats\n{bomb}---\nThey sleep.\n".encode()).title == "Cats"
    assert the(tmp_path, "y.md", f"---\ntitle: {'[' * 8_000}\n---\nThey sleep.\n".encode()).text == "They sleep.\n"


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
    assert the(tmp_path, "x.txt", content).text == "Grüße"


def test_a_file_whose_name_is_no_utf8_is_read(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9 notes.txt"))
    path.write_bytes(b"black, no sugar")
    [document] = read(path)
    document.title.encode("utf-8")
    assert document.text == "black, no sugar"


# --- web pages


def test_a_web_page_is_the_text_of_its_writer(tmp_path: Path) -> None:
    page = (
        "<!DOCTYPE html><html><head><meta charset=windows-1251><title>О котах</title></head><body><nav>Menu</nav>"
        "<h1>О котах</h1><p>Они спят.</p><h2>Еда</h2><blockquote>Рыба.</blockquote></body></html>"
    )
    document = the(tmp_path, "x.html", page.encode("cp1251"))
    assert (document.title, document.outline) == ("О котах", ("Еда",))
    assert document.text == "О котах\n\nОни спят.\n\nЕда\n\nРыба."


def test_a_page_without_text_is_set_aside(tmp_path: Path) -> None:
    assert why(tmp_path, "x.html", b"<html><script>start()</script></html>") == "the page holds no text"


# --- word processors


def test_a_docx_is_read_as_it_stands_on_the_page(tmp_path: Path) -> None:
    body = (
        make.paragraph("On cats", "Titel")
        + make.paragraph("Sleep", "berschrift1")
        + "<w:p><w:r><w:t>They </w:t></w:r><w:ins><w:r><w:t>always </w:t></w:r></w:ins><w:del><w:r><w:delText>never "
        "</w:delText></w:r></w:del><w:hyperlink><w:r><w:t>sleep</w:t></w:r></w:hyperlink><w:r><w:t>.</w:t><w:tab/>"
        "<w:t>Shh</w:t><w:br/><w:t>now</w:t></w:r></w:p><w:p/>"
        + make.paragraph("one", "Liste")
        + make.paragraph("two", "Liste")
        + "<w:sdt><w:sdtContent>"
        + make.paragraph("In a field.")
        + "</w:sdtContent></w:sdt><w:tbl><w:tr><w:tc>"
        + make.paragraph("Day")
        + "</w:tc><w:tc>"
        + make.paragraph("Time")
        + "</w:tc></w:tr></w:tbl>"
    )
    core = "<dc:title>Document1</dc:title><dcterms:modified>2020-03-04T00:00:00Z</dcterms:modified>"
    document = the(tmp_path, "x.docx", make.docx(body, core))
    assert document.text == (
        "On cats\n\nSleep\n\nThey always sleep.\tShh\nnow\n\n- one\n- two\n\nIn a field.\n\nDay\tTime"
    )
    assert (document.title, document.outline, document.written_at) == ("On cats", ("Sleep",), 1583280000.0)


def test_a_text_box_is_read_once(tmp_path: Path) -> None:
    box = f"<w:txbxContent>{make.paragraph('In the box.')}</w:txbxContent>"
    alternatives = f"<AlternateContent><Choice>{box}</Choice><Fallback>{box}</Fallback></AlternateContent>"
    body = f"<w:p><w:r><w:t>Around it.</w:t></w:r><w:r>{alternatives}</w:r><w:r><w:t>Below it.</w:t></w:r></w:p>"
    assert the(tmp_path, "x.docx", make.docx(body)).text == "Around it.\n\nIn the box.\n\nBelow it."


def test_an_odt_is_read_as_it_stands_on_the_page(tmp_path: Path) -> None:
    body = (
        "<text:tracked-changes><text:p>deleted</text:p></text:tracked-changes>"
        '<text:p text:style-name="P1">On cats</text:p><text:h text:outline-level="1">Sleep</text:h>'
        '<text:p>They <text:span>always</text:span><text:s text:c="2"/>sleep.'
        "<text:note><text:p>A note.</text:p></text:note>"
        "<text:tab/>Shh<text:line-break/>now</text:p>"
        "<text:list><text:list-item><text:p>one</text:p></text:list-item><text:list-item><text:p>two</text:p>"
        "</text:list-item></text:list><table:table><table:table-row><table:table-cell><text:p>Day</text:p>"
        "</table:table-cell><table:table-cell><text:p>Time</text:p></table:table-cell></table:table-row></table:table>"
    )
    document = the(tmp_path, "x.odt", make.odt(body, "<dc:date>2020-03-04T00:00:00</dc:date>"))
    assert document.text == "On cats\n\nSleep\n\nThey always  sleep.\tShh\nnow\n\n- one\n- two\n\nDay\tTime"
    assert (document.title, document.outline, document.written_at) == ("On cats", ("Sleep",), 1583280000.0)


def test_a_protected_odt_is_set_aside(tmp_path: Path) -> None:
    manifest = {"META-INF/manifest.xml": "<m><file-entry><encryption-data/></file-entry></m>"}
    assert why(tmp_path, "x.odt", make.odt("", extra=manifest)) == "the file is protected by a password"


@pytest.mark.parametrize("name", ["x.docx", "x.odt", "x.zip", "x.pages"])
def test_what_is_in_a_zip_file_counts_and_not_its_name(tmp_path: Path, name: str) -> None:
    assert the(tmp_path, name, make.docx(make.paragraph("Text."))).text == "Text."
    assert "packed" in why(tmp_path, f"other-{name}", make.zipped({"notes.txt": "hello"}))
    spreadsheet = make.zipped({"mimetype": "application/vnd.oasis.opendocument.spreadsheet", "content.xml": "<a/>"})
    assert "no text" in why(tmp_path, f"table-{name}", spreadsheet)


@pytest.mark.parametrize("empty", [make.docx(""), make.odt("")])
def test_a_document_without_text_is_set_aside(tmp_path: Path, empty: bytes) -> None:
    assert why(tmp_path, "x.docx", empty) == "the document holds no text"


def test_an_rtf_is_read_without_its_formatting(tmp_path: Path) -> None:
    body = (
        r"\b On cats\b0\par They \u8220?always\u8221? sleep \u-10179?\u-8704?.\line Shh\par\par"
        r'{\field{\*\fldinst{HYPERLINK "http://x.example.com"}}{\fldrslt{the site}}} is \f1'
        r"\'cf\'f0\f0\par a\cell b\cell\row {\pict\pngblip " + "89504e47\n" * 400 + "}end"
    )
    document = the(tmp_path, "x.rtf", make.rtf(body, r"{\title Caf\'e9s}{\creatim\yr2020\mo3\dy4\hr5}"))
    assert document.text == "On cats\n\nThey “always” sleep 😀.\nShh\n\nthe site is Пр\n\na\tb\t\nend"
    assert (document.title, document.written_at) == ("Cafés", 1583280000.0)


@pytest.mark.parametrize("name", ["x.doc", "x.rtf", "x.txt", "noname"])
def test_an_rtf_is_known_by_its_beginning(tmp_path: Path, name: str) -> None:
    assert the(tmp_path, name, make.rtf("They sleep.")).text == "They sleep."


def test_a_doc_that_is_a_web_page_is_read_as_one(tmp_path: Path) -> None:
    assert the(tmp_path, "x.doc", b"<html><body><p>They sleep.</p></body></html>").text == "They sleep."


# --- PDF

PROSE = [
    "Cats are known to sleep for most of the day, and of the night as well, if",
    "nobody disturbs them. What they dream of is a question that many have in-",
    "vestigated.",
    "Others play with strings. It is said that a well-fed cat plays more than it",
    "sleeps, which nobody believes who has lived with one for more than a week,",
    "or so they say.",
]


def test_the_lines_of_a_pdf_become_paragraphs(tmp_path: Path) -> None:
    document = the(tmp_path, "x.pdf", make.pdf([PROSE], "/Title (On cats) /CreationDate (D:20200304000000Z)"))
    assert document.text.split("\n\n") == [
        "Cats are known to sleep for most of the day, and of the night as well, if nobody disturbs them. What they "
        "dream of is a question that many have investigated.",
        "Others play with strings. It is said that a well-fed cat plays more than it sleeps, which nobody believes who "
        "has lived with one for more than a week, or so they say.",
    ]
    assert (document.title, document.written_at) == ("On cats", 1583280000.0)


def test_running_heads_and_page_numbers_are_left_out_and_paragraphs_cross_pages() -> None:
    animals = ["cats", "dogs", "birds", "mice", "cows"]
    pages = [
        [f"Pets {n}", f"{each} sleep, said Ann, and", f"then the {each} are", "", f"- {n} -"]
        for n, each in enumerate(animals)
    ]
    text = text_of_pages([*pages, ["Pets 6", "quiet.", "Page 6 of 6"]])
    assert text == " ".join(f"{each} sleep, said Ann, and then the {each} are" for each in animals) + " quiet."


def test_what_stands_on_one_page_only_is_text() -> None:
    assert text_of_pages([["2", "Cats", "They sleep."]]) == "Cats\n\nThey sleep."


def test_items_of_a_list_stay_apart() -> None:
    lines = ["What a cat needs in the course of a day and of a night:", "- a bed", "- a string", "1. peace"]
    assert text_of_pages([lines]).split("\n\n") == lines


def test_pages_of_pictures_are_set_aside(tmp_path: Path) -> None:
    assert why(tmp_path, "x.pdf", make.pdf([[], []])) == "the pages hold pictures, no text"


def test_a_protected_pdf_is_set_aside(tmp_path: Path) -> None:
    from pypdf import PdfReader, PdfWriter

    path = tmp_path / "x.pdf"
    path.write_bytes(make.pdf([PROSE]))
    writer = PdfWriter(clone_from=PdfReader(path))
    writer.encrypt("user", algorithm="RC4-128")
    writer.write(tmp_path / "locked.pdf")
    assert why(tmp_path, "y.pdf", (tmp_path / "locked.pdf").read_bytes()) == "the file is protected by a password"
