"""`dittod chat`: a question and its answer, or a conversation, with a daemon's endpoint or an engine of its own."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from conftest import Command
from daemons import DaemonProcess
from endpoints import standing_in

from dittod.cli import chat
from dittod.cli.answers import Began, Ended, Said, as_listed, only_voice
from dittod.cli.chat import Conversation, talk
from dittod.engine.protocol import Sampling
from dittod.errors import DittodError, EngineUnavailable
from dittod.machine.lock import held, holder
from dittod.paths import Home
from dittod.rows import FileRow
from dittod.store import Store
from dittod.types import Adapter, Message, Verdict

from .service.fakes import EMAIL, FakeBackend

SAID = "Kind regards, Ærik"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("DITTOD_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    made = Home(tmp_path / "home")
    made.create()
    return made


@pytest.fixture
def backend(home: Home) -> Iterator[FakeBackend]:
    """Behind an endpoint that stands for a running daemon's."""
    backend = FakeBackend()
    with standing_in(home, backend):
        yield backend


def there_are_texts(home: Home, *profiles: str) -> None:
    store = Store(home.store)
    for profile in profiles:
        store.record_file(FileRow(f"{profile}.eml", profile, 1, 1, "read", "", (), {}, 1.0))
    store.close()


# --- one question ---


def test_a_question_is_answered_on_stdout_and_who_answers_said_on_stderr(backend: FakeBackend, dittod: Command) -> None:
    code, out, err = dittod("chat", "ditto/email", "What of tea?")
    assert (code, out) == (0, f"{SAID}\n")
    assert err == f"({EMAIL.id[:8]})\n", "its name is not known here"
    (asked,) = backend.asked
    assert asked.adapter == EMAIL and asked.messages == (Message("user", "What of tea?"),)


@pytest.mark.parametrize(
    ("model", "kept"),
    [("ditto/email", "30 days"), ("ditto/email@3", "30 days"), ("email@3", "30 days"), ("ditto", ""), ("base", "")],
)
def test_where_answers_are_kept_that_is_said_before_anything_is_asked(
    backend: FakeBackend, dittod: Command, monkeypatch: pytest.MonkeyPatch, model: str, kept: str
) -> None:
    monkeypatch.setenv("DITTOD_KEEP_INTERACTIONS", '{"email": 30.0}')
    _, _, err = dittod("chat", model, "What of tea?")
    said = f"(what you ask {model}, and its answers, are kept for {kept}: keep_interactions says so)"
    assert (err.splitlines()[0] == said) == bool(kept) and ("keep_interactions" in err) == bool(kept)


def test_a_version_is_called_by_its_name(backend: FakeBackend, home: Home, dittod: Command) -> None:
    folder = home.adapters / EMAIL.id
    folder.mkdir()
    made = Adapter(
        EMAIL.id, "email", 0, "candidate", str(folder), "r", "b", "1", "t", (), 1, 1.0, None, Verdict(True, (), {})
    )
    store = Store(home.store)
    store.add_adapter(made)
    store.close()
    assert dittod("chat", "email@1", "Tea?") == (0, f"{SAID}\n", "(email@1)\n")
    assert as_listed("email@1") == "ditto/email@1" and as_listed("ditto/email@1") == "ditto/email@1"


def test_an_alias_that_serves_nothing_says_so(backend: FakeBackend, dittod: Command) -> None:
    assert "(no adapter is promoted" in dittod("chat", "ditto", "Tea?")[2]
    assert dittod("chat", "base", "Tea?")[2] == "(base)\n"


def test_a_question_may_come_by_a_pipe(backend: FakeBackend, dittod: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("What of tea,\nAnn?\n"))
    assert dittod("chat", "base")[:2] == (0, f"{SAID}\n")
    assert backend.asked[0].messages == (Message("user", "What of tea,\nAnn?"),)


