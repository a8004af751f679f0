"""What a page sees of a home and does to it, over a daemon that was not started: no engine, no network."""

from __future__ import annotations

import inspect
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from keyrings import InMemory, Locked
from versions import HELD_OUT, TEXTS, versions

from dittod.config import load_settings
from dittod.daemon import Daemon
from dittod.dashboard import DaemonDashboard
from dittod.engine.protocol import Ready
from dittod.errors import DittodError, HasChanged, NotFound, RequestError, TooFewDemonstrations
from dittod.machine.lock import held
from dittod.paths import Home
from dittod.serving import Dashboard
from dittod.signals import LEARNING, PAUSE
from dittod.store import Store

VIEWS = {"now", "voices", "runs", "versions", "receipts"}
FIRST = TEXTS[0].id


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = versions(tmp_path / "home")
    with held(made.lock):
        yield made


@pytest.fixture
def daemon(home: Home) -> Iterator[Daemon]:
    store = Store(home.store)
    made = Daemon(home, load_settings(home), store)
    yield made
    made.folder.close()
    store.close()


@pytest.fixture
def dashboard(daemon: Daemon) -> Dashboard:
    return DaemonDashboard(daemon.home, daemon.store, daemon.settings, daemon)


def test_everything_that_is_promised_is_there(dashboard: Dashboard) -> None:
    def promised(kind: type) -> dict[str, list[str]]:
        methods = inspect.getmembers(kind, inspect.isfunction)
        return {name: list(inspect.signature(each).parameters) for name, each in methods if name[0] != "_"}

    assert promised(DaemonDashboard) == promised(Dashboard)


def test_every_view_is_a_document_that_json_can_hold(dashboard: Dashboard) -> None:
    run = dashboard.update("default")
    views: list[Any] = [
        dashboard.now(),
        dashboard.voices(),
        dashboard.voice("default", "tea"),
        dashboard.demonstration("default", FIRST),
        dashboard.runs(),
        run,
        dashboard.versions(),
        dashboard.version("default@2"),
        dashboard.receipts(),
        dashboard.judgements(),
        dashboard.clients("http://127.0.0.1:3488"),
    ]
    for view in views:
        assert json.loads(json.dumps(view, allow_nan=False)).keys() == view.keys()


def test_an_update_is_asked_for_by_hand_and_given_up(dashboard: Dashboard, daemon: Daemon) -> None:
    asked = dashboard.update("default")
    assert (asked["profile"], asked["by_hand"], asked["state"]) == ("default", True, "requested")
    assert dashboard.update("default")["id"] == asked["id"], "one is open already"
    dashboard.stop_update("default")
    assert daemon.store.run(asked["id"]).state == "stopped"
    with pytest.raises(NotFound, match="no open update"):
        dashboard.stop_update("default")


def test_what_is_asked_of_a_profile_that_is_not_there_is_refused(dashboard: Dashboard) -> None:
    for ask in (dashboard.update, dashboard.stop_update, lambda name: dashboard.roll_back(name, "base")):
        with pytest.raises(NotFound, match="'nobody'"):
            ask("nobody")


def test_where_there_is_nothing_to_learn_from_no_update_is_asked_for(dashboard: Dashboard, daemon: Daemon) -> None:
    daemon.store.forget_profile("default", 1.0)
    with pytest.raises(TooFewDemonstrations):
        dashboard.update("default")


def test_a_pause_is_said_and_taken_back(dashboard: Dashboard, daemon: Daemon) -> None:
    dashboard.pause(3600.0)
    note = daemon.store.noted(PAUSE)
    assert note["until"] - note["said_at"] == pytest.approx(3600.0) and note["said_at"] <= time.time()
    dashboard.pause(None)
    assert daemon.store.noted(PAUSE)["until"] is None
    assert dashboard.now()["learning"]["reason"] == "paused until dittod resume"
    dashboard.resume()
    assert daemon.store.noted(PAUSE) == {}


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e300, float("inf"), float("nan"), 366 * 86400.0])
def test_nothing_is_paused_for_what_is_no_length_of_time(dashboard: Dashboard, daemon: Daemon, seconds: float) -> None:
    with pytest.raises(RequestError) as error:
        dashboard.pause(seconds)
    assert error.value.param == "seconds" and daemon.store.noted(PAUSE) == {}


def test_what_is_excluded_or_edited_is_answered_as_it_is_now(dashboard: Dashboard) -> None:
    assert dashboard.exclude("default", FIRST, True)["use"] == "excluded"
    assert not dashboard.exclude("default", FIRST, False)["excluded"]
    edited = dashboard.set_prompt("default", FIRST, "Say it.")
    assert (edited["prompt"], dashboard.demonstration("default", edited["id"])["prompt_by"]) == ("Say it.", "user")


def test_a_version_is_promoted_pinned_and_rolled_back(dashboard: Dashboard) -> None:
    assert dashboard.promote("default@3")["served"]
    assert dashboard.versions()["served"] == {"default": "default@3"}
    assert dashboard.pin("default@1", True)["pinned"] and not dashboard.pin("default@1", False)["pinned"]
    with pytest.raises(HasChanged, match="by now default@3 is served, and not default@2"):
        dashboard.roll_back("default", "default@2")
    dashboard.roll_back("default", "default@3")
    assert dashboard.versions()["served"] == {"default": "default@2"}


