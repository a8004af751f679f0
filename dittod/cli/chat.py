"""chat: a conversation with a version, here in the terminal; or one question, and its answer.

What is said stays in the memory of this process, until its end; but whoever answers keeps it on the disk where the
setting `keep_interactions` names the voice, and then that is said first. Answers may be anything that a model says:
what would steer the terminal is not sent. Knows nothing of who answers.
"""

from __future__ import annotations

import select
import sys
from contextlib import suppress
from dataclasses import dataclass, field

from dittod.cli.answers import Began, Ended, Said, Say, as_listed, only_voice, opened
from dittod.cli.completion import models
from dittod.cli.side_by_side import printable
from dittod.cli.terminal import err, out
from dittod.config import load_settings
from dittod.engine.protocol import Sampling
from dittod.errors import DittodError
from dittod.paths import Home, home
from dittod.store.names import VERSIONS_BY_ID, names
from dittod.types import BASE, DEFAULT_PROFILE, VOICE, Message

SAMPLING = Sampling(temperature=0.7)  # below 1, as most clients sample
PROMPT, CONTINUED = "> ", ". "
PASTE_SECONDS = 0.05  # lines that follow one another faster than this were not typed
HELP = """\
/model NAME  go on with another one; without NAME, list them
/new         begin anew: nothing said so far counts
/quit        end, as Ctrl-D does
A line that ends in \\ goes on in the next one; pasted lines belong together. Ctrl-C ends an answer early."""


@dataclass(slots=True)
class Conversation:
    """With whom, and what was said so far."""

    model: str
    place: Home
    say: Say
    messages: list[Message] = field(default_factory=list[Message])
    who: Began | None = None  # answered last

    def ask(self, question: str) -> None:
        """Show the answer as it comes. Of one that breaks off, what there is counts; without any the question was not
        asked."""
        self.messages.append(Message("user", question))
        pieces: list[str] = []
        try:
            self._show(pieces)
        finally:
            answer = "".join(pieces)
            if answer:
                self.messages.append(Message("assistant", answer))
            else:
                self.messages.pop()

    def _show(self, pieces: list[str]) -> None:
        ended: Said = ""
        try:
            with err.status(f"{self.model} writes") as status:
                for ended in self.say(self.model, self.messages, SAMPLING):
                    if isinstance(ended, Began):
                        self._introduce(ended)
                    elif isinstance(ended, str):
                        status.stop()
                        pieces.append(ended)
                        _write(printable(ended))
        finally:
            if pieces and not pieces[-1].endswith("\n"):
                _write("\n")
        if ended == Ended("length"):
            _aside("cut at the limit")

    def _introduce(self, who: Began) -> None:
        """Only who has not answered the last time, too."""
        if who != self.who:
            self.who = who
            _aside(who.note or _name(self.place, who.adapter))


def chat(model: str | None, question: str | None) -> None:
    """A question is given, or stands on stdin; where that is a terminal, it is a conversation."""
    place = home()
    place.create()
    question = sys.stdin.read() if question is None and not _is_interactive() else question
    if model is not None and " " in model and not question:
        raise DittodError("a question comes after the model", 'dittod chat ditto "…"')
    if question is not None and not question.strip():
        raise DittodError("there is nothing to ask", 'give a question: dittod chat ditto "…", or one on stdin')
    model = model or only_voice(place)
    with opened(place) as say:
        _say_what_is_kept(place, model)
        conversation = Conversation(model, place, say)
        talk(conversation) if question is None else conversation.ask(question.strip())


def talk(conversation: Conversation) -> None:
    """Until its end."""
    with suppress(ImportError):  # Windows has none
        import readline  # noqa: F401  # input() edits its lines with it
    err.print(f"{conversation.model}. /help says what else there is, Ctrl-D ends it.", style="dim", markup=False)
    while True:
        try:
            line = _typed()
        except EOFError:
            _write("\n")
            return
        except KeyboardInterrupt:
            _write("\n")
            continue
        if line == "/quit":
            return
        _answer(conversation, line)


def _answer(conversation: Conversation, line: str) -> None:
    """To one line. What goes wrong does not end the conversation."""
    try:
        if line.startswith("/"):
            _obey(conversation, *line[1:].split())
        elif line:
            conversation.ask(line)
    except KeyboardInterrupt:
        _aside("ended early")
    except DittodError as error:
        err.print(f"error: {error.title}", markup=False, soft_wrap=True)
        if error.hint:
            err.print(f"hint: {error.hint}", markup=False, soft_wrap=True)


def _obey(conversation: Conversation, command: str = "", *values: str) -> None:
    match command, values:
        case "new", ():
            conversation.messages.clear()
            _aside("nothing said so far counts")
        case "model", ():
            known = [name for name, _ in models("")]
            _aside(
                "there are: "
                + ", ".join(name for name in known if name.removeprefix("ditto/") == name or "@" not in name)
            )
        case "model", _:
            conversation.model, conversation.who = " ".join(values), None
            _aside(f"the next question goes to {conversation.model}")
            _say_what_is_kept(conversation.place, conversation.model)
        case _:
            err.print(HELP, markup=False, soft_wrap=True)


def _typed() -> str:
    """What the user says next: a line, or several."""
    lines = [input(PROMPT)]
    with suppress(EOFError):
        while lines[-1].endswith("\\") or _comes_at_once():
            lines[-1] = lines[-1].removesuffix("\\")
            lines.append(input(CONTINUED))
    return "\n".join(lines).strip()


def _comes_at_once() -> bool:
    """Whether there is more already: lines were pasted."""
    try:
        return bool(select.select([sys.stdin], [], [], PASTE_SECONDS)[0])
    except (OSError, ValueError):  # Windows can only wait for the network
        return False


def _is_interactive() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _say_what_is_kept(place: Home, model: str) -> None:
    """Before anything is asked."""
    days = load_settings(place).keep_interactions.get(_profile(as_listed(model)))
    if days is not None:
        span = f"{days:g} day{'s' * (days != 1)}"
        _aside(f"what you ask {model}, and its answers, are kept for {span}: keep_interactions says so")


def _profile(model: str) -> str:
    """Whose voice such a name is; '': nobody's."""
    if model in (BASE, VOICE):
        return DEFAULT_PROFILE if model == VOICE else ""
    name = model.removeprefix(f"{VOICE}/")
    return name.rpartition("@")[0] or name


def _name(place: Home, adapter: str) -> str:
    """As people call a version."""
    found = names(place.store, VERSIONS_BY_ID, adapter)
    return BASE if adapter == BASE else found[0][1] if found else adapter[:8]


def _write(text: str) -> None:
    out.file.write(text)
    out.file.flush()


def _aside(remark: str) -> None:
    err.print(f"({remark})", style="dim", markup=False, soft_wrap=True)
