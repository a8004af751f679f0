"""kill -9 of the engine and of the parent in every phase: the work goes on, and store and disk agree.

The daemon and the engine are real processes. A killing is planted by patching the parent before it starts: it strikes
when the parent hears that a phase has begun, or that a step is complete, so it falls there. The run's seed is fixed, so
a healed run must end in the same adapter, bit for bit, as one that nothing happened to.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemons import START, DaemonProcess, mail, wait_for
from fakes import make_tiny_model, teach

WORDS = [f"Dear Ann, note {n} says: tea. Bob" for n in range(7)]
LEARNER = {
    "supervised_steps": 20,  # until every answer ends by itself: with 6, the last bit decides what the gate sees
    "supervised_learning_rate": 0.003,
    "supervised_stop_loss": 0,
    "dpo_steps": 4,
    "resample_every": 2,
    "samples_per_demonstration": 2,
}
PHASES = ("supervised", "reference", "sampling", "dpo", "gate", "saving")
STEPS = (("supervised", 4), ("sampling", 2), ("dpo", 3))
COURSE = [  # every step of a run, in its order
    *(("supervised", step) for step in range(1, 21)),
    *(("sampling", 1), ("dpo", 1), ("dpo", 2)),
    *(("sampling", 2), ("dpo", 3), ("dpo", 4)),
]

FIXED_SEED = "import dittod.runs as runs; runs.secrets.randbelow = lambda n: 7\n"
KILL_IN_PHASE = (
    FIXED_SEED
    + """
import os, pathlib
struck = pathlib.Path(os.environ["DITTOD_HOME"]).with_suffix(".struck")
original = runs.Runs._note_progress
def note(self, run, update, progress):
    if (progress.phase, {step} and progress.completed_step) == ("{phase}", {step}) and not struck.exists():
        struck.touch()
        os.kill({victim}, 9)
    original(self, run, update, progress)
runs.Runs._note_progress = note
"""
    + START
)
KILL_AT_PROMOTION = (
    FIXED_SEED
    + """
import os, dittod.adapters as adapters
original = adapters.promote
def promote(*arguments):
    {before}
    original(*arguments)
    {after}
adapters.promote = promote
"""
    + START
)
KILL_WHILE_READING = (
    """
import os, dittod.ingest.folder as folder
folder.BATCH_DEMONSTRATIONS = 50
original, records = folder.Folder._record, []
def record(self, *arguments):
    records.append(arguments)
    if len(records) == {files}:
        os.kill(os.getpid(), 9)
    original(self, *arguments)
folder.Folder._record = record
"""
    + START
)
DIE = "os.kill(os.getpid(), 9)"


@pytest.fixture(scope="session")
def taught_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that ends its answers, so that an update on it can pass the gate."""
    folder = make_tiny_model(tmp_path_factory.mktemp("taught") / "m")
    return teach(
        folder, [(f'Write an e-mail to Ann about "Note {n}".', f"Hi Ann, {n} or so. Bye. Sue") for n in range(9)]
    )


@pytest.fixture
def daemon(taught_model: Path, tmp_path: Path) -> Iterator[DaemonProcess]:
    made = DaemonProcess(
        tmp_path / "home",
        base_model=str(taught_model),
        learner=json.dumps(LEARNER),
        consider_seconds="0.3",
        min_demonstrations="7",
    )
    made.watched.mkdir(parents=True)
    yield made
    made.kill()


def _drop_mails(daemon: DaemonProcess) -> None:
    for number, words in enumerate(WORDS):
        (daemon.watched / f"{number}.eml").write_bytes(mail(words, day=number + 1))


def _run_to_the_end(daemon: DaemonProcess) -> dict[str, object]:
    """Wait for the first run's end; returns its row."""
    wait_for(lambda: _runs(daemon) and _runs(daemon)[0]["state"] in ("done", "failed"), 150)
    return _runs(daemon)[0]


def _runs(daemon: DaemonProcess) -> list[dict[str, object]]:
    with sqlite3.connect(f"file:{daemon.home / 'dittod.sqlite'}?mode=ro", uri=True, timeout=10) as db:
        db.row_factory = sqlite3.Row
        rows = [dict(row) for row in db.execute("SELECT * FROM runs ORDER BY requested_at")]
    db.close()
    return rows


def _assert_store_and_disk_agree(daemon: DaemonProcess, run: dict[str, object]) -> None:
    adapters = daemon.json("adapters", "list")["adapters"]
    assert [each["id"] for each in adapters] == [run["adapter_id"]]
    on_disk = sorted(path.name for path in (daemon.home / "adapters").iterdir())
    assert on_disk == [run["adapter_id"]]
    files = sorted(path.name for path in Path(adapters[0]["path"]).iterdir())
    assert files == ["adapter_config.json", "adapter_model.safetensors", "manifest.json"]
    assert list((daemon.home / "runs").iterdir()) == []
    assert adapters[0]["state"] == ("promoted" if adapters[0]["verdict"]["promoted"] else "candidate")
    assert len(daemon.json("demos", "list")["demonstrations"]) == len(WORDS)


