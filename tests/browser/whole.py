"""A real daemon as a person with a browser has it: signed in by what `dittod open --print` prints.

The model is the tiny one, taught to end its answers. The parent is held where a test says so, by a file: what the page
shows of a run that goes on can be looked at in peace, however busy the machine is. The engine computes on meanwhile.
"""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from daemons import START, DaemonProcess, mail, wait_for
from playwright.sync_api import Locator, Page

WORDS = [f"Dear Ann, note {n} says: tea. Bob" for n in range(7)]
LEARNER = {
    "supervised_steps": 20,
    "supervised_learning_rate": 0.003,
    "supervised_stop_loss": 0,
    "dpo_steps": 4,
    "resample_every": 2,
    "samples_per_demonstration": 2,
}
NEXT_TO_NOTHING = {  # what is learnt so is no better than anything
    "supervised_steps": 2,
    "supervised_learning_rate": 1e-9,
    "dpo_steps": 1,
    "resample_every": 1,
    "samples_per_demonstration": 1,
}
MOST_TABS = 80  # until something has focus

# With a known seed the first update makes the same version each time.
HELD = (
    """
import os, pathlib, time
import dittod.runs as runs
runs.secrets.randbelow = lambda n: 7
runs.PROGRESS_SECONDS = 0  # what is shown of a held run is its last step
folder = pathlib.Path(os.environ["DITTOD_HOME"]).with_suffix(".held")
original = runs.Runs._note_progress
def note(self, run, update, progress):
    original(self, run, update, progress)
    held = folder / f"{progress.phase}-{progress.completed_step}"
    while held.exists():
        time.sleep(0.02)
runs.Runs._note_progress = note
"""
    + START
)


@dataclass
class Home:
    """What a test is given; `url` and `link` as the fixtures of this folder want them."""

    daemon: DaemonProcess
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.daemon.start(HELD)

    def start_anew(self, learner: Mapping[str, float]) -> None:
        """With other numbers for its updates."""
        self.daemon.kill(signal.SIGTERM)
        self.daemon.environment["DITTOD_LEARNER"] = json.dumps(learner)
        self.start()

    def link(self) -> str:
        """What `dittod open --print` prints."""
        return self.daemon.cli("open", "--print").stdout.strip()

    def drop(self, name: str, content: bytes) -> None:
        self.daemon.watched.mkdir(parents=True, exist_ok=True)
        (self.daemon.watched / name).write_bytes(content)

    def drop_notes(self, first: int = 0, last: int = len(WORDS)) -> None:
        for day, words in list(enumerate(WORDS, start=1))[first:last]:
            self.drop(f"{day}.eml", mail(words, day=day))

    def read(self, texts: int) -> None:
        """Waits until so many are there."""
        wait_for(lambda: self.daemon.profile()["demonstrations"] == texts, 60)

    def hold(self, phase: str, step: int) -> Path:
        """The run waits after this step until the file that is returned is gone."""
        file = self.daemon.home.with_suffix(".held") / f"{phase}-{step}"
        file.parent.mkdir(exist_ok=True)
        file.touch()
        return file


def home(folder: Path, model: str = "starter") -> Home:
    """With a port of its own, which it keeps when it is started again."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    daemon = DaemonProcess(
        folder / "home",
        port=str(port),
        base_model=model,
        learner=json.dumps(LEARNER),
        consider_seconds="0.3",
        min_demonstrations="6",
        new_demonstrations="100000",  # updates are asked for
        keep_interactions=json.dumps({"default": 1.0}),
    )
    return Home(daemon, port)


def tab_to(page: Page, wanted: Locator) -> None:
    """Presses Tab until it has focus."""
    wanted.wait_for()
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        if wanted.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError(f"no way to {wanted} by Tab")
