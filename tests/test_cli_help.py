"""Help: every command has its place and examples that work as written, fits the terminal, and loads next to nothing."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from conftest import Command

from dittod.cli.app import app
from dittod.cli.help import EXAMPLES, GROUPS

ROOT = typer.main.get_command(app)
HEAVY = {"torch", "transformers", "pydantic", "numpy", "rich", "sqlite3", "starlette", "uvicorn", "apscheduler"}
HELP = "import sys; sys.argv = ['dittod', '--help']; from dittod.cli import main; main()"


def every_command(command: Any = ROOT, path: str = "") -> Iterator[tuple[str, Any]]:
    """By its full name without 'dittod'."""
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from every_command(child, f"{path} {name}".strip())


COMMANDS = dict(every_command())
LINES = [line for lines in EXAMPLES.values() for line in lines]


def calls_in(example: str) -> list[list[str]]:
    """The arguments of every `dittod` in a line of a shell."""
    lexer = shlex.shlex(example.replace("$(", " ; ").replace(")", " ; "), posix=True, punctuation_chars="|<>;&")
    lexer.whitespace_split = True
    words, calls = list(lexer), []
    while "dittod" in words:
        words = words[words.index("dittod") + 1 :]
        end = next((place for place, word in enumerate(words) if set(word) <= set("|<>;&")), len(words))
        calls.append(words[:end])
    return calls


def parse(arguments: list[str]) -> str:
    """What would be called with it. Fails where the command line would."""
    command, path = ROOT, ""
    context = command.make_context("dittod", list(arguments))
    while isinstance(command, typer.core.TyperGroup) and (rest := [*context._protected_args, *context.args]):
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)
        path = f"{path} {name}".strip()
    return path


def help_of(name: str) -> str:
    """Without escapes, as a pipe gets it."""
    context = typer.Context(COMMANDS[name], info_name=f"dittod {name}".strip())
    return str(COMMANDS[name].get_help(context)).replace("\x1b[1m", "").replace("\x1b[0m", "")


def test_every_command_is_in_a_group_and_the_groups_name_no_other() -> None:
    named = [name for names in GROUPS.values() for name in names]
    assert sorted(named) == sorted(name for name in COMMANDS if name and " " not in name)


def test_every_command_has_examples_of_its_own() -> None:
    assert EXAMPLES.keys() == COMMANDS.keys()
    for name, examples in EXAMPLES.items():
        assert any(f"dittod {name}".strip() in example for example in examples), name


@pytest.mark.parametrize("example", LINES)
def test_examples_work_as_written(example: str) -> None:
    calls = calls_in(example)
    assert calls
    for arguments in calls:
        if arguments[-1] == "--help":
            assert " ".join(arguments[:-1]) in COMMANDS
        else:
            assert parse(arguments) in COMMANDS


def test_an_example_that_does_not_parse_would_be_found() -> None:
    assert calls_in('dittod a "b c" | dittod d < e  # f') == [["a", "b c"], ["d"]]
    with pytest.raises(Exception, match="No such option"):
        parse(["status", "--jsn"])


@pytest.mark.parametrize("width", [60, 80, 120])
def test_help_fits_the_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    for name in COMMANDS:
        words, _, examples = help_of(name).partition("\nExamples\n")
        assert max(map(len, words.splitlines())) <= width, name
        assert max(map(len, examples.splitlines())) <= 100, name  # a line that is to be copied is not broken


def test_values_are_called_by_their_names_not_by_types_of_python() -> None:
    for name in COMMANDS:
        text = help_of(name)
        assert not re.search(r"<(str|int|bool|path|float)", text), name
        assert "{" not in text.splitlines()[0], name


def test_help_lists_commands_in_their_groups(dittod: Command) -> None:
    text = dittod("--help")[1]
    headings = [line for line in text.splitlines() if line and not line.startswith((" ", "Usage"))]
    assert headings == [*GROUPS, "Options", "Examples"]
    start = text.partition("\nStart\n")[2].partition("\n\n")[0]
    assert [line.split()[0] for line in start.splitlines() if line[2] != " "] == list(GROUPS["Start"])


def test_help_loads_next_to_nothing() -> None:
    code = f"import sys, atexit; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); {HELP}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Upkeep" in done.stdout
    assert not HEAVY & {name.partition(".")[0] for name in done.stderr.split()}


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="there are no terminals of this kind")
@pytest.mark.parametrize(
    ("variables", "heading"), [({}, "\x1b[1mStart\x1b[0m\r\n"), ({"NO_COLOR": "1"}, "\nStart\r\n")]
)
def test_headings_are_bold_on_a_terminal_that_may_show_it(variables: dict[str, str], heading: str) -> None:
    ours, theirs = os.openpty()
    kept = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    with subprocess.Popen([sys.executable, "-c", HELP], stdout=theirs, env={**kept, **variables}) as process:
        os.close(theirs)
        shown = b""
        while piece := _read(ours):
            shown += piece
    os.close(ours)
    assert process.returncode == 0 and heading in shown.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux has no end of a terminal, but an error
        return b""


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [(("updtae",), "'update'"), (("status", "--jsn"), "--json"), (("adapters", "promot"), "'promote'")],
)
def test_a_mistyped_name_brings_the_nearest(arguments: tuple[str, ...], nearest: str, dittod: Command) -> None:
    code, out, err = dittod(*arguments)
    assert (code, out) == (2, "") and nearest in err and "--help" in err


def test_the_manual_has_every_command_in_its_group() -> None:
    manual = Path(__file__).parent.parent.joinpath("docs", "cli.md").read_text(encoding="utf-8")
    for group, names in GROUPS.items():
        rows = manual.partition(f"\n| {group} | |\n")[2].partition("\n\n")[0].splitlines()[1:]
        assert rows and [name for row in rows for name in re.findall(r"`dittod ([a-z-]+)", row.split(" | ")[0])]
        for name in names:
            children = getattr(COMMANDS[name], "commands", {})
            (first, *_) = [row.split(" | ")[0] for row in rows if f"`dittod {name}" in row.split(" | ")[0]]
            everywhere = " ".join(row.split(" | ")[0] for row in rows if f"`dittod {name}" in row)
            assert first and all(re.search(rf"[ `]{child}`", everywhere) for child in children), name
