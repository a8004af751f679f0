"""How does the engine live beside the person: those who ask it while it learns, other programs, and their memory?

The product's engine process on the starter, with an update that stays in its supervised stage, so that every
micro-step is the same work. Measured are (a) the time to the first token, idle and while learning; (b) micro-steps a
second with no requests, with one every two seconds, and with a chat that never pauses; (c) resident memory before,
during and after the update and after idle_unload, against memory_budget; (d) what two busy programs get done beside the
learner, and beside nothing. Kinds of a comparison take turns, since the machine is seldom quiet for long.

    python benchmarks/beside.py [--quick]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import queue
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles

import psutil
from first_token import QUESTION
from first_token import _selection as demo_selection
from rich.console import Console
from rich.table import Table

from dittod.engine.client import Engine
from dittod.engine.protocol import Delta, Done, Event, Failed, Generate, Progress, Sampling, StopUpdate, Update
from dittod.errors import EngineUnavailable

BUDGET_BYTES = 1_000_000_000
CHAT_TOKENS = 64  # of each answer
ENDLESS = {"supervised_steps": 1e6, "supervised_stop_loss": 0.0}
PROGRAMS = 2  # busy ones: as many as a small machine has cores
MB = 1_000_000


class Learning:
    """Counts an update's micro-steps, and says how long the longest took."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.micro_steps = 0
        self.ended: queue.SimpleQueue[Event | EngineUnavailable] = queue.SimpleQueue()
        selection = demo_selection()
        (folder / "run").mkdir()
        places = (str(folder / "run"), str(folder / "adapters"))
        texts = (selection.learn, selection.held_out, None, ENDLESS)
        engine.submit(Update("update", *places, "clean", 1, *texts), self._hear)

    def _hear(self, event: Event | EngineUnavailable) -> None:
        if isinstance(event, Progress):
            self.micro_steps += 1
        elif not isinstance(event, Done):
            self.ended.put(event)

    def rate(self, seconds: float) -> float:
        """Micro-steps a second from now on."""
        before, begun = self.micro_steps, time.perf_counter()
        time.sleep(seconds)
        return (self.micro_steps - before) / (time.perf_counter() - begun)


class Resident:
    """The most that a process holds, looked at ten times a second."""

    def __init__(self, pid: int) -> None:
        self.most, self._process, self._ended = 0, psutil.Process(pid), threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._ended.wait(0.1):
            self.most = max(self.most, self.now())

    def now(self) -> int:
        """Bytes."""
        return int(self._process.memory_info().rss)

    def end(self) -> None:
        """Look no more."""
        self._ended.set()
        self._thread.join()


