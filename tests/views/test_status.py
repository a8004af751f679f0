"""How things stand, as a document: first steps, memory, the next look, and what is known without a key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fakes import demonstration
from keyrings import InMemory, Locked
from versions import versions

from dittod import runs
from dittod.config import Settings, load_settings
from dittod.machine.lock import held
from dittod.paths import Home
from dittod.rows import FileRow
from dittod.signals import LEARNING
from dittod.store import Store
from dittod.views import status

MINE = [demonstration(f"Write {n}.", f"{n} words of mine, {n} and no more", written_at=float(n)) for n in range(6)]


@pytest.fixture
def store(home: Home) -> Iterator[Store]:
    made = Store(home.store)
    yield made
    made.close()


def _read(store: Store, *, identities: tuple[str, ...] = (), senders: dict[str, int] | None = None) -> None:
    store.record_file(FileRow("a.mbox", "default", 1, 1, "read", "", identities, senders or {}, 1.0), MINE)


def _done(document: dict[str, Any]) -> dict[str, bool]:
    return {each["what"].split()[0]: each["done"] for each in document["setup"]}


def test_who_begins_is_told_each_step_that_is_left(home: Home, settings: Settings, store: Store) -> None:
    document = status.now(home, settings, store)
    assert _done(document) == {"Put": False, "Have": False, "Ask": False}
    first, learn, ask = (each["what"] for each in document["setup"])
    assert first.endswith(str(settings.watched_folder))
    assert "6 texts" in learn and "dittod update" in learn and "dittod connect" in ask


def test_whose_the_mails_are_is_a_step_only_where_there_are_mails(home: Home, settings: Settings, store: Store) -> None:
    _read(store, senders={"bob@x.example": 2})
    assert _done(status.now(home, settings, store)) == {"Put": True, "Say": False, "Have": False, "Ask": False}
    _read(store, identities=("bob@x.example",), senders={"bob@x.example": 2})
    assert _done(status.now(home, settings, store))["Say"]


def test_steps_that_were_done_stay_done(tmp_path: Path) -> None:
    home = versions(tmp_path / "learnt")
    store = Store(home.store)
    document = status.now(home, load_settings(home), store, asked=True)
    assert _done(document) == {"Put": True, "Have": True, "Ask": True}
    store.close()


def test_memory_is_said_against_its_budget_if_there_is_one(home: Home, settings: Settings, store: Store) -> None:
    store.note("engine", {"state": "ready", "memory_bytes": 7 * 2**20})
    assert status.now(home, settings, store)["memory"] == {"used_bytes": 0, "budget_bytes": None}, "no daemon runs"
    budget = settings.model_copy(update={"memory_budget": 2**30})
    with held(home.lock):
        assert status.now(home, budget, store)["memory"] == {"used_bytes": 7 * 2**20, "budget_bytes": 2**30}


def test_the_next_look_is_said_where_it_has_a_time(home: Home, settings: Settings, store: Store) -> None:
    assert status.now(home, settings, store)["next"] is None
    later = datetime.now().astimezone().replace(hour=12, minute=30) + timedelta(days=2)
    said = status.now(home, settings, store, next_look=later)["next"]
    assert said == f"whether to learn is looked at next at {later.astimezone():%Y-%m-%d %H:%M}"
    today = datetime.now().astimezone()
    assert status.now(home, settings, store, next_look=today)["next"].endswith(f" {today:%H:%M}")


def test_all_that_status_prints_is_in_it_unchanged(home: Home, settings: Settings, store: Store) -> None:
    _read(store)
    document = status.now(home, settings, store)
    told = status.describe(home, settings, store)
    changing = ("learning", "disk")  # what the machine shows at this moment
    assert {name: value for name, value in document.items() if name in told and name not in changing} == {
        name: value for name, value in told.items() if name not in changing
    }
    assert told["profiles"][0]["held_out"] == 2


def test_a_run_shows_its_progress_and_a_figure_that_is_none_as_nothing(
    home: Home, settings: Settings, store: Store
) -> None:
    _read(store)
    run = runs.request(store, settings, "default")
    figures = {"margin": float("nan"), "loss": 0.5}
    told = {"phase": "dpo", "iteration": 1, "done": 3, "of": 40, "figures": figures, "elapsed": 1.5}
    store.change_run(run.id, state="running", progress=told)
    store.note(LEARNING, {"state": "learning", "reason": None, "profiles": {"default": None}, "unreadable": []})
    with held(home.lock):
        shown = status.now(home, settings, store)["profiles"][0]
    assert shown["run"] == {
        "id": run.id, "state": "running", "phase": "dpo", "iteration": 1, "done": 3, "of": 40,
        "figures": {"margin": None, "loss": 0.5}, "paused": None, "seconds_left": None, "notes": [],
    }  # fmt: skip
    json.dumps(shown, allow_nan=False)


def test_without_the_key_of_a_sealed_store_everything_else_is_known(
    home: Home, settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    _read(store, identities=("bob@x.example",), senders={"bob@x.example": 2})
    monkeypatch.setattr("keyring.core._keyring_backend", InMemory())
    store.seal(True)
    monkeypatch.setattr("keyring.core._keyring_backend", Locked())
    sealed = Store(home.store)
    document = status.now(home, settings, sealed)
    assert (document["profiles"][0]["demonstrations"], document["profiles"][0]["held_out"]) == (6, 0)
    assert document["identities"] == [] and _done(document) == {"Put": True, "Have": False, "Ask": False}
    sealed.close()
