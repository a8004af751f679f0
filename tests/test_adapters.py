"""Versions on disk and in the store: entered whole or not at all, and what a rollback would serve."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dittod import adapters
from dittod.engine.protocol import AdapterRef, Ready, Updated
from dittod.errors import DittodError
from dittod.paths import Home
from dittod.store import Store
from dittod.types import Adapter, Recipe, Run, Verdict, Written

RUN = Run("r1", "default", "running", 7, "clean", 5.0, ("d1",), ("d2",))
BASE = Ready("m", "1", "t", 2048, 0)
VERDICT = Verdict(True, ("likelier",), {"x": 1.5}, (Written("ditto", "d2", "what it wrote of the user's"),))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.create()
    return made


@pytest.fixture
def store(home: Home) -> Iterator[Store]:
    opened = Store(home.store)
    opened.request_run(RUN)
    yield opened
    opened.close()


def _updated(home: Home, name: str = "a1") -> Updated:
    folder = home.adapters / name
    folder.mkdir(exist_ok=True)
    return Updated(RUN.id, AdapterRef(name, str(folder)), VERDICT)


def test_the_manifest_explains_the_folder_and_holds_no_text(home: Home, store: Store) -> None:
    before = os.umask(0)
    try:
        made = adapters.add(store, RUN, _updated(home), BASE)
    finally:
        os.umask(before)
    (manifest,) = Path(made.path).iterdir()
    assert stat.S_IMODE(manifest.stat().st_mode) == 0o600
    told = json.loads(manifest.read_text())
    assert (told["number"], told["base_model"], told["verdict"]["figures"]) == (1, "m", {"x": 1.5})
    assert "what it wrote" not in manifest.read_text()
    assert not {"state", "promoted_at", "path", "pinned"} & told.keys(), "what changes is the store's to say"


def test_a_version_is_entered_with_its_manifest_or_not_at_all(home: Home, store: Store) -> None:
    updated = _updated(home)
    Path(updated.adapter.path).rmdir()
    with pytest.raises(DittodError, match=r"manifest\.json cannot be written"):
        adapters.add(store, RUN, updated, BASE)
    assert store.adapters() == []
    made = adapters.add(store, RUN, _updated(home), BASE)
    assert made == adapters.add(store, RUN, _updated(home), BASE) == store.adapter("a1"), (
        "entering it twice is harmless"
    )


FEW_SHOT = Recipe("base", examples=3)


def _without_weights(home: Home, run: Run = RUN, verdict: Verdict = VERDICT) -> Updated:
    return Updated(run.id, AdapterRef("f" * 64, str(home.adapters / ("f" * 64)), weights=False), verdict, FEW_SHOT)


def test_a_version_is_told_of_by_its_recipe(home: Home, store: Store) -> None:
    made = adapters.add(store, RUN, replace(_updated(home), recipe=Recipe("supervised", examples=2)), BASE)
    assert adapters.reference(made) == AdapterRef(made.id, made.path, weights=True, examples=2)
    told = json.loads((Path(made.path) / adapters.MANIFEST).read_text())
    assert told["recipe"] == {"policy": "supervised", "iteration": 0, "examples": 2}


def test_a_version_without_weights_is_a_folder_with_a_manifest_and_answers_on_its_base_model(
    home: Home, store: Store
) -> None:
    updated = _without_weights(home)
    Path(updated.adapter.path).mkdir()
    made = adapters.add(store, RUN, updated, BASE)
    assert [each.name for each in Path(made.path).iterdir()] == [adapters.MANIFEST]
    assert list(home.adapters.iterdir()) == [Path(made.path)], "the engine's is not left behind"
    assert (Path(made.path).name, made.recipe) == (made.id, FEW_SHOT)
    assert adapters.reference(made) == AdapterRef(made.id, made.path, weights=False, examples=3)
    assert adapters.fits(made, "m", BASE) and not adapters.fits(made, "other", BASE)
    adapters.promote(store, made)
    assert adapters.promoted(store, "default") == store.adapter(made.id)
    assert adapters.roll_back(store, "default") is None


def test_the_same_recipe_over_the_same_texts_in_two_profiles_is_two_versions(home: Home, store: Store) -> None:
    other = replace(RUN, id="r2", profile="blog")
    one, two = (adapters.add(store, run, _without_weights(home, run), BASE) for run in (RUN, other))
    assert (one.profile, two.profile) == ("default", "blog") and one.id != two.id


def test_the_same_result_again_is_the_same_version_with_the_verdict_of_the_latest_run(home: Home, store: Store) -> None:
    first = adapters.add(store, RUN, _without_weights(home), BASE)
    again, worse = replace(RUN, id="r2"), Verdict(False, ("no better",), {}, ())
    second = adapters.add(store, again, _without_weights(home, again, worse), BASE)
    assert (second.id, second.number, second.state, second.verdict) == (first.id, 1, "candidate", worse)
    assert json.loads((Path(second.path) / adapters.MANIFEST).read_text())["run_id"] == "r2"
    adapters.promote(store, second)
    assert adapters.add(store, RUN, _without_weights(home), BASE) == store.adapter(first.id)
    assert store.adapter(first.id).verdict == worse, "what is served keeps the verdict by which it is"


@pytest.mark.parametrize(
    ("gone", "state"), [("prune", "candidate"), ("roll back", "candidate"), ("replace", "retired")]
)
def test_what_comes_out_again_is_a_candidate_again_unless_a_rollback_would_serve_it(
    home: Home, store: Store, gone: str, state: str
) -> None:
    made = adapters.add(store, RUN, _without_weights(home), BASE)
    store.change_run(RUN.id, state="done")
    if gone == "prune":
        store.prune(made.id)
    else:
        adapters.promote(store, made)
        if gone == "roll back":
            adapters.roll_back(store, "default")
        else:
            adapters.promote(store, adapters.add(store, RUN, _updated(home), BASE))
    assert store.adapter(made.id).state != "candidate"
    again = replace(RUN, id="r2")
    assert adapters.add(store, again, _without_weights(home, again), BASE).state == state


def _version(name: str, promoted_at: float | None, **changes: object) -> Adapter:
    values = {"profile": "p", "state": "retired", **changes}
    return Adapter(
        name, values["profile"], 1, values["state"], "", "r", "m", "1", "t", (), 1, 1.0, promoted_at, VERDICT  # type: ignore[arg-type]
    )  # fmt: skip


def test_the_last_good_one_is_what_was_promoted_last_before_what_is_served() -> None:
    served = _version("s", 5.0, state="promoted")
    made = [
        _version("a", 1.0),
        _version("b", 3.0),
        _version("c", 4.0, state="pruned"),
        _version("c2", 4.2, state="forgotten"),
        _version("d", None),
        _version("e", 4.5, profile="q"),
        _version("f", 9.0),
        _version("g", None, state="candidate"),
        served,
    ]
    good = adapters.last_good(made, "p")
    assert good is not None and good.id == "b"
    assert adapters.last_good([served], "p") is None
    assert adapters.last_good(made, "q") is None, "base is served: there is nothing to roll back"


def test_a_pruned_version_fits_no_base(home: Home, store: Store) -> None:
    made = adapters.add(store, RUN, _updated(home), BASE)
    assert adapters.fits(made, "m", BASE) and not adapters.fits(made, "other", BASE)
    store.change_run(RUN.id, state="done")
    store.prune(made.id)
    assert not adapters.fits(store.adapter(made.id), "m", BASE)


@pytest.mark.parametrize(
    ("change", "promoted"),
    [
        ({}, True),
        ({"rank": 8, "learner": {"beta": 0.1}}, True),
        ({"verdict": {"promoted": True, "reasons": ["likelier"], "figures": {}, "margin": 2}}, True),
        ({"verdict": {"reasons": ["likelier"], "figures": {"win": 0.6}}}, False),
        ({"verdict": {}, "seed": None}, False),
        ({"recipe": None}, True),
        ({"recipe": {"policy": "ditto", "temperature": 0.5}}, True),
    ],
)
def test_a_manifest_of_an_older_or_newer_dittod_is_a_versions(
    home: Home, store: Store, change: dict[str, object], promoted: bool
) -> None:
    """As one that lacks fields, or has others."""
    path = Path(adapters.add(store, RUN, _updated(home), BASE).path) / adapters.MANIFEST
    told = {**json.loads(path.read_text()), **change}
    path.write_text(json.dumps({key: value for key, value in told.items() if value is not None}))
    fresh = Store(home.root / "fresh.sqlite")
    assert adapters.restore(fresh, home.adapters) == 1
    (found,) = fresh.adapters()
    assert (found.id, found.state, found.verdict.promoted) == ("a1", "candidate", promoted)
    assert found.recipe == Recipe("ditto")
    assert adapters.fits(found, "m", BASE)
    fresh.close()


STRANGE = '{"id": "a1", "profile": "p", "base_model": "m", "base_revision": "1", "template_sha256": "t", "recipe": %s}'


@pytest.mark.parametrize(
    "told",
    [
        "",
        "[]",
        "7",
        '{"id": "a1"}',
        '{"id": "a1", "verdict": []}',
        '"a1"',
        STRANGE % '{"policy": "magic"}',
        STRANGE % '{"examples": "many"}',
        STRANGE % "[]",
    ],
)
def test_a_manifest_that_says_too_little_is_no_fault_and_its_folder_is_a_versions(
    home: Home, store: Store, told: str
) -> None:
    folder = Path(_updated(home).adapter.path)
    assert adapters.is_unfinished(folder), "it was not entered yet"
    (folder / adapters.MANIFEST).write_text(told)
    assert adapters.restore(store, home.adapters) == 0 and not adapters.is_unfinished(folder)


def test_recipes_outlive_the_store(home: Home, store: Store) -> None:
    known = [
        adapters.add(store, RUN, _without_weights(home), BASE),
        adapters.add(store, RUN, replace(_updated(home), recipe=Recipe("ditto", 2, 4)), BASE),
    ]
    fresh = Store(home.root / "fresh.sqlite")
    assert adapters.restore(fresh, home.adapters) == 2
    assert {each.id: each.recipe for each in fresh.adapters()} == {each.id: each.recipe for each in known}
    fresh.close()


def test_versions_outlive_the_store_and_come_back_as_candidates(home: Home, store: Store) -> None:
    for name in ("b1", "a1"):
        adapters.promote(store, adapters.add(store, RUN, _updated(home, name), BASE))
    known = store.adapters()
    store.close()
    for each in home.root.glob("dittod.sqlite*"):
        each.unlink()
    (home.adapters / "no-version").mkdir()
    (home.adapters / "half").mkdir()
    (home.adapters / "half" / adapters.MANIFEST).write_text('{"id": "half", "profile"')
    (home.adapters / "copied").mkdir()
    (home.adapters / "copied" / adapters.MANIFEST).write_bytes((home.adapters / "a1" / adapters.MANIFEST).read_bytes())
    fresh = Store(home.store)
    assert adapters.restore(fresh, home.adapters) == 2
    assert adapters.restore(fresh, home.adapters) == 0
    without_texts = replace(VERDICT, outputs=())
    assert fresh.adapters() == [
        replace(each, state="candidate", promoted_at=None, verdict=without_texts) for each in known
    ]
    assert [each.id for each in fresh.adapters()] == ["b1", "a1"]
    fresh.close()
