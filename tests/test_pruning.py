"""The disk budget: what goes and in which order, what never does, and what a kill between row and folder leaves."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dittod import adapters, pruning
from dittod.config import Settings
from dittod.errors import DittodError
from dittod.model import load
from dittod.paths import Home
from dittod.pruning import GRACE_SECONDS, Pruning, what_to_prune
from dittod.store import Store
from dittod.types import Adapter, AdapterState, Recipe, Run, Verdict, Written

EMPTY = Verdict(True, ("likelier",), {}, (Written("ditto", "", "what it wrote"),))


def version(name: str, state: AdapterState, at: float, *, profile: str = "p", pinned: bool = False) -> Adapter:
    """Made at this time, and where it is no candidate, promoted a little later."""
    promoted_at = None if state == "candidate" else at + 0.5
    return Adapter(
        name, profile, int(at), state, f"/{name}", "r", "starter", "1", "t", (), 1, at, promoted_at, EMPTY, pinned
    )


def names(found: list[Adapter]) -> str:
    return "".join(each.id for each in found)


HISTORY = [
    version("a", "retired", 1),
    version("b", "candidate", 2),
    version("c", "retired", 3),
    version("d", "candidate", 4),
    version("e", "retired", 5),
    version("f", "promoted", 6),
]
SIZES = dict.fromkeys("abcdef", 10)


@pytest.mark.parametrize(
    ("budget", "expected"),
    [(60, ""), (59, "b"), (50, "b"), (45, "bd"), (40, "bd"), (30, "bda"), (20, "bdac"), (0, "bdac")],
)
def test_candidates_go_before_what_was_promoted_and_the_oldest_first(budget: int, expected: str) -> None:
    assert names(what_to_prune(HISTORY, SIZES, budget)) == expected


def test_what_is_pinned_and_all_of_a_profile_that_learns_stays() -> None:
    made = [*HISTORY, version("x", "retired", 1, profile="q"), version("y", "candidate", 1, profile="q", pinned=True)]
    sizes = {**SIZES, "x": 10, "y": 10}
    assert names(what_to_prune(made, sizes, 0)) == "bdaxc"
    assert names(what_to_prune(made, sizes, 0, learning={"p"})) == "x"


def test_what_was_rolled_back_from_goes_before_what_was_good() -> None:
    bad = replace(version("z", "retired", 9), promoted_at=None)
    assert names(what_to_prune([*HISTORY, bad], {**SIZES, "z": 10}, 40)) == "bdz"


def test_one_that_takes_no_room_is_not_pruned_in_vain() -> None:
    assert names(what_to_prune(HISTORY, {**SIZES, "b": 0}, 45)) == "d"


def test_one_without_weights_is_never_pruned() -> None:
    few_shot = [replace(each, recipe=Recipe("base", examples=3)) for each in HISTORY if each.id in "ab"]
    assert names(what_to_prune([*few_shot, *HISTORY[2:]], SIZES, 0)) == "dc"


states: st.SearchStrategy[AdapterState] = st.sampled_from(["candidate", "retired", "promoted", "pruned", "forgotten"])


@given(
    st.lists(st.tuples(states, st.sampled_from("pq"), st.booleans(), st.integers(0, 50)), max_size=12),
    st.integers(0, 200),
)
def test_the_rest_is_within_the_budget_or_all_that_may_go_goes(
    drawn: list[tuple[AdapterState, str, bool, int]], budget: int
) -> None:
    seen: set[str] = set()
    made = []
    for number, (state, profile, pinned, _) in enumerate(drawn):
        if state == "promoted" and profile in seen:  # one at most
            state = "retired"
        seen |= {profile} if state == "promoted" else set()
        made.append(version(f"v{number}", state, number, profile=profile, pinned=pinned))
    sizes = {f"v{number}": size for number, (*_, size) in enumerate(drawn)}
    gone = what_to_prune(made, sizes, budget)
    left = [each for each in made if each not in gone and each.state not in ("pruned", "forgotten")]
    good = {each.id for profile in "pq" if (each := adapters.last_good(made, profile))}
    assert all(each.state in ("candidate", "retired") and not each.pinned and each.id not in good for each in gone)
    may_go = [each for each in left if each.state != "promoted" and not each.pinned and each.id not in good]
    assert sum(sizes[each.id] for each in left) <= budget or not any(sizes[each.id] for each in may_go)
    if gone:
        assert sum(sizes[each.id] for each in left) + sizes[gone[-1].id] > budget, "the last one was needed"


# --- a real home ---


class Bench:
    """A home, its store, and a clock that the test turns."""

    def __init__(self, root: Path) -> None:
        self.home = Home(root)
        self.home.create()
        self.store = Store(self.home.store)
        self.now = 0.0
        self.budget(10**9)

    def budget(self, count: int) -> Pruning:
        settings = Settings(disk_budget=count, base_model="m", watched_folder=self.home.root / "watched")
        self.pruning = Pruning(self.home, self.store, settings)
        return self.pruning

    def add(self, name: str, size: int = 1000, *, promote: bool = True, profile: str = "p") -> Adapter:
        made = self.store.add_adapter(
            Adapter(name, profile, 0, "candidate", "", "r", "m", "1", "t", (), 1, self.now, None, EMPTY)
        )
        write(Path(made.path) / "adapter_model.safetensors", size)
        if promote:
            self.store.promote(profile, name, self.now)
        self.now += 1
        return self.store.adapter(name)

    @property
    def states(self) -> dict[str, str]:
        return {each.id: each.state for each in self.store.adapters()}

    @property
    def folders(self) -> str:
        return "".join(sorted(each.name for each in self.home.adapters.iterdir()))


def write(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    made = Bench(tmp_path / "home")
    monkeypatch.setattr(pruning, "clock", lambda: made.now)
    yield made
    made.store.close()


def test_a_pruned_version_cannot_be_asked_for_at_once_and_its_folder_goes_later(bench: Bench) -> None:
    for name in "abc":
        bench.add(name)
    tending = bench.budget(2500)
    tending.tend()
    assert bench.states == {"a": "pruned", "b": "retired", "c": "promoted"}
    assert not adapters.fits(bench.store.adapter("a"), "m", None), "so that a request for it hears of no such model"
    assert bench.folders == "abc", "a request that came before may wait for the engine"
    bench.now += GRACE_SECONDS - 1
    tending.tend()
    assert bench.folders == "abc"
    bench.now += 1
    tending.tend()
    assert bench.folders == "bc"
    assert bench.store.noted("disk") == {"used_bytes": 2000, "budget_bytes": 2500, "sentence": None}


def test_a_forgotten_version_counts_as_gone(bench: Bench) -> None:
    for name in "abc":
        bench.add(name)
    with sqlite3.connect(bench.home.store) as db:
        db.execute("UPDATE adapters SET state = 'forgotten' WHERE id = 'a'")
    bench.budget(2000).tend()
    assert bench.states == {"a": "forgotten", "b": "retired", "c": "promoted"}
    assert bench.store.noted("disk")["used_bytes"] == 2000


def test_a_kill_between_row_and_folder_is_healed_at_the_next_start(bench: Bench) -> None:
    for name in "abc":
        bench.add(name)
    bench.budget(2500).tend()
    bench.budget(2500).tend()  # of a new process, for which nobody waits
    assert bench.folders == "bc"


def test_rolling_back_finds_the_last_good_one_with_its_weights(bench: Bench) -> None:
    for name in "abcd":
        bench.add(name)
    bench.budget(1).tend()
    assert bench.states == {"a": "pruned", "b": "pruned", "c": "retired", "d": "promoted"}
    assert (back := adapters.roll_back(bench.store, "p")) is not None and back.id == "c"
    assert adapters.roll_back(bench.store, "p") is None, "what was pruned is passed over, and base is served"


def test_where_nothing_more_may_go_a_sentence_says_what_to_do(bench: Bench) -> None:
    bench.add("a", 3 * 2**20)
    bench.add("b")
    bench.budget(1000).tend()
    noted = bench.store.noted("disk")
    assert noted["used_bytes"] == 3 * 2**20 + 1000 and set(bench.states.values()) == {"retired", "promoted"}
    assert "versions, runs and logs take 3.0 MiB" in noted["sentence"] and "raise disk_budget" in noted["sentence"]


def test_the_copy_of_the_base_model_that_is_in_use_costs_no_version(bench: Bench) -> None:
    """However large: without it the next start would make it anew."""
    for name in "abc":
        bench.add(name)
    write(bench.home.quantised / f"{hashlib.sha256(b'm').hexdigest()[:12]}-x" / "model", 3 * 2**20)
    bench.budget(3500).tend()
    assert "pruned" not in bench.states.values()
    assert bench.store.noted("disk") == {"used_bytes": 3000, "budget_bytes": 3500, "sentence": None}


def test_checkpoints_and_logs_count_and_are_left_alone(bench: Bench) -> None:
    for name in "abc":
        bench.add(name)
    write(bench.home.runs / "r" / "checkpoint", 1000)
    write(bench.home.logs / "dittod.log", 1000)
    bench.budget(4500).tend()
    assert bench.states["a"] == "pruned"
    assert (bench.home.runs / "r" / "checkpoint").exists() and (bench.home.logs / "dittod.log").exists()


def test_copies_of_models_that_are_not_used_go_before_any_version(bench: Bench) -> None:
    for name in "abc":
        bench.add(name)
    own, other = (hashlib.sha256(name).hexdigest()[:12] for name in (b"m", b"another"))
    for name in (f"{own}-1", f"{other}-1", f".{other}-2"):
        write(bench.home.quantised / name / "model", 1000)
    bench.budget(3500).tend()
    assert [each.name for each in bench.home.quantised.iterdir()] == [f"{own}-1"]
    assert bench.folders == "abc" and "pruned" not in bench.states.values()


def test_copies_of_models_that_are_not_used_stay_while_there_is_room(bench: Bench) -> None:
    write(bench.home.quantised / "another-1" / "model", 1000)
    bench.pruning.tend()
    assert (bench.home.quantised / "another-1" / "model").exists()


def test_the_name_of_a_quantised_copy_begins_as_the_loader_writes_it(bench: Bench, tmp_path: Path) -> None:
    name = load._copy_name("m", "1", str(tmp_path), torch.float32, torch.device("cpu"))
    write(bench.home.quantised / name / "model", 1000)
    assert pruning._unused_copies(bench.home, "m") == []
    assert pruning._unused_copies(bench.home, "another") == [bench.home.quantised / name]


def test_while_a_profile_learns_its_versions_stay_even_pruned_ones(bench: Bench) -> None:
    for name in "abc":
        bench.add(name)
    bench.budget(2500).tend()
    bench.store.request_run(Run("r1", "p", "running", 7, "clean", 5.0))
    bench.budget(1).tend()
    assert bench.folders == "abc" and list(bench.states.values()).count("pruned") == 1
    bench.store.change_run("r1", state="done")
    bench.budget(1).tend()
    assert bench.folders == "bc"


def test_one_promoted_between_the_look_and_the_statement_stays(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        bench.add(name)
    choose: Callable[..., list[Adapter]] = pruning.what_to_prune

    def and_meanwhile(*given: object, **named: object) -> list[Adapter]:
        chosen = choose(*given, **named)
        bench.store.promote("p", "a", bench.now)
        return chosen

    monkeypatch.setattr(pruning, "what_to_prune", and_meanwhile)
    bench.budget(2500).tend()
    assert bench.states == {"a": "promoted", "b": "retired", "c": "retired"}


def test_a_store_that_takes_nothing_is_said_once_and_changes_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object, **__: object) -> None:
        raise DittodError("the store cannot be used: the disk is full", "make room on it")

    for name in "abc":
        bench.add(name)
    tending = bench.budget(2500)
    with monkeypatch.context() as patch:
        patch.setattr(bench.store, "prune", full)
        tending.tend()
        tending.tend()
    assert [each.message for each in caplog.records] == [
        "nothing is pruned now: the store cannot be used: the disk is full"
    ]
    assert bench.folders == "abc"
    tending.tend()
    assert bench.states["a"] == "pruned"


def test_a_disk_with_next_to_no_room_is_called_full(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    assert pruning.full(bench.home) is None
    usage = pruning.shutil.disk_usage(bench.home.root)
    monkeypatch.setattr(pruning.shutil, "disk_usage", lambda path: usage._replace(free=3 * 2**20))
    bench.pruning.tend()
    assert bench.store.noted("disk")["sentence"].startswith("the disk is full: 3 MiB are free")
