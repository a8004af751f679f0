"""Parameters that several commands take, each with its help and with what the shell completes for it."""

from __future__ import annotations

from typing import Annotated

import typer

from dittod.cli import completion

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]
Profile = Annotated[str, typer.Argument(help="A sub-folder of the watched folder.", autocompletion=completion.profiles)]
OneProfile = Annotated[str | None, typer.Argument(help="Of this profile alone.", autocompletion=completion.profiles)]
ProfileOption = Annotated[
    str, typer.Option("--profile", help="The profile it belongs to.", autocompletion=completion.profiles)
]
Version = Annotated[
    str, typer.Argument(help="profile@number, or the beginning of its id.", autocompletion=completion.versions)
]
Demonstration = Annotated[
    str, typer.Argument(metavar="ID", help="The beginning of its id.", autocompletion=completion.demonstrations)
]
Demonstrations = Annotated[
    list[str],
    typer.Argument(metavar="ID", help="The beginnings of their ids.", autocompletion=completion.demonstrations),
]
