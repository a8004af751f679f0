"""Every command with its help; what a command does is in the module beside this one that it imports."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]

app = typer.Typer(
    help="Learn how you write from a folder of your texts; serve it at an OpenAI-compatible endpoint on this machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
)
demos = typer.Typer(help="What dittod learns from: prompts and the completions you wrote.", no_args_is_help=True)
adapters = typer.Typer(help="What dittod has learnt: versions, verdicts, rolling back.", no_args_is_help=True)
app.add_typer(demos, name="demos")
app.add_typer(adapters, name="adapters")


@app.command()
def demo(once: Annotated[bool, typer.Option("--once", help="End after the first answered request.")] = False) -> None:
    """See it work in a few minutes: learn an invented person's manner, answer in it, serve it."""
    from dittod.cli.demo import demo

    demo(once=once)


@app.command()
def init() -> None:
    """Make the settings file, the watched folder and the token; say what comes next."""
    from dittod.cli.home import init

    init()


@app.command()
def run() -> None:
    """Watch the folder, learn when it is time, and serve the endpoint until Ctrl-C."""
    from dittod.cli.home import run

    run()


@app.command()
def ingest(
    path: Annotated[Path | None, typer.Argument(help="A file or folder, for --dry-run.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show line by line, store nothing.")] = False,
    json: Json = False,
) -> None:
    """Read the watched folder now; or show what PATH would teach, what is cut from it, and why."""
    from dittod.cli.ingest import ingest

    ingest(path, dry_run=dry_run, as_json=json)


@app.command()
def identities(
    confirm: Annotated[bool, typer.Option("--confirm", help="Put the guess into dittod.toml.")] = False,
    json: Json = False,
) -> None:
    """Whose mail counts as yours."""
    from dittod.cli.identities import show_identities

    show_identities(confirm=confirm, as_json=json)


@app.command()
def update(
    profile: Annotated[str, typer.Argument(help="A sub-folder of the watched folder.")] = "default",
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the verdict, with progress.")] = False,
    json: Json = False,
) -> None:
    """Learn now. Without a running daemon, the update runs here."""
    from dittod.cli.update import update

    update(profile, wait=wait, as_json=json)


@app.command()
def status(json: Json = False) -> None:
    """What is served, what is being learnt, and if nothing, why."""
    from dittod.cli.status import status

    status(as_json=json)


@app.command()
def plan(
    model: Annotated[str | None, typer.Option(help="Instead of base_model: a folder, or a hub id.")] = None,
    budget: Annotated[str | None, typer.Option(help="Instead of memory_budget: 6GiB, say.")] = None,
    json: Json = False,
) -> None:
    """How learning fits into the memory budget, and why. Loads no weights."""
    from dittod.cli.plan import show_plan

    show_plan(model, budget, as_json=json)


@app.command()
def token() -> None:
    """Print the endpoint's bearer token: the API key to give to clients."""
    from dittod.cli.home import token

    token()


@demos.command("list")
def demos_list(profile: Annotated[str | None, typer.Argument()] = None, json: Json = False) -> None:
    """All demonstrations, and the files that gave none, with the reason."""
    from dittod.cli.demos import list_demos

    list_demos(profile, as_json=json)


@demos.command("show")
def demos_show(id: Annotated[str, typer.Argument(help="The beginning of its id.")], json: Json = False) -> None:
    """One demonstration: its prompt and what you wrote."""
    from dittod.cli.demos import show_demo

    show_demo(id, as_json=json)


@demos.command("edit")
def demos_edit(
    id: Annotated[str, typer.Argument(help="The beginning of its id.")],
    prompt: Annotated[str | None, typer.Option(help="The new prompt; without it, your EDITOR opens.")] = None,
    template: Annotated[bool, typer.Option("--template", help="Back to the prompt that the template made.")] = False,
) -> None:
    """Change what one demonstration answers."""
    from dittod.cli.demos import edit_demo

    edit_demo(id, prompt, template=template)


@demos.command("exclude")
def demos_exclude(ids: Annotated[list[str], typer.Argument(help="The beginnings of their ids.")]) -> None:
    """Leave demonstrations aside: neither learnt from nor judged by."""
    from dittod.cli.demos import exclude_demos

    exclude_demos(ids, excluded=True)


@demos.command("include")
def demos_include(ids: Annotated[list[str], typer.Argument(help="The beginnings of their ids.")]) -> None:
    """Take back what was excluded."""
    from dittod.cli.demos import exclude_demos

    exclude_demos(ids, excluded=False)


@demos.command("add")
def demos_add(
    prompt: Annotated[str, typer.Option(help="What was asked.")],
    file: Annotated[Path | None, typer.Argument(help="What you wrote, as a text file; without it, stdin.")] = None,
    profile: Annotated[str, typer.Option(help="The profile it belongs to.")] = "default",
) -> None:
    """Put a pair of your own into the watched folder."""
    from dittod.cli.demos import add_demo

    add_demo(file, prompt, profile)


@adapters.command("list")
def adapters_list(profile: Annotated[str | None, typer.Argument()] = None, json: Json = False) -> None:
    """All versions with their state and figures."""
    from dittod.cli.adapters import list_adapters

    list_adapters(profile, as_json=json)


@adapters.command("show")
def adapters_show(
    adapter: Annotated[str, typer.Argument(help="The beginning of its id, or profile@number.")], json: Json = False
) -> None:
    """One version: the gate's verdict and reasons, its figures, what it wrote for the gate."""
    from dittod.cli.adapters import show_adapter

    show_adapter(adapter, as_json=json)


@adapters.command("promote")
def adapters_promote(
    adapter: Annotated[str, typer.Argument(help="The beginning of its id, or profile@number.")],
) -> None:
    """Serve this version from now on, whatever the gate said."""
    from dittod.cli.adapters import promote_adapter

    promote_adapter(adapter)


@adapters.command("rollback")
def adapters_rollback(profile: Annotated[str, typer.Argument()] = "default") -> None:
    """Serve what was served before: the version promoted earlier, or base."""
    from dittod.cli.adapters import roll_back

    roll_back(profile)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from dittod import __version__

        typer.echo(f"dittod {__version__}")
        raise typer.Exit
