"""What a person asks to be forgotten: seen before it is done, and then done. The command's tests have the rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import demonstration
from versions import TEXTS, versions

from dittod.config import Settings, load_settings
from dittod.errors import DittodError, HasChanged, NotFound
from dittod.machine.lock import held
from dittod.paths import MARKER, Home
from dittod.rows import FileRow
from dittod.store import Store
from dittod.types import Demonstration, Run
from dittod.views import forgetting


class Bench:
    """Eight texts in a file each; @1 learnt from 1 to 4, @2 (served) from 3 to 6, @3 from 1 to 6. No daemon runs."""

    def __init__(self, folder: Path) -> None:
        self.home: Home = versions(folder)
        self.settings: Settings = load_settings(self.home)
        self.store = Store(self.home.store)

    def rehearse(self, *targets: str, profile: str | None = None) -> dict[str, Any]:
        return forgetting.rehearse(self.home, self.settings, self.store, targets, profile)

    def forget(self, *targets: str, profile: str | None = None) -> dict[str, Any]:
        return forgetting.forget(self.home, self.settings, self.store, targets, profile)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setenv("DITTOD_HOME", str(tmp_path / "home"))
    made = Bench(tmp_path / "home")
    made.home.watched.mkdir()
    (made.home.watched / MARKER).touch()
    yield made
    made.store.close()


def test_what_would_go_is_told_and_nothing_goes(bench: Bench) -> None:
    told = bench.rehearse("5.eml")
    (receipt,) = told["receipts"]
    assert (receipt["demonstrations"], receipt["adapters"]) == (1, ("default@2", "default@3"))
    assert receipt["replaced_by"] == "default@1" and told["finished"] is False
    assert bench.store.counts() == {"default": 8} and bench.store.receipts() == []
    assert [each.state for each in bench.store.adapters()] == ["retired", "promoted", "candidate"]


def test_what_was_rehearsed_is_what_goes(bench: Bench) -> None:
    (planned,) = bench.rehearse(TEXTS[4].id[:8])["receipts"]
    told = bench.forget(TEXTS[4].id[:8])
    (receipt,) = told["receipts"]
    same = ("profile", "cause", "demonstrations", "adapters", "replaced_by")
    assert [receipt[each] for each in same] == [planned[each] for each in same]
    assert told["finished"] and forgetting.receipts(bench.store) == {"receipts": [receipt]}


def test_a_profile_goes_with_its_open_update_and_a_rehearsal_leaves_that_alone(bench: Bench) -> None:
    run = bench.store.request_run(Run("run-x", "default", "requested", 7, "clean", 9.0))
    bench.rehearse(profile="default")
    assert bench.store.run(run.id).state == "requested"
    bench.forget(profile="default")
    assert bench.store.run(run.id).state == "stopped" and bench.store.counts() == {}


def test_beside_a_daemon_that_does_not_come_to_it_in_time_it_is_not_finished(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "PATIENCE_SECONDS", 0.0)
    with held(bench.home.lock):
        told = bench.forget("5.eml")
    assert told["finished"] is False and told["receipts"][0]["finished"] is False


@pytest.mark.parametrize("target", ["../../etc/passwd", "/etc", "5.eml\0", "\ud800", "*", "a" * 10_000])
def test_what_names_nothing_that_was_read_forgets_nothing(bench: Bench, target: str) -> None:
    for ask in (bench.rehearse, bench.forget):
        with pytest.raises(NotFound):
            ask(target)
    assert bench.store.counts() == {"default": 8}


def record(store: Store, path: str, text: Demonstration) -> None:
    store.record_file(FileRow(path, "email" if "/" in path else "default", 1, 1, "read", "", (), {}, 20.0), [text])


def test_a_file_is_meant_by_its_place_in_the_watched_folder_wherever_whoever_forgets_it_was_started(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = (demonstration(f"Write of {each}.", f"All of {each}, at length.") for each in ("tea", "rain"))
    record(bench.store, "notes.txt", mine)
    record(bench.store, "email/notes.txt", other)
    (bench.home.watched / "email").mkdir()
    monkeypatch.chdir(bench.home.watched / "email")
    assert bench.rehearse("notes.txt")["receipts"][0]["profile"] == "default"
    bench.forget("notes.txt")
    assert bench.store.texts_of(["notes.txt"]) == [] and bench.store.texts_of(["email/notes.txt"])
    for target in ("email", "email/", str(bench.home.watched / "email" / "notes.txt")):
        assert bench.rehearse(target)["receipts"][0]["profile"] == "email"


def test_another_number_of_texts_than_was_shown_is_not_forgotten(bench: Bench) -> None:
    assert sum(each["demonstrations"] for each in bench.rehearse(profile="default")["receipts"]) == 8
    for act in (
        lambda: forgetting.forget(bench.home, bench.settings, bench.store, [], "default", 7),
        lambda: forgetting.forget(bench.home, bench.settings, bench.store, ["5.eml"], None, 2),
    ):
        with pytest.raises(HasChanged, match="nothing was forgotten"):
            act()
    assert bench.store.counts() == {"default": 8} and bench.store.receipts() == []
    assert [each.state for each in bench.store.adapters()] == ["retired", "promoted", "candidate"]
    told = forgetting.forget(bench.home, bench.settings, bench.store, ["5.eml"], None, 1)
    assert told["finished"] and bench.store.counts() == {"default": 7}


def test_what_was_forgotten_already_is_nothing_to_forget(bench: Bench) -> None:
    bench.forget("5.eml")
    for ask in (bench.rehearse, bench.forget):
        with pytest.raises(DittodError, match=r"nothing was learnt from that|no file that was read"):
            ask("5.eml")
    assert len(bench.store.receipts()) == 1
