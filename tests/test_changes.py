"""Marks of the store's tables: another after each change, the same without, and nothing of a text in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import demonstration
from versions import TEXTS, versions

from dittod.rows import FileRow, StepRow
from dittod.store import Store
from dittod.types import Run

MARKS = ("texts", "runs", "versions", "receipts", "notes")
RUN = Run("run-x", "default", "requested", 1, "clean", 9.0)
STEP = StepRow("dpo", 1, 0, {"margin": 0.5})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(versions(tmp_path / "home").store)
    made.request_run(RUN)
    yield made
    made.close()


def _marks(store: Store) -> dict[str, Any]:
    return {name: getattr(store, f"mark_of_{name}")() for name in MARKS}


def _file(path: str, reason: str = "") -> FileRow:
    return FileRow(path, "default", 1, 1, "read", reason, (), {}, 2.0)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("texts", lambda s: s.exclude("default", TEXTS[0].id, excluded=True)),
        ("texts", lambda s: s.set_prompt("default", TEXTS[0].id, "Another.", "user")),
        ("texts", lambda s: s.note_file(_file("1.eml", "too short"))),
        ("texts", lambda s: s.record_file(_file("9.eml"), [TEXTS[0]])),
        ("texts", lambda s: s.rewrite("default", TEXTS[0].id, "Dear Ann.")),
        ("runs", lambda s: s.change_run("run-x", state="running")),
        ("runs", lambda s: s.change_run("run-x", progress={"phase": "dpo", "done": 1, "of": 9})),
        ("runs", lambda s: s.add_note("run-x", "it waits")),
        ("runs", lambda s: s.record_step("run-x", STEP)),
        ("runs", lambda s: s.stop_run("default", 10.0)),
        ("versions", lambda s: s.roll_back("default", "a" * 64)),
        ("versions", lambda s: s.pin("c" * 64, pinned=True)),
        ("versions", lambda s: s.prune("c" * 64)),
        ("receipts", lambda s: s.forget_files(["1.eml"], 11.0)),
        ("notes", lambda s: s.note("learning", {"state": "waiting"})),
    ],
)
def test_a_change_that_is_shown_makes_another_mark(store: Store, kind: str, change) -> None:
    before = _marks(store)
    change(store)
    after = _marks(store)
    assert before[kind] != after[kind]


@pytest.mark.parametrize("newest", ["1.eml", "8.eml"])
def test_one_text_that_goes_and_another_that_comes_are_a_change(store: Store, newest: str) -> None:
    """Of the last row SQLite gives the number again."""
    before = store.mark_of_texts()
    store.forget_files([newest], 11.0)
    store.record_file(replace(_file(newest), read_at=12.0), [demonstration("Write to Tom.", "Dear Tom, come.")])
    assert store.mark_of_texts() != before


def test_the_last_file_that_is_read_again_is_a_change(store: Store) -> None:
    store.note_file(_file("9.eml", "too short"))
    before = store.mark_of_texts()
    store.note_file(replace(_file("9.eml", "empty"), read_at=3.0))
    assert store.mark_of_texts() != before


def test_one_text_excluded_in_place_of_another_is_a_change(store: Store) -> None:
    store.exclude("default", TEXTS[0].id, excluded=True)
    before = store.mark_of_texts()
    store.exclude("default", TEXTS[0].id, excluded=False)
    store.exclude("default", TEXTS[1].id, excluded=True)
    assert store.mark_of_texts() != before


def test_a_receipt_that_is_finished_is_a_change(store: Store) -> None:
    (receipt,) = store.forget_files(["3.eml"], 11.0)
    before = store.mark_of_receipts()
    store.finish_receipt(receipt.id, None)
    assert store.mark_of_receipts() != before


def test_looking_changes_nothing_and_shows_no_text(store: Store) -> None:
    before = _marks(store)
    store.demonstrations("default")
    store.adapters()
    assert _marks(store) == before
    assert not any(word in repr(before) for word in ("Ann", "tea", "Bob"))