def main() -> None:
    """Table on stdout, one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a third of the time")
    share = 1 if parser.parse_args().quick else 3
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine("starter", "none", Path(folder) / "engine.log", memory_budget=BUDGET_BYTES)
        engine.start()
        try:
            results = measured(engine, Path(folder), share)
        finally:
            engine.stop()
    show(results)


def measured(engine: Engine, folder: Path, share: int) -> dict[str, float]:
    """Everything, by name."""
    for number in range(3):
        first_token(engine, f"warm-up {number}")
    assert engine.pid is not None
    resident = Resident(engine.pid)
    before = resident.now()
    idle = [first_token(engine, f"idle {n}") for n in range(12 * share)]
    unlearnt = busy_programs(4.0)
    learning = Learning(engine, folder)
    learning.rate(5.0)
    asked = while_learning(engine, 12 * share)
    rates = learner_rates(engine, learning, share)
    learnt = busy_programs(4.0)
    engine.send(StopUpdate())
    ended = learning.ended.get(timeout=120)
    assert not isinstance(ended, Failed | EngineUnavailable), ended
    time.sleep(3.0)
    after = resident.now()
    again = busy_programs(4.0)
    resident.end()
    assert engine.stop_if_idle(0.0)
    return {
        "ttft_idle_p50_ms": 1000 * median(idle),
        "ttft_idle_p95_ms": 1000 * p95(idle),
        "ttft_learning_p50_ms": 1000 * median(asked),
        "ttft_learning_p95_ms": 1000 * p95(asked),
        "ttft_learning_ratio": median(asked) / median(idle),
        **rates,
        "budget_mb": BUDGET_BYTES / MB,
        "memory_before_mb": before / MB,
        "memory_peak_mb": resident.most / MB,
        "memory_after_mb": after / MB,
        "memory_parent_mb": psutil.Process().memory_info().rss / MB,
        "memory_returned_mb": resident.most / MB if engine.pid is None else 0.0,
        "program_slowdown": (unlearnt + again) / 2 / learnt,
    }


def while_learning(engine: Engine, count: int) -> list[float]:
    """First tokens of requests at random moments."""
    chance, found = random.Random(0), []
    for number in range(count):
        time.sleep(chance.uniform(0.2, 1.0))
        found.append(first_token(engine, f"learning {number}"))
    return found


def learner_rates(engine: Engine, learning: Learning, share: int) -> dict[str, float]:
    """Micro-steps a second under each kind of requests; the kinds take turns."""
    kinds: dict[str, float] = {"none": -1.0, "stream": 2.0, "chat": 0.0}  # seconds between two requests
    rates: dict[str, list[float]] = {kind: [] for kind in kinds}
    first: list[float] = []
    for turn in range(2 * share):
        for kind, pause in kinds.items():
            with asking(engine, f"{kind} {turn}", pause, first if kind == "chat" else []):
                rates[kind].append(learning.rate(6.0))
    none, stream, chat = (sum(each) / len(each) for each in rates.values())
    return {
        "micro_step_ms": 1000 / none,
        "learning_slowdown": none / max(stream, 1e-9),
        "learning_share_in_chat": chat / none,
        "ttft_chat_p95_ms": 1000 * p95(first),
    }


@contextmanager
def asking(engine: Engine, name: str, pause: float, first: list[float]) -> Iterator[None]:
    """Requests one after the other inside the block, with a pause between; none for a negative one."""
    ended = threading.Event()

    def ask() -> None:
        number = 0
        while not ended.is_set():
            first.append(first_token(engine, f"{name} {(number := number + 1)}", tokens=CHAT_TOKENS))
            ended.wait(pause)

    thread = threading.Thread(target=ask, daemon=True)
    if pause >= 0:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if pause >= 0:
            thread.join(60)


def first_token(engine: Engine, name: str, tokens: int = 16) -> float:
    """Seconds from sending a request until its first text arrives; waits for its end."""
    heard: queue.SimpleQueue[tuple[float, Event | EngineUnavailable]] = queue.SimpleQueue()
    begun = time.perf_counter()
    request = Generate(name, None, Sampling(max_tokens=tokens, seed=1), messages=QUESTION)
    engine.submit(request, lambda event: heard.put((time.perf_counter(), event)))
    first = None
    while True:
        when, event = heard.get(timeout=120)
        assert not isinstance(event, Failed | EngineUnavailable), event
        if isinstance(event, Delta) and first is None:
            first = when - begun
        if isinstance(event, Done):
            assert first is not None, "the answer had no text"
            return first


def busy_programs(seconds: float) -> float:
    """What some programs that never wait get done together, a second."""
    with multiprocessing.get_context("spawn").Pool(PROGRAMS) as pool:
        pool.map(work, [0.1] * PROGRAMS, chunksize=1)  # they have started
        return sum(pool.map(work, [seconds] * PROGRAMS, chunksize=1)) / seconds


def work(seconds: float) -> int:
    """Units done in that time."""
    end, block, done = time.perf_counter() + seconds, bytes(1 << 14), 0
    while time.perf_counter() < end:
        hashlib.sha256(block).digest()
        done += 1
    return done


def p95(values: list[float]) -> float:
    return quantiles(values, n=20, method="inclusive")[-1]


def show(results: dict[str, float]) -> None:
    table = Table("figure", "value", box=None)
    for name, value in results.items():
        table.add_row(name, f"{value:.2f}" if value < 10 else f"{value:.0f}")
    Console(width=80).print(table)
    print(json.dumps({name: round(value, 3) for name, value in results.items()}))


if __name__ == "__main__":
    main()
