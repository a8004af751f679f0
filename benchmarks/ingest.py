"""How fast are files read, in how much memory, and does the daemon answer meanwhile? A 1 GB mbox, 10,000 small files.

The mbox repeats real mails of one person (of ../shared/data/enron; without that, invented ones), each with a number in
its subject, so that none is a copy of another. It goes the whole way: reading process, cleaning, masking, prompts,
store. The other side, in the same call, is the standard library: `mailbox.mbox` iterated with its parser, and nothing
done with a mail; on the first 100 MB, since its speed does not depend on the size. Memory is what parent and child hold
together, sampled, over what the parent held before. The wait is the longest that a note and two look-ups in the store
took meanwhile, in the same process.

    python benchmarks/ingest.py [--quick] [--data ../shared/data]
"""

from __future__ import annotations

import argparse
import json
import mailbox
import multiprocessing
import re
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.utils import parseaddr
from pathlib import Path
from typing import TypeVar

import psutil
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from dittod.ingest.folder import Folder
from dittod.ingest.process import Reader
from dittod.store import Store

MEGABYTE = 10**6
PERSON = "dasovich-j"
INVENTED = (
    b"From: Bob <bob@x.example>\nTo: Ann <ann@x.example>\nSubject: The plan\nDate: Thu, 01 Jan 2026 10:00:00 +0000\n"
    b"Message-ID: <1@x.example>\n\nHello Ann,\n\nthe boats can leave on Friday when the wind turns west. I have asked\n"
    b"Carl for the ropes, and he will bring them to the pier before noon.\n\nBest,\nBob\n\n"
    b"On Wed, 31 Dec 2025, Ann wrote:\n> When can the boats leave?\n> And who has the ropes?\n"
)
SAMPLE_SECONDS = 0.05
Result = TypeVar("Result")


@dataclass(frozen=True)
class Sizes:
    """How much is read."""

    mbox_bytes: int
    compared_bytes: int
    files: int


FULL = Sizes(1000 * MEGABYTE, 100 * MEGABYTE, 10_000)
QUICK = Sizes(30 * MEGABYTE, 10 * MEGABYTE, 2_000)


def main() -> None:
    """Table on stdout, one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="30 MB and 2,000 files")
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    arguments = parser.parse_args()
    sizes = QUICK if arguments.quick else FULL
    with tempfile.TemporaryDirectory(prefix="dittod-ingest-") as name, Progress(console=Console(stderr=True)) as bars:
        place = Path(name)
        mails, identities = in_child(real_mails, arguments.data)
        standard = in_child(with_mailbox, in_child(write_mbox, place / "compared.mbox", mails, sizes.compared_bytes))
        count = in_child(write_mbox, place / "mbox" / "sent.mbox", mails, sizes.mbox_bytes)[1]
        big = watched(place / "mbox", identities, bars, count)
        in_child(write_files, place / "files", mails, sizes.files)
        small = watched(place / "files", identities, bars, sizes.files)
    report(sizes, count, standard, big, small)


def in_child(work: Callable[..., Result], *arguments: object) -> Result:
    """In a process of its own, whose memory is not weighed with ours."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def real_mails(data: Path) -> tuple[list[bytes], tuple[str, ...]]:
    """Mails of one person, and the two addresses that wrote most of them."""
    archive = data / "enron" / f"{PERSON}.tar.gz"
    if not archive.exists():
        return [INVENTED], ("bob@x.example",)
    with tarfile.open(archive) as tar:
        files = [tar.extractfile(entry) for entry in tar if entry.name.endswith(".eml")]
        mails = [file.read() for file in files if file is not None]
    senders = [parseaddr(str(message_from_bytes(mail)["From"]))[1].lower() for mail in mails]
    return mails, tuple(sorted(set(senders), key=senders.count)[-2:])


def numbered(mails: list[bytes]) -> Iterator[bytes]:
    """The mails again and again, each with another subject."""
    number = 0
    while True:
        for mail in mails:
            number += 1
            yield re.sub(rb"(?mi)^(Subject:.*)$", rb"\1 %d" % number, mail, count=1)


def write_mbox(path: Path, mails: list[bytes], size: int) -> tuple[Path, int]:
    """At least this many bytes. Returns the path and how many mails."""
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        for number, mail in enumerate(numbered(mails), start=1):
            file.write(b"From a@b.example Thu Jan  1 10:00:00 2026\n" + re.sub(rb"(?m)^From ", b">From ", mail) + b"\n")
            if file.tell() >= size:
                return path, number
    raise AssertionError


