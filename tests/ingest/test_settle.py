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
    settler.gone("d/a.eml")
    settler.gone("never.eml")
    assert settler.waiting() == ["d/b.eml"] and len(settler) == 1


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


NAMES = ("a", "b", "c", "d/a")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from(NAMES), st.integers(0, 3)),
        st.tuples(st.just("rename"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
        st.tuples(st.just("delete"), st.sampled_from(NAMES), st.just(0)),
        st.tuples(st.just("wait"), st.floats(0, 7), st.just(0)),
        st.tuples(st.just("jump"), st.floats(-20, 20), st.just(0)),
    ),
    max_size=60,
)


class Disk:
    """Files with their states, looked at after every step, as the folder's thread does; what was read is known."""

    def __init__(self, delay: float) -> None:
        self.settler = Settler(delay)
        self.delay = delay
        self.real = self.clock = 0.0
        self.files: dict[str, tuple[int, int]] = {}
        self.changed: dict[str, float] = {}  # in real time
        self.read: dict[str, tuple[int, int]] = {}  # the state each file was read in
        self.readings: list[tuple[str, tuple[int, int]]] = []
        self.writes = 0

    def step(self, kind: str, first: object, second: object) -> None:
        match kind, first, second:
            case "write", str(name), int(size):
                self.writes += 1
                self._put(name, (size, self.writes))
            case "rename", str(old), str(new) if old in self.files and old != new:
                self._put(new, self.files.pop(old))
            case "delete", str(name), _:
                self.files.pop(name, None)
            case "wait", float(seconds), _:
                self.real += seconds
                self.clock += seconds
            case "jump", float(seconds), _:
                self.clock += seconds
        self.look()

    def _put(self, name: str, state: tuple[int, int]) -> None:
        self.files[name] = state
        self.changed[name] = self.real

    def look(self) -> None:
        for name in self.settler.waiting():
            if name not in self.files:
                self.settler.gone(name)
        self.read = {name: state for name, state in self.read.items() if name in self.files}
        for name, state in self.files.items():
            if self.read.get(name) != state or name in self.settler.waiting():
                self.settler.seen(name, *state, self.clock)
        for name in self.settler.ready(self.clock):
            self.read[name] = self.files[name]
            self.readings.append((name, self.files[name]))


@given(STEPS, st.floats(0.5, 5))
def test_every_final_state_of_a_file_is_ready_exactly_once_and_never_before_it_was_quiet(
    steps: list[tuple[str, object, object]], delay: float
) -> None:
    """Random histories of writes, renames and deletions. Where the clock is left alone, none is ready too early; a jump
    ahead may shorten a wait (that of a suspended machine does, harmlessly), and none makes a file wait for ever."""
    disk, jumped = Disk(delay), False
    for step in steps:
        before = len(disk.readings)
        disk.step(*step)
        jumped = jumped or step[0] == "jump"
        for name, _ in disk.readings[before:]:
            assert jumped or disk.real - disk.changed[name] >= delay - 1e-9
    for _ in range(2):
        disk.step("wait", delay + 1e-6, 0)
    assert disk.read == disk.files and len(disk.settler) == 0
    finished = [
        reading for reading in disk.readings if reading[0] in disk.files and disk.files[reading[0]] == reading[1]
    ]
    assert set(finished) == set(disk.files.items())
    disk.step("wait", 100.0, 0)
    again = [reading for reading in disk.readings if reading[0] in disk.files and disk.files[reading[0]] == reading[1]]
    assert again == finished


def test_what_keeps_changing_is_expected_for_ten_minutes_and_waits_on_after_them() -> None:
    settler = Settler(5)
    for now in range(700):
        settler.seen("d/a.csv", now, now, now)
        assert settler.expected(now, ()) == (["d/a.csv"] if now < 600 else [])
    assert settler.waiting() == ["d/a.csv"] and settler.ready(704) == ["d/a.csv"]
    settler.seen("d/a.csv", 1000, 1000, now=705)
    assert settler.expected(705, ()) == ["d/a.csv"], "after it was finished it is waited for like any other"


def test_what_was_read_before_is_expected_until_it_is_seen_to_change_once_more() -> None:
    settler = Settler(5)
    settler.seen("d/a.csv", 10, 1, now=0)
    settler.seen("d/a.csv", 10, 1, now=1)
    assert settler.expected(1, {"d/a.csv"}) == ["d/a.csv"]
    settler.seen("d/a.csv", 11, 2, now=2)
    assert settler.expected(2, {"d/a.csv"}) == [] and settler.expected(2, ()) == ["d/a.csv"]


def test_a_clock_that_was_set_back_makes_nothing_expected_for_longer() -> None:
    settler = Settler(5)
    settler.seen("d/a.csv", 10, 1, now=9000)
    settler.seen("d/a.csv", 11, 2, now=0)
    settler.seen("d/a.csv", 12, 3, now=600)
    assert settler.expected(600, ()) == []
