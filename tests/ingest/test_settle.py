"""When a dropped file is finished. Times are seconds on an invented clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dittod.ingest.settle import Settler, is_taken


def test_a_file_is_ready_once_when_it_has_not_changed_for_a_while() -> None:
    settler = Settler(5)
    settler.seen("a.eml", 10, 1, now=0)
    assert settler.ready(4.9) == []
    assert settler.ready(5) == ["a.eml"]
    assert settler.ready(100) == []


def test_a_slow_writer_that_pauses_is_waited_for_anew() -> None:
    settler = Settler(5)
    settler.seen("a.eml", 10, 1, now=0)
    settler.seen("a.eml", 20, 1, now=4)
    settler.seen("a.eml", 20, 2, now=8)  # a copy that sets the time at the end
    assert settler.ready(12.9) == []
    assert settler.ready(13) == ["a.eml"]


def test_seeing_a_file_unchanged_does_not_delay_it() -> None:
    settler = Settler(5)
    for now in range(5):
        settler.seen("a.eml", 10, 1, now)
    assert settler.ready(5) == ["a.eml"]


def test_a_file_that_changes_after_it_was_ready_becomes_ready_again() -> None:
    settler = Settler(5)
    settler.seen("a.eml", 10, 1, now=0)
    assert settler.ready(5) == ["a.eml"]
    settler.seen("a.eml", 11, 2, now=6)
    assert settler.ready(11) == ["a.eml"]


def test_a_file_that_is_gone_is_not_waited_for() -> None:
    settler = Settler(5)
    settler.seen("d/a.eml", 10, 1, now=0)
    settler.seen("d/b.eml", 10, 1, now=0)
    settler.seen("da.eml", 10, 1, now=0)
    settler.gone("d")
    assert settler.waiting() == ["da.eml"] and len(settler) == 1


def test_a_clock_that_jumps_back_only_starts_the_wait_again() -> None:
    settler = Settler(5)
    settler.seen("a.eml", 10, 1, now=1000)
    assert settler.ready(3) == []
    assert settler.ready(8) == ["a.eml"]


TEMPORARY = (
    ".dittod .hidden ._a.eml .~lock.a.odt# a.tmp A.TMP a.part a.crdownload a.swp a.txt~ ~$a.docx #a.txt# Thumbs.db"
)


@pytest.mark.parametrize("name", TEMPORARY.split())
def test_hidden_and_temporary_files_are_never_taken(name: str) -> None:
    settler = Settler(0)
    settler.seen(f"folder/{name}", 10, 1, now=0)
    assert not is_taken(name) and settler.ready(100) == []


EVENTS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 3), st.integers(0, 2), st.floats(0, 9), st.booleans()),
    max_size=40,
)


@given(EVENTS, st.floats(0.5, 5))
def test_a_ready_file_was_last_changed_at_least_the_delay_ago(
    events: list[tuple[str, int, int, float, bool]], delay: float
) -> None:
    settler, now = Settler(delay), 0.0
    state: dict[str, tuple[int, int]] = {}
    changed: dict[str, float] = {}
    for path, size, mtime, pause, is_gone in events:
        now += pause
        if is_gone:
            settler.gone(path)
            state.pop(path, None)
        else:
            if state.get(path) != (size, mtime):
                changed[path] = now
            state[path] = (size, mtime)
            settler.seen(path, size, mtime, now)
        for ready in settler.ready(now):
            assert ready in state and now - changed[ready] >= delay
            del state[ready]
    waiting = set(settler.waiting())
    assert waiting == set(state)
    assert set(settler.ready(now + delay + 1e-6)) == waiting
