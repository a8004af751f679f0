"""pause, resume and stop-update over a home, with and without a daemon; what status says of them."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from daemons import wait_for
from fakes import demonstration
from rich.progress import Progress

from dittod import runs
from dittod.cli.terminal import progress_bars
from dittod.cli.update import GONE, daemon_here, follow, why_held
from dittod.config import load_settings
from dittod.machine.lock import held
from dittod.paths import Home
from dittod.rows import FileRow
from dittod.signals import LEARNING, PAUSE
from dittod.store import Store
from dittod.types import Run
from dittod.views.status import describe

SENTENCE = "you are at the machine; learns after 5 minutes without keyboard and mouse"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("DITTOD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    made = Home(tmp_path / "home")
    made.create()
    return made


@pytest.fixture
def store(home: Home) -> Iterator[Store]:
    made = Store(home.store)
    for n in range(6):
        row = FileRow(f"{n}", "default", 1, 1, "read", "", (), {}, read_at=1000.0)
        made.record_file(row, [demonstration(f"Write {n}", f"{n} {' '.join(map(str, range(n, n + 9)))}")])
    yield made
    made.close()


def asked_for(home: Home, store: Store) -> Run:
    run = runs.request(store, load_settings(home), "default")
    (home.runs / run.id).mkdir()
    return run


def status(dittod: Any) -> dict[str, Any]:
    return dict(json.loads(dittod("status", "--json")[1]))


def test_a_pause_without_an_end_lasts_until_resume(home: Home, store: Store, dittod: Any) -> None:
    code, out, _ = dittod("pause")
    assert code == 0 and "until dittod resume" in out and "no daemon" in out
    assert store.noted(PAUSE) == {"until": None, "said_at": pytest.approx(time.time(), abs=60.0)}
    value = status(dittod)
    assert value["learning"]["state"] == "paused"
    assert value["profiles"][0]["waiting"] == value["learning"]["reason"] == "paused until dittod resume"
    assert "goes on" in dittod("resume")[1]
    assert store.noted(PAUSE) == {} and status(dittod)["learning"]["state"] == "waiting"
    assert "not paused" in dittod("resume")[1]


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("30m", 1800.0), ("2h", 7200.0), (" 1d ", 86400.0), ("1h30m", 5400.0), ("365d", 365 * 86400.0)],
)
def test_a_pause_may_have_an_end_and_the_later_word_counts(
    home: Home, store: Store, dittod: Any, given: str, seconds: float
) -> None:
    dittod("pause")
    assert dittod("pause", "--for", given)[0] == 0
    assert store.noted(PAUSE)["until"] == pytest.approx(time.time() + seconds, abs=60.0)


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        *(
            (each, "30m, 2h or 1d")
            for each in ("", "-5m", "1.5h", "tomorrow", "5", "m", "999999999999d", "٣h", "2h; ls", "h30m", "1h30")
        ),
        *((each, "365 days at most") for each in ("0m", "366d", "999999999d")),
    ],
)
def test_nothing_is_paused_for_what_is_no_length_of_time(
    home: Home, store: Store, dittod: Any, given: str, hint: str
) -> None:
    code, out, err = dittod("pause", f"--for={given}")
    assert (code, out) == (1, "") and hint in err
    assert store.noted(PAUSE) == {}


def test_an_update_is_given_up_with_its_checkpoints(home: Home, store: Store, dittod: Any) -> None:
    run = asked_for(home, store)
    code, out, _ = dittod("stop-update")
    assert code == 0 and "given up" in out
    stopped = store.run(run.id)
    assert stopped.state == "stopped" and stopped.finished_at is not None
    assert not (home.runs / run.id).exists()
    value = status(dittod)["profiles"][0]
    assert (value["run"], value["waiting"]) == (None, "nothing new since the last update")


def test_beside_a_daemon_the_checkpoints_are_the_daemons_to_remove(home: Home, store: Store, dittod: Any) -> None:
    run = asked_for(home, store)
    with held(home.lock):
        assert dittod("stop-update")[0] == 0
    assert store.run(run.id).state == "stopped" and (home.runs / run.id).exists()


@pytest.mark.parametrize("profile", ["default", "nobody"])
def test_where_no_update_is_open_that_is_said(home: Home, store: Store, dittod: Any, profile: str) -> None:
    code, _, err = dittod("stop-update", profile)
    assert code == 1 and f"{profile!r} has no open update" in err


def test_status_says_what_the_daemon_says(home: Home, store: Store, dittod: Any) -> None:
    run = asked_for(home, store)
    store.change_run(run.id, state="running", progress={"phase": "dpo", "done": 3, "of": 40})
    for n in range(5):
        store.add_note(run.id, f"paused at 12:0{n}: on battery")
    note = {"state": "paused", "reason": SENTENCE, "profiles": {"default": SENTENCE}, "unreadable": ["the lid"]}
    store.note(LEARNING, note)
    engine = {"state": "failed", "pid": 1, "memory_bytes": 2**30, "trouble": "the engine died 4 times"}
    store.note("engine", engine)
    with held(home.lock):
        value = status(dittod)
        out = dittod("status")[1]
    assert value["learning"] == note
    assert value["engine"]["trouble"] == "the engine died 4 times" and value["engine"]["memory_bytes"] == 2**30
    shown = value["profiles"][0]["run"]
    assert (shown["paused"], shown["phase"], len(shown["notes"])) == (SENTENCE, "dpo", 5)
    for words in (f"dpo 3/40, paused: {SENTENCE}", "1024 MiB", "the engine died 4 times", "not heeded: the lid"):
        assert words in out
    assert "default: paused at 12:04: on battery" in out and "12:03" not in out, "the latest one"


def test_of_what_befell_an_update_only_the_latest_that_still_holds_is_shown(
    home: Home, store: Store, dittod: Any
) -> None:
    run = asked_for(home, store)
    store.change_run(run.id, state="running", progress={"phase": "dpo", "done": 3, "of": 40})
    for sentence in ("it begins anew, once", "it begins anew, twice", "paused at 12:04: on battery"):
        store.add_note(run.id, sentence)
    store.note(LEARNING, {"state": "learning", "reason": None, "profiles": {"default": None}, "unreadable": []})
    with held(home.lock):
        out = dittod("status")[1]
    assert "default: it begins anew, twice" in out and "once" not in out and "paused" not in out


def test_an_open_update_without_a_daemon_is_paused_by_the_user_or_by_nothing(
    home: Home, store: Store, dittod: Any
) -> None:
    asked_for(home, store)
    assert status(dittod)["profiles"][0]["run"]["paused"] is None
    assert "goes on with: dittod run" in dittod("status")[1]
    dittod("pause")
    assert status(dittod)["profiles"][0]["run"]["paused"] == "paused until dittod resume"


def test_without_a_daemon_status_believes_no_daemon_of_before(home: Home, store: Store, dittod: Any) -> None:
    store.note(LEARNING, {"state": "paused", "reason": SENTENCE, "profiles": {"default": SENTENCE}, "unreadable": []})
    store.note("engine", {"state": "failed", "trouble": "the engine died 4 times"})
    store.note(PAUSE, {"until": None})
    value = status(dittod)
    assert value["learning"]["reason"] == "paused until dittod resume" and value["engine"]["trouble"] is None


def test_who_waits_for_an_update_sees_why_it_is_held(home: Home, store: Store) -> None:
    run = asked_for(home, store)
    store.note(LEARNING, {"state": "paused", "reason": SENTENCE, "profiles": {"default": SENTENCE}, "unreadable": []})
    bars = progress_bars()
    ended = threading.Thread(target=lambda: (shown(bars, SENTENCE), store.stop_run("default", time.time())))
    with held(home.lock):
        ended.start()
        assert follow(store, run, bars, home).state == "stopped"
    ended.join()
    assert not bars.tasks[-1].visible


def test_who_waits_for_an_update_sees_how_long_all_of_it_takes(home: Home, store: Store) -> None:
    run = asked_for(home, store)
    course = {"supervised_steps": 3, "dpo_steps": 4, "resample_every": 4}
    place = {"phase": "dpo", "iteration": 0, "done": 3, "of": 4, "figures": {"margin": 0.5}, "elapsed": 0.0}
    told = {**place, "course": course, "seconds": {"dpo": 5.0, "gate": 700.0}}
    store.change_run(run.id, state="running", progress=told)
    bars = progress_bars()

    def look() -> None:
        wait_for(lambda: [each for each in bars.tasks if each.fields.get("left") == "about 12 min left in all"], 10)
        store.stop_run("default", time.time())

    looking = threading.Thread(target=look)
    with held(home.lock):
        looking.start()
        follow(store, run, bars, home)
    looking.join()
    assert [each.description for each in bars.tasks if each.fields.get("left")] == ["preference steps, iteration 1"]


def shown(bars: Progress, sentence: str) -> None:
    wait_for(lambda: bars.tasks and bars.tasks[-1].visible and bars.tasks[-1].fields["note"] == sentence, 10)


def test_who_waits_for_an_update_leaves_the_home_to_a_daemon_that_is_restarted(home: Home, store: Store) -> None:
    """As systemctl restart does: the home is free for some seconds. While it is, that is said."""
    run = asked_for(home, store)
    bars = progress_bars()
    found: list[Run] = []
    waits = threading.Thread(target=lambda: found.append(follow(store, run, bars, home)))
    with held(home.lock):
        waits.start()
        wait_for(lambda: bars.tasks, 10)
    shown(bars, GONE)
    store.note(LEARNING, {"profiles": {"default": SENTENCE}})
    with held(home.lock, patience_seconds=10.0):
        shown(bars, SENTENCE)
        store.change_run(run.id, state="done")
        waits.join(10.0)
    assert [each.state for each in found] == ["done"]


def test_where_no_daemon_comes_back_who_waits_is_told_so(
    home: Home, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dittod.cli.update.RESTART_SECONDS", 0.0)
    assert follow(store, asked_for(home, store), progress_bars(), home).state == "requested"


def test_a_daemon_without_endpoint_leaves_no_address_of_the_one_before(
    home: Home, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DITTOD_SETTLE_SECONDS", "0")
    store.note("endpoint", {"url": "http://127.0.0.1:1"})
    settings = load_settings(home)
    with daemon_here(home, settings, store, progress_bars()):
        value = describe(home, settings, store)
    assert value["daemon_pid"] is not None and value["endpoint"] is None


def test_who_asks_for_an_update_without_waiting_hears_why_it_is_held(
    home: Home, store: Store, dittod: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dittod.cli.update.NOTICE_SECONDS", 0.0)
    store.note(LEARNING, {"state": "paused", "profiles": {"default": "paused until dittod resume"}})
    with held(home.lock):
        code, out, err = dittod("update")
    assert (code, out) == (0, "") and "; held for now: paused until dittod resume; see dittod status" in err


def test_what_the_daemon_said_before_it_looked_is_not_why_an_update_is_held(home: Home, store: Store) -> None:
    said = "nothing new since the last update"
    store.note(LEARNING, {"profiles": {"default": said}})
    run = asked_for(home, store)
    found: list[str | None] = []
    asks = threading.Thread(target=lambda: found.append(why_held(store, run, said)))
    asks.start()
    store.note(LEARNING, {"profiles": {"default": None}})
    asks.join(10.0)
    assert found == [None]


def test_status_names_a_daemon_whose_number_is_not_known(
    home: Home, store: Store, dittod: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with held(home.lock):
        home.lock.write_text("")
        assert "daemon    process unknown" in dittod("status")[1]
    assert "daemon    not running" in dittod("status")[1]


def test_status_says_of_a_folder_that_cannot_be_entered_that_it_is_not_there(
    home: Home, store: Store, dittod: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = load_settings(home).watched_folder
    assert watched is not None
    looked_at = Path.stat

    def stat(self: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        if self.parent == watched:
            raise PermissionError(errno.EACCES, "Permission denied")
        return looked_at(self, follow_symlinks=follow_symlinks)

    store.note("watched", {"root": str(watched)})
    monkeypatch.setattr(Path, "stat", stat)
    code, out, _ = dittod("status")
    assert code == 0 and "missing or cannot be read" in out


def test_without_a_terminal_who_waits_hears_in_a_line_why_and_once(
    home: Home, store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("dittod.cli.update.NOTICE_SECONDS", 0.0)
    monkeypatch.setattr("dittod.cli.update.POLL_SECONDS", 0.01)
    run = asked_for(home, store)
    store.note(LEARNING, {"state": "paused", "reason": SENTENCE, "profiles": {"default": SENTENCE}, "unreadable": []})
    bars = progress_bars()
    bars.disable = True
    ended = threading.Thread(target=lambda: (shown(bars, SENTENCE), time.sleep(0.1), store.stop_run("default", 1.0)))
    with held(home.lock):
        ended.start()
        follow(store, run, bars, home)
    ended.join()
    assert capsys.readouterr().err == f"held: {SENTENCE}\n"


def test_status_says_that_a_command_is_at_work_without_an_endpoint(home: Home, store: Store, dittod: Any) -> None:
    store.note("endpoint", {})
    with held(home.lock):
        assert "endpoint  -  (dittod update or dittod ingest is at work" in dittod("status")[1]
    assert "at work" not in dittod("status")[1]
