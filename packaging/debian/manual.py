"""dittod(1), from what `dittod --help` says. Knows roff, and nothing of what the commands do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer.main

from dittod.cli.app import app


def manual_page(version: str) -> str:
    """In the macros of man(7)."""
    root = typer.main.get_command(app)
    commands = "".join(
        f".TP\n.B {escaped(name)}\n{escaped(command.get_short_help_str(200))}\n" for name, command in leaves(root)
    )
    return (
        f'.TH DITTOD 1 "" "dittod {version}" "User Commands"\n'
        f".SH NAME\ndittod \\- learns how you write, on this machine, and serves it\n"
        f".SH SYNOPSIS\n.B dittod\n.I COMMAND\n[\\fIOPTIONS\\fR]\n"
        f".SH DESCRIPTION\n{escaped(root.help or '')}\n"
        f".SH COMMANDS\nEach explains itself with \\-\\-help.\n{commands}"
        f".SH ENVIRONMENT\n.TP\n.B DITTOD_HOME\nThe folder with everything that dittod keeps.\n"
        f".SH EXIT STATUS\n0: done. 1: an error, with a hint. 2: wrong usage. 130: interrupted. 141: what read the output has closed it.\n"
    )


def leaves(command: Any, path: str = "dittod") -> Iterator[tuple[str, Any]]:
    """Every command that does something, with its full name. Of types that typer keeps to itself."""
    children = getattr(command, "commands", None)
    if children is None:
        yield path, command
        return
    for name, child in children.items():
        yield from leaves(child, f"{path} {name}")


def escaped(text: str) -> str:
    """What would be a request or an escape of roff is text."""
    lines = text.replace("\\", "\\e").replace("-", "\\-").splitlines()
    return "\n".join(f"\\&{line}" if line.startswith((".", "'")) else line for line in lines)