def test_without_a_model_the_only_voice_answers(backend: FakeBackend, home: Home, dittod: Command) -> None:
    there_are_texts(home, "email")
    assert dittod("chat")[0] == 1 and not backend.asked, "there is no question"
    assert only_voice(home) == "ditto/email"
    there_are_texts(home, "blog")
    with pytest.raises(DittodError, match="several voices") as caught:
        only_voice(home)
    assert caught.value.hint == "say which: ditto/blog, ditto/email"
    there_are_texts(home, "default")
    assert only_voice(home) == "ditto"


@pytest.mark.parametrize(
    ("arguments", "title"),
    [
        (("ditto", " "), "there is nothing to ask"),
        (("ditto",), "there is nothing to ask"),
        (("Write to Ann.",), "a question comes after the model"),
    ],
)
def test_what_is_no_question_is_refused_with_a_hint(arguments: tuple[str, ...], title: str, home: Home, dittod) -> None:
    code, out, err = dittod("chat", *arguments)
    assert (code, out) == (1, "") and err.startswith(f"error: {title}\nhint: ")


def test_an_unknown_name_is_refused_in_the_words_of_the_endpoint(backend: FakeBackend, dittod: Command) -> None:
    code, out, err = dittod("chat", "ditto/poems", "Tea?")
    assert (code, out) == (1, "") and "There is no model 'ditto/poems'" in err and "ditto/email" in err


def test_an_answer_that_breaks_off_is_an_error_behind_what_there_is(backend: FakeBackend, dittod: Command) -> None:
    backend.error, backend.error_after = EngineUnavailable("the engine died", "try again"), 2
    code, out, err = dittod("chat", "base", "Tea?")
    assert (code, out) == (1, "Kind regards\n") and err.endswith("error: the engine died\nhint: try again\n")


def test_characters_that_steer_a_terminal_are_not_sent(backend: FakeBackend, dittod: Command) -> None:
    backend.words = ("red \x1b[31m", "bell \x07", "line\n", "\x9b2J")
    assert dittod("chat", "base", "Tea?")[1] == "red \ufffd[31mbell \ufffdline\n\ufffd2J\n"


def test_a_daemon_without_an_endpoint_cannot_be_asked(home: Home, dittod: Command) -> None:
    with held(home.lock):
        code, _, err = dittod("chat", "base", "Tea?")
    assert code == 1 and "without an endpoint" in err


# --- a conversation ---