def test_forgetting_is_rehearsed_before_it_is_done(
    dashboard: Dashboard, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dittod.views.forgetting.PATIENCE_SECONDS", 0.0)  # nobody clears away here
    (planned,) = dashboard.rehearse_forgetting([TEXTS[3].id], None)["receipts"]
    assert (planned["demonstrations"], dashboard.receipts()["receipts"]) == (1, [])
    with pytest.raises(HasChanged, match="is 1 by now, and 2 was shown"):
        dashboard.forget([TEXTS[3].id], None, 2)
    assert dashboard.receipts()["receipts"] == [] and dashboard.demonstration("default", TEXTS[3].id)
    done = dashboard.forget([TEXTS[3].id], None, 1)
    assert [each["adapters"] for each in done["receipts"]] == [planned["adapters"]] and not done["finished"]
    assert len(dashboard.receipts()["receipts"]) == 1
    with pytest.raises(NotFound):
        dashboard.demonstration("default", TEXTS[3].id)


def test_a_judgement_is_counted(dashboard: Dashboard) -> None:
    dashboard.judge("b" * 64, "base")
    (tally,) = dashboard.judgements()["tallies"]
    assert {tally["one"], tally["other"]} == {"default@2", "base"} and dashboard.judgements()["total"] == 1


def test_the_settings_of_clients_name_the_address_and_not_the_token(dashboard: Dashboard, home: Home) -> None:
    document = dashboard.clients("http://127.0.0.1:4321")
    assert document["url"] == "http://127.0.0.1:4321/v1" and len(document["clients"]) > 3
    assert "127.0.0.1:4321" in json.dumps(document) and home.token() not in json.dumps(document)


def test_that_somebody_has_asked_is_known_after_the_engine_has_forgotten_it(
    dashboard: Dashboard, daemon: Daemon
) -> None:
    def asked() -> bool:
        return bool(dashboard.now()["setup"][-1]["done"])

    assert not asked()
    daemon.engine.last_asked = 5.0
    assert asked()
    daemon.engine.last_asked = None
    assert asked()


def test_memory_is_weighed_against_what_the_engine_keeps_within(dashboard: Dashboard, daemon: Daemon) -> None:
    def budget() -> object:
        daemon._note_engine()
        return dashboard.now()["memory"]["budget_bytes"]

    assert daemon.settings.memory_budget is None and budget() is None, "it has not looked at the machine yet"
    daemon.engine.ready = Ready("starter", "1", "t", 512, 1, budget_bytes=2**31)
    assert budget() == 2**31
    daemon.engine.ready = None
    assert budget() == 2**31, "it rests, and the machine is the same"


def test_the_next_look_is_named_where_looks_have_set_times(
    dashboard: Dashboard, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert dashboard.now()["next"] is None
    settings = daemon.settings.model_copy(update={"consider_at": "30 12 * * *"})
    other = DaemonDashboard(daemon.home, daemon.store, settings, daemon)
    assert other.now()["next"] is None, "the scheduler has not begun"
    daemon.scheduler.add_job(lambda: None, "date", run_date=datetime(2999, 1, 1, tzinfo=UTC), id="consider")
    daemon.scheduler.start(paused=True)
    said = other.now()["next"]
    daemon.scheduler.shutdown(wait=False)
    assert "2999-01-01" in said or "2998-12-31" in said


@pytest.mark.parametrize(
    ("change", "views"),
    [
        (lambda daemon: daemon.store.note("engine", {"state": "ready"}), {"now"}),
        (lambda daemon: setattr(daemon.engine, "last_asked", 7.0), {"now"}),
        (lambda daemon: daemon.store.note(LEARNING, {"profiles": {"default": "on battery"}}), {"now", "runs"}),
        (lambda daemon: daemon.store.note("reading", {"busy": True}), {"now", "voices"}),
        (lambda daemon: daemon.store.note("rolled_back", {"default": {}}), {"now", "versions"}),
        (lambda daemon: daemon.store.exclude("default", FIRST, excluded=True), {"now", "voices"}),
        (lambda daemon: daemon.store.roll_back("default", "a" * 64), {"now", "voices", "versions"}),
        (lambda daemon: daemon.store.forget_texts("default", [FIRST], "by hand", 1.0), VIEWS - {"runs"}),
    ],
)
def test_the_digest_of_a_view_changes_with_what_it_shows_and_no_other(
    dashboard: Dashboard, daemon: Daemon, change, views: set[str]
) -> None:
    before = dashboard.digest()
    assert dashboard.digest() == before and before.keys() == VIEWS
    change(daemon)
    after = dashboard.digest()
    assert {name for name in VIEWS if before[name] != after[name]} == views


def test_an_update_that_moves_on_changes_the_digest_of_runs(dashboard: Dashboard, daemon: Daemon) -> None:
    run = dashboard.update("default")
    before = dashboard.digest()
    daemon.store.change_run(run["id"], state="running", progress={"phase": "dpo", "iteration": 0, "done": 1, "of": 9})
    after = dashboard.digest()
    assert {name for name in VIEWS if before[name] != after[name]} == {"now", "runs"}


def test_without_the_key_now_is_shown_and_the_others_say_what_helps(
    home: Home, daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyring.core._keyring_backend", InMemory())
    daemon.store.seal(True)
    monkeypatch.setattr("keyring.core._keyring_backend", Locked())
    sealed = Store(home.store)
    dashboard = DaemonDashboard(home, sealed, daemon.settings, daemon)
    assert dashboard.now()["profiles"][0]["adapter"]["number"] == 2
    assert dashboard.digest().keys() == VIEWS and dashboard.versions()["served"] == {"default": "default@2"}
    for ask in (
        dashboard.voices,
        lambda: dashboard.voice("default", ""),
        lambda: dashboard.demonstration("default", HELD_OUT[0].id),
        lambda: dashboard.set_prompt("default", FIRST, "x"),
        lambda: dashboard.exclude("default", FIRST, True),
        lambda: dashboard.update("default"),
        lambda: dashboard.forget([FIRST], None, 1),
    ):
        with pytest.raises(DittodError) as error:
            ask()
        assert error.value.hint
    sealed.close()
