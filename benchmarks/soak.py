"""Does it keep what it should when nobody looks? Everything at once, for as long as is wished.

Files arrive, change, move and go; clients ask at random; updates run, by themselves and by hand; the engine is killed
every few minutes, the daemon now and then, by -9 and in order; both are stopped and continued, as by a laptop's lid;
the clock jumps by hours, back and forth; the disk of the home, a small tmpfs, is full for a while. At the end every
text that lies in the folder must be known exactly once, every answer whole, memory flat, logs without a word of any
text, every file private, and no process left.

    python benchmarks/soak.py [--minutes N] [--seed N] [--keep]

A tmpfs takes the right to mount: root's, or that of a user namespace, for which the command calls itself anew in one.
Without either, the disk is never full, and the figures say so. The clock that jumps is the one that Python shows the
daemon; the system's is left alone.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import psutil
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from soak_clients import PROMPTED, Clients
from soak_folder import NAMED, Person, compared, known

from dittod.paths import Home
from dittod.store import Store

ERR = Console(stderr=True)
START = "from dittod.cli import main; main()"
DISK_BYTES = 192 * 2**20  # of the home: the store, adapters and checkpoints of a short soak take a third
LAST_SECONDS = 120.0  # for the daemon to catch up when everything has ended
MOST_STOP_SECONDS = 10.0
CLIENTS = 3
UPDATES = {"supervised_steps": 6, "dpo_steps": 6, "resample_every": 3, "samples_per_demonstration": 2}
SETTINGS = {
    "IDENTITIES": '["ann@x.example"]',
    "SETTLE_SECONDS": "0.5",
    "RESCAN_SECONDS": "20",
    "CONSIDER_SECONDS": "5",
    "IDLE_SECONDS": "0",
    "QUIET_SECONDS": "0",
    "REST_SECONDS": "20",
    "NEW_DEMONSTRATIONS": "2",
    "LEARN_ON_BATTERY": "true",
    "MIN_FREE_DISK": "1MiB",
    "MEMORY_BUDGET": "3GiB",
    "IDLE_UNLOAD_SECONDS": "45",
    "LEARNER": json.dumps(UPDATES),
}
CLOCK = '''\
"""Python's clock, shifted by the seconds in a file."""
import datetime, os, time

_real, _file = time.time, os.environ["SOAK_CLOCK"]

def _shift():
    try:
        with open(_file) as file:
            return float(file.read() or 0)
    except (OSError, ValueError):
        return 0.0

class Shifted(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)