class Voice:
    """Says what it was told to, and remembers what it was asked."""

    def __init__(self, *answers: Sequence[Said | Exception | type[BaseException]]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    def say(self, model: str, messages: Sequence[Message], sampling: Sampling) -> Iterator[Said]:
        self.asked.append((model, tuple(each.content for each in messages)))
        for said in self.answers.pop(0):
            if isinstance(said, Exception | type):
                raise said
            yield said


Typing = Callable[..., Conversation]


@pytest.fixture
def typing(home: Home, monkeypatch: pytest.MonkeyPatch) -> Typing:
    """A conversation in which a user types these lines; None is Ctrl-C. Its end is Ctrl-D."""

    def converse(voice: Voice, *lines: str | None) -> Conversation:
        coming = iter(lines)

        def type_next(prompt: str) -> str:
            line = next(coming, "")
            if line is None:
                raise KeyboardInterrupt
            if line == "":
                raise EOFError
            return line

        monkeypatch.setattr("builtins.input", type_next)
        monkeypatch.setattr(chat, "_comes_at_once", lambda: False)
        conversation = Conversation("ditto", home, voice.say)
        talk(conversation)
        return conversation

    return converse


BASE = Began("base", "")
YES = (BASE, "Yes", ".", Ended("stop"))


def test_a_conversation_remembers_what_was_said(typing: Typing, capsys: pytest.CaptureFixture[str]) -> None:
    voice = Voice(YES, (BASE, "No.\n", Ended("stop")))
    typing(voice, "Tea?", "Coffee?")
    assert voice.asked == [("ditto", ("Tea?",)), ("ditto", ("Tea?", "Yes.", "Coffee?"))]
    out, err = capsys.readouterr()
    assert out == "Yes.\nNo.\n\n" and err.count("(base)") == 1, "who answers is said when it changes"


def test_commands_change_the_model_and_begin_anew(typing: Typing, capsys: pytest.CaptureFixture[str]) -> None:
    voice = Voice(YES, YES)
    typing(voice, "Tea?", "/new", "/model email@2", "Coffee?", "/model", "/help", "/quit", "never asked")
    assert voice.asked == [("ditto", ("Tea?",)), ("email@2", ("Coffee?",))]
    err = capsys.readouterr().err
    assert "the next question goes to email@2" in err and "(there are: base, ditto)" in err and "Ctrl-C ends an" in err


def test_lines_that_end_in_a_backslash_belong_together(typing: Typing) -> None:
    voice = Voice(YES)
    typing(voice, "Tea, \\", "or\\", "coffee?")
    assert voice.asked == [("ditto", ("Tea, \nor\ncoffee?",))]


def test_ctrl_c_ends_an_answer_of_which_what_was_said_counts(
    typing: Typing, capsys: pytest.CaptureFixture[str]
) -> None:
    voice = Voice((BASE, "Ye", KeyboardInterrupt), (KeyboardInterrupt,), YES)
    typing(voice, "Tea?", "Milk?", None, "Coffee?")
    assert voice.asked[-1] == ("ditto", ("Tea?", "Ye", "Coffee?")), "Milk was not answered"
    out, err = capsys.readouterr()
    assert out.startswith("Ye\n") and err.count("ended early") == 2


def test_an_error_does_not_end_the_conversation(typing: Typing, capsys: pytest.CaptureFixture[str]) -> None:
    voice = Voice((DittodError("the engine died", "wait"),), YES)
    assert [each.content for each in typing(voice, "Tea?", "Coffee?").messages] == ["Coffee?", "Yes."]
    assert "error: the engine died\nhint: wait\n" in capsys.readouterr().err


def test_an_answer_that_was_cut_says_so(typing: Typing, capsys: pytest.CaptureFixture[str]) -> None:
    typing(Voice((BASE, "Ye", Ended("length"))), "Tea?")
    assert capsys.readouterr().err.endswith("(cut at the limit)\n")


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="there are no terminals of this kind")
def test_in_a_real_terminal_pasted_lines_are_one_question_and_nothing_is_written_down(
    backend: FakeBackend, home: Home, tmp_path: Path
) -> None:
    ours, theirs = os.openpty()
    command = [sys.executable, "-c", "from dittod.cli import main; main()", "chat", "base"]
    variables = {**os.environ, "HOME": str(tmp_path), "TERM": "dumb"}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=variables) as process:
        os.close(theirs)
        seen = _read_until(ours, b"> ")
        os.write(ours, b"What of tea,\nAnn,\nand of milk?\n")
        seen += _read_until(ours, b"rik\r\n> ")
        os.write(ours, b"\x04")
        assert process.wait(15) == 0, seen
    os.close(ours)
    assert [each.messages for each in backend.asked] == [(Message("user", "What of tea,\nAnn,\nand of milk?"),)]
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and b"milk" in path.read_bytes()]
    assert not kept


def _read_until(terminal: int, end: bytes) -> bytes:
    seen = b""
    while not seen.endswith(end):
        seen += os.read(terminal, 4096)
    return seen


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_without_a_daemon_an_engine_of_the_command_answers_until_ctrl_c(tmp_path: Path) -> None:
    here = DaemonProcess(tmp_path / "home")
    command = [sys.executable, "-c", "from dittod.cli import main; main()", "chat", "base", "Write to Ann."]
    with subprocess.Popen(command, env=here.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) in (0, 130), "it may have been at its end"
    assert holder(Home(here.home).lock) is None
    done = here.cli("chat", "ditto", "Write to Ann.")
    assert done.returncode == 0 and done.stdout.strip()
    assert done.stderr == "(no adapter is promoted and usable, answered by base)\n"
