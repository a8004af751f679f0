"""The process that reads files: what it gives, and that whatever happens to it costs one file or one mail.

Readers that crash, sleep or eat memory are made by starting the child with a patched reader.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from dittod.errors import DittodError, FileSetAside
from dittod.ingest import process as process_module
from dittod.ingest.demonstrations import Owner
from dittod.ingest.process import COMMAND, Answer, NotNow, Reader, ReaderClosed
from dittod.ingest.reading import MOST_MEMORY_BYTES, Order, decode_order, encode_order

OWNER = Owner(("bob@x.example",))
PATCHED = """
import ctypes, os, sys, time
import dittod.ingest.reading as reading
from dittod.types import Document
def documents(path, start):
    for number in range(5):
        text = "Hello Ann,\\n\\nthis is the mail with number %d." % number
        yield Document("mail", text, str(number), "bob@x.example")
def cut(document, owner, original=reading.demonstrations_of):
    if document.sha256 == "2":
        {fault}
    return original(document, owner)
reading.read = documents
reading.demonstrations_of = cut
{more}
reading.main()
"""


def mail(words: str, sender: str = "Bob <bob@x.example>") -> str:
    return f"From: {sender}\nTo: Ann <ann@x.example>\nSubject: The plan\n\nHello Ann,\n\n{words} is what I wanted.\n"


def mbox(*mails: str) -> str:
    return "".join(f"From bob@x.example Thu Jan  1 10:00:00 2026\n{each}\n" for each in mails)


@pytest.fixture
def reader() -> Iterator[Reader]:
    made = Reader()
    yield made
    made.close()


def faulty(fault: str, more: str = "", longest_seconds: float = 20.0) -> Reader:
    """A reader whose child has a fault at the third of five mails."""
    code = PATCHED.format(fault=fault, more=more)
    return Reader((sys.executable, "-c", code), longest_seconds=longest_seconds)


def reasons(answers: list[Answer]) -> list[str]:
    return [answer.result.reason for answer in answers]


def test_a_file_is_read_in_a_child_and_its_demonstrations_come_back(reader: Reader, tmp_path: Path) -> None:
    file = tmp_path / "sent.mbox"
    file.write_text(mbox(mail("Tea"), mail("Spite", "Eve <eve@x.example>"), mail("Rain – ☔")))
    answers = list(reader.read(file, OWNER))
    assert [a.sender for a in answers] == ["bob@x.example", "eve@x.example", "bob@x.example"]
    assert reasons(answers) == ["", "not sent by the user", ""]
    assert answers[2].result.demonstrations[0].completion == "Hello Ann,\n\nRain – ☔ is what I wanted."
    assert answers[0].document is None and answers[0].result.cut is None
    assert reader.pid not in (None, os.getpid())


def test_with_detail_the_document_and_what_was_cut_come_too(reader: Reader, tmp_path: Path) -> None:
    file = tmp_path / "a.eml"
    file.write_text("In-Reply-To: <1@x.example>\n" + mail("Tea") + "\n> what else?\n")
    [answer] = reader.read(file, OWNER, detail=True)
    assert answer.document is not None and answer.document.recipients == ("Ann <ann@x.example>",)
    assert answer.result.cut is not None and answer.result.cut.removed == ((5, "quoted"),)
    assert answer.removed == {"quoted": 1}


def test_a_survey_gives_senders_and_tails_of_the_first_mails_only(reader: Reader, tmp_path: Path) -> None:
    file = tmp_path / "sent.mbox"
    file.write_text(mbox(*(mail(f"Tea {n}", f"p{n}@x.example") for n in range(5))))
    answers = list(reader.survey(file, 3))
    assert [a.sender for a in answers] == ["p0@x.example", "p1@x.example", "p2@x.example"]
    assert all(not a.result.demonstrations for a in answers)
    assert list(reader.survey(tmp_path / "gone.mbox", 3)) == []


def test_one_child_reads_many_files_and_is_told_of_another_owner(reader: Reader, tmp_path: Path) -> None:
    pids = set()
    for number in range(20):
        file = tmp_path / f"{number}.eml"
        file.write_text(mail("Tea"))
        owner = OWNER if number < 10 else Owner(("eve@x.example",))
        [answer] = reader.read(file, owner)
        assert bool(answer.result.demonstrations) == (number < 10)
        pids.add(reader.pid)
    assert len(pids) == 1


def test_an_order_survives_the_pipe_also_with_a_name_that_is_no_utf8() -> None:
    path = os.fsdecode(b"/caf\xe9\n.eml")
    order = Order(path, "explain", skip=3, owner=Owner(("a@x", "Ann"), frozenset(("12", "ab")), ("geheim",)))
    assert decode_order(encode_order(order)) == order
    assert decode_order(encode_order(Order(path))) == Order(path)


def test_the_child_cannot_write_files_dump_core_or_take_all_memory(reader: Reader, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    (tmp_path / "a.eml").write_text(mail("Tea"))
    list(reader.read(tmp_path / "a.eml", OWNER))
    assert reader.pid is not None
    child = psutil.Process(reader.pid)
    for kind, limit in {
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_AS: MOST_MEMORY_BYTES,
    }.items():
        assert resource.prlimit(reader.pid, kind) == (limit, limit)
    assert child.nice() >= 10
    assert {Path(f"/proc/{reader.pid}/fd/{fd}").readlink() for fd in (0, 1, 2)} == {Path(os.devnull)}


def test_a_limit_that_the_platform_refuses_is_done_without_and_a_lower_one_stays(tmp_path: Path) -> None:
    """As macOS refuses any limit of the address space."""
    resource = pytest.importorskip("resource")
    more = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))\n"
        "def refuse(kind, limits, original=resource.setrlimit):\n"
        "    if kind == resource.RLIMIT_AS:\n"
        "        raise ValueError('current limit exceeds maximum limit')\n"
        "    original(kind, limits)\n"
        "resource.setrlimit = refuse"
    )
    reader = faulty("pass", more)
    try:
        assert len(list(reader.read(tmp_path / "a.mbox", OWNER))) == 5
        assert reader.pid is not None
        assert resource.prlimit(reader.pid, resource.RLIMIT_NOFILE) == (32, 32)
        assert resource.prlimit(reader.pid, resource.RLIMIT_FSIZE) == (0, 0)
    finally:
        reader.close()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("ctypes.string_at(0)", "not read: the reader crashed (SIGSEGV)"),
        ("os._exit(3)", "not read: the reader crashed (exit code 3)"),
        ("time.sleep(60)", "not read: took longer than 1 s"),
        ("bytearray(2**31)", "not read: needed more than 1 GiB of memory"),
        ("raise ValueError(document.text)", "the cleaner failed (ValueError)"),
        ("cut(document, owner)", "the cleaner failed (RecursionError)"),
        ("print(document.text); sys.stderr.write(document.text)", ""),
    ],
)
def test_a_mail_that_ends_the_child_costs_itself_and_nothing_of_it_is_told(
    fault: str, reason: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    reader = faulty(fault, longest_seconds=1.0)
    answers = list(reader.read(tmp_path / "any.mbox", OWNER))
    reader.close()
    assert reasons(answers) == ["", "", reason, "", ""]
    written = capfd.readouterr()
    assert "number" not in caplog.text.replace("line number", "") and "number" not in written.out + written.err


def test_a_fault_in_a_reader_sets_its_file_aside_and_the_child_goes_on(tmp_path: Path) -> None:
    reader = faulty(
        "pass", "def documents(path, start):\n    yield from ()\n    raise KeyError('canary')\nreading.read = documents"
    )
    for _ in range(2):
        with pytest.raises(FileSetAside) as caught:
            list(reader.read(tmp_path / "a.eml", OWNER))
        assert caught.value.title == "the reader failed (KeyError)"
    pid = reader.pid
    reader.close()
    assert pid is not None


def test_a_file_whose_only_document_ends_the_child_is_set_aside(tmp_path: Path) -> None:
    more = "def documents(path, start):\n    os._exit(3)\n    yield\nreading.read = documents"
    reader = faulty("pass", more)
    with pytest.raises(FileSetAside) as caught:
        list(reader.read(tmp_path / "a.eml", OWNER))
    reader.close()
    assert "the reader crashed (exit code 3)" in caught.value.title


def test_a_file_in_which_the_reader_itself_does_not_get_on_is_set_aside_with_the_place(tmp_path: Path) -> None:
    more = (
        "def documents(path, start, original=documents):\n"
        "    for number, document in enumerate(original(path, start)):\n"
        "        if number == 3:\n"
        "            os._exit(3)\n"
        "        yield document\n"
        "reading.read = documents"
    )
    reader = faulty("pass", more)
    with pytest.raises(FileSetAside) as caught:
        list(reader.read(tmp_path / "a.mbox", OWNER))
    reader.close()
    assert caught.value.title == "the reader crashed (exit code 3) at number 4 in the file"


def test_two_neighbours_that_end_the_child_cost_only_themselves(tmp_path: Path) -> None:
    more = (
        "def both(document, owner, original=reading.demonstrations_of):\n"
        "    if document.sha256 == '3':\n"
        "        os._exit(3)\n"
        "    return original(document, owner)\n"
        "reading.demonstrations_of = both"
    )
    reader = faulty("os._exit(3)", more)
    answers = list(reader.read(tmp_path / "a.mbox", OWNER))
    reader.close()
    crashed = "not read: the reader crashed (exit code 3)"
    assert reasons(answers) == ["", "", crashed, crashed, ""]


def test_much_that_is_passed_over_does_not_count_as_silence(tmp_path: Path) -> None:
    more = (
        "def documents(path, start, original=documents):\n"
        "    for document in original(path, start):\n"
        "        for _ in range(4):\n"
        "            time.sleep(0.4 if document.sha256 == '3' else 0)\n"
        "            yield None\n"
        "        yield document\n"
        "reading.read = documents"
    )
    reader = faulty("pass", more, longest_seconds=1.0)
    answers = list(reader.read(tmp_path / "a.mbox", OWNER))
    surveyed = list(reader.survey(tmp_path / "a.mbox", 2))
    reader.close()
    assert reasons(answers) == [""] * 5 and len(surveyed) == 2


def test_an_answer_of_any_size_is_cut_short(tmp_path: Path) -> None:
    huge = "document = Document('text', 'tea and rain ' * 100_000, '', title='x')"
    reader = faulty(huge, "reading.LARGEST_ANSWER_BYTES = 2**20")
    answers = list(reader.read(tmp_path / "a.mbox", OWNER))
    reader.close()
    assert reasons(answers) == ["", "", "more than 1 MiB of text", "", ""]


def test_a_child_that_sends_without_end_is_stopped(tmp_path: Path) -> None:
    reader = Reader((sys.executable, "-c", "import sys\nprint('{}')\nwhile True: sys.stdout.write('x' * 65536)"))
    with pytest.raises(FileSetAside, match="more than 16 MiB"):
        list(reader.read(tmp_path / "a.eml", OWNER))
    reader.close()


def test_a_child_that_talks_nonsense_costs_the_file(tmp_path: Path) -> None:
    reader = Reader((sys.executable, "-c", "import sys\nprint('{}', flush=True)\nwhile True: print('[1, 2]')"))
    with pytest.raises(FileSetAside, match="nonsense"):
        list(reader.read(tmp_path / "a.eml", OWNER))
    reader.close()


@pytest.mark.parametrize("command", [(sys.executable, "-c", "raise SystemExit(1)"), ("/nowhere/python",)])
def test_no_file_is_to_blame_when_the_child_cannot_start(command: tuple[str, ...], tmp_path: Path) -> None:
    reader = Reader(command)
    with pytest.raises(DittodError) as caught:
        list(reader.read(tmp_path / "a.eml", OWNER))
    reader.close()
    assert not isinstance(caught.value, FileSetAside)


def test_a_file_that_cannot_be_opened_may_be_readable_another_time(reader: Reader, tmp_path: Path) -> None:
    (tmp_path / "a.eml").mkdir()
    with pytest.raises(NotNow):
        list(reader.read(tmp_path / "a.eml", OWNER))


def test_an_idle_child_ends_and_another_one_comes_when_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_module, "GUARD_SECONDS", 0.05)
    (tmp_path / "a.eml").write_text(mail("Tea"))
    reader = Reader(idle_seconds=0.2)
    list(reader.read(tmp_path / "a.eml", OWNER))
    first, deadline = reader.pid, time.monotonic() + 10
    while reader.pid is not None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert reader.pid is None
    assert len(list(reader.read(tmp_path / "a.eml", OWNER))) == 1
    reader.close()
    assert first is not None and not psutil.pid_exists(first)


def test_a_reader_is_closed_in_the_middle_of_a_file_and_for_good(tmp_path: Path) -> None:
    reader = faulty("pass")
    answers = reader.read(tmp_path / "a.mbox", OWNER)
    next(answers)
    reader.close()
    with pytest.raises(ReaderClosed):
        list(answers)
    with pytest.raises(ReaderClosed):
        list(reader.read(tmp_path / "a.mbox", OWNER))
    assert reader.pid is None


def test_a_caller_that_loses_interest_leaves_a_reader_that_works(reader: Reader, tmp_path: Path) -> None:
    file = tmp_path / "sent.mbox"
    file.write_text(mbox(*(mail(f"Tea {number}") for number in range(500))))
    answers = reader.read(file, OWNER)
    next(answers)
    answers.close()  # type: ignore[attr-defined]
    assert len(list(reader.read(file, OWNER))) == 500


@pytest.mark.parametrize("fault", ["pass", "time.sleep(60)"])
def test_a_killed_parent_takes_the_child_along_also_in_the_middle_of_a_mail(fault: str, tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\n"
        "from dittod.ingest.process import Reader\nfrom dittod.ingest.demonstrations import Owner\n"
        f"reader = Reader((sys.executable, '-c', {PATCHED.format(fault=fault, more='')!r}))\n"
        "for number, answer in enumerate(reader.read(Path('a.mbox'), Owner())):\n"
        "    print(reader.pid, flush=True)\n"
        "    if number == 1 and " + repr(fault == "pass") + ": time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=tmp_path) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.stdout.readline()
        parent.kill()
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_child_imports_neither_torch_nor_rich_nor_sqlite() -> None:
    heavy = ("torch", "rich", "sqlite3", "pydantic", "lxml", "docx", "pypdf")
    code = f"import sys, dittod.ingest.reading; print(set({heavy}) & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
    assert "-P" in COMMAND, "a file named email.py in the current folder would be imported"


def sparse(path: Path, head: bytes, size: int) -> Path:
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)
    return path


def hostile(folder: Path) -> Iterator[Path]:
    """A line of 1 GiB in every kind of file, deep nesting, a bomb."""
    head = b"From: Bob <bob@x.example>\n\n"
    yield sparse(folder / "line.txt", b"tea", 2**30)
    yield sparse(folder / "line.md", b"---\nprompt: ", 2**30)
    yield sparse(folder / "line.eml", head, 2**30)
    yield sparse(folder / "line.mbox", b"From bob@x Thu Jan  1 10:00:00 2026\n" + head, 2**30)
    yield sparse(folder / "head.mbox", b"From bob@x Thu Jan  1 10:00:00 2026\nFrom: ", 2**28)
    yield sparse(folder / "line.jsonl", b'{"prompt": "', 2**30)
    nested = folder / "nested.eml"
    parts = "".join(f'Content-Type: multipart/mixed; boundary="{n}"\n\n--{n}\n' for n in range(1000))
    nested.write_text(f"From: Bob <bob@x.example>\n{parts}Content-Type: text/plain\n\nTea is what I wanted.\n")
    yield nested
    tags = folder / "tags.eml"
    tags.write_text("From: Bob <bob@x.example>\nContent-Type: text/html\n\n" + "<div><blockquote>" * 200_000 + "tea")
    yield tags
    for suffix in ("docx", "odt"):
        bomb = folder / f"bomb.{suffix}"
        with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in ("word/document.xml", "content.xml"):
                with archive.open(name, "w") as member:
                    for _ in range(300):
                        member.write(b" " * 2**20)
        yield bomb


@pytest.mark.slow
def test_hostile_files_cost_bounded_time_and_memory(tmp_path: Path) -> None:
    """Each is set aside with a reason or gives little; the parent does not grow, the child is limited."""
    reader = Reader(longest_seconds=15.0)
    before = psutil.Process().memory_info().rss
    try:
        for path in hostile(tmp_path):
            begun = time.monotonic()
            said: list[str] = []
            try:
                said = [answer.result.reason for answer in reader.read(path, OWNER)]
            except FileSetAside as error:
                said = [error.title]
            assert said and len(said) < 10, path.name
            assert time.monotonic() - begun < 40, path.name
            assert psutil.Process().memory_info().rss - before < 100 * 2**20, path.name
    finally:
        reader.close()
