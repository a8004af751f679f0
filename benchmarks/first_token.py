"""How long does the first token take while an update runs? The product's engine process, asked before and during one.

The claim to check: a request that arrives while learning waits for what is left of one micro-step. So its time to first
token is at most the idle time plus the longest micro-step. Micro-steps are timed from outside, by the progress events
between which no request was under way.

    python benchmarks/first_token.py [--quick] [--model FOLDER_OR_ID] [--requests N]
"""

from __future__ import annotations

import argparse
import json
import queue
import random
import tempfile
import time
from importlib.resources import files
from pathlib import Path
from statistics import median, quantiles

from rich.console import Console
from rich.progress import track
from rich.table import Table

from dittod.engine.client import Engine
from dittod.engine.protocol import Delta, Done, Event, Failed, Generate, Progress, Sampling, Stopped, StopUpdate, Update
from dittod.errors import EngineUnavailable
from dittod.ingest.demonstrations import Owner, demonstrations_of
from dittod.ingest.readers import read
from dittod.ingest.select import Selection, select
from dittod.types import Message

QUESTION = (Message("user", 'Write an e-mail to Anna about "The meeting".'),)
TOKENS = 16  # of each answer
ERR = Console(stderr=True)


class MicroSteps:
    """Listens to an update, and times what lies between its progress events."""

    def __init__(self) -> None:
        self.durations: list[float] = []
        self.phase = ""
        self.disturbed = True  # a request was under way since the last event
        self.ended: queue.SimpleQueue[Event | EngineUnavailable] = queue.SimpleQueue()
        self._last = time.perf_counter()

    def hear(self, event: Event | EngineUnavailable) -> None:
        """From the engine's thread."""
        now = time.perf_counter()
        if not isinstance(event, Progress):
            self.ended.put(event)
            return
        if not self.disturbed:
            self.durations.append(now - self._last)
        self._last, self.phase, self.disturbed = now, event.phase, False


def main() -> None:
    """Table on stdout, one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--requests", type=int, default=60)
    parser.add_argument("--quick", action="store_true", help="20 requests")
    given = parser.parse_args()
    count = 20 if given.quick else given.requests
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(given.model, "none", Path(folder) / "engine.log")
        engine.start()
        try:
            for number in range(3):
                _first_token_seconds(engine, f"warm-up {number}")
            idle = [_first_token_seconds(engine, f"idle {n}") for n in track(range(count), "idle", console=ERR)]
            learning, steps = _while_learning(engine, Path(folder), count)
        finally:
            engine.stop()
    _show(idle, learning, steps.durations)


def _while_learning(engine: Engine, folder: Path, count: int) -> tuple[list[float], MicroSteps]:
    """Requests at random moments of an update on the demo's mails."""
    steps, chance = MicroSteps(), random.Random(0)
    engine.submit(_update(folder), steps.hear)
    found: list[float] = []
    for number in track(range(count), "learning", console=ERR):
        time.sleep(chance.uniform(0.2, 1.5))
        if not steps.ended.empty():
            break
        steps.disturbed = True
        found.append(_first_token_seconds(engine, f"learning {number}"))
        steps.disturbed = True
    engine.send(StopUpdate())
    event = steps.ended.get(timeout=120)
    assert not isinstance(event, (Failed, EngineUnavailable)), event
    assert isinstance(event, Stopped) or found, "the update ended before a request was made"
    return found, steps


def _update(folder: Path) -> Update:
    selection = _selection()
    (folder / "run").mkdir()
    places = (str(folder / "run"), str(folder / "adapters"))
    return Update("update", *places, "clean", 1, selection.learn, selection.held_out, None)


def _selection() -> Selection:
    mails = Path(str(files("dittod.cli").joinpath("demo_mails")))
    documents = [document for path in sorted(mails.glob("*.eml")) for document in read(path) if document]
    owner = Owner(identities=(documents[0].sender,))
    return select([each for document in documents for each in demonstrations_of(document, owner).demonstrations])


def _first_token_seconds(engine: Engine, name: str) -> float:
    """From sending a request until its first text arrives; waits for its end."""
    heard: queue.SimpleQueue[tuple[float, Event | EngineUnavailable]] = queue.SimpleQueue()
    begun = time.perf_counter()
    request = Generate(name, None, Sampling(max_tokens=TOKENS, seed=1), messages=QUESTION)
    engine.submit(request, lambda event: heard.put((time.perf_counter(), event)))
    first = None
    while True:
        when, event = heard.get(timeout=120)
        assert not isinstance(event, (Failed, EngineUnavailable)), event
        if isinstance(event, Delta) and first is None:
            first = when - begun
        if isinstance(event, Done):
            assert first is not None, "the answer had no text"
            return first


def _show(idle: list[float], learning: list[float], steps: list[float]) -> None:
    table = Table("milliseconds", "count", "median", "95th percentile", "longest", box=None)
    for name, values in (
        ("first token, idle", idle),
        ("first token, learning", learning),
        ("micro-step", steps),
    ):
        figures = (median(values), _p95(values), max(values))
        table.add_row(name, str(len(values)), *(f"{1000 * value:.0f}" for value in figures))
    Console(width=100).print(table)
    bound = median(idle) + max(steps)
    print(
        json.dumps(
            {
                "learning_over_idle_median": round(median(learning) / median(idle), 3),
                "learning_over_idle_p95": round(_p95(learning) / _p95(idle), 3),
                "longest_learning_over_bound": round(max(learning) / bound, 3),
                "micro_step_ms_median": round(1000 * median(steps), 1),
                "micro_step_ms_max": round(1000 * max(steps), 1),
                "idle_ms_median": round(1000 * median(idle), 1),
                "learning_ms_median": round(1000 * median(learning), 1),
            }
        )
    )


def _p95(values: list[float]) -> float:
    return quantiles(values, n=20)[-1]


if __name__ == "__main__":
    main()