time.time = lambda: _real() + _shift()
time.time_ns = lambda: int(time.time() * 1e9)
datetime.datetime = Shifted
'''


def free_port() -> int:
    """One for all lives of the daemon, so that clients find it again."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@dataclass
class Machine:
    """The daemon under test, its home and its clock."""

    root: Path
    home: Home
    folder: Path
    process: subprocess.Popen[bytes] | None = None
    downs: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])  # monotonic seconds
    bad_ends: list[str] = field(default_factory=list[str])
    token: str = ""
    port: int = field(default_factory=free_port)
    _is_up: bool = False

    def start(self) -> None:
        environment = {f"DITTOD_{name}": value for name, value in SETTINGS.items()}
        environment |= {"DITTOD_PORT": str(self.port), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        environment |= {"PYTHONPATH": str(self.root / "clock"), "SOAK_CLOCK": str(self.root / "shift")}
        with (self.root / "output").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", START, "run"],
                env={**os.environ, **self.places(), **environment},
                stdout=output,
                stderr=output,
            )
        self._is_up = False

    def places(self) -> dict[str, str]:
        return {"DITTOD_HOME": str(self.home.root), "DITTOD_WATCHED_FOLDER": str(self.folder)}

    def end(self, number: int) -> None:
        """By a signal; what it takes and leaves is checked where it was told in order."""
        if self.process is None:
            return
        begun = time.monotonic()
        self.downs.append((begun, math.inf))
        self.process.send_signal(number)
        code = self.process.wait(60)
        took = time.monotonic() - begun
        if number == signal.SIGTERM and (code != 0 or took > MOST_STOP_SECONDS):
            self.bad_ends.append(f"exit code {code} after {took:.1f} s")
        self.process = None

    def was_down(self, since: float) -> bool:
        return any(until >= since for _, until in self.downs)

    def address(self) -> tuple[str, str] | None:
        """Where it serves, once it does."""
        if self.process is None or not (self._is_up or self._answers()):
            return None
        self.token = self.token or self.home.token_file.read_text().strip()
        return f"http://127.0.0.1:{self.port}/v1", self.token

    def _answers(self) -> bool:
        """The end of a time in which it was down."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1.0):
            self.downs = [(begun, min(until, time.monotonic())) for begun, until in self.downs]
            self._is_up = True
        return self._is_up

    def engine(self) -> psutil.Process | None:
        """The engine of this daemon, if it runs."""
        with suppress(psutil.Error):
            for child in psutil.Process(self.process.pid).children() if self.process else ():
                if "dittod.engine" in child.cmdline():
                    return child
        return None

    def command(self, *arguments: str) -> int:
        """A dittod command in the same home."""
        environment = {**os.environ, **self.places(), "DITTOD_LEARNER": SETTINGS["LEARNER"]}
        done = subprocess.run(
            [sys.executable, "-c", START, *arguments], env=environment, capture_output=True, check=False, timeout=120
        )
        return done.returncode


@dataclass
class Harm:
    """What happens to the machine, each kind in its turn."""

    machine: Machine
    chance: random.Random
    has_own_disk: bool
    done: Counter[str] = field(default_factory=Counter[str])

    def strike(self) -> None:
        kinds = [self.engine_killed, self.by_hand, self.stopped_and_continued, self.clock_jump, self.engine_killed]
        kinds += [self.paused, self.daemon_killed, self.daemon_restarted] + [self.disk_full] * self.has_own_disk
        kind = kinds[self.done.total() % len(kinds)]
        self.done[kind.__name__.replace("_", " ")] += 1
        kind()

    def engine_killed(self) -> None:
        if engine := self.machine.engine():
            with suppress(psutil.Error):
                engine.kill()

    def daemon_killed(self) -> None:
        self.machine.end(signal.SIGKILL)
        self.machine.start()

    def daemon_restarted(self) -> None:
        self.machine.end(signal.SIGTERM)
        self.machine.start()

    def stopped_and_continued(self) -> None:
        """As a laptop that sleeps."""
        assert self.machine.process is not None
        both = [psutil.Process(self.machine.process.pid), *filter(None, [self.machine.engine()])]
        with suppress(psutil.Error):
            for each in both:
                each.suspend()
        time.sleep(self.chance.uniform(2, 5))
        for each in both:
            with suppress(psutil.Error):
                each.resume()

    def clock_jump(self) -> None:
        (self.machine.root / "shift").write_text(str(self.chance.choice((-86400, -3600, 0, 3600, 86400, 40 * 86400))))

    def paused(self) -> None:
        self.machine.command("pause", "--for", "1h")
        time.sleep(3)
        self.machine.command("resume")

    def by_hand(self) -> None:
        self.machine.command("update", self.chance.choice(("default", "letters")))

    def disk_full(self) -> None:
        """To the last byte, for a while."""
        ballast = self.machine.home.root / "ballast"
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            for size in (2**20, 4096, 1):
                with suppress(OSError):
                    while True:
                        file.write(b"\0" * size)
        time.sleep(self.chance.uniform(6, 12))
        ballast.unlink()


@dataclass
class Memory:
    """Resident bytes, sampled: of the daemon over its longest life, and of the engine at its peak."""

    lives: dict[int, list[int]] = field(default_factory=dict[int, list[int]])
    engine_peak: int = 0
    engine_floors: dict[int, list[int]] = field(default_factory=dict[int, list[int]])

    def sample(self, machine: Machine) -> None:
        with suppress(psutil.Error):
            if machine.process is not None:
                process = psutil.Process(machine.process.pid)
                self.lives.setdefault(process.pid, []).append(process.memory_info().rss)
            if engine := machine.engine():
                resident = engine.memory_info().rss
                self.engine_peak = max(self.engine_peak, resident)
                self.engine_floors.setdefault(engine.pid, []).append(resident)

    def growth_bytes(self) -> int:
        """From the second quarter of the longest life to its last: the first quarter is warming up."""
        longest = max(self.lives.values(), key=len, default=[])
        quarter = len(longest) // 4
        return int(median(longest[-quarter:]) - median(longest[quarter : 2 * quarter])) if quarter > 2 else 0


def soak(root: Path, minutes: float, seed: int, *, has_own_disk: bool) -> dict[str, Any]:
    """All of it; returns the figures."""
    machine = _prepared(root)
    person, chance = Person(machine.folder, random.Random(seed)), random.Random(seed + 1)
    harm, memory = Harm(machine, random.Random(seed + 2), has_own_disk), Memory()
    clients = Clients(machine.address, machine.was_down, seed)
    for _ in range(30):
        person.act()
    machine.start()
    clients.start(CLIENTS)
    try:
        _go_on(minutes * 60, person, harm, memory, chance)
        clients.stop()
        person.finish()
        (root / "shift").write_text("0")
        caught_up = _catch_up(machine, person)
    finally:
        machine.end(signal.SIGTERM)
    left = [each for each in psutil.process_iter(["cmdline"]) if _is_ours(each, machine)]
    return {
        **caught_up,
        "broken_answers": len(clients.faults),
        "memory_growth_mb": round(memory.growth_bytes() / 1e6, 1),
        "engine_peak_mb": round(memory.engine_peak / 1e6),
        "files": len(person.held),
        "acts": person.touched.total(),
        "answers": dict(clients.outcomes),
        "faults": clients.faults[:10],
        "first_text_p95_seconds": round(quantiles(clients.first_seconds or [0.0, 0.0], n=20)[-1], 3),
        "harm": dict(harm.done),
        "bad_ends": machine.bad_ends,
        "processes_left": len(left),
        **_at_rest(machine),
    }


def _prepared(root: Path) -> Machine:
    machine = Machine(root, Home(root / "disk" / "home"), root / "texts")
    machine.folder.mkdir()
    (root / "clock").mkdir()
    (root / "clock" / "sitecustomize.py").write_text(CLOCK)
    (root / "shift").write_text("0")
    return machine


def _go_on(seconds: float, person: Person, harm: Harm, memory: Memory, chance: random.Random) -> None:
    """Writing all the time, harm every so often; less in the last quarter, so that memory has time to be flat."""
    begun = time.monotonic()
    every = min(40.0, seconds / 12)
    next_harm, next_act = begun + every, begun
    columns = (TextColumn("soaking"), BarColumn(), TimeRemainingColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, console=ERR) as bars:
        task = bars.add_task("", total=seconds, note="")
        while (now := time.monotonic()) - begun < seconds:
            if now >= next_act:
                person.act()
                next_act = now + chance.expovariate(1 / 2.0)
            if now >= next_harm:
                harm.strike()
                next_harm = time.monotonic() + every
            memory.sample(harm.machine)
            note = ", ".join(f"{kind} {count}" for kind, count in harm.done.items())
            bars.update(task, completed=now - begun, note=note)
            time.sleep(0.5)


def _catch_up(machine: Machine, person: Person) -> dict[str, int]:
    """What is lost is only what is still missing when the daemon has had its time."""
    if machine.process is None or machine.process.poll() is not None:
        machine.bad_ends.append("the daemon had ended by itself")
        machine.start()
    deadline = time.monotonic() + LAST_SECONDS
    while True:
        store = Store(machine.home.store)
        figures = compared(person.expected(), known(store))
        store.close()
        if not any(figures.values()) or time.monotonic() > deadline:
            return {**figures, "demonstrations": person.expected().total()}
        time.sleep(1.0)


def _at_rest(machine: Machine) -> dict[str, Any]:
    """What the home looks like when nobody is at work in it."""
    store = Store(machine.home.store)
    runs, made = store.runs(), store.adapters()
    store.close()
    link = sqlite3.connect(machine.home.store)
    sound = link.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    link.close()
    return {
        "store_is_sound": sound,
        "runs": dict(Counter(run.state for run in runs)),
        "run_errors": sorted({run.error for run in runs if run.error}),
        "adapters": dict(Counter(each.state for each in made)),
        "adapters_without_weights": sum(
            each.state in ("promoted", "candidate") and not any(Path(each.path).glob("*.safetensors")) for each in made
        ),
        "open_to_others": len(list(_open_to_others(machine.home.root))),
        "texts_in_logs": _texts_in_logs(machine),
    }


def _open_to_others(root: Path) -> Iterator[Path]:
    return (path for path in [root, *root.rglob("*")] if stat.S_IMODE(path.lstat().st_mode) & 0o077)


def _texts_in_logs(machine: Machine) -> int:
    logs = [machine.root / "output", *machine.home.logs.iterdir()]
    return sum(path.read_text(errors="replace").count(word) for path in logs for word in (NAMED, PROMPTED))


def _is_ours(process: psutil.Process, machine: Machine) -> bool:
    with suppress(psutil.Error):
        return process.environ().get("DITTOD_HOME") == str(machine.home.root)
    return False


@contextmanager
def own_disk(root: Path) -> Iterator[bool]:
    """A small tmpfs at root/disk, if this process may mount one."""
    disk = root / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0700", "tmpfs", str(disk)]
    mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(disk)], check=True)


def _in_a_namespace(arguments: Sequence[str]) -> None:
    """Where only a namespace of one's own allows to mount, go on in one."""
    if os.geteuid() == 0 or "SOAK_INSIDE" in os.environ or not shutil.which("unshare"):
        return
    command = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
        os.environ["SOAK_INSIDE"] = "1"
        os.execvp("unshare", [*command, sys.executable, *arguments])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--quick", action="store_true", help="two minutes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="leave the folder, and say where it is")
    given = parser.parse_args()
    _in_a_namespace(sys.argv)
    root = Path(tempfile.mkdtemp(prefix="dittod-soak-"))
    try:
        with own_disk(root) as has_own_disk:
            figures = soak(root, 2.0 if given.quick else given.minutes, given.seed, has_own_disk=has_own_disk)
            if given.keep:
                shutil.copytree(root / "disk", root / "kept")
    finally:
        if given.keep:
            ERR.print(f"kept in {root}", markup=False)
        else:
            shutil.rmtree(root, ignore_errors=True)
    table = Table("figure", "value", box=None)
    for name, value in figures.items():
        table.add_row(name, str(value))
    Console().print(table)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
