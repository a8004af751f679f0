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
feedback = typer.Typer(help="Learning from use: what you say of answers.", no_args_is_help=True)
app.add_typer(feedback, name="feedback")
service = typer.Typer(help="dittod in the background, from every login on.", no_args_is_help=True)
app.add_typer(adapters, name="adapters")
app.add_typer(service, name="service")


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
def pause(
    duration: Annotated[str | None, typer.Option("--for", help="30m, 2h, 1d; without it, until dittod resume.")] = None,
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
def stop_update(profile: Annotated[str, typer.Argument(help="Its profile.")] = "default") -> None:
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


@adapters.command("pin")
def adapters_pin(
    adapter: Annotated[str, typer.Argument(help="The beginning of its id, or profile@number.")],
) -> None:
    """Keep this version, whatever room it takes."""
    from dittod.cli.adapters import pin_adapter

    pin_adapter(adapter, pinned=True)


@adapters.command("unpin")
def adapters_unpin(
    adapter: Annotated[str, typer.Argument(help="The beginning of its id, or profile@number.")],
) -> None:
    """Let it go when disk_budget asks for room."""
    from dittod.cli.adapters import pin_adapter

    pin_adapter(adapter, pinned=False)


@adapters.command("rollback")
def adapters_rollback(profile: Annotated[str, typer.Argument()] = "default") -> None:
    """Serve what was served before: the version promoted earlier, or base."""
    from dittod.cli.adapters import roll_back

    roll_back(profile)


@adapters.command("diff")
def adapters_diff(
    one: Annotated[str, typer.Argument(help="The beginning of its id, or profile@number.")],
    other: Annotated[str, typer.Argument(help="The beginning of its id, or profile@number.")],
    json: Json = False,
) -> None:
    """Two versions side by side: what they were made of, their figures, what they wrote for the gate."""
    from dittod.cli.diff import diff_adapters

    diff_adapters(one, other, as_json=json)


@app.command()
def compare(
    prompt: Annotated[str, typer.Argument(help="What both are asked.")],
    one: Annotated[str, typer.Argument(help="A model as the endpoint lists it, or profile@number.")] = "base",
    other: Annotated[str | None, typer.Argument(help="Likewise; without it, the default profile's voice.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same number gives the same answers again.")] = None,
    json: Json = False,
) -> None:
    """Ask two versions the same and see the answers side by side."""
    from dittod.cli.compare import compare

    compare(prompt, one, other, seed=seed, as_json=json)


@app.command()
def forget(
    targets: Annotated[list[str] | None, typer.Argument(help="Files, or beginnings of demonstrations' ids.")] = None,
    profile: Annotated[str | None, typer.Option(help="Everything that this profile was made of.")] = None,
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


@feedback.command("add")
def feedback_add(
    answer: Annotated[str | None, typer.Argument(help="The answer's id, where answers are kept.")] = None,
    edit: Annotated[Path | None, typer.Option(help="What it should have been: a text file, '-' for stdin.")] = None,
    rate: Annotated[str | None, typer.Option(help="'up': good as it is; 'down': not what you want.")] = None,
    prompt: Annotated[str | None, typer.Option(help="What was asked, where answers are not kept.")] = None,
    given: Annotated[Path | None, typer.Option(help="What was answered then, as a text file.")] = None,
    profile: Annotated[str, typer.Option(help="The voice that it is about.")] = "default",
) -> None:
    """Say what you make of an answer: an edited one is learnt from, one rated down is learnt to be avoided."""
    from dittod.cli.feedback import add_feedback

    add_feedback(answer, edit, rate, prompt=prompt, given=given, profile=profile)


@feedback.command("list")
def feedback_list(profile: Annotated[str | None, typer.Argument()] = None, json: Json = False) -> None:
    """What you have said so far."""
    from dittod.cli.feedback import list_feedback

    list_feedback(profile, as_json=json)


@feedback.command("remove")
def feedback_remove(ids: Annotated[list[str], typer.Argument(help="The beginnings of their ids.")]) -> None:
    """Take it back: nothing more is learnt from it, and a text that it had become is forgotten."""
    from dittod.cli.feedback import remove_feedback

    remove_feedback(ids)


@feedback.command("answers")
def feedback_answers(profile: Annotated[str | None, typer.Argument()] = None, json: Json = False) -> None:
    """The latest answers, where you had them kept (keep_interactions)."""
    from dittod.cli.feedback import list_answers

    list_answers(profile, as_json=json)


@service.command("install")
def service_install() -> None:
    """Have the system start dittod at every login, and start it now."""
    from dittod.cli.service import install_service

    install_service()


@service.command("uninstall")
def service_uninstall() -> None:
    """Stop it and take it out again. What it has learnt stays."""
    from dittod.cli.service import uninstall_service

    uninstall_service()


@service.command("start")
def service_start() -> None:
    """Start the installed service."""
    from dittod.cli.service import start_service

    start_service()


@service.command("stop")
def service_stop() -> None:
    """Stop it: answers that run may end, an update keeps its place."""
    from dittod.cli.service import stop_service

    stop_service()


@service.command("restart")
def service_restart() -> None:
    """Stop and start it, for new settings say."""
    from dittod.cli.service import restart_service

    restart_service()


@service.command("status")
def service_status(json: Json = False) -> None:
    """Whether it is installed and running, as the system sees it."""
    from dittod.cli.service import service_status

    service_status(as_json=json)


@service.command("logs")
def service_logs(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows, until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="So many of the latest.")] = 50,
) -> None:
    """What the daemon has logged. It never holds any text of yours."""
    from dittod.cli.service import service_logs

    service_logs(follow=follow, lines=lines)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        from dittod import __version__

        typer.echo(f"dittod {__version__}")
        raise typer.Exit
