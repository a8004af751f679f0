"""connect: a client's settings are printed, or merged into its own file, and then proved with a request that has
nothing but what stands there.

What the settings are is in `dittod.clients`. On stdout are settings alone, so that they can go into a file or a shell.
"""

from __future__ import annotations

import difflib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from dittod.cli.endpoint import Endpoint, reachable
from dittod.cli.opened import opened
from dittod.cli.terminal import err, out, print_json, print_table
from dittod.clients import all_clients, command, document, documents
from dittod.clients.files import Change, difference, planned, write
from dittod.clients.formats import text_of
from dittod.clients.git import is_published
from dittod.clients.places import shown
from dittod.clients.proving import START, Heard, ask, read_back
from dittod.clients.shape import ROOMY, TOKEN, Client
from dittod.config import Settings
from dittod.errors import DittodError, NotFound, SettingsError
from dittod.machine.lock import holder
from dittod.paths import Home
from dittod.store import Store


@dataclass(frozen=True, slots=True)
class Situation:
    """What the settings of a client depend on."""

    address: str  # of the endpoint, without '/v1'
    context_tokens: int | None  # None: nobody is there who could say
    model: str
    token: str
    settings: Settings
    backups: Path


def connect(name: str | None, model: str, *, folder: Path | None, writes: bool, as_json: bool) -> None:
    """Without a name: which clients there are."""
    with opened() as (place, settings, store):
        now = _situation(place, settings, store, model, looks=name is not None)
    if name is None:
        _list(now, as_json=as_json)
        return
    client = _client(name, now)
    _refuse_folder(client, folder, writes)
    if as_json:
        _print_document(client, folder, now, writes=writes)
        return
    changes = _written(client, folder, now) if writes else []
    if not changes:
        _show_settings(client)
    _show_steps(client, [*_warnings(client, now), *_published(changes)])
    if writes and not client.is_written:
        raise SettingsError(
            f"{client.title} has no file that dittod could write",
            f"do what is said above; dittod connect {client.name} proves it with a request",
        )
    _show_proof(client, _proved(client, folder, now, written=writes))


def _situation(place: Home, settings: Settings, store: Store, model: str, *, looks: bool) -> Situation:
    """Of the running daemon, or as the settings have it. `looks`: at the model's context, which may take a while."""
    token = place.token()
    url = store.noted("endpoint").get("url") if holder(place.lock) is not None else None
    if not url:
        scheme = "https" if settings.tls_certificate else "http"
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        return Situation(reachable(f"{scheme}://{host}:{settings.port}"), None, model, token, settings, place.backups)
    context = None
    if looks:
        with err.status("asking the endpoint"):
            answer, _ = Endpoint(str(url), place, settings).post("/tokenize", {"model": model, "prompt": ""})
        context = int(answer["max_model_len"])
    return Situation(reachable(str(url)), context, model, token, settings, place.backups)


def _client(name: str, now: Situation) -> Client:
    known = {each.name: each for each in all_clients(now.address, now.model, now.context_tokens or ROOMY, now.token)}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"one of: {', '.join(known)}"
        raise NotFound(f"there is no client {name!r}", hint)
    return known[name]


def _refuse_folder(client: Client, folder: Path | None, writes: bool) -> None:
    if folder is None and writes and client.wants_folder:
        raise SettingsError(f"{client.title} keeps its settings in a folder of yours", f"say which: {command(client)}")
    if folder is not None and not (client.wants_folder and writes):
        needs = f"it is for {client.title} with --write" if client.wants_folder else "leave it out"
        raise SettingsError(f"--folder {folder} says nothing here", needs)
    if folder is not None and not folder.is_dir():
        raise SettingsError(f"{folder} is no folder", "make it first, or give another")


def _written(client: Client, folder: Path | None, now: Situation) -> list[Change]:
    """All files are looked at before the first is written."""
    changes = [planned(part, folder, now.token) for part in client.parts if part.path]
    for change in changes:
        if not change.is_needed:
            err.print(f"{change.path} has it already", markup=False, soft_wrap=True)
            continue
        _show_difference(change, now.token)
        kept = write(change, now.backups, client.name)
        err.print(f"written: {change.path}", markup=False, soft_wrap=True)
        if kept:
            err.print(f"as it was: {kept}", markup=False, soft_wrap=True)
    return changes


