"""A real daemon with a real engine gives way: to a lid that closes, and to the user's word. The lid is planted: the
parent's probes read a file instead of the machine."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from daemons import START, DaemonProcess, mail, wait_for
from fakes import make_tiny_model

from dittod.store import Store

LEARNER = {"supervised_steps": 4000, "supervised_stop_loss": 0}  # more than the test waits for
PLANTED = (
    """
import json, os, pathlib
from dittod.schedule import Conditions
import dittod.hold as hold, dittod.machine.probes as probes
hold.LEAST_SECONDS = 0.1
machine = pathlib.Path(os.environ["DITTOD_HOME"]).with_suffix(".machine")
probes.Probes.look = lambda self: Conditions(**json.loads(machine.read_text()))
"""
    + START
)


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    made = DaemonProcess(
        tmp_path / "home",
        base_model=str(make_tiny_model(tmp_path / "model")),
        learner=json.dumps(LEARNER),
        consider_seconds="1",
        min_demonstrations="7",
        learn_with_lid_closed="false",
    )
    made.watched.mkdir(parents=True)
    for number in range(7):
        (made.watched / f"{number}.eml").write_bytes(mail(f"Dear Ann, note {number} says: tea. Bob", day=number + 1))
    yield made
    made.kill()


def _run(daemon: DaemonProcess) -> dict[str, Any]:
    return daemon.profile()["run"] or {}


@pytest.mark.slow
@pytest.mark.timeout(300, func_only=True)
def test_an_update_makes_room_goes_on_where_it_was_and_is_given_up_when_the_user_says_so(
    daemon: DaemonProcess,
) -> None:
    machine = daemon.home.with_suffix(".machine")
    machine.write_text("{}")
    daemon.start(PLANTED)
    wait_for(lambda: _run(daemon).get("done", 0) > 3, 120)
    pid = daemon.status()["engine"]["pid"]
    machine.write_text(json.dumps({"lid_closed": True}))
    wait_for(lambda: not _is_alive(pid), 30)
    wait_for(lambda: _run(daemon)["paused"] == "the lid is closed", 10)
    assert daemon.status()["learning"]["state"] == "paused"
    left = _run(daemon)
    machine.write_text("{}")
    wait_for(lambda: _run(daemon)["done"] > left["done"], 120)
    store = Store(daemon.home / "dittod.sqlite")
    steps = [each.step for each in store.steps(left["id"])]
    assert steps == list(range(1, len(steps) + 1)) and len(steps) >= left["done"], "none lost, none twice"
    assert [note.split(": ")[1] for note in store.run(left["id"]).notes] == ["the lid is closed"]
    assert daemon.cli("stop-update").returncode == 0
    wait_for(lambda: not any((daemon.home / "runs").iterdir()), 15)
    assert store.run(left["id"]).state == "stopped"
    assert daemon.profile()["waiting"] == "nothing new since the last update"
    store.close()
    assert daemon.kill(signal.SIGTERM) == 0


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
