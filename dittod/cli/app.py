"""Every command with its help; what a command does is in the module beside this one that it imports."""

from __future__ import annotations

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