def _course(daemon: DaemonProcess, run: dict[str, object]) -> list[tuple[str, int]]:
    steps = daemon.json("adapters", "show", str(run["adapter_id"]))["steps"]
    return [(each["phase"], each["step"]) for each in steps]


@pytest.fixture(scope="session")
def undisturbed(taught_model: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The adapter that a run ends in when nothing happens to it."""
    daemon = DaemonProcess(
        tmp_path_factory.mktemp("calm") / "home",
        base_model=str(taught_model),
        learner=json.dumps(LEARNER),
        consider_seconds="0.3",
        min_demonstrations="7",
    )
    daemon.watched.mkdir(parents=True)
    _drop_mails(daemon)
    daemon.start(FIXED_SEED + START)
    run = _run_to_the_end(daemon)
    _assert_store_and_disk_agree(daemon, run)
    assert _course(daemon, run) == COURSE
    daemon.kill()
    assert daemon.profile()["adapter"] is not None, "the undisturbed run must promote, or promotion is not tested"
    return str(run["adapter_id"])


@pytest.mark.slow
@pytest.mark.timeout(300, func_only=True)
@pytest.mark.parametrize(("phase", "step"), [*((phase, 0) for phase in PHASES), *STEPS])
def test_an_engine_killed_in_a_phase_is_replaced_and_the_run_ends_the_same(
    daemon: DaemonProcess, undisturbed: str, phase: str, step: int
) -> None:
    """At the phase's first word, or when it has completed a step. No figure is lost, since what is told is told before
    it is saved; and none is kept twice."""
    _drop_mails(daemon)
    daemon.start(KILL_IN_PHASE.format(phase=phase, step=step, victim="self._engine.pid"))
    run = _run_to_the_end(daemon)
    assert daemon.home.with_suffix(".struck").exists() and not daemon.ended
    assert daemon.status()["engine"]["last_death"].startswith("killed")
    _assert_store_and_disk_agree(daemon, run)
    assert run["adapter_id"] == undisturbed
    assert _course(daemon, run) == COURSE


@pytest.mark.slow
@pytest.mark.timeout(300, func_only=True)
@pytest.mark.parametrize("phase", PHASES)
def test_a_parent_killed_in_a_phase_goes_on_at_its_next_start(
    daemon: DaemonProcess, undisturbed: str, phase: str
) -> None:
    _drop_mails(daemon)
    daemon.start(KILL_IN_PHASE.format(phase=phase, step=0, victim="os.getpid()"))
    wait_for(lambda: daemon.ended, 60)
    daemon.start(FIXED_SEED + START)
    run = _run_to_the_end(daemon)
    _assert_store_and_disk_agree(daemon, run)
    assert run["adapter_id"] == undisturbed


@pytest.mark.slow
@pytest.mark.timeout(300, func_only=True)
@pytest.mark.parametrize(("before", "after"), [(DIE, "pass"), ("pass", DIE)])
def test_a_parent_killed_around_the_promotion_promotes_once(
    daemon: DaemonProcess, undisturbed: str, before: str, after: str
) -> None:
    _drop_mails(daemon)
    daemon.start(KILL_AT_PROMOTION.format(before=before, after=after))
    wait_for(lambda: daemon.ended, 60)
    daemon.start(FIXED_SEED + START)
    run = _run_to_the_end(daemon)
    _assert_store_and_disk_agree(daemon, run)
    assert run["adapter_id"] == undisturbed


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_parent_killed_while_reading_reads_the_rest_and_nothing_twice(daemon: DaemonProcess) -> None:
    """Killed at the 120th of 300 files and the 60th after it; no update interferes, since too many are asked for."""
    daemon.environment["DITTOD_MIN_DEMONSTRATIONS"] = "1000"
    for number in range(300):
        words = f"Dear Ann, this is the note with number {number} and it is about {number * 7919}. Bob"
        (daemon.watched / f"{number}.eml").write_bytes(mail(words, day=number % 28 + 1))
    counts = []
    for files in (120, 60):
        daemon.start(KILL_WHILE_READING.format(files=files))
        wait_for(lambda: daemon.ended, 60)
        counts.append(_count(daemon))
    assert 100 <= counts[0] < 120 and counts[0] + 50 <= counts[1] < counts[0] + 60
    daemon.start()
    wait_for(lambda: _count(daemon) == 300, 60)
    listed = daemon.json("demos", "list")["demonstrations"]
    assert len({each["id"] for each in listed}) == len(listed) == 300


def _count(daemon: DaemonProcess) -> int:
    if not (daemon.home / "dittod.sqlite").exists():
        return 0
    with sqlite3.connect(f"file:{daemon.home / 'dittod.sqlite'}?mode=ro", uri=True, timeout=10) as db:
        count = db.execute("SELECT count(*) FROM demonstrations").fetchone()[0]
    db.close()
    return int(count)
