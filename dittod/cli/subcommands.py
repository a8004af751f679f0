"""Commands that come in groups: demos, adapters, feedback, service. What one does is in the module of that name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dittod.cli import completion
from dittod.cli.parameters import Demonstration, Demonstrations, Json, OneProfile, Profile, ProfileOption, Version

demos = typer.Typer(help="What dittod learns from: prompts and the completions you wrote.", no_args_is_help=True)
adapters = typer.Typer(help="What dittod has learnt: versions, verdicts, rolling back.", no_args_is_help=True)
feedback = typer.Typer(help="Learning from use: what you say of answers.", no_args_is_help=True)
service = typer.Typer(help="dittod in the background, from every login on.", no_args_is_help=True)


@demos.command("list")
def demos_list(profile: OneProfile = None, json: Json = False) -> None:
    """All demonstrations, and the files that gave none, with the reason."""
    from dittod.cli.demos import list_demos

    list_demos(profile, as_json=json)


@demos.command("show")
def demos_show(id: Demonstration, json: Json = False) -> None:
    """One demonstration: its prompt and what you wrote."""
    from dittod.cli.demos import show_demo

    show_demo(id, as_json=json)


@demos.command("edit")
def demos_edit(
    id: Demonstration,
    prompt: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The new prompt; without it, your EDITOR opens.")
    ] = None,
    template: Annotated[bool, typer.Option("--template", help="Back to the prompt that the template made.")] = False,
) -> None:
    """Change what one demonstration answers."""
    from dittod.cli.demos import edit_demo

    edit_demo(id, prompt, template=template)


@demos.command("exclude")
def demos_exclude(ids: Demonstrations) -> None:
    """Leave demonstrations aside: neither learnt from nor judged by."""
    from dittod.cli.demos import exclude_demos

    exclude_demos(ids, excluded=True)


@demos.command("include")
def demos_include(ids: Demonstrations) -> None:
    """Take back what was excluded."""
    from dittod.cli.demos import exclude_demos

    exclude_demos(ids, excluded=False)


@demos.command("add")
def demos_add(
    prompt: Annotated[str, typer.Option(metavar="TEXT", help="What was asked.")],
    file: Annotated[Path | None, typer.Argument(help="What you wrote, as a text file; without it, stdin.")] = None,
    profile: ProfileOption = "default",
) -> None:
    """Put a pair of your own into the watched folder."""
    from dittod.cli.demos import add_demo

    add_demo(file, prompt, profile)


@adapters.command("list")
def adapters_list(profile: OneProfile = None, json: Json = False) -> None:
    """All versions with their state and figures."""
    from dittod.cli.adapters import list_adapters

    list_adapters(profile, as_json=json)


@adapters.command("show")
def adapters_show(adapter: Version, json: Json = False) -> None:
    """One version: the gate's verdict and reasons, its figures, what it wrote for the gate."""
    from dittod.cli.adapters import show_adapter

    show_adapter(adapter, as_json=json)


@adapters.command("promote")
def adapters_promote(
    adapter: Version,
) -> None:
    """Serve this version from now on, whatever the gate said."""
    from dittod.cli.adapters import promote_adapter

    promote_adapter(adapter)


@adapters.command("pin")
def adapters_pin(
    adapter: Version,
) -> None:
    """Keep this version, whatever room it takes."""
    from dittod.cli.adapters import pin_adapter

    pin_adapter(adapter, pinned=True)


@adapters.command("unpin")
def adapters_unpin(
    adapter: Version,
) -> None:
    """Let it go when disk_budget asks for room."""
    from dittod.cli.adapters import pin_adapter

    pin_adapter(adapter, pinned=False)


@adapters.command("rollback")
def adapters_rollback(profile: Profile = "default") -> None:
    """Serve what was served before: the version promoted earlier, or base."""
    from dittod.cli.adapters import roll_back

    roll_back(profile)


@adapters.command("diff")
def adapters_diff(
    one: Version,
    other: Version,
    json: Json = False,
) -> None:
    """Two versions side by side: what they were made of, their figures, what they wrote for the gate."""
    from dittod.cli.diff import diff_adapters

    diff_adapters(one, other, as_json=json)


@feedback.command("add")
def feedback_add(
    answer: Annotated[
        str | None,
        typer.Argument(help="The answer's id, where answers are kept.", autocompletion=completion.answers),
    ] = None,
    edit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What it should have been: a text file, '-' for stdin.")
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option(
            metavar="up|down",
            help="'up': good as it is; 'down': not what you want.",
            autocompletion=lambda: ["up", "down"],
        ),
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What was asked, where answers are not kept.")
    ] = None,
    given: Annotated[Path | None, typer.Option(metavar="FILE", help="What was answered then, as a text file.")] = None,
    profile: ProfileOption = "default",
) -> None:
    """Say what you make of an answer: an edited one is learnt from, one rated down is learnt to be avoided."""
    from dittod.cli.feedback import add_feedback

    add_feedback(answer, edit, rate, prompt=prompt, given=given, profile=profile)


@feedback.command("list")
def feedback_list(profile: OneProfile = None, json: Json = False) -> None:
    """What you have said so far."""
    from dittod.cli.feedback import list_feedback

    list_feedback(profile, as_json=json)


@feedback.command("remove")
def feedback_remove(
    ids: Annotated[
        list[str],
        typer.Argument(metavar="ID", help="The beginnings of their ids.", autocompletion=completion.feedback),
    ],
) -> None:
    """Take it back: nothing more is learnt from it, and a text that it had become is forgotten."""
    from dittod.cli.feedback import remove_feedback

    remove_feedback(ids)


@feedback.command("answers")
def feedback_answers(profile: OneProfile = None, json: Json = False) -> None:
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