def write_files(folder: Path, mails: list[bytes], count: int) -> None:
    """One mail each, a thousand to a folder."""
    for number, mail in zip(range(count), numbered(mails), strict=False):
        path = folder / "mail" / str(number // 1000) / f"{number}.eml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(mail)


def with_mailbox(made: tuple[Path, int]) -> float:
    """Mails per second of the standard library."""
    begun = time.perf_counter()
    box = mailbox.mbox(made[0])
    assert sum(1 for message in box if message["From"]) > 0.9 * made[1]
    return made[1] / (time.perf_counter() - begun)


@dataclass
class Observed:
    """What was seen while a folder was read."""

    seconds: float = 0.0
    peak_bytes: int = 0  # of parent and child, over what the parent held before
    longest_wait_seconds: float = 0.0
    demonstrations: int = 0
    set_aside: int = 0


def watched(root: Path, identities: tuple[str, ...], bars: Progress, count: int) -> Observed:
    """Read a folder as the daemon does, and watch it."""
    store = Store(root.with_suffix(".sqlite"))
    reader, observed, ended = Reader(), Observed(), threading.Event()
    folder = Folder(root, store, identities, 0.0, (), reader)
    folder.prepare()
    (root / ".dittod").touch()
    before = psutil.Process().memory_info().rss
    observers = [
        threading.Thread(target=_sample_memory, args=(reader, before, observed, ended)),
        threading.Thread(target=_call_the_store, args=(store, observed, ended)),
    ]
    for thread in observers:
        thread.start()
    task = bars.add_task(root.name, total=count)
    begun = time.perf_counter()
    folder.rescan(0.0)
    folder.read_settled(1.0, lambda done, of, documents: bars.update(task, completed=documents))
    observed.seconds = time.perf_counter() - begun
    ended.set()
    for thread in observers:
        thread.join()
    folder.close()
    observed.demonstrations = sum(store.count_demonstrations(profile) for profile in store.profiles())
    observed.set_aside = sum(row.state == "set_aside" for row in store.files().values())
    store.close()
    return observed


def _sample_memory(reader: Reader, before: int, observed: Observed, ended: threading.Event) -> None:
    while not ended.wait(SAMPLE_SECONDS):
        held = psutil.Process().memory_info().rss - before
        if (pid := reader.pid) is not None and psutil.pid_exists(pid):
            try:
                held += psutil.Process(pid).memory_info().rss
            except psutil.Error:
                continue
        observed.peak_bytes = max(observed.peak_bytes, held)


def _call_the_store(store: Store, observed: Observed, ended: threading.Event) -> None:
    """What the endpoint and the other threads of the daemon ask of the store."""
    while not ended.wait(SAMPLE_SECONDS):
        begun = time.perf_counter()
        store.note("benchmark", {"at": begun})
        store.noted("engine")
        store.adapters()
        observed.longest_wait_seconds = max(observed.longest_wait_seconds, time.perf_counter() - begun)


def report(sizes: Sizes, count: int, standard: float, big: Observed, small: Observed) -> None:
    """The table, and the figures as JSON."""
    figures = {
        "mails_per_second": round(count / big.seconds, 1),
        "megabytes_per_second": round(sizes.mbox_bytes / MEGABYTE / big.seconds, 2),
        "ratio_to_mailbox": round(count / big.seconds / standard, 2),
        "peak_added_megabytes": round(big.peak_bytes / MEGABYTE, 1),
        "longest_wait_seconds": round(max(big.longest_wait_seconds, small.longest_wait_seconds), 3),
        "files_per_second": round(sizes.files / small.seconds, 1),
    }
    table = Table(box=None, header_style="bold")
    for column in ("", "mails", "seconds", "mails/s", "memory", "wait", "demonstrations"):
        table.add_column(column, justify="left" if not column else "right")
    name = f"{sizes.mbox_bytes // MEGABYTE} MB mbox"
    for row, mails, seen in ((name, count, big), ("small files", sizes.files, small)):
        peak, wait = f"{seen.peak_bytes / MEGABYTE:.0f} MB", f"{seen.longest_wait_seconds * 1000:.0f} ms"
        speed = f"{mails / seen.seconds:.0f}"
        table.add_row(row, str(mails), f"{seen.seconds:.1f}", speed, peak, wait, str(seen.demonstrations))
    table.add_row("mailbox.mbox", "", "", f"{standard:.0f}", "", "", "")
    Console().print(table)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