def _proved(client: Client, folder: Path | None, now: Situation, *, written: bool) -> Heard:
    """With what stands in the client's files where they were written, else with what was printed."""
    if written and client.is_written:
        texts = [planned(part, folder, now.token).old or "" if part.path else part.text for part in client.parts]
    else:
        texts = [text_of(part) for part in client.parts]
    asked = read_back(client, texts, now.token)
    if now.context_tokens is None:
        raise DittodError(f"nothing answers at {asked.url}", f"{START}; then: dittod connect {client.name}")
    with err.status(f"asking as {client.title} will"):
        return ask(asked, now.settings.tls_certificate)


def _print_document(client: Client, folder: Path | None, now: Situation, *, writes: bool) -> None:
    """Without the token. An error of the request comes after it."""
    changes = _written(client, folder, now) if writes else []
    value: dict[str, Any] = document(_client(client.name, replace(now, token=TOKEN)))
    value |= {
        "warnings": [*_warnings(client, now), *_published(changes)],
        "written": [str(each.path) for each in changes if each.is_needed],
        "proof": None,
    }
    try:
        value["proof"] = asdict(_proved(client, folder, now, written=writes))
    finally:
        print_json(value)


def _warnings(client: Client, now: Situation) -> list[str]:
    """What of the settings in force would keep this client from working well, with what to do."""
    found = []
    if missing := sorted(set(client.origins) - set(now.settings.allowed_origins)):
        listed = ", ".join(f'"{each}"' for each in missing)
        found.append(f"{client.title} asks as a page: put allowed_origins = [{listed}] into dittod.toml, and restart")
    if now.context_tokens is not None and now.context_tokens < client.least_tokens:
        found.append(
            f"{client.title} sends some {client.least_tokens:,} tokens before your first word, and there is room for "
            f"{now.context_tokens:,}: set a base_model with a context of {ROOMY:,} or more"
        )
    if now.settings.tls_certificate:
        found.append("the endpoint speaks TLS: your certificate has to be one that this client trusts")
    return found


def _published(changes: list[Change]) -> list[str]:
    """Files that hold the token now and could be pushed somewhere."""
    return [
        f"{each.path} has your token in it, and git does not ignore it: put it into .gitignore, and untrack it "
        "(git rm --cached) if it is tracked"
        for each in changes
        if each.has_token and is_published(each.target)
    ]


def _list(now: Situation, *, as_json: bool) -> None:
    if as_json:
        print_json(documents(now.address))
        return
    rows = [
        (each.name, each.about, f"{each.least_tokens:,}" if each.least_tokens else "", _how(each))
        for each in all_clients(now.address)
    ]
    print_table(["client", "about", "context", "set up by"], rows, empty="")


def _how(client: Client) -> str:
    return "--folder, --write" if client.wants_folder else "--write" if client.is_written else "hand"


def _show_settings(client: Client) -> None:
    for part in client.parts:
        err.print(f"# {shown(part.path) if part.path else part.language}", style="bold", markup=False, soft_wrap=True)
        out.file.write(text_of(part))
        out.file.flush()


def _show_difference(change: Change, token: str) -> None:
    for line in difference(change, token):
        err.print(line, style="green" if line.startswith("+") else "dim", markup=False, soft_wrap=True)


def _show_steps(client: Client, warnings: list[str]) -> None:
    err.print("then:", style="bold")
    for step in client.steps:
        err.print(f"  {step}", markup=False, soft_wrap=True)
    for warning in warnings:
        err.print(f"note: {warning}", style="yellow", markup=False, soft_wrap=True)


def _show_proof(client: Client, heard: Heard) -> None:
    said = f"{heard.adapter} answered a request as {client.title} will send it, in {heard.seconds:.1f} s"
    err.print(said, style="green", markup=False, soft_wrap=True)
