"""How help looks: plain text as wide as the terminal, commands in groups, examples at the end of each.

A command's own words are where it is declared; this knows its name, and nothing of what it does. The classes stand on
parts that typer keeps to itself, which is why their parameters have no types.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

GROUPS: dict[str, tuple[str, ...]] = {  # in the order in which `dittod --help` shows them
    "Start": ("demo", "init", "run", "service"),
    "Learn": (
        "status",
        "update",
        "runs",
        "pause",
        "resume",
        "stop-update",
        "ingest",
        "identities",
        "demos",
        "feedback",
        "plan",
    ),
    "Use": ("open", "connect", "chat", "token"),
    "Versions": ("adapters", "compare"),
    "Private": ("forget", "receipts"),
    "Upkeep": ("doctor", "logs", "uninstall"),
}
EXAMPLES: dict[str, tuple[str, ...]] = {  # by the command's name, '' for dittod itself
    "": (
        "dittod demo             # what it does, in a few minutes",
        "dittod init             # then: dittod run",
        "dittod update --help    # every command has help with examples",
    ),
    "demo": ("dittod demo", "dittod demo --once"),
    "init": ("dittod init", "dittod init --yes --identity you@example.org --budget 6GiB"),
    "run": ("dittod run",),
    "ingest": (
        "dittod ingest",
        "dittod ingest --dry-run letters/2024.mbox    # stores nothing",
    ),
    "identities": ("dittod identities", "dittod identities --confirm"),
    "update": ("dittod update --wait", "dittod update email --wait --json"),
    "runs": ("dittod runs", "dittod runs 5d1e", "dittod runs --json"),
    "status": ("dittod status", "dittod status --json"),
    "plan": ("dittod plan", "dittod plan --model Qwen/Qwen3-4B --budget 12GiB"),
    "pause": ("dittod pause --for 2h", "dittod pause             # until dittod resume"),
    "resume": ("dittod resume",),
    "stop-update": ("dittod stop-update email",),
    "doctor": ("dittod doctor", "dittod doctor --json"),
    "logs": ("dittod logs -n 20", "dittod logs -f             # until Ctrl-C"),
    "uninstall": ("dittod uninstall", "dittod uninstall --purge    # shows first what would go"),
    "token": ("dittod token", "export OPENAI_API_KEY=$(dittod token)"),
    "open": ("dittod open", "dittod open --print         # the link, for another browser"),
    "connect": ("dittod connect", "dittod connect zed --write"),
    "chat": (
        "dittod chat",
        'dittod chat ditto/email "Ask Ann whether Tuesday suits her."',
        "dittod chat email@2 < question.txt | tee answer.txt",
    ),
    "compare": (
        'dittod compare "Ask Ann whether Tuesday suits her."',
        'dittod compare "Thank Tom." email@2 email@3 --seed 7',
        'dittod compare "Thank Tom." --blind    # which is yours?',
        "dittod compare --tally",
    ),
    "forget": ("dittod forget letters/to-ann.eml", "dittod forget --profile email    # asks first"),
    "receipts": ("dittod receipts", "dittod receipts --json"),
    "demos": ("dittod demos list email", "dittod demos show 3f2a"),
    "demos list": ("dittod demos list", "dittod demos list email --json"),
    "demos show": ("dittod demos show 3f2a",),
    "demos edit": (
        "dittod demos edit 3f2a                       # in your EDITOR",
        'dittod demos edit 3f2a --prompt "Decline politely."',
        "dittod demos edit 3f2a --template",
    ),
    "demos exclude": ("dittod demos exclude 3f2a 91c0",),
    "demos include": ("dittod demos include 3f2a",),
    "demos add": (
        'dittod demos add --prompt "Invite Ann to tea." letter.txt',
        'dittod demos add --prompt "Thank Tom." --profile email < letter.txt',
    ),
    "adapters": ("dittod adapters list", "dittod adapters show email@3"),
    "adapters list": ("dittod adapters list", "dittod adapters list email --json"),
    "adapters show": ("dittod adapters show email@3",),
    "adapters promote": ("dittod adapters promote email@2",),
    "adapters pin": ("dittod adapters pin email@2",),
    "adapters unpin": ("dittod adapters unpin email@2",),
    "adapters rollback": ("dittod adapters rollback email",),
    "adapters diff": ("dittod adapters diff email@2 email@3",),
    "feedback": ("dittod feedback list", "dittod feedback add --help"),
    "feedback add": (
        "dittod feedback add chatcmpl-5d1e --edit better.txt",
        "dittod feedback add chatcmpl-5d1e --rate down",
        'dittod feedback add --prompt "Thank Tom." --given said.txt --edit better.txt',
    ),
    "feedback list": ("dittod feedback list email",),
    "feedback remove": ("dittod feedback remove 7b20",),
    "feedback answers": ("dittod feedback answers",),
    "service": ("dittod service install", "dittod service status"),
    "service install": ("dittod service install",),
    "service uninstall": ("dittod service uninstall",),
    "service start": ("dittod service start",),
    "service stop": ("dittod service stop",),
    "service restart": ("dittod service restart      # for new settings",),
    "service status": ("dittod service status --json",),
}
BOLD = "\x1b[1m{}\x1b[0m"  # left out by typer where it does not write to a terminal


def arrange(app: typer.Typer, path: str = "") -> None:
    """Give every command its place and its examples. To be called when all are declared."""
    app.info.cls = _Group
    app.info.epilog = _examples(path)
    for command in app.registered_commands:
        assert command.callback is not None
        name = command.name or command.callback.__name__.replace("_", "-")
        command.cls, command.epilog, command.rich_help_panel = _Command, _examples(path, name), _group_of(name)
    for group in app.registered_groups:
        assert group.name is not None and group.typer_instance is not None
        group.rich_help_panel = _group_of(group.name)
        arrange(group.typer_instance, group.name)


def _examples(*names: str) -> str:
    return "\n".join(EXAMPLES.get(" ".join(filter(None, names)), ()))


def _group_of(name: str) -> str:
    return next((group for group, names in GROUPS.items() if name in names), "Commands")


class _Command(TyperCommand):
    """One that does something."""

    def __init__(self, name: str | None, **attributes: Any) -> None:
        super().__init__(name, **attributes)
        _name_values(self.params)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """What must be given stands without brackets."""
        return [piece.translate({ord("{"): None, ord("}"): None}) for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments, then options."""
        _write_parameters(self.get_params(ctx), ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """The examples."""
        _write_examples(self.epilog, formatter)


class _Group(TyperGroup):
    """dittod itself, or one of its groups of commands."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        _name_values(self.params)

    def list_commands(self, ctx: Any) -> list[str]:
        """As GROUPS has them; within a group of commands as they are declared."""
        order = [name for names in GROUPS.values() for name in names]
        return sorted(self.commands, key=lambda name: order.index(name) if name in order else len(order))

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Commands, which is what one looks for, then options."""
        self.format_commands(ctx, formatter)
        _write_parameters(self.get_params(ctx), ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """By group, each with its first sentence."""
        grouped: dict[str, list[tuple[str, str]]] = {}
        names = self.list_commands(ctx)
        widest = max(map(len, names))
        for name in names:
            command = self.commands[name]
            heading = getattr(command, "rich_help_panel", None) or "Commands"
            grouped.setdefault(heading, []).append((name.ljust(widest), _first_sentence(command.help or "")))
        for heading, rows in grouped.items():
            _write_list(heading, rows, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """The examples."""
        _write_examples(self.epilog, formatter)


def _name_values(parameters: Iterable[Any]) -> None:
    """What stands for a value is called as the parameter is, in capitals, not by its type in Python."""
    for each in parameters:
        if each.metavar is None and not getattr(each, "is_flag", False):
            each.metavar = each.name.upper()


def _write_parameters(parameters: Iterable[Any], ctx: Any, formatter: Any) -> None:
    rows: dict[str, list[tuple[str, str]]] = {"argument": [], "option": []}
    for each in parameters:
        if record := each.get_help_record(ctx):
            given, about = record
            kind = each.param_type_name
            rows[kind].append((given.partition(" <")[0] if kind == "argument" else given, about))
    for heading, which in (("Arguments", "argument"), ("Options", "option")):
        _write_list(heading, rows[which], formatter)


def _write_list(heading: str, rows: list[tuple[str, str]], formatter: Any) -> None:
    if rows:
        _write_heading(heading, formatter)
        with formatter.indentation():
            formatter.write_dl(rows)


def _write_examples(examples: str | None, formatter: Any) -> None:
    """Line by line as they are, so that they can be copied."""
    if examples:
        _write_heading("Examples", formatter)
        formatter.write("".join(f"  {line}\n" for line in examples.splitlines()))


def _write_heading(heading: str, formatter: Any) -> None:
    shown = heading if os.environ.get("NO_COLOR") else BOLD.format(heading)
    formatter.write(f"\n{shown}\n")


def _first_sentence(text: str) -> str:
    """Of a command's help, for a list of many."""
    return re.split(r"(?<=\.) ", " ".join(text.split("\n\n")[0].split()), maxsplit=1)[0].rstrip(".")
