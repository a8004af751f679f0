"""The sample documents, over which pages are tested, look as those of a home do: the same fields, no more, no fewer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from versions import TEXTS, versions

from dittod.config import Settings, load_settings
from dittod.daemon import Daemon
from dittod.dashboard import DaemonDashboard
from dittod.engine.protocol import Drawn
from dittod.paths import Home
from dittod.rows import StepRow
from dittod.runs import Runs, request
from dittod.serving import Dashboard
from dittod.store import Store

from .dashboards import FakeDashboard

URL = "http://127.0.0.1:3488"
BY_NAME = {"figures", "masked", "removed", "reasons", "senders", "verdict", "waiting", "served", "prompts", "profiles"}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return versions(tmp_path / "home")


@pytest.fixture
def store(home: Home) -> Iterator[Store]:
    made = Store(home.store)
    yield made
    made.close()


@pytest.fixture
def real(home: Home, store: Store) -> Iterator[Dashboard]:
    """The daemon is not started."""
    daemon = Daemon(home, load_settings(home), store)
    yield DaemonDashboard(home, store, daemon.settings, daemon)
    daemon.folder.close()


def fields(value: Any, path: str = "") -> set[str]:
    """Where something stands in a document: '.runs[].stages[].title'. What is kept by names that differ from home to
    home counts as one."""
    if isinstance(value, list):
        return {f"{path}[]", *(each for item in value for each in fields(item, f"{path}[]"))} if value else set()
    if not isinstance(value, dict):
        return set()
    inner = {f"{path}.{key}": item for key, item in value.items()}
    return set(inner).union(*(fields(item, at) for at, item in inner.items() if not _is_by_name(at, item)))


def _is_by_name(path: str, value: Any) -> bool:
    return isinstance(value, dict) and path.rpartition(".")[2] in BY_NAME


def unlike(real: Any, sample: Any) -> list[str]:
    """What only one of them has, inside of what both have."""
    ones, others = fields(real), fields(sample)
    common = (ones & others) | {""}
    return sorted(each for each in ones ^ others if not each.endswith("[]") and each.rpartition(".")[0] in common)


def under_way(store: Store) -> str:
    """An update that is at its first preference step. Its id."""
    course = {"supervised_steps": 1, "dpo_steps": 4, "resample_every": 4}
    progress = {"phase": "dpo", "iteration": 0, "done": 1, "of": 4, "figures": {"loss": 0.5}, "course": course}
    id = request(store, Settings(), "default", by_hand=True).id
    store.change_run(id, state="running", progress=progress)
    store.record_step(id, StepRow("dpo", 1, 0, {"loss": 0.5}))
    return id


def test_the_sample_documents_have_the_fields_of_the_real_ones(
    home: Home, store: Store, real: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = FakeDashboard()
    one = next(each["id"] for each in sample.demonstrations if each["profile"] == "email")
    run, text = under_way(store), TEXTS[0].id
    drawn = Drawn(run, 0, text, "Dear Ann", 1.0)
    monkeypatch.setattr(Runs, "samples", (drawn,))
    real.judge("default@2", "base")
    sample.judge("email@3", "base")
    pairs = {
        "now": (real.now(), sample.now()),
        "voices": (real.voices(), sample.voices()),
        "voice": (real.voice("default", ""), sample.voice("email", "")),
        "demonstration": (real.demonstration("default", text), sample.demonstration("email", one)),
        "set_prompt": (real.set_prompt("default", text, "x"), sample.set_prompt("email", one, "x")),
        "runs": (real.runs(), sample.runs()),
        "run": (real.run(run, 0), sample.run("run-4", 0)),
        "versions": (real.versions(), sample.versions()),
        "version": (real.version("default@2"), sample.version("email@3")),
        "judgements": (real.judgements(), sample.judgements()),
        "clients": (real.clients(URL), sample.clients(URL)),
        "forget": (real.rehearse_forgetting([], "default"), sample.rehearse_forgetting([], "email")),
    }
    assert {name: unlike(*documents) for name, documents in pairs.items() if unlike(*documents)} == {}
