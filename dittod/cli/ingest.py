"""ingest: read the watched folder now, or show line by line what a file would teach and what is cut from it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.text import Text

from dittod.cli.demos import MOST_ROWS
from dittod.cli.terminal import err, out, print_json, print_table, progress_bars
from dittod.cli.update import read_folder
from dittod.config import Settings, load_settings
from dittod.daemon import Daemon
from dittod.errors import AlreadyRunning, DittodError, FileSetAside
from dittod.ingest.demonstrations import Owner
from dittod.ingest.folder import SURVEYED_MAILS
from dittod.ingest.identity import is_sent_folder, likely_identities
from dittod.ingest.process import Answer, Reader
from dittod.ingest.secrets import mask
from dittod.ingest.signatures import recurring
from dittod.ingest.watch import path_key, scan
from dittod.machine.lock import held, holder
from dittod.paths import home
from dittod.store import Store
from dittod.views.voices import current_identities, described_file

COLOURS = {"quoted": "blue", "attribution": "blue", "signature": "magenta", "disclaimer": "red"}  # of what is cut
OTHER_COLOUR = "cyan"
MASK = re.compile(r"\[masked[^\]]*\]")


def ingest(path: Path | None, *, dry_run: bool, as_json: bool) -> None:
    """The watched folder is read by a running daemon by itself; without one, here."""
    if dry_run:
        if path is None or not path.exists():
            title = f"there is no {path}" if path else "no file or folder was named"
            raise DittodError(title, "name one: dittod ingest --dry-run PATH")
        explain(path, as_json=as_json)
    elif path is not None:
        raise DittodError(
            f"{path} is not read by itself", "put it into the watched folder, or see what it would teach with --dry-run"
        )
    else:
        read_now(as_json=as_json)


def read_now(*, as_json: bool) -> None:
    """Bring the store up to date with the watched folder, and say what each file gave."""
    place = home()
    place.create()
    settings = load_settings(place)
    if (pid := holder(place.lock)) is not None:
        raise AlreadyRunning(
            f"a daemon (process {pid or 'unknown'}) reads the folder by itself", "dittod status shows how far it is"
        )
    with closing(Store(place.store)) as store, held(place.lock), progress_bars() as bars:
        daemon = Daemon(place, settings, store)
        try:
            read_folder(daemon, bars)
        finally:
            daemon.folder.close()
        files = list(store.files().values())
        counts = {profile: store.count_demonstrations(profile) for profile in store.profiles()}
    if as_json:
        print_json({"demonstrations": counts, "files": [described_file(file) for file in files]})
        return
    print_table(
        ("file", "profile", "state", "cut lines", "masked", "reason"),
        [
            (f.path, f.profile, f.state.replace("_", " "), sum(f.removed.values()), sum(f.masked.values()), f.reason)
            for f in files[-MOST_ROWS:]
        ],
        empty="the watched folder is empty: put sent mails or texts into it",
    )
    for profile, count in counts.items():
        out.print(f"profile {profile}: {count} demonstrations", markup=False)


# --- the dry run ---


@dataclass
class _Sum:
    """What one file comes to."""

    name: str
    documents: int = 0
    demonstrations: int = 0
    removed: Counter[str] = field(default_factory=Counter)
    masked: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, answer: Answer) -> None:
        self.documents += 1
        self.demonstrations += len(answer.result.demonstrations)
        self.removed.update(answer.removed)
        self.masked.update(answer.result.masked)
        if answer.result.reason:
            self.reasons[answer.result.reason] += 1


def explain(path: Path, *, as_json: bool) -> None:
    """Every document of a file or folder, line by line. Nothing is stored."""
    files = list(_files(path))
    reader = Reader()
    try:
        owner = _owner(path, files, reader)
        documents: list[dict[str, Any]] = []
        sums = [_explain(name, file, owner, reader, documents if as_json else None) for name, file in files]
    finally:
        reader.close()
    if as_json:
        print_json({"identities": list(owner.identities), "documents": documents, "files": [_summed(s) for s in sums]})
        return
    print_table(
        ("file", "documents", "demonstrations", "cut lines", "masked", "reason"),
        [
            (s.name, s.documents, s.demonstrations, _counted(s.removed), _counted(s.masked), _counted(s.reasons))
            for s in sums
        ],
        empty="there is no file in it",
    )
    if owner.identities or any(s.reasons["not sent by the user"] for s in sums):
        whose = ", ".join(owner.identities) or "nobody: set identities, or no mail can be told to be yours"
        out.print(f"\nmail counts as yours from {whose}", markup=False, soft_wrap=True)


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    if path.is_file():
        yield path_key(path.name), path
        return
    for found in scan(path, lambda key: err.print(f"cannot be listed: {key or path}", markup=False)):
        if not found.is_link:
            yield found.relative, found.path


def _owner(path: Path, files: list[tuple[str, Path]], reader: Reader) -> Owner:
    """Whose mail counts and which signatures are known: from the settings, the store and these files themselves."""
    place = home()
    settings = load_settings(place)
    senders, tails, identities = _known(settings, place.store)
    for _, file in files:
        for answer in reader.survey(file, SURVEYED_MAILS):
            senders[answer.sender] += 1
            tails.update(answer.result.tail)
    del senders[""]
    likely = likely_identities(senders, is_sent_folder=is_sent_folder(path.name))
    return Owner(tuple(identities) or likely, recurring(tails), settings.secrets)


def _known(settings: Settings, path: Path) -> tuple[Counter[str], Counter[str], list[str]]:
    """Senders, tails and identities from the store, where there is one."""
    senders, tails, identities = Counter[str](), Counter[str](), list(settings.identities)
    if path.exists():
        with closing(Store(path)) as store:
            files = store.files().values()
        identities = current_identities(files, settings)
        for file in files:
            senders.update(file.senders)
            tails.update(file.tails)
    return senders, tails, identities


def _explain(name: str, file: Path, owner: Owner, reader: Reader, documents: list[dict[str, Any]] | None) -> _Sum:
    total = _Sum(name)
    try:
        for answer in reader.read(file, owner, detail=True):
            total.add(answer)
            if documents is None:
                _show(name, total.documents, answer, owner)
            else:
                documents.append(_document(name, total.documents, answer))
    except FileSetAside as error:
        total.reasons[f"set aside: {error.title}; {error.hint}"] += 1
    return total


def _show(name: str, number: int, answer: Answer, owner: Owner) -> None:
    """One document: its prompt, and each line with what becomes of it."""
    out.rule(Text(f"{name} #{number}", style="bold"), align="left", style="dim")
    for found in answer.result.demonstrations:
        out.print(Text.assemble(("prompt  ", "bold"), found.prompt.replace("\n", "\n        ")), soft_wrap=True)
    if answer.result.reason:
        out.print(Text.assemble(("nothing is learnt from it: ", "bold yellow"), answer.result.reason), soft_wrap=True)
    out.print()
    if answer.document is not None:
        cut = dict(answer.result.cut.removed) if answer.result.cut else {}
        learnt = bool(answer.result.demonstrations)
        for place, line in enumerate(answer.document.text.split("\n"), start=1):
            out.print(_line(line, cut.get(place), owner, learnt=learnt), soft_wrap=True)
    out.print()


def _line(line: str, reason: str | None, owner: Owner, *, learnt: bool) -> Text:
    if reason is not None:
        return Text.assemble((f"{reason[:11]:>11} ┆ ", COLOURS.get(reason, OTHER_COLOUR)), (line, "dim"))
    text = Text(mask(line, owner.secrets).text, style="" if learnt else "dim")
    text.highlight_regex(MASK, "black on yellow")
    return Text.assemble((f"{'yours' if learnt and line.strip() else '':>11} │ ", "green"), text)


def _document(name: str, number: int, answer: Answer) -> dict[str, Any]:
    found = answer.result.demonstrations[0] if answer.result.demonstrations else None
    return {
        "file": name,
        "number": number,
        "kind": found.kind if found else None,
        "prompt": found.prompt if found else None,
        "completion": found.completion if found else None,
        "reason": answer.result.reason,
        "masked": dict(answer.result.masked),
        "removed": [list(each) for each in answer.result.cut.removed] if answer.result.cut else [],
    }


def _summed(total: _Sum) -> dict[str, Any]:
    return {
        "file": total.name,
        "documents": total.documents,
        "demonstrations": total.demonstrations,
        "removed": dict(total.removed),
        "masked": dict(total.masked),
        "reasons": dict(total.reasons),
    }


def _counted(counts: Mapping[str, int]) -> str:
    ranked: Iterable[tuple[str, int]] = Counter(counts).most_common()
    return ", ".join(f"{name} {count}" if count > 1 else name for name, count in ranked) or "-"
