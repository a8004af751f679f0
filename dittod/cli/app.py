"""Every command with its help; what a command does is in the module beside this one that it imports."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dittod.cli import completion
from dittod.cli.help import arrange
from dittod.cli.parameters import Json, Profile
from dittod.cli.subcommands import adapters, demos, feedback, service

app = typer.Typer(
    help="Learn how you write from a folder of your texts; serve it at an OpenAI-compatible endpoint on this machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    rich_markup_mode=None,  # help and usage errors are plain text: nothing to load, nothing to draw
)
app.add_typer(demos, name="demos")
app.add_typer(adapters, name="adapters")
app.add_typer(feedback, name="feedback")
app.add_typer(service, name="service")


@app.command()
def demo(once: Annotated[bool, typer.Option("--once", help="End after the first answered request.")] = False) -> None:
    """See it work in a few minutes: learn an invented person's manner, answer in it, serve it."""
    from dittod.cli.demo import demo

    demo(once=once)


@app.command()
def init(  # noqa: PLR0913  # a flag for each question
    folder: Annotated[Path | None, typer.Option(help="The folder to watch.")] = None,
    identity: Annotated[list[str] | None, typer.Option(help="An address of yours; may be given again.")] = None,
    profile: Annotated[str | None, typer.Option(help="A sub-folder to make: a voice of its own.")] = None,
    model: Annotated[str | None, typer.Option(help="The base model: a folder, or a hub id to download.")] = None,
    budget: Annotated[str | None, typer.Option(help="The memory that dittod may take: 6GiB, say.")] = None,
    service: Annotated[bool | None, typer.Option(help="Whether to start dittod now and at every login.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: what no option says stays as it is.")] = False,
) -> None:
    """Set dittod up: settings, watched folder, token, base model. Asks on a terminal; can be called again."""
    from dittod.cli.init import init
    from dittod.cli.questions import Wanted

    init(Wanted(folder, None if identity is None else tuple(identity), profile, model, budget, service), yes=yes)


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
    profile: Profile = "default",
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
def runs(
    id: Annotated[
        str | None,
        typer.Argument(
            metavar="ID",
            help="The beginning of one's id: how it went. Without it, a list.",
            autocompletion=completion.runs,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Updates, past and under way, each with what came of it."""
    from dittod.cli.runs import list_runs, show_run

    list_runs(as_json=json) if id is None else show_run(id, as_json=json)


@app.command()
def plan(
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Instead of base_model: a folder, or a hub id.")
    ] = None,
    budget: Annotated[str | None, typer.Option(metavar="SIZE", help="Instead of memory_budget: 6GiB, say.")] = None,
    json: Json = False,
) -> None:
    """How learning fits into the memory budget, and why. Loads no weights."""
    from dittod.cli.plan import show_plan

    show_plan(model, budget, as_json=json)


@app.command()
def pause(
    duration: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="30m, 2h, 1d; without it, until dittod resume.")
    ] = None,
) -> None:
    """Learn nothing for a while: a running update keeps its place. Requests are answered as before."""
    from dittod.cli.pausing import pause

    pause(duration)


@app.command()
def resume() -> None:
    """End a pause; the update goes on where it was."""
    from dittod.cli.pausing import resume

    resume()


@app.command("stop-update")
def stop_update(profile: Profile = "default") -> None:
    """Give the open update of a profile up, for good."""
    from dittod.cli.pausing import stop_update

    stop_update(profile)


@app.command()
def doctor(json: Json = False) -> None:
    """Look for what could keep dittod from working here, each with its remedy. Exit code 1: something would."""
    from dittod.cli.doctor import doctor

    doctor(as_json=json)


@app.command()
def uninstall(
    purge: Annotated[bool, typer.Option("--purge", help="Also what was learnt, the settings and the token.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove the service, and with --purge all that dittod has made here; says what. Your texts stay."""
    from dittod.cli.uninstall import uninstall

    uninstall(purge=purge, yes=yes)


@app.command()
def connect(
    client: Annotated[
        str | None, typer.Argument(help="Without it: which there are.", autocompletion=completion.clients)
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Into its own file, of which a copy is kept.")] = False,
    folder: Annotated[
        Path | None, typer.Option(help="Where it lies, for those that have no place of their own.")
    ] = None,
    model: Annotated[str, typer.Option(help="Which it is to ask.", autocompletion=completion.models)] = "ditto",
    json: Json = False,
) -> None:
    """Print what a client needs to know, or write it, and prove it with a request. Exit code 1: not proved."""
    from dittod.cli.connect import connect

    connect(client, model, folder=folder, writes=write, as_json=json)


@app.command("open")
def open_(
    printed: Annotated[
        bool, typer.Option("--print", help="Print the link instead: for another browser, or ssh.")
    ] = False,
) -> None:
    """Open the dashboard in your browser, signed in."""
    from dittod.cli.open import open_dashboard

    open_dashboard(printed=printed)


@app.command()
def token() -> None:
    """Print the endpoint's bearer token: the API key to give to clients."""
    from dittod.cli.token import token

    token()


@app.command()
def compare(  # noqa: PLR0913  # all that a question takes
    prompt: Annotated[str, typer.Argument(help="What both are asked.", show_default=False)] = "",
    one: Annotated[
        str,
        typer.Argument(help="A model as the endpoint lists it, or profile@number.", autocompletion=completion.models),
    ] = "base",
    other: Annotated[
        str | None,
        typer.Argument(help="Likewise; without it, the default profile's voice.", autocompletion=completion.models),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="NUMBER", help="The same number gives the same answers again.")
    ] = None,
    blind: Annotated[
        bool, typer.Option("--blind", help="Which is yours? Names are shown when you have said it.")
    ] = False,
    tally: Annotated[bool, typer.Option("--tally", help="How often you took which for yours; asks nobody.")] = False,
    json: Json = False,
) -> None:
    """Ask two versions the same and see the answers side by side."""
    if blind and json:
        raise typer.BadParameter("--blind asks you, and --json is for programs: give one of them")
    if tally:
        from dittod.cli.blind import show_tally

        show_tally(as_json=json)
    elif blind:
        from dittod.cli.blind import compare_blind

        compare_blind(prompt, one, other, seed=seed)
    else:
        from dittod.cli.compare import compare

        compare(prompt, one, other, seed=seed, as_json=json)


@app.command()
def forget(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TARGET",
            help="Files, or beginnings of demonstrations' ids.",
            autocompletion=completion.forgettable,
        ),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(help="Everything that this profile was made of.", autocompletion=completion.profiles),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")] = False,
    json: Json = False,
) -> None:
    """Forget texts, and every version that has learnt from them. Without a target: files that are gone and wait for a
    word from you."""
    from dittod.cli.forget import forget

    forget(targets or [], profile, yes=yes, as_json=json)


@app.command()
def receipts(json: Json = False) -> None:
    """What was forgotten: when, why, which versions went, what took their place. Nothing of the texts."""
    from dittod.cli.forget import list_receipts

    list_receipts(as_json=json)


@app.command()
def chat(
    model: Annotated[
        str | None,
        typer.Argument(
            help="As the endpoint lists it, or profile@number; without it, your voice.",
            autocompletion=completion.models,
        ),
    ] = None,
    question: Annotated[str | None, typer.Argument(help="Answered once; without it, a conversation.")] = None,
) -> None:
    """Talk to a version, here in the terminal. With a QUESTION, or one on stdin, print the answer and end."""
    from dittod.cli.chat import chat

    chat(model, question)


@app.command()
def logs(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows, until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, metavar="NUMBER", help="So many of the latest.")] = 50,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line, as the file has it.")] = False,
) -> None:
    """What the daemon has logged, wherever it was started. It never holds any text of yours."""
    from dittod.cli.logs import show_logs

    show_logs(follow=follow, lines=lines, as_json=json)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    from dittod.private import keep_to_itself

    keep_to_itself()
    if version:
        from dittod import __version__

        typer.echo(f"dittod {__version__}")
        raise typer.Exit


arrange(app)
