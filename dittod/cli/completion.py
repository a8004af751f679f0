"""What the shell completes: profiles, versions, demonstrations and the like, as the store has them.

Called on every press of Tab: fast, and silent whatever is missing. Knows nothing of commands.
"""

from __future__ import annotations

Found = list[tuple[str, str]]  # what may stand there, and what it is

# bash cuts words at '@', which versions have in their names; so here words end where there is space, and of what is
# found only what follows the '@' is given back to it.
BASH = """
%(complete_func)s() {
    local words word IFS=$' \\t\\n'
    read -r -a words <<< "${COMP_LINE:0:COMP_POINT}"
    [[ ${COMP_LINE:COMP_POINT-1:1} == ' ' ]] && words+=('')
    word=${words[${#words[@]}-1]}
    IFS=$'\\n'
    COMPREPLY=( $( env COMP_WORDS="${words[*]}" COMP_CWORD=$(( ${#words[@]} - 1 )) \\
                   %(autocomplete_var)s=complete_bash "$1" 2> /dev/null ) )
    if [[ $word == *@* && $COMP_WORDBREAKS == *@* ]]; then
        COMPREPLY=( "${COMPREPLY[@]#"${word%%"${word##*@}"}"}" )
    fi
}

complete -o default -F %(complete_func)s %(prog_name)s
"""


def prepare() -> None:
    """Have typer install this script for bash instead of its own."""
    from typer import _completion_shared

    _completion_shared._completion_scripts["bash"] = BASH


def profiles(incomplete: str) -> Found:
    """Those that have files, texts or versions."""
    from dittod.store import names

    return _stored(names.PROFILES, incomplete, "profile")


def versions(incomplete: str) -> Found:
    """As profile@number, the newest first."""
    from dittod.store import names

    return _stored(names.VERSIONS, incomplete, "version")


def models(incomplete: str) -> Found:
    """Whatever can be asked: base, aliases, versions."""
    from dittod.types import BASE, VOICE, alias_of, model_of

    aliases = [(alias_of(name), "what it serves") for name, _ in profiles("")]
    known = dict([(BASE, "the base model"), (VOICE, "what the default profile serves"), *aliases])
    known |= dict(versions(incomplete.removeprefix(f"{VOICE}/")))
    prefixed = {model_of(name): about for name, about in known.items() if "@" in name}
    return [each for each in (known | prefixed).items() if each[0].startswith(incomplete)]


def demonstrations(incomplete: str) -> Found:
    """The beginnings of their ids, the newest first."""
    from dittod.store import names

    return _stored(names.DEMONSTRATIONS, incomplete, "demonstration")


def forgettable(incomplete: str) -> Found:
    """Files and demonstrations."""
    from dittod.store import names

    return [*_stored(names.FILES, incomplete, "file"), *demonstrations(incomplete)]


def runs(incomplete: str) -> Found:
    """Updates by their ids, the newest first."""
    from dittod.store import names

    return _stored(names.RUNS, incomplete, "update")


def feedback(incomplete: str) -> Found:
    """The beginnings of ids of what was said of answers."""
    from dittod.store import names

    return _stored(names.FEEDBACK, incomplete, "feedback")


def answers(incomplete: str) -> Found:
    """Ids of answers that are kept."""
    from dittod.store import names

    return _stored(names.ANSWERS, incomplete, "answer")


def clients(incomplete: str) -> Found:
    """Programs that `dittod connect` knows."""
    from dittod.clients import all_clients

    known = all_clients("http://127.0.0.1:3488")
    return [(each.name, each.title) for each in known if each.name.startswith(incomplete)]


def _stored(query: str, incomplete: str, kind: str) -> Found:
    from dittod.paths import home
    from dittod.store.names import names

    return [(row[0], f"{kind}, {row[1]}" if len(row) > 1 else kind) for row in names(home().store, query, incomplete)]
