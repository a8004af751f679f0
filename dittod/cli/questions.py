"""The questions of a guided start: each short, with a default that Enter takes, and asked again while its answer will
not do.

Looks at the folder, the machine and the hub to offer good defaults. Changes nothing, here or anywhere.
"""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from shutil import which
from threading import Thread

import typer

from dittod import background, download
from dittod.catalogue import STARTER, known
from dittod.cli import base_model
from dittod.cli.making import fault_of, fault_of_folder
from dittod.cli.plan import ask as ask_engine
from dittod.cli.terminal import err, out
from dittod.config import PREFIX, Settings, parse_bytes, watched_folder
from dittod.errors import DittodError
from dittod.ingest.folder import SURVEYED_FILES, SURVEYED_MAILS
from dittod.ingest.identity import OTHER_SENDERS, is_sent_folder, likely_identities
from dittod.ingest.process import Reader
from dittod.ingest.watch import FoundFile, scan
from dittod.learner.memory import Device
from dittod.learner.plan import size
from dittod.paths import Home

COUNTED_FILES = 10_000
LEAST_BUDGET = 256 * 2**20  # bytes: the libraries alone take more
NOBODY = "-"  # for a default that is to be left
PROFILE = re.compile(r"[^\W_][\w .-]{0,60}")
MAILBOXES = (  # of sent mail, by Thunderbird on Linux, macOS and Windows
    ".thunderbird/*/*Mail/*/Sent*",
    "Library/Thunderbird/Profiles/*/*Mail/*/Sent*",
    "AppData/Roaming/Thunderbird/Profiles/*/*Mail/*/Sent*",
)
HOW_TO_EXPORT = (
    "Nothing lies there yet. Put sent mails there: Thunderbird's mailbox 'Sent' as it is, Apple Mail's by Mailbox > "
    "Export Mailbox, Gmail's by takeout.google.com; or documents and chats. What is read: docs/ingest.md"
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user has said; None: nothing, so it stays as it is."""

    folder: Path | None = None
    identities: tuple[str, ...] | None = None
    profile: str | None = None
    model: str | None = None
    budget: str | None = None
    service: bool | None = None


def guided(place: Home, settings: Settings) -> tuple[Wanted, download.Listing | None]:
    """All answers, and what there is to download for them. Raises typer.Abort and KeyboardInterrupt for Ctrl-C."""
    say("dittod learns how you write from a folder of your texts. Six questions; Enter takes what stands in brackets.")
    machine = _meanwhile(lambda: ask_engine(STARTER)[0])  # torch takes seconds to import
    folder = ask_folder(place, settings)
    files = list(islice(_files(folder), COUNTED_FILES))
    _tell_of(folder, files)
    wanted = Wanted(
        folder=None if folder == watched_folder(settings) else folder,
        identities=ask_identities(settings, folder, files),
        profile=ask_profile(folder),
    )
    with err.status("looking at this machine"):
        device = machine()
    model, listing = ask_model(settings, device)
    is_as_before = model == settings.base_model and listing is None
    wanted = replace(wanted, model=None if is_as_before else model)
    budget = ask_budget(settings, device, model)
    return replace(wanted, budget=budget, service=ask_service()), listing


def say(text: str) -> None:
    """A paragraph; what looks like markup is shown as it is."""
    out.print(text, markup=False)


def absolute(folder: Path) -> Path:
    """As the settings should have it, whether it is there or not."""
    return Path(os.path.normpath(folder.expanduser().absolute()))


def is_profile(name: str) -> bool:
    """Whether it can be a sub-folder that makes a voice."""
    return PROFILE.fullmatch(name) is not None


def fault_of_budget(said: str) -> str | None:
    """Why it cannot be one. A number without a unit is one of bytes."""
    fault = fault_of("memory_budget", said)
    if fault is None and parse_bytes(said) < LEAST_BUDGET:
        return f"that would be {parse_bytes(said)} bytes: give a size such as 6GiB"
    return fault


def is_model(name: str) -> bool:
    """Whether it could be loaded, or downloaded."""
    return bool(known(name)) or download.is_hub_id(name) or (Path(name).expanduser() / "config.json").is_file()


# --- 1, 2, 3: the texts ---


def ask_folder(place: Home, settings: Settings) -> Path:
    """Where the texts lie."""
    present = watched_folder(settings)
    if _is_variable("watched_folder"):
        return present
    while True:
        folder = absolute(Path(_ask("\n1. Folder to watch", str(present))))
        fault = fault_of_folder(folder)
        if fault is None:
            break
        say(f"   {fault}")
    say_of_another_folder(place, present, folder)
    return folder


def say_of_another_folder(place: Home, present: Path, folder: Path) -> None:
    """What it means for texts that were read in the present one."""
    if folder != present and place.store.exists():
        say(f"   What only {present} holds counts as gone then; dittod asks before it forgets.")


def ask_identities(settings: Settings, folder: Path, files: list[FoundFile]) -> tuple[str, ...] | None:
    """Whose mails are learnt from; None: as it is."""
    if _is_variable("identities"):
        return None
    senders = _senders(files)
    likely = likely_identities(senders, is_sent_folder=is_sent_folder(folder.name))
    for sender, count in senders.most_common(3):
        say(f"   {count} mail{'s' if count > 1 else ''} of {senders.total()} looked at: from {sender}")
    present = ", ".join(settings.identities or likely)
    hint = f", '{NOBODY}' to learn them from the mails" if present else "; Enter to learn them from the mails"
    while True:
        said = _ask(f"\n2. Your own mail addresses, with commas between{hint}", present)
        names = [] if said.strip() in ("", NOBODY) else [each.strip() for each in said.split(",") if each.strip()]
        if (fault := fault_of("identities", names)) is None:
            return None if tuple(names) == settings.identities else tuple(names)
        say(f"   {fault}")


def ask_profile(folder: Path) -> str | None:
    """One more voice; None: none."""
    there = sorted(each.name for each in folder.iterdir() if each.is_dir()) if folder.is_dir() else []
    voices = ", ".join(name for name in there if is_profile(name))
    say("\n   Each sub-folder is a voice of its own: 'email', say. What lies beside them makes the default one.")
    if voices:
        say(f"   There are: {voices}")
    while True:
        name = _ask("3. A sub-folder to make; Enter for none", "").strip()
        if not name or is_profile(name):
            return name or None
        say("   Give a plain name, such as email")


def _files(folder: Path) -> Iterator[FoundFile]:
    if folder.is_dir():
        yield from scan(folder, lambda unreadable: None)


def _tell_of(folder: Path, files: list[FoundFile]) -> None:
    if files:
        count = f"{len(files):,}{' or more' if len(files) == COUNTED_FILES else ''}"
        say(f"   {count} file{'s' if len(files) > 1 else ''} there already: they will be read and learnt from.")
        return
    say(f"   {HOW_TO_EXPORT}")
    mailboxes = (each for pattern in MAILBOXES for each in sorted(Path.home().glob(pattern)))
    for mailbox in islice((each for each in mailboxes if each.is_file() and each.suffix != ".msf"), 3):
        say(f"   Thunderbird has one here: {mailbox}")


def _senders(files: list[FoundFile]) -> Counter[str]:
    """Who wrote the mails, by a quick look at some of them."""
    senders = Counter[str]()
    if not files:
        return senders
    reader = Reader()
    try:
        with err.status("looking at the mails"):
            for file in files[:: -(-len(files) // SURVEYED_FILES) or 1]:
                answers = () if file.is_link else reader.survey(file.path, SURVEYED_MAILS)
                senders.update(answer.sender for answer in answers if answer.sender)
    finally:
        reader.close()
    del senders[OTHER_SENDERS]
    return senders


# --- 4, 5: the model ---


def ask_model(settings: Settings, device: Device) -> tuple[str, download.Listing | None]:
    """Which one, and what of it is to be downloaded."""
    if _is_variable("base_model"):
        return settings.base_model, None
    found = base_model.choices(settings, device)
    best = base_model.recommended(found, device, download.free_bytes("any/model") - settings.min_free_disk)
    kind = "this processor" if device.kind == "cpu" else "the graphics card"
    say(f"\n   The base model, by what {kind} can learn with in {size(device.budget(settings.memory_budget))}:")
    rows = base_model.show(found, best)
    default = best if settings.base_model == STARTER else settings.base_model
    while True:
        said = _ask("4. Model: a number, a hub id or a folder", default).strip()
        model = rows[int(said) - 1].model.name if said.isdecimal() and 0 < int(said) <= len(rows) else said
        try:
            return _checked(model, settings)
        except DittodError as error:
            say(f"   {error.title}\n   {error.hint}")
            default = settings.base_model  # which is there


def _checked(model: str, settings: Settings) -> tuple[str, download.Listing | None]:
    """A name as the settings should have it. Raises DittodError for what cannot be had."""
    if not is_model(model):
        raise DittodError(
            f"{model!r} is neither a folder with a model nor a model's id", "give a number of the table, say"
        )
    if not base_model.is_missing(model):
        return base_model.local_name(model), None
    listing = base_model.look_up(model, settings)
    if not typer.confirm("   Download it at the end?", default=True):
        raise DittodError("then another one", "the present one needs no download")
    return model, listing


def ask_budget(settings: Settings, device: Device, model: str) -> str | None:
    """What learning may take; None: as it is."""
    if _is_variable("memory_budget"):
        return None
    present = size(device.budget(settings.memory_budget))
    row = known(model)
    while True:
        said = _ask(f"\n5. Memory that dittod may take, such as 6GiB, of {size(device.memory_bytes)}", present).strip()
        if said == present:
            return None
        if (fault := fault_of_budget(said)) is None:
            break
        say(f"   {fault}")
    if row and (fault := base_model.learning_fault(row.shape, settings, device, parse_bytes(said))):
        say(f"   note: {fault}")
    return said


# --- 6: the service ---


def ask_service() -> bool:
    """Whether dittod is to run in the background."""
    if sys.platform == "linux" and which("systemctl") is None:
        return False  # nobody could do it
    try:
        installed = background.manager(sys.platform).state().installed
    except DittodError:
        return False
    if installed:
        say("\n6. dittod is started at every login already.")
        return True
    return typer.confirm("\n6. Start dittod now and at every login?", default=True)


def _meanwhile(look: Callable[[], Device]) -> Callable[[], Device]:
    """Begin at once; what is returned waits for the end. Nobody waits where the questions are left."""
    found = Future[Device]()

    def work() -> None:
        try:
            found.set_result(look())
        except BaseException as error:  # or whoever waits does so for ever
            found.set_exception(error)

    Thread(target=work, name="machine", daemon=True).start()
    return found.result


def _ask(question: str, default: str) -> str:
    return str(typer.prompt(question, default=default, show_default=bool(default)))


def _is_variable(name: str) -> bool:
    """Says so, where the environment decides: it comes before the file."""
    variable = f"{PREFIX}{name.upper()}"
    if not os.environ.get(variable):
        return False
    say(f"\n   {variable} is set: {name} is not asked for.")
    return True
